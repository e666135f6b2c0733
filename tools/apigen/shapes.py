"""The schemas of a raw document as those of a description: every object and enumeration named, equal ones once."""

import json
import re
from collections.abc import Iterable
from typing import Any

from attrs import evolve, frozen

from tools.apigen.merge import NULL, Schema, merge_named, notes, split_null, with_null
from tools.apigen.names import DocumentError, Names, pascal, singular

_WORDS = {"description", "title", "example", "examples", "deprecated", "default"}
_LIMITS = {"minLength", "maxLength", "pattern", "minimum", "maximum", "minItems", "maxItems", "uniqueItems"}
_SHAPE = {"type", "properties", "required", "items", "additionalProperties", "enum", "const", "format"}
_KNOWN = _WORDS | _LIMITS | _SHAPE | {"oneOf", "anyOf", "allOf", "$ref", "discriminator", "readOnly", "writeOnly"}
_IMPORTED = {"JSON", "Literal", "LogStream", "Mapping", "Pager", "Resource", "Secret", "Sequence", "TypeAlias", "Unset"}
_FREE = (None, False, True)  # of additionalProperties: nothing said about them


@frozen
class Place:
    """Where a schema stands: its pointer, the model or method it belongs to, its field there."""

    pointer: str
    owner: str
    prefix: str  # what default names begin with
    field: str = ""
    name: str | None = None  # what the object or the items here are called
    answers: bool = False

    def at(self, *steps: str, **changes: Any) -> "Place":
        return evolve(self, pointer="/".join([self.pointer, *map(escape, steps)]), **changes)

    def error(self, message: str) -> DocumentError:
        return DocumentError(self.pointer, message)


def escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


class Shapes:
    """The named schemas of a document, as they are found."""

    def __init__(self, document: Schema, names: Names) -> None:
        self.document, self.names = document, names
        self.schemas: dict[str, Schema] = {}
        self.known: set[str] = set()  # those of known operations, which new ones leave as they are
        self._equal: dict[tuple[bool, str], str] = {}
        self._open: list[str] = []

    def target(self, raw: Schema, place: Place) -> Schema:
        """What a local reference points at."""
        while "$ref" in raw:
            found: Schema | None = self.document
            for step in raw["$ref"].removeprefix("#/").split("/"):
                found = found.get(step.replace("~1", "/").replace("~0", "~")) if found else None
            if not found:
                raise place.error(f"nothing at {raw['$ref']}")
            raw = {**found, **notes(raw)}
        return raw

    def resolved(self, raw: Schema, place: Place) -> tuple[Schema, str | None]:
        """A schema without references and `allOf`, and the name that a reference gave it."""
        head, _, last = raw.get("$ref", "").rpartition("/")
        name = pascal(last) if head == "#/components/schemas" else None
        raw = self.target(raw, place)
        unknown = next((key for key in raw if key not in _KNOWN and not key.startswith("x-")), None)
        if unknown:
            raise place.error(f"the keyword `{unknown}` is not known")
        if "allOf" not in raw:
            return raw, name
        whole: Schema = {"type": "object", "properties": {}, "required": []}
        for i, part in enumerate(raw["allOf"]):
            part, _ = self.resolved(part, place.at("allOf", str(i)))
            if "properties" not in part:
                raise place.at("allOf", str(i)).error("a part that is no object")
            whole["properties"].update(part["properties"])
            whole["required"] += part.get("required", [])
        return {**whole, **notes(raw)}, name

    def schema(self, raw: Schema, place: Place) -> Schema:
        """A schema as it stands in the description."""
        raw, hint = self.resolved(raw, place)
        rest, nullable = split_null(raw)
        if "$ref" in rest:
            rest, hint = self.resolved(rest, place)
        made = self._bare(rest, hint, place)
        kept = {key: value for key, value in notes(raw).items() if key != "description"}
        return {**(with_null(made) if nullable else made), **kept}

    def _bare(self, raw: Schema, hint: str | None, place: Place) -> Schema:
        kind = raw.get("type")
        if "oneOf" in raw or "anyOf" in raw:
            return self._union(raw, place)
        if kind == "null":
            return dict(NULL)
        if "const" in raw:
            return {"type": kind or ("string" if isinstance(raw["const"], str) else "boolean"), "const": raw["const"]}
        if "enum" in raw:
            return self._enum(raw, hint, place)
        if kind == "array":
            return {"type": "array", "items": self.schema(raw.get("items", {}), place.at("items"))}
        if kind == "object" or "properties" in raw:
            return self._object(raw, hint, place)
        if kind in ("string", "number", "integer", "boolean"):
            return self._scalar(raw, place)
        if set(raw) - _WORDS:
            raise place.error(f"the type {json.dumps(kind)} is not known")
        return {}

    def _scalar(self, raw: Schema, place: Place) -> Schema:
        made: Schema = {key: raw[key] for key in ("type", "format") if key in raw}
        if made["type"] == "number" and self.names.is_integer(place.field):
            made["type"] = "integer"
        if made["type"] == "string" and self.names.is_secret(place.owner, place.field):
            made["format"] = "password"
        return made

    def _enum(self, raw: Schema, hint: str | None, place: Place) -> Schema:
        if not all(isinstance(value, str) for value in raw["enum"]):
            raise place.error("an enumeration of other things than strings")
        if set(raw["enum"]) == {"true", "false"}:
            return {"type": "boolean"}  # on the wire of a query they are the same
        name = self._name("enum", f"{place.field}: {sorted(raw['enum'])}", hint, place, None)
        return self._define(name, {"type": "string", "enum": list(raw["enum"])}, place)

    def _union(self, raw: Schema, place: Place) -> Schema:
        word = "oneOf" if "oneOf" in raw else "anyOf"
        found = [self.resolved(member, place.at(word, str(i))) for i, member in enumerate(raw[word])]
        if all(member.get("type") == "string" and "enum" not in member for member, _ in found):
            return {"anyOf": [{key: member[key] for key in ("type", "const") if key in member} for member, _ in found]}
        if not all(_tag(member) for member, _ in found):
            raise place.error(f"{word} without a discriminator (a constant `type` in each member)")
        places = [place.at(word, str(i), name=None, answers=False) for i in range(len(found))]
        members = [
            self._object(member, hint, at, _tag(member)) for (member, hint), at in zip(found, places, strict=True)
        ]
        return {"oneOf": members, "discriminator": {"propertyName": "type"}}

    def _object(self, raw: Schema, hint: str | None, place: Place, member: str | None = None) -> Schema:
        extra = raw.get("additionalProperties")
        if "properties" not in raw:
            inner = {} if extra in _FREE else self.schema(extra, place.at("additionalProperties"))
            return {"type": "object", "additionalProperties": inner}
        if extra not in _FREE:
            raise place.error("properties beside a schema of additional ones")
        shape = str(sorted((key, str(one.get("type"))) for key, one in raw["properties"].items()))
        name = self._name("model", shape, hint, evolve(place, field=place.field or member or ""), _tag(raw), member)
        if name in self._open:
            raise place.error(f"{name} contains itself")
        self._open.append(name)
        made = self.fields(raw, evolve(place, owner=name, prefix=name, name=None, answers=False))
        self._open.pop()
        return self._define(name, made, place)

    def fields(self, raw: Schema, place: Place) -> Schema:
        """An object with its fields normalised, itself without a name."""
        plain(raw["properties"], place)
        made = {key: self.schema(one, place.at("properties", key, field=key)) for key, one in raw["properties"].items()}
        return {"type": "object", "properties": made, "required": list(raw.get("required", ()))}

    def _name(
        self, kind: str, shape: str, hint: str | None, place: Place, tag: str | None, member: str | None = None
    ) -> str:
        key = (place.answers, shape)
        equal, default = self._equal.get(key), place.prefix + pascal(singular(member or place.field))
        name = place.name or self.names.given(kind, place.owner, place.field, tag) or hint or equal or default
        if name in self.known and name not in (place.name, hint, equal):
            name = default
        name += "Object" if name in _IMPORTED else ""
        self._equal.setdefault(key, name)
        return name

    def _define(self, name: str, schema: Schema, place: Place) -> Schema:
        known = self.schemas.get(name)
        self.schemas[name] = merge_named(known, schema, f"{place.pointer} ({name})") if known else schema
        return {"$ref": f"#/components/schemas/{name}"}

    def settle(self) -> None:
        """Name the enumerations, and check the unions, that came of merging variants."""
        for name, schema in list(self.schemas.items()):
            for key, value in schema.get("properties", {}).items():
                place = Place(f"#/components/schemas/{name}/properties/{key}", name, name, key)
                if "enum" in value:
                    schema["properties"][key] = self.schema(value, place)
                members = [one["$ref"].rpartition("/")[2] for one in value.get("oneOf", ()) if "$ref" in one]
                if not all(_tag(self.schemas[member]) for member in members):
                    raise place.error("variants that no constant `type` tells apart")


def plain(words: Iterable[str], place: Place) -> None:
    """Names of a document become code: only plain ones may."""
    odd = next((word for word in words if not re.fullmatch(r"[A-Za-z][\w.-]*", word)), None)
    if odd is not None:
        raise place.error(f"{json.dumps(odd)} is not a plain name")


def _tag(schema: Schema) -> str | None:
    """The constant that tells a member of a union from the others."""
    found = schema.get("properties", {}).get("type", {}).get("const")
    return found if isinstance(found, str) else None

"""The schemas of a document as those of a description, where every object and every enumeration has a name.

A name that is listed in names.toml or committed may hold several variants of a shape, which are merged: a field that
one of them lacks is optional. Any other name stands for one shape only.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from attrs import evolve

from tools.apigen.description import (
    NOTES,
    MergeError,
    Schema,
    is_list,
    is_object,
    merge,
    notes,
    refs,
    split_null,
    with_null,
)
from tools.apigen.document import Document, DocumentError, Place
from tools.apigen.marks import marks
from tools.apigen.names import FIELDS, Names, camel, identifier, pascal, singular
from tools.apigen.shapes import constant, inner, is_rule, kind_of, plain, tag_of

JSON, LINES = "application/json", "application/x-ndjson"
_SHAPE = {"type", "properties", "required", "items", "additionalProperties", "enum", "const", "format", "default"}
_WAYS = {"oneOf", "anyOf", "allOf", "$ref", "discriminator", "readOnly", "writeOnly", "nullable", "deprecated"}
_HARMLESS = {
    *("description", "title", "example", "examples", "externalDocs", "xml", "summary", "$comment", "$schema", "$id"),
    *("$anchor", "$defs", "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum"),
    *("exclusiveMaximum", "multipleOf", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    *("contains", "minContains", "maxContains", "propertyNames", "dependentRequired", "unevaluatedProperties"),
    *("unevaluatedItems", "contentMediaType", "contentEncoding"),
}
_KNOWN = _SHAPE | _WAYS | _HARMLESS
_SCALARS = ("string", "number", "integer", "boolean", "null")
_IMPORTED = {
    *("JSON", "Literal", "LogStream", "Mapping", "Model", "Pager", "Resource", "Secret", "Sequence", "TypeAlias"),
    *("UNSET", "Unset", "True", "False", "None", "Any"),
}


def _agree(one: Any, two: Any) -> bool:
    """Return True if two schemas of one field leave it a type; the later one may be narrower."""
    types = [one["type"], two["type"]] if all(is_object(each) and "type" in each for each in (one, two)) else []
    kinds = [set(each) if is_list(each) else {each} for each in types]
    return not kinds or bool(kinds[0] & kinds[1]) or kinds[0] | kinds[1] <= {"integer", "number", "null"}


class _TakenError(Exception):
    """A name that stands for another shape."""


class Schemas:
    """The named schemas, as they are made."""

    def __init__(self, document: Document, names: Names, old: Schema, taken: set[str]) -> None:
        self.document, self.names = document, names
        self.committed: Schema = old.get("components", {}).get("schemas", {})
        self.made: Schema = {}
        self.origin: dict[str, tuple[str, str, str]] = {}  # the kind, owner and field that a default name is made of
        self._taken = taken | _IMPORTED
        self._open: list[str] = []

    def saved(self) -> Callable[[], None]:
        """What undoes all that is made from now on."""
        made, origin = dict(self.made), dict(self.origin)

        def undo() -> None:
            self.made, self.origin = made, origin
            self._open.clear()

        return undo

    def resolved(self, raw: Any, place: Place) -> tuple[Schema, Place]:
        """A schema without references and `allOf`, and where it stands."""
        raw = {} if raw is True else raw
        place.check_type(raw, dict, "a schema is needed here")
        if "x-at" in raw:
            place = evolve(place, pointer=raw["x-at"])
            raw = {key: value for key, value in raw.items() if key != "x-at"}
        raw, place = self.document.target(raw, place)
        for key in raw:
            place.check(key in _KNOWN or key.startswith("x-"), f"the keyword `{key}` is not understood")
        raw = {key: value for key, value in raw.items() if not is_rule(key, value)}
        if "allOf" not in raw:
            return raw, place
        rest = {key: value for key, value in raw.items() if key != "allOf"}
        if len(raw["allOf"]) == 1 and "properties" not in raw:
            part, inside = self.resolved(raw["allOf"][0], place.at("allOf", 0))
            return {**part, **rest, "required": [*part.get("required", ()), *rest.get("required", ())]}, inside
        whole: Schema = {"type": "object", "properties": {}, "required": []}
        for i, part in enumerate([*raw["allOf"], rest]):
            at = place.at("allOf", i) if i < len(raw["allOf"]) else place
            part, at = self.resolved(part, at) if at != place else (part, at)
            at.check(
                part.get("type", "object") == "object" and not {"oneOf", "anyOf"} & part.keys(),
                "a part that is no object",
            )
            for key, one in part.get("properties", {}).items():
                at.at("properties", key).check(
                    _agree(whole["properties"].get(key), one), "part and part differ in type"
                )
                whole["properties"][key] = {"x-at": at.at("properties", key).pointer, **({} if one is True else one)}
            whole["required"] += part.get("required", [])
            whole |= {key: part[key] for key in ("additionalProperties",) if part.get(key)}
        return {**rest, **whole}, place

    def schema(self, raw: Any, place: Place) -> Schema:
        """A schema as it stands in the description."""
        start = place.pointer
        raw, place = self.resolved(raw, place)
        if place.pointer != start:
            place.check(place.pointer not in self._open, "contains itself")
            self._open.append(place.pointer)
        rest, nullable = split_null(raw)
        if nullable and {"$ref", "allOf"} & rest.keys():
            made = self.schema({key: value for key, value in rest.items() if key not in NOTES}, place)
        else:
            made = self._bare(rest, place)
        if place.pointer != start:
            self._open.pop()
        return {
            **(with_null(made) if nullable else made),
            **notes(raw),
            **marks(raw, words_too=self.document.is_foreign),
        }

    def _bare(self, raw: Schema, place: Place) -> Schema:
        kind = raw.get("type")
        if is_list(kind) and len(kind) == 1:
            kind = kind[0]
        if "oneOf" in raw or "anyOf" in raw:
            return self._union(raw, place)
        if "const" in raw:
            return constant(raw["const"])
        if "enum" in raw:
            return self._enumeration(raw, place)
        if kind == "array" or (kind is None and "items" in raw):
            return {
                "type": "array",
                "items": self.schema(raw.get("items", {}), place.at("items", old=inner(place, "items"))),
            }
        if kind == "object" or (kind is None and {"properties", "additionalProperties"} & raw.keys()):
            return self._object(raw, place)
        place.check(kind is None or kind in _SCALARS, f"the type {json.dumps(kind)} is not understood")
        made: Schema = {"type": kind} if kind else {}
        form, field = raw.get("format"), place.field
        place.check(isinstance(form, str | None), "a format that is no word")
        if kind == "number" and not form and re.search(self.names.integers, field):
            made["type"] = "integer"
        if kind == "string" and not form and not place.text and re.search(self.names.dates, field):
            form = "date-time"
        if kind == "string" and self.names.is_secret(place.owner, field, form):
            form = "password"
        elif form == "password":
            form = None
        return {**made, "format": form} if form else made

    def _enumeration(self, raw: Schema, place: Place) -> Schema:
        values: list[Any] = raw["enum"]
        kinds = set(map(kind_of, values))
        place.check(len(kinds) == 1 and None not in kinds, "an enumeration of several types")
        if kinds != {"string"}:
            return {"type": kinds.pop()}
        if place.text and set(values) == {"true", "false"}:
            return {"type": "boolean"}  # in a path or a query they are the same
        made = {"type": "string", "enum": list(dict.fromkeys(values))}
        return self._named("enums", raw, place, lambda _: made)

    def _union(self, raw: Schema, place: Place) -> Schema:
        word = "oneOf" if "oneOf" in raw else "anyOf"
        rest = {key: value for key, value in raw.items() if key != word}
        place.check("properties" not in raw, f"properties beside {word}")
        if len(raw[word]) == 1:
            return self.schema({**raw[word][0], **notes(rest)}, place.at(word, 0))
        found = [self.resolved(member, place.at(word, i)) for i, member in enumerate(raw[word])]
        strings = [one.get("type", "string" if {"const", "enum"} & one.keys() else "") for one, _ in found]
        if set(strings) == {"string"}:
            words = [value for one, _ in found for value in ([one["const"]] if "const" in one else one.get("enum", ()))]
            if all({"const", "enum"} & one.keys() for one, _ in found):
                return self._enumeration({**rest, "enum": words}, place)
            open_ = [{"type": "string", "const": value} for value in dict.fromkeys(words)]
            return {"anyOf": [*open_, {"type": "string"}]} if open_ else {"type": "string"}
        place.check("" in strings or "object" in strings, "a union of scalars; Python code could not tell what comes")
        tags = [tag_of(member) for member, _ in found]
        told = raw.get("discriminator", {}).get("propertyName", "type")
        place.check(told == "type", f"a union told apart by `{told}`, not by a constant `type`")
        place.check(all(tags) and len(set(tags)) == len(tags), f"{word} whose members no constant `type` tells apart")
        old = [inner(evolve(place, old=split_null(place.old or {})[0]), word, tag, self.committed) for tag in tags]
        inside = [
            evolve(at, name=None, member=tag, old=before) for (_, at), tag, before in zip(found, tags, old, strict=True)
        ]
        members = [self._object(one, at) for (one, _), at in zip(found, inside, strict=True)]
        return {"oneOf": members, "discriminator": {"propertyName": "type"}}

    def _object(self, raw: Schema, place: Place) -> Schema:
        extra = raw.get("additionalProperties", True)
        if not raw.get("properties"):
            inside = place.at("additionalProperties", old=inner(place, "additionalProperties"))
            return {
                "type": "object",
                "additionalProperties": self.schema({} if extra in (True, False) else extra, inside),
            }
        place.check(extra in (True, False, {}), "properties beside a schema of additional ones")
        return self._named("models", raw, place, lambda inside: self.fields(raw, inside))

    def fields(self, raw: Schema, place: Place) -> Schema:
        """An object with its fields normalised, itself without a name; without those that only the other side sends."""
        unseen = "readOnly" if place.given else "writeOnly"
        found = {key: one for key, one in raw["properties"].items() if not self._says(one, unseen)}
        old: Schema = inner(place, "properties")
        words: dict[str, str] = {}
        for key in sorted(found, key=lambda key: (key not in old, camel(identifier(key, FIELDS)) != key)):
            plain = old.get(key, {}).get("x-word") or identifier(key, FIELDS)
            options = [plain, *(f"{plain.rstrip('_')}_{n}" for n in range(2, len(found) + 2))]
            words[key] = next(word for word in options if word not in words.values())
            place.at("properties", key).check(words[key].isidentifier(), "no name can be made of its letters")
        made: Schema = {}
        for key, one in found.items():
            made[key] = self.schema(one, place.at("properties", key, field=key, names=(), old=old.get(key, {})))
            made[key].pop("x-word", None)
            if words[key] != identifier(key, FIELDS):
                made[key]["x-word"] = words[key]
        required = [key for key in dict.fromkeys(raw.get("required", ())) if key in made]
        return {"type": "object", "properties": made, "required": required}

    def _says(self, raw: Any, word: str) -> bool:
        return is_object(raw) and bool(self.document.target(raw, Place("#"))[0].get(word))

    def opens(self, raw: Any, place: Place) -> bool:
        """Return True if an answer has a field that is to be masked."""
        whole, at = self.resolved(raw, place)
        if "data" in whole.get("properties", {}):
            whole, _ = self.resolved(whole["properties"]["data"], at.at("properties", "data"))
        fields = [(key, one) for key, one in whole.get("properties", {}).items() if is_object(one)]
        return any(
            one.get("type") == "string" and self.names.is_secret(place.owner, key, one.get("format"))
            for key, one in fields
        )

    def is_enum(self, schema: Schema) -> bool:
        return "enum" in self.made.get(split_null(schema)[0].get("$ref", "").rpartition("/")[2], ())

    def is_scalar(self, schema: Schema) -> bool:
        return split_null(schema)[0].get("type") in _SCALARS

    def _named(self, kind: str, raw: Schema, place: Place, make: Callable[[Place], Schema]) -> Schema:
        """A reference to what gets the name of the table or of the committed description; else a name that is free."""
        field, tag = place.field or place.member or "", tag_of(raw)
        own = [f"{place.owner}.{field}.{tag}", f"{place.owner}.{tag}"] if tag else []
        shared = self.names.given(kind, [f"{field}.{tag}", field] if tag else [field])
        old = split_null(place.old or {})[0]
        before = refs(inner(place, "oneOf", tag, self.committed) if "oneOf" in old else {"$ref": old.get("$ref", "")})
        sure = place.name or self.names.given(kind, [*own, f"{place.owner}.{field}"]) or next(iter(before), None)
        sure = sure or (shared if shared not in self.committed else None)
        place = evolve(place, old=self.committed.get(before[0], {}) if before else {})
        if sure:
            return self._make(sure, place, make)
        for name in self._options(kind, field, shared, place):
            try:
                return self._attempt(name, (kind, place.owner, field), place, make)
            except _TakenError:
                continue
        raise DocumentError(f"{place.pointer}: every name for it is taken; name it in names.toml")

    def _options(self, kind: str, field: str, shared: str | None, place: Place) -> Iterator[str]:
        """Names for a shape, the best first: the table's, that of a reference, and what its place suggests."""
        options = [shared] if shared else []
        stands = place.pointer.removeprefix("#/components/schemas/")
        options += [pascal(stands)] if stands.isidentifier() else []
        if field:
            member = place.member or field
            part = "Record" if place.prefix.endswith(pascal(member)) and place.member else pascal(singular(member))
            options += ["Pagination"] if field == "pagination" else []  # one will do for all lists
            options += [place.base + part] if place.base + part in self.made else []
            options += [place.prefix + part]
            options += [f"{options[-1]}{'Input' if kind == 'models' else 'Choice'}"] if place.given else []
        else:
            options += place.names
        options += [f"{options[-1]}{n}" for n in range(2, 10)]
        yield from (f"{name}Info" if name in self._taken else name for name in options)

    def _make(self, name: str, place: Place, make: Callable[[Place], Schema]) -> Schema:
        place.check(f"model {name}" not in self._open, f"{name} contains itself")
        self._open.append(f"model {name}")
        made = make(evolve(place, owner=name, prefix=name, name=None, member=None, names=()))
        self._open.pop()
        known = self.made.get(name)
        try:
            self.made[name] = merge(known, made, name) if known else made
        except MergeError as error:
            raise DocumentError(f"{place.pointer}: {error}; names.toml may name one of the two otherwise") from None
        for key, one in self.made[name].get("properties", {}).items():
            tags = [tag_of(self.made[member]) for member in refs(one.get("oneOf"))]
            place.at("properties", key).check(all(tags), "variants that no constant `type` tells apart")
        return {"$ref": f"#/components/schemas/{name}"}

    def _attempt(
        self, name: str, origin: tuple[str, str, str], place: Place, make: Callable[[Place], Schema]
    ) -> Schema:
        """A reference to `name`, if nothing else is called so; in a model of several variants, one of them may be."""
        if f"model {name}" in self._open:
            raise _TakenError
        if origin[2] and self.origin.get(name) == origin:
            return self._make(name, place, make)
        before, undo, depth = dict(self.made), self.saved(), list(self._open)
        self.made.pop(name, None)
        ref = self._make(name, place, make)
        now = {**plain(self.committed), **plain(before)}
        if any(plain(self.made)[key] != one for key, one in now.items() if key in self.made):
            undo()
            self._open = depth
            raise _TakenError
        if name not in before:
            self.origin[name] = origin
        return ref

    def settled(self) -> Schema:
        """All of them, with names for the enumerations that came of merging variants."""
        for name, schema in list(self.made.items()):
            for key, value in schema.get("properties", {}).items():
                place = Place(f"#/components/schemas/{name}/properties/{key}", name, name, key)
                if "enum" in value:
                    place = evolve(place, old=inner(Place("", old=self.committed.get(name)), "properties", key))
                    schema["properties"][key] = self.schema(value, place)
        return dict(sorted(self.made.items()))

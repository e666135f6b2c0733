"""A raw OpenAPI 3.1 document, everything inlined, as a description: objects and enumerations named, equal ones once.

The words (summaries, notes) are those of the committed description, by method and path and by model and field; what is
new gets a default. Names come from names.toml, from a `$ref`, from an equal shape that has a name, or by default.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from attrs import evolve, frozen

from tools.apigen.description import Operation, Schema, merge, notes, operations, refs, split_null, with_null
from tools.apigen.names import DocumentError, Names, default_model, default_summary, pascal, sentence, singular

_JSON, _LINES = "application/json", "application/x-ndjson"
_WORDS = {"description", "title", "example", "examples", "deprecated", "default"}
_LIMITS = {"minLength", "maxLength", "pattern", "minimum", "maximum", "minItems", "maxItems", "uniqueItems"}
_SHAPE = {"type", "properties", "required", "items", "additionalProperties", "enum", "const", "format"}
_KNOWN = _WORDS | _LIMITS | _SHAPE | {"oneOf", "anyOf", "allOf", "$ref", "discriminator", "readOnly", "writeOnly"}
_IMPORTED = {"JSON", "Literal", "LogStream", "Mapping", "Pager", "Resource", "Secret", "Sequence", "TypeAlias", "Unset"}


@frozen
class Place:
    """Where a schema stands: its pointer, the model or method it belongs to, its field there."""

    pointer: str
    owner: str = ""
    prefix: str = ""  # what default names begin with
    field: str = ""
    name: str | None = None  # what the object or the items here are called
    member: str | None = None  # the constant `type` of a member of a union

    def at(self, *steps: object, **changes: Any) -> "Place":
        escaped = [str(step).replace("~", "~0").replace("/", "~1") for step in steps]
        return evolve(self, pointer="/".join([self.pointer, *escaped]), **changes)

    def check(self, sound: object, message: str) -> None:
        if not sound:
            raise DocumentError(f"{self.pointer}: {message}")

    def check_plain(self, words: Iterable[str]) -> None:
        """Names of a document become code: only plain ones may."""
        for word in words:
            self.check(re.fullmatch(r"[A-Za-z][\w.-]*", word), f"{json.dumps(word)} is not a plain name")

    def check_once(self, words: list[str], message: str) -> None:
        for word in words:
            self.check(words.count(word) == 1, message.format(word))


def normalise(document: Schema, names: Names, committed: Schema | None = None) -> Schema:
    """The description of a document."""
    committed, made = committed or {}, _Description(document, names)
    found = {one.route: one for one in operations(document)}
    Place("#/paths").check(found, "no operations")
    known = names.operations.keys() | {one.route for one in operations(committed)}
    routes = {route: made.operation(one) for route, one in found.items() if route in known}
    made.known = set(made.schemas)
    routes |= {route: made.operation(one) for route, one in found.items() if route not in known}
    made.settle()
    twice = "two routes are named {}; name one of them in names.toml"
    Place("#/paths").check_once([one["operationId"] for one in routes.values()], twice)
    servers = committed.get("servers") or [{"url": server["url"]} for server in document.get("servers", ())[:1]]
    Place("#/servers").check(servers, "no server among them")
    words = {tag["name"]: tag["description"] for tag in committed.get("tags", ())}
    tags = sorted({one["tags"][0] for one in routes.values()})
    description: Schema = {
        "openapi": "3.1.0",
        "info": {**{key: document["info"][key] for key in ("title", "version")}, **committed.get("info", {})},
        "servers": servers,
        "tags": [{"name": tag, "description": words.get(tag, sentence(tag))} for tag in tags],
        "paths": {one.path: {} for one in found.values()},
        "components": {"schemas": dict(sorted(made.schemas.items()))},
    }
    for route, one in found.items():
        description["paths"][one.path][one.http] = routes[route]
    _keep_words(description, committed)
    return description


def _keep_words(new: Schema, old: Schema) -> None:
    """Give a description the words that the committed one has in the same places."""
    for key, value in old.items():
        if key in ("summary", "description") and isinstance(value, str):
            new[key] = value
        elif all(isinstance(one.get(key), dict) for one in (old, new)):
            _keep_words(new[key], value)


class _Description:
    """The operations and the named schemas of a document, as they are found."""

    def __init__(self, document: Schema, names: Names) -> None:
        self.document, self.names = document, names
        self.schemas: dict[str, Schema] = {}
        self.known: set[str] = set()  # schemas of known operations, which new ones leave as they are
        self._equal: dict[str, str] = {}
        self._open: list[str] = []

    def operation(self, one: Operation) -> Schema:
        raw, (resource, name, model) = one.raw, self.names.operation(one.route)
        thing = pascal(singular(resource))
        place = Place("#/paths", f"{resource}.{name}", thing).at(one.path, one.http)
        place.check_plain(part.strip("{}") for part in one.path.strip("/").split("/"))
        made: Schema = {"operationId": place.owner, "tags": [resource], "summary": default_summary(resource, name)}
        made.update({key: True for key in ("deprecated", "x-experimental") if raw.get(key)})
        if raw.get("deprecated") and resource in self.names.replaced:
            made["x-replaced-by"] = f"{self.names.replaced[resource]}.{name}"
        found = [*self.document["paths"][one.path].get("parameters", ()), *raw.get("parameters", ())]
        made["parameters"] = [self._parameter(raw, place.at("parameters", i), one.path) for i, raw in enumerate(found)]
        if "requestBody" in raw:
            _, schema, inside = self._content(raw["requestBody"], place.at("requestBody"), _JSON)
            schema = self._resolved(schema, inside)
            inside.check(not schema or "properties" in schema, "a body that is no object")
            schema = self._fields(schema, inside) if schema else {}
            made["requestBody"] = {"required": bool(schema.get("required")), "content": {_JSON: {"schema": schema}}}
        default = default_model(resource, name)
        prefix = model or (thing + default if default in self.known else default)
        made["responses"] = self._responses(raw["responses"], place.at("responses", prefix=prefix, name=model))
        arguments = evolve(one, raw=made).arguments
        place.check_once([argument.word for argument in arguments], "the keyword {} comes twice")
        ids = sorted(argument.key for argument in arguments if argument.where == "path")
        place.check(ids == sorted(re.findall(r"{(.*?)}", one.path)), "the ids in the path are not its parameters")
        errors = [int(status) for status in raw["responses"] if status.isdecimal() and int(status) >= 400]
        return {**made, "x-errors": sorted(errors or raw.get("x-errors", ()))}

    def _parameter(self, raw: Schema, place: Place, path: str) -> Schema:
        raw = self._target(raw, place)
        place.check(raw["in"] in ("path", "query", "header"), f"a parameter in the {raw['in']}")
        place.check_plain([raw["name"]])
        schema = self._schema(raw["schema"], place.at("schema", field=raw["name"]))
        made = {"name": raw["name"], "in": raw["in"], "required": bool(raw.get("required")), "schema": schema}
        word = self.names.keyword(raw["name"], path)
        return {**made, "x-keyword": word} if word else made

    def _content(self, raw: Schema, place: Place, *kinds: str) -> tuple[str, Schema, Place]:
        """The type and the schema of a body or an answer, and where the schema stands."""
        kind = ", ".join(raw["content"])
        place.check(kind in kinds, f"content of type {kind}")
        return kind, raw["content"][kind]["schema"], place.at("content", kind, "schema")

    def _responses(self, raw: Schema, place: Place) -> Schema:
        """The successes, in an envelope with `data` or without, all alike; and the switch of a log to a WebSocket."""
        made: Schema = {}
        for status in (status for status in raw if status.startswith("2")):
            answer = self._target(raw[status], place.at(status))
            made[status] = {"description": ""}
            if "content" in answer:
                kind, schema, inside = self._content(answer, place.at(status), _JSON, _LINES)
                whole, thing = self._resolved(schema, inside), evolve(inside, owner=inside.prefix)
                fields = dict(whole.get("properties", {}))
                if "data" in fields:
                    data = self._schema(fields.pop("data"), thing.at("properties", "data"))
                    schema = self._fields({**whole, "properties": fields}, evolve(inside, name=None))
                    schema["properties"] = {"data": data, **schema["properties"]}
                else:
                    schema = self._schema(schema, thing)
                made[status]["content"] = {kind: {"schema": schema}}
        place.check(made, "no success among them")
        place.check(len({json.dumps(answer) for answer in made.values()}) == 1, "successes that differ")
        live = "101" in raw and _LINES in next(iter(made.values())).get("content", {})
        return {**made, "101": {"description": ""}} if live else made

    def _target(self, raw: Schema, place: Place) -> Schema:
        """What a local reference points at; `x-name` is the name of a schema there."""
        while "$ref" in raw:
            head, _, last = raw["$ref"].rpartition("/")
            found: Schema = self.document
            for step in raw["$ref"].removeprefix("#/").split("/"):
                found = found.get(step.replace("~1", "/").replace("~0", "~"), {})
            place.check(found, f"nothing at {raw['$ref']}")
            name = {"x-name": pascal(last)} if head == "#/components/schemas" else {}
            raw = {**found, **name, **notes(raw)}
        return raw

    def _resolved(self, raw: Schema, place: Place) -> Schema:
        """A schema without references and `allOf`."""
        raw = self._target(raw, place)
        for key in raw:
            place.check(key in _KNOWN or key.startswith("x-"), f"the keyword `{key}` is not known")
        whole: Schema = {"type": "object", "properties": {}, "required": []}
        for i, part in enumerate(raw.get("allOf", ())):
            part = self._resolved(part, place.at("allOf", i))
            place.at("allOf", i).check("properties" in part, "a part that is no object")
            whole["properties"].update(part["properties"])
            whole["required"] += part.get("required", [])
        return {**raw, **whole} if "allOf" in raw else raw

    def _schema(self, raw: Schema, place: Place) -> Schema:
        """A schema as it stands in the description."""
        raw = self._resolved(raw, place)
        rest, nullable = split_null(raw)
        made = self._bare(self._resolved(rest, place), place)
        return {**(with_null(made) if nullable else made), **notes(raw)}

    def _bare(self, raw: Schema, place: Place) -> Schema:
        kind = raw.get("type")
        if "oneOf" in raw or "anyOf" in raw:
            return self._union(raw, place)
        if raw.get("const") is not None:
            return {"type": kind or ("string" if isinstance(raw["const"], str) else "boolean"), "const": raw["const"]}
        if "enum" in raw:
            place.check(all(isinstance(one, str) for one in raw["enum"]), "an enumeration of other things than strings")
            made = {"type": "string", "enum": list(raw["enum"])}
            if set(raw["enum"]) == {"true", "false"}:
                return {"type": "boolean"}  # on the wire of a query they are the same
            return self._named("enums", f"{place.field}: {sorted(raw['enum'])}", raw, place, lambda _: made)
        if kind == "array":
            return {"type": "array", "items": self._schema(raw.get("items", {}), place.at("items"))}
        if kind == "object" or "properties" in raw:
            return self._object(raw, place)
        kinds = ("string", "number", "integer", "boolean", "null")
        place.check(kind in kinds or not set(raw) - _WORDS, f"the type {json.dumps(kind)} is not known")
        made = {key: raw[key] for key in ("type", "format") if key in raw}
        if kind == "number" and "format" not in raw and re.search(self.names.integers, place.field):
            made["type"] = "integer"
        if kind == "string" and {place.field, f"{place.owner}.{place.field}"} & self.names.secrets:
            made["format"] = "password"
        return made

    def _union(self, raw: Schema, place: Place) -> Schema:
        word = "oneOf" if "oneOf" in raw else "anyOf"
        found = [self._resolved(member, place.at(word, i)) for i, member in enumerate(raw[word])]
        if all(member.get("type") == "string" and "enum" not in member for member in found):
            return {"anyOf": [{key: member[key] for key in ("type", "const") if key in member} for member in found]}
        place.check(all(map(_tag, found)), f"{word} without a discriminator (a constant `type` in each member)")
        places = [place.at(word, i, name=None, member=_tag(member)) for i, member in enumerate(found)]
        return {"oneOf": list(map(self._object, found, places)), "discriminator": {"propertyName": "type"}}

    def _object(self, raw: Schema, place: Place) -> Schema:
        extra: Schema = {} if raw.get("additionalProperties") in (None, False, True) else raw["additionalProperties"]
        if "properties" not in raw:
            return {"type": "object", "additionalProperties": self._schema(extra, place.at("additionalProperties"))}
        place.check(not extra, "properties beside a schema of additional ones")
        shape = str(sorted((key, str(one.get("type"))) for key, one in raw["properties"].items()))
        return self._named("models", shape, raw, place, lambda inside: self._fields(raw, inside))

    def _fields(self, raw: Schema, place: Place) -> Schema:
        """An object with its fields normalised, itself without a name."""
        place.check_plain(raw["properties"])
        fields = raw["properties"].items()
        made = {key: self._schema(one, place.at("properties", key, field=key)) for key, one in fields}
        return {"type": "object", "properties": made, "required": list(raw.get("required", ()))}

    def _named(self, kind: str, shape: str, raw: Schema, place: Place, make: Callable[[Place], Schema]) -> Schema:
        """A reference to what gets the name of its place, the table, a reference, an equal shape, or the default."""
        hint, equal = raw.get("x-name"), self._equal.get(shape)
        default = place.prefix + pascal(singular(place.member or place.field))
        given = self.names.given(kind, place.owner, place.field or place.member or "", _tag(raw))
        name = str(place.name or given or hint or equal or default)
        if name in self.known and name not in (place.name, hint, equal):
            name = default
        name += "Object" * (name in _IMPORTED)
        self._equal.setdefault(shape, name)
        place.check(name not in self._open, f"{name} contains itself")
        self._open.append(name)
        made = make(evolve(place, owner=name, prefix=name, name=None, member=None))
        self._open.pop()
        known = self.schemas.get(name)
        self.schemas[name] = merge(known, made, f"{place.pointer} ({name})") if known else made
        return {"$ref": f"#/components/schemas/{name}"}

    def settle(self) -> None:
        """Name the enumerations, and check the unions, that came of merging variants."""
        for name, schema in list(self.schemas.items()):
            for key, value in schema.get("properties", {}).items():
                place = Place(f"#/components/schemas/{name}/properties/{key}", name, name, key)
                if "enum" in value:
                    schema["properties"][key] = self._schema(value, place)
                tags = [_tag(self.schemas[member]) for member in refs(value.get("oneOf"))]
                place.check(all(tags), "variants that no constant `type` tells apart")


def _tag(schema: Schema) -> str | None:
    """The constant that tells a member of a union from the others."""
    found = schema.get("properties", {}).get("type", {}).get("const")
    return found if isinstance(found, str) else None

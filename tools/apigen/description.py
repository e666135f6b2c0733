"""What a description says: its operations, its schemas as Python types, and two variants of one schema as one."""

import json
import re
from collections.abc import Iterator
from typing import Any, TypeGuard

from attrs import frozen

from tools.apigen.names import KEYWORDS, identifier, template

Schema = dict[str, Any]
NULL = {"type": "null"}
METHODS = ("get", "post", "put", "patch", "delete", "head")
NOTES = ("deprecated", "x-experimental", "default", "x-word")
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", None: "JSON"}


def is_object(value: object) -> TypeGuard[Schema]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


class MergeError(ValueError):
    """Two variants that no one type holds."""


@frozen
class Argument:
    """A keyword of a method, and what it stands for."""

    word: str
    key: str  # on the wire; empty for a body that is no object, `*` for further fields of one that is
    where: str  # path, header, query, body, or live
    schema: Schema
    required: bool
    raw: Schema  # the parameter, or the schema again

    @property
    def type(self) -> str:
        """What a caller may give: None sends null or leaves out a parameter, UNSET leaves out a field."""
        rest, nullable = split_null(self.schema)
        kind = python_type(rest, given=True)
        if self.where != "body" or self.key == "*":
            return kind if self.required else f"{kind} | None = None"
        kind += "" if self.required else " | Unset"
        return kind + (" | None" if nullable else "") + ("" if self.required else " = UNSET")


@frozen
class Named:
    """An operation of a document, and what it is called."""

    path: str
    http: str
    raw: Schema
    name: str

    @property
    def route(self) -> str:
        return f"{self.http.upper()} {self.path}"

    @property
    def resource(self) -> str:
        return self.name.partition(".")[0]

    @property
    def method(self) -> str:
        return self.name.partition(".")[2]


@frozen
class Operation(Named):
    """An operation of a description."""

    @property
    def body(self) -> Schema | None:
        """The schema of the request's body."""
        content = self.raw.get("requestBody", {}).get("content", {})
        return next((one["schema"] for one in content.values()), None)

    @property
    def arguments(self) -> list[Argument]:
        """Ids as the path has them, then headers, query, body; at last, `follow` if a WebSocket carries the log too."""
        found: list[Argument] = []
        for one in self.raw["parameters"]:
            word = one.get("x-word") or identifier(one["name"], KEYWORDS)
            found.append(Argument(word, one["name"], one["in"], one["schema"], one["required"], one))
        body = self.body
        if body is not None and "properties" in body:
            for key, schema in body["properties"].items():
                word = schema.get("x-word") or identifier(key, KEYWORDS)
                found.append(Argument(word, key, "body", schema, key in body["required"], schema))
            if body.get("additionalProperties"):
                further = {"type": "object", "additionalProperties": body["additionalProperties"]}
                found.append(Argument(body.get("x-word", "extra"), "*", "body", further, False, body))
        elif body is not None:
            found.append(Argument(body.get("x-word", "value"), "", "body", body, True, body))
        if "101" in self.raw["responses"] and len(self.raw["responses"]) > 1:
            found.append(Argument("follow", "", "live", {"type": "boolean"}, False, {}))
        places = ("path", "header", "query", "body", "live")
        return sorted(found, key=lambda one: (places.index(one.where), self.path.find(f"{{{one.key}}}")))

    @property
    def answer(self) -> tuple[str, Schema | None]:
        """The type and the schema of a success; no schema if it has no body."""
        content = next(iter(self.raw["responses"].values())).get("content", {})
        return next(((kind, one["schema"]) for kind, one in content.items()), ("", None))

    @property
    def enveloped(self) -> bool:
        """Return True if the answer is `{"data": …}`, not an object that has such a field among others."""
        fields = (self.answer[1] or {}).get("properties", {})
        scalar = split_null(fields.get("data", {}))[0].get("type") in ("string", "integer", "number", "boolean")
        return "data" in fields and not (scalar and len(fields) > 1)


def operations(document: Schema) -> Iterator[Operation]:
    """By path, then in the usual order of methods."""
    for path, item in sorted(document.get("paths", {}).items()):
        for http in (http for http in METHODS if http in item):
            yield Operation(path, http, item[http], str(item[http]["operationId"]))


def by_template(document: Schema) -> dict[str, Operation]:
    return {template(one.route): one for one in operations(document)}


def refs(schema: Any) -> list[str]:
    """The names that a schema, or anything that holds schemas, refers to, in order."""
    return re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(schema, ensure_ascii=False))


def split_null(schema: Schema) -> tuple[Schema, bool]:
    """A schema without its null, and True if it had one."""
    if isinstance(schema.get("type"), list) and "null" in schema["type"]:
        kinds = [kind for kind in schema["type"] if kind != "null"]
        values = {"enum": [value for value in schema["enum"] if value is not None]} if "enum" in schema else {}
        return {**schema, **values, "type": kinds[0] if len(kinds) == 1 else kinds}, True
    if None in schema.get("enum", ()) and len(schema["enum"]) > 1:
        return {**schema, "enum": [value for value in schema["enum"] if value is not None]}, True
    if schema.get("nullable") is True:  # of version 3.0, and still seen
        return {key: value for key, value in schema.items() if key != "nullable"}, True
    for word in ("oneOf", "anyOf"):
        members = [member for member in schema.get(word, ()) if member.get("type") != "null"]
        if members and len(members) < len(schema[word]):
            outer = {key: value for key, value in schema.items() if key != word}
            return {**outer, **(members[0] if len(members) == 1 else {word: members})}, True
    return schema, False


def with_null(schema: Schema) -> Schema:
    made = {**schema, "type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, NULL]}
    return schema if schema in ({}, NULL) else made


def notes(schema: Schema) -> Schema:
    return {key: schema[key] for key in NOTES if key in schema}


def python_type(schema: Schema, *, given: bool = False) -> str:
    """The annotation of a value that we read; of one that a caller gives, if `given`."""
    schema, nullable = split_null(schema)
    kind, form = schema.get("type"), schema.get("format")
    if nullable:
        return python_type(schema, given=given) + " | None"
    if "$ref" in schema:
        return refs(schema)[0]
    if "oneOf" in schema:
        return " | ".join(refs(schema)) + ("" if given else " | dict[str, JSON]")  # a member unknown as yet
    if "anyOf" in schema:  # strings, some of them with a meaning of their own
        return f"Literal[{', '.join(literal(one['const']) for one in schema['anyOf'] if 'const' in one)}] | str"
    if kind == "array":
        return f"{'Sequence' if given else 'list'}[{python_type(schema['items'], given=given)}]"
    if kind == "object":
        return f"{'Mapping' if given else 'dict'}[str, {python_type(schema['additionalProperties'], given=given)}]"
    if kind == "string" and form == "date-time":
        return "datetime"
    return "Secret" if kind == "string" and form == "password" and not given else _SCALARS[kind]


def literal(text: str) -> str:
    """A Python string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")


def merge(one: Schema, two: Schema, at: str) -> Schema:
    """Two variants as one: a field is optional if one of them lacks it, nullable if one allows null."""
    extra = {**notes(two), **notes(one)}
    a, b = ({key: value for key, value in schema.items() if key not in NOTES} for schema in (one, two))
    (a, null_a), (b, null_b) = split_null(a), split_null(b)
    if extra or null_a or null_b:
        merged = merge(a, b, at)
        return {**(with_null(split_null(merged)[0]) if null_a or null_b else merged), **extra}
    if a == b or {} in (a, b):
        return a if a == b else {}
    if NULL in (a, b):
        return with_null(b if a == NULL else a)
    members: list[list[Schema]] = [[schema] if "$ref" in schema else schema.get("oneOf", []) for schema in (a, b)]
    if all(members):
        union = {member["$ref"]: member for member in [*members[0], *members[1]]}
        return {"oneOf": list(union.values()), "discriminator": {"propertyName": "type"}}
    kinds = [str(schema.get("type", "a model or a union")) for schema in (a, b)]
    if sorted(kinds) == ["integer", "number"]:
        return {"type": "number"}
    if kinds[0] != kinds[1] or "type" not in a:
        raise MergeError(f"{at} holds {kinds[0]} in one place and {kinds[1]} in another")
    if "properties" in a and "properties" in b:
        both = {**a["properties"], **b["properties"]}
        for key in a["properties"].keys() & b["properties"].keys():
            both[key] = merge(a["properties"][key], b["properties"][key], f"{at}.{key}")
        return {**a, "properties": both, "required": [key for key in a["required"] if key in b["required"]]}
    if kinds[0] == "array":
        return {"type": "array", "items": merge(a["items"], b["items"], f"{at}[]")}
    values: list[list[Any]] = [[schema["const"]] if "const" in schema else schema.get("enum", []) for schema in (a, b)]
    if all(values) and kinds[0] == "string":
        return {"type": "string", "enum": list(dict.fromkeys([*values[0], *values[1]]))}
    return {key: value for key, value in a.items() if b.get(key) == value}

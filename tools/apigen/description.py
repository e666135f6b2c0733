"""What a description says: its operations, its schemas as Python types, and two variants of one schema as one."""

import json
import re
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from tools.apigen.names import DocumentError, identifier

Schema = dict[str, Any]
NULL = {"type": "null"}
_METHODS = ("get", "post", "put", "patch", "delete")
_NOTES = ("deprecated", "default")
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", None: "JSON"}


@frozen
class Argument:
    """A keyword of a method, and what it stands for."""

    word: str
    key: str  # on the wire; empty for a body that is no object
    where: str  # path, header, query, body, or live
    schema: Schema
    required: bool


@frozen
class Operation:
    """An operation; what follows `raw` is for those of a description."""

    path: str
    http: str
    route: str
    raw: Schema
    name: str
    resource: str
    method: str

    @property
    def arguments(self) -> list[Argument]:
        """Ids as the path has them, then headers, query and body; at last, whether to follow a log over a WebSocket."""
        found: list[Argument] = []
        for one in self.raw["parameters"]:
            word = one.get("x-keyword") or identifier(one["name"])
            found.append(Argument(word, one["name"], one["in"], one["schema"], one["required"]))
        for content in self.raw.get("requestBody", {}).get("content", {}).values():
            body: Schema = content["schema"] or {"properties": {"": {}}, "required": [""]}
            for key, schema in body["properties"].items():
                found.append(Argument(identifier(key) or "value", key, "body", schema, key in body["required"]))
        if "101" in self.raw["responses"]:
            found.append(Argument("follow", "", "live", {"type": "boolean"}, False))
        places = ("path", "header", "query", "body", "live")
        return sorted(found, key=lambda one: (places.index(one.where), self.path.find(f"{{{one.key}}}")))

    @property
    def answer(self) -> tuple[str, Schema | None]:
        """The type and the schema of a success; no schema where it has no body."""
        content = next(iter(self.raw["responses"].values())).get("content", {})
        return next(((kind, one["schema"]) for kind, one in content.items()), ("", None))


def operations(document: Schema) -> Iterator[Operation]:
    """By path, then in the usual order of methods."""
    for path, item in sorted(document.get("paths", {}).items()):
        for http in (http for http in _METHODS if http in item):
            name = item[http].get("operationId", "")
            yield Operation(path, http, f"{http.upper()} {path}", item[http], name, *name.partition(".")[::2])


def refs(schema: Any) -> list[str]:
    """The names that a schema, or anything that holds schemas, refers to, in order."""
    return re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(schema))


def split_null(schema: Schema) -> tuple[Schema, bool]:
    """A schema without its null, and whether it had one."""
    if isinstance(schema.get("type"), list) and "null" in schema["type"]:
        kinds = [kind for kind in schema["type"] if kind != "null"]
        values = {"enum": [value for value in schema["enum"] if value is not None]} if "enum" in schema else {}
        return {**schema, **values, "type": kinds[0] if len(kinds) == 1 else kinds}, True
    for word in ("oneOf", "anyOf"):
        if NULL in schema.get(word, ()):
            members = [member for member in schema[word] if member != NULL]
            outer = {key: value for key, value in schema.items() if key != word}
            return {**outer, **(members[0] if len(members) == 1 else {word: members})}, True
    return schema, False


def with_null(schema: Schema) -> Schema:
    made = {**schema, "type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, NULL]}
    return schema if schema in ({}, NULL) else made


def notes(schema: Schema) -> Schema:
    return {key: schema[key] for key in _NOTES if key in schema}


def python_type(schema: Schema, *, given: bool = False) -> str:
    """The annotation of a value that we read; of one that a caller gives, where `given`."""
    schema, nullable = split_null(schema)
    kind, form = schema.get("type"), schema.get("format")
    if nullable:
        return python_type(schema, given=given) + " | None"
    if "$ref" in schema:
        return refs(schema)[0]
    if "oneOf" in schema:
        return " | ".join(refs(schema)) + ("" if given else " | dict[str, JSON]")  # a member unknown as yet
    if "anyOf" in schema:  # strings, some of them with a meaning of their own
        return f"Literal[{', '.join(json.dumps(one['const']) for one in schema['anyOf'] if 'const' in one)}] | str"
    if kind == "array":
        return f"{'Sequence' if given else 'list'}[{python_type(schema['items'], given=given)}]"
    if kind == "object":
        return f"{'Mapping' if given else 'dict'}[str, {python_type(schema['additionalProperties'], given=given)}]"
    if kind == "string" and form == "date-time":
        return "datetime"
    return "Secret" if kind == "string" and form == "password" and not given else _SCALARS[kind]


def merge(one: Schema, two: Schema, at: str) -> Schema:
    """Two variants as one: optional where a variant lacks a field, nullable where one allows null."""
    extra = {**notes(two), **notes(one)}
    a, b = ({key: value for key, value in schema.items() if key not in _NOTES} for schema in (one, two))
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
        raise DocumentError(f"{at}: holds {kinds[0]} in one place and {kinds[1]} in another")
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

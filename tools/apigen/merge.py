"""Variants of one schema as one: optional where a variant lacks a field, nullable where one allows null."""

from typing import Any

from tools.apigen.names import DocumentError

Schema = dict[str, Any]
NULL = {"type": "null"}
_NOTES = ("deprecated", "default", "description")


def split_null(schema: Schema) -> tuple[Schema, bool]:
    """A schema without its null, and whether it had one."""
    if isinstance(schema.get("type"), list) and "null" in schema["type"]:
        kinds = [kind for kind in schema["type"] if kind != "null"]
        values = {"enum": [value for value in schema["enum"] if value is not None]} if "enum" in schema else {}
        return {**schema, **values, "type": kinds[0] if len(kinds) == 1 else kinds}, True
    for word in ("oneOf", "anyOf"):
        members = [member for member in schema.get(word, ()) if member != NULL]
        if NULL in schema.get(word, ()):
            outer = {key: value for key, value in schema.items() if key != word}
            return ({**outer, **members[0]} if len(members) == 1 else {**outer, word: members}), True
    return schema, False


def with_null(schema: Schema) -> Schema:
    if not schema or schema == NULL:
        return schema
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, NULL]}


def notes(schema: Schema) -> Schema:
    return {key: schema[key] for key in _NOTES if key in schema}


def merge_named(one: Schema, two: Schema, at: str) -> Schema:
    """Two variants of a named object or enumeration."""
    if "enum" in one and "enum" in two:
        return {**one, "enum": list(dict.fromkeys([*one["enum"], *two["enum"]]))}
    if "enum" in one or "enum" in two:
        raise DocumentError(at, "an object and an enumeration have the same name")
    both = dict(one["properties"])
    for key, value in two["properties"].items():
        both[key] = merge(both[key], value, f"{at}.{key}") if key in both else value
    return {**one, "properties": both, "required": [key for key in one["required"] if key in two["required"]]}


def merge(one: Schema, two: Schema, at: str) -> Schema:
    """Two variants of what a field holds."""
    (a, null_a), (b, null_b) = split_null(one), split_null(two)
    a, b = ({key: value for key, value in schema.items() if key not in _NOTES} for schema in (a, b))
    merged = _merge_bare(a, b, at)
    return {**(with_null(merged) if null_a or null_b or NULL in (a, b) else merged), **notes(two), **notes(one)}


def _merge_bare(a: Schema, b: Schema, at: str) -> Schema:
    if a == b or b == NULL or a == {}:
        return a
    if a == NULL or b == {}:
        return b
    members: list[list[Schema]] = []
    values: list[list[Any]] = []
    for schema in (a, b):
        members.append([schema] if "$ref" in schema else schema.get("oneOf", []))
        values.append([schema["const"]] if "const" in schema else schema.get("enum", []))
    if all(members):
        union = {member["$ref"]: member for member in [*members[0], *members[1]]}
        return {"oneOf": list(union.values()), "discriminator": {"propertyName": "type"}}
    kinds = [str(schema.get("type", "a model or a union")) for schema in (a, b)]
    if sorted(kinds) == ["integer", "number"]:
        return {"type": "number"}
    if kinds[0] != kinds[1] or "type" not in a:
        raise DocumentError(at, f"holds {kinds[0]} in one place and {kinds[1]} in another")
    if kinds[0] == "array":
        return {"type": "array", "items": merge(a["items"], b["items"], at + "[]")}
    if all(values) and kinds[0] == "string":
        return {"type": "string", "enum": list(dict.fromkeys([*values[0], *values[1]]))}
    return {key: value for key, value in a.items() if b.get(key) == value}

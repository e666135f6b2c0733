"""One schema of a description: its null, its references, its Python type, and two variants of it as one."""

import json
import re
from collections.abc import Iterable
from typing import Any, TypeGuard

Schema = dict[str, Any]
NULL = {"type": "null"}
MARKS = {"deprecated": "deprecated", "x-experimental": "experimental"}
NOTES = (*MARKS, "default", "x-word")
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


class MergeError(ValueError):
    """Two variants that no one type holds."""


def is_object(value: object) -> TypeGuard[Schema]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def without(schema: Schema, *keys: str) -> Schema:
    return {key: value for key, value in schema.items() if key not in keys}


def marks(schema: Schema) -> dict[str, object]:
    return {word: True for mark, word in MARKS.items() if schema.get(mark)}


def refs(schema: Any) -> list[str]:
    """The names that a schema, or anything that holds schemas, refers to, in order."""
    return re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(schema, ensure_ascii=False))


def reach(names: Iterable[str], known: Schema) -> set[str]:
    """These models and all that they refer to."""
    found = {*names}
    new = {part for name in found for part in refs(known[name])} - found
    return reach(found | new, known) if new else found


def tag_of(schema: Schema) -> str | None:
    """The constant `type` that tells a member of a union from the others."""
    found = schema.get("properties", {}).get("type", {}).get("const")
    return found if isinstance(found, str) else None


def words_of(schema: Schema) -> list[Any]:
    """The values that a schema knows by name: its constant, its enumeration, or the constants among other strings."""
    members: list[Schema] = [schema, *schema.get("anyOf", ())]
    return [one["const"] for one in members if "const" in one] or list(schema.get("enum", ()))


def split_null(schema: Schema) -> tuple[Schema, bool]:
    """A schema without its null, and True if it had one."""
    for word in ("oneOf", "anyOf"):
        members = [one for one in schema.get(word, ()) if one.get("type") != "null"]
        if members and len(members) < len(schema[word]):
            return {**without(schema, word), **(members[0] if len(members) == 1 else {word: members})}, True
    rest, kinds, values = without(schema, "nullable"), schema.get("type"), schema.get("enum", [])
    nullable = schema.get("nullable") is True  # the word is of version 3.0, and still seen
    if is_list(kinds):
        nullable, kinds = nullable or "null" in kinds, [kind for kind in kinds if kind != "null"]
        rest["type"] = kinds[0] if len(kinds) == 1 else kinds or "null"
    if None in values and len(values) > 1:
        nullable, rest["enum"] = True, [value for value in values if value is not None]
    return rest, nullable


def parted(schema: Schema) -> tuple[Schema, bool, Schema]:
    """A schema without its null and its notes, True if it had a null, and its notes."""
    return *split_null(without(schema, *NOTES)), {key: schema[key] for key in NOTES if key in schema}


def with_null(schema: Schema, null: bool = True) -> Schema:
    """A schema that may be null too, if that is so."""
    if not null or schema in ({}, NULL):
        return schema
    schema, _ = split_null(schema)
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, NULL]}


def python_type(schema: Schema, *, given: bool = False) -> str:
    """The annotation of a value that we read; of one that a caller gives, if `given`."""
    schema, nullable = split_null(schema)
    if nullable:
        return python_type(schema, given=given) + " | None"
    kind, form = schema.get("type"), schema.get("format")
    if "$ref" in schema:
        return refs(schema)[0]
    if "oneOf" in schema:
        return " | ".join(refs(schema)) + ("" if given else " | dict[str, JSON]")  # a member unknown as yet
    if "anyOf" in schema:  # strings, some of them with a meaning of their own
        return f"Literal[{', '.join(map(repr, words_of(schema)))}] | str"
    if kind == "array":
        return f"{'Sequence' if given else 'list'}[{python_type(schema['items'], given=given)}]"
    if kind == "object":
        return f"{'Mapping' if given else 'dict'}[str, {python_type(schema['additionalProperties'], given=given)}]"
    if kind == "string" and (form == "date-time" or (form == "password" and not given)):
        return "datetime" if form == "date-time" else "Secret"
    return SCALARS[kind] if kind else "JSON"


def shape(schema: Schema, known: Schema) -> Schema:
    """What makes two schemas the same, however they are named and worded: `known` are the models they refer to."""
    bare, nullable = split_null(schema)
    if "$ref" in bare:
        return {**shape({**known[refs(bare)[0]], **without(bare, "$ref")}, known), "null": nullable}
    made: Schema = {key: bare[key] for key in ("type", "const", "enum", *MARKS) if key in bare}
    made["format"] = None if bare.get("format") == "password" else bare.get("format")  # which names of fields add
    held = [bare[key] for key in ("items", "additionalProperties") if key in bare]
    made["inside"] = [shape(one, known) for one in [*held, *bare.get("oneOf", ()), *bare.get("anyOf", ())]]
    made["properties"] = {key: shape(one, known) for key, one in bare.get("properties", {}).items()}
    return {**made, "required": sorted(bare.get("required", ())), "null": nullable}


def merge(one: Schema, two: Schema, at: str) -> Schema:
    """Two variants as one: a field is optional if one of them lacks it, nullable if one allows null."""
    (a, null_a, notes_a), (b, null_b, notes_b) = parted(one), parted(two)
    return {**with_null(_merged(a, b, at), null_a or null_b), **notes_b, **notes_a}


def _merged(a: Schema, b: Schema, at: str) -> Schema:
    if a == b or {} in (a, b):
        return a if a == b else {}
    if NULL in (a, b):
        return with_null(b if a == NULL else a)
    if "oneOf" in a or "oneOf" in b:
        members = dict[str | None, Schema]()
        for one in (*a.get("oneOf", [a]), *b.get("oneOf", [b])):
            members[tag_of(one)] = merge(members.setdefault(tag_of(one), one), one, at)
        if None not in members:
            return {"oneOf": [*members.values()], "discriminator": {"propertyName": "type"}}
    kind, other = ("map" if "additionalProperties" in one else str(one.get("type", "union")) for one in (a, b))
    if {kind, other} == {"integer", "number"}:
        return {"type": "number"}
    if kind != other or "type" not in a:
        raise MergeError(f"{at} holds {kind} in one place and {other} in another")
    if "properties" in a and "properties" in b:
        both = {**a["properties"], **b["properties"]}
        for key in a["properties"].keys() & b["properties"].keys():
            both[key] = merge(a["properties"][key], b["properties"][key], f"{at}.{key}")
        return {**a, "properties": both, "required": [key for key in a["required"] if key in b["required"]]}
    for inner in a.keys() & {"items", "additionalProperties"}:
        return {**a, inner: merge(a[inner], b[inner], f"{at}[]")}
    if kind == "string" and words_of(a) and words_of(b):
        return {**without(a, "const"), "enum": list(dict.fromkeys([*words_of(a), *words_of(b)]))}
    if "password" in (a.get("format"), b.get("format")):
        return {"type": kind, "format": "password"}
    return {key: value for key, value in a.items() if b.get(key) == value}

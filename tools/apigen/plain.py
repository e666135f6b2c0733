"""The schemas of a document in one plain form: each thing is said in one way, and nothing by reference or in parts.

An object and an enumeration keep the pointer of where they stood (`x-at`): they are to get names (naming.py).
"""

import json
import re
from typing import Any

from attrs import evolve

from tools.apigen.document import Node
from tools.apigen.schemas import SCALARS, Schema, is_object, split_null, tag_of, with_null, without, words_of

_NOT_UNDERSTOOD = {  # of all that JSON Schema has; any other word says nothing about shapes
    *("not", "if", "then", "else", "prefixItems", "additionalItems", "patternProperties", "dependentSchemas"),
    *("dependencies", "$dynamicRef", "$recursiveRef"),
}
_KINDS: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def plain(node: Node, *, whole: bool = False) -> Schema:
    """A schema in its plain form, or that of a body as a whole; DocumentError for what is not understood."""
    found = resolved(node)
    found.check(found.pointer not in node.within, "contains itself")
    bare, nullable = split_null(found.value)
    made = _bare(evolve(found, value=bare), whole and not nullable)
    default = {"default": found.value["default"]} if "default" in found.value else {}
    return {**with_null(made, nullable), **found.marks(), **default}


def _bare(node: Node, whole: bool) -> Schema:
    raw, kind = node.value, node.value.get("type")
    if "$ref" in raw:
        return plain(node)  # what a null stood beside
    if "oneOf" in raw or "anyOf" in raw:
        return _union(node, "oneOf" if "oneOf" in raw else "anyOf")
    if "const" in raw:
        return _constant(raw["const"])
    if "enum" in raw:
        return _enumeration(raw["enum"], node)
    if kind == "array" or (kind is None and "items" in raw):
        return {"type": "array", "items": plain(node.at("items")) if "items" in raw else {}}
    if kind == "object" or (kind is None and {"properties", "additionalProperties", "allOf"} & raw.keys()):
        return _object(node, whole)
    return _scalar(node, kind, raw.get("format"))


def _scalar(node: Node, kind: Any, form: Any) -> Schema:
    node.check(kind is None or str(kind) in SCALARS, f"the type {json.dumps(kind)} is not understood")
    node.check(isinstance(form, str | None), "a format that is no word")
    if kind == "number" and not form and re.search(node.names.integers, node.field):
        kind = "integer"
    if kind == "string" and not form and node.place != "parameter" and re.search(node.names.dates, node.field):
        form = "date-time"
    return {key: value for key, value in (("type", kind), ("format", form)) if value}


def _union(node: Node, word: str) -> Schema:
    node.check("properties" not in node.value, f"properties beside {word}")
    found = [resolved(node.at(word, i)) for i in range(len(node.value[word]))]
    kinds = {str(one.value.get("type", "string" if {"const", "enum"} & one.value.keys() else "")) for one in found}
    if kinds == {"string"}:
        return _words([words_of(one.value) for one in found], node)
    node.check(kinds & {"", "object"}, "a union of scalars; Python code could not tell what comes")
    told = node.value.get("discriminator", {}).get("propertyName", "type")
    node.check(told == "type", f"a union told apart by `{told}`, not by a constant `type`")
    members = [_object(one) for one in found]
    tags = {tag_of(one) for one in members}
    distinct = None not in tags and len(tags) == len(members)
    node.check(distinct, f"{word} whose members no constant `type` tells apart")
    return {"oneOf": members, "discriminator": {"propertyName": "type"}}


def _words(members: list[list[Any]], node: Node) -> Schema:
    """A union of strings: an enumeration, or, if one of them is any string, words with a meaning of their own."""
    words = dict.fromkeys(word for member in members for word in member)
    if all(members):
        return _enumeration([*words], node)
    known = [{"type": "string", "const": word} for word in words]
    return {"anyOf": [*known, {"type": "string"}]} if known else {"type": "string"}


def _constant(value: Any) -> Schema:
    """A scalar; an object or a list is one of which no more is said."""
    kind, const = _KINDS.get(value.__class__), {} if value is None else {"const": value}
    return {"type": kind, **const} if kind else {}


def _enumeration(values: list[Any], node: Node) -> Schema:
    kinds = {_KINDS.get(value.__class__) for value in values}
    node.check(len(kinds) == 1 and None not in kinds, "an enumeration of several types")
    if kinds != {"string"}:
        return {"type": kinds.pop()}
    if node.place == "parameter" and set(values) == {"true", "false"}:
        return {"type": "boolean"}  # in a path or a query they are the same
    return {"type": "string", "enum": list(dict.fromkeys(values)), "x-at": node.pointer}


def _object(node: Node, whole: bool = False) -> Schema:
    """An object, but for the fields that only the other side sends; further fields are a body's only, or all it has.

    Of two pieces that have a field, the later one is narrower.
    """
    found, required, more = dict[str, Node](), dict[str, None](), Schema()
    for piece in pieces(node):
        is_union = {"oneOf", "anyOf"} & piece.value.keys()
        sound = piece.value.get("type") in (None, "object", ["object"]) and not is_union
        piece.check(sound, "a part that is no object")
        for key in piece.value.get("properties", {}):
            one = piece.at("properties", key, field=key)
            one.check(key not in found or _agree(found[key].value, one.value), "part and part differ in type")
            found[key] = one
        required |= dict.fromkeys(piece.value.get("required", ()))
        if piece.value.get("additionalProperties", False) is not False:
            more = more or {"additionalProperties": plain(piece.at("additionalProperties"))}
    sound = not found or whole or more in ({}, {"additionalProperties": {}})
    node.check(sound, "properties beside a schema of additional ones")
    unseen = "writeOnly" if node.place == "answer" else "readOnly"
    seen = [one for one in found.values() if one.value is True or not one.target().value.get(unseen)]
    made = {one.field: plain(one) for one in seen}
    if not made:
        return {"type": "object", "additionalProperties": {}, **more}
    rest = more if whole else {"x-at": node.pointer}  # a body becomes keywords, and gets no name
    return {"type": "object", "properties": made, "required": [key for key in required if key in made], **rest}


def resolved(node: Node) -> Node:
    """A schema without a reference, and where it stands."""
    node = (evolve(node, value={}) if node.value is True else node).target()
    unknown = sorted(node.value.keys() & _NOT_UNDERSTOOD)
    node.check(not unknown, f"the keyword `{'`, `'.join(unknown)}` is not understood")
    node = evolve(node, value={key: value for key, value in node.value.items() if not _is_rule(key, value)})
    alone = next((word for word in ("allOf", "oneOf", "anyOf") if len(node.value.get(word, ())) == 1), None)
    if not alone or {"properties", "required"} & node.value.keys():
        return node
    part = resolved(node.at(alone, 0))  # words beside a reference
    return evolve(part, value={**part.value, **without(node.value, alone)})


def pieces(node: Node) -> list[Node]:
    """What an object is put together of: what is in `allOf`, and what stands beside that."""
    node = resolved(node)
    inner = [node.at("allOf", i) for i in range(len(node.value.get("allOf", ())))]
    return [*(piece for one in inner for piece in pieces(one)), evolve(node, value=without(node.value, "allOf"))]


def _is_rule(key: str, value: Any) -> bool:
    """Return True if a union only says which fields go together, which is the API's to check."""
    harmless = {"required", "title", "description"}
    return key in ("oneOf", "anyOf") and all(is_object(one) and one.keys() <= harmless for one in value)


def _agree(one: Any, two: Any) -> bool:
    """Return True if two schemas of one field leave it a type."""
    kinds = {str(split_null(each)[0].get("type", "")) for each in (one, two) if is_object(each)} - {""}
    return len(kinds) < 2 or kinds == {"integer", "number"}

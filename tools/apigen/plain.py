"""The schemas of a document in one plain form: each thing is said in one way, and nothing by reference or in parts.

An object and an enumeration keep the pointer of where they stood (`x-at`): they are to get names (naming.py).
"""

import json
import re
from typing import Any

from attrs import evolve, frozen

from tools.apigen.document import Node
from tools.apigen.marks import found_marks
from tools.apigen.names import Names
from tools.apigen.schemas import NOTES, SCALARS, Schema, is_list, is_object, split_null, tag_of, with_null, without

_NOT_UNDERSTOOD = {  # of all that JSON Schema has; any other word says nothing about shapes
    *("not", "if", "then", "else", "prefixItems", "additionalItems", "patternProperties", "dependentSchemas"),
    *("dependencies", "$dynamicRef", "$recursiveRef"),
}
_KINDS: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


@frozen
class Plain:
    """Brings schemas into their plain form; raises DocumentError for what is not understood."""

    names: Names

    def schema(self, node: Node) -> Schema:
        found = resolved(node)
        if found.pointer != node.pointer:
            found.check(found.pointer not in node.within, "contains itself")
            found = evolve(found, within=(*node.within, found.pointer))
        bare, nullable = split_null(found.value)
        made = self._bare(evolve(found, value=bare))
        default = {"default": found.value["default"]} if "default" in found.value else {}
        return {**with_null(made, nullable), **found_marks(found), **default}

    def _bare(self, node: Node) -> Schema:
        raw, kind = node.value, node.value.get("type")
        if is_list(kind) and len(kind) == 1:
            kind = kind[0]
        if "$ref" in raw:
            return self.schema(evolve(node, value=without(raw, *NOTES)))
        if "oneOf" in raw or "anyOf" in raw:
            return self._union(node, "oneOf" if "oneOf" in raw else "anyOf")
        if "const" in raw:
            return _constant(raw["const"])
        if "enum" in raw:
            return _enumeration(raw["enum"], node)
        if kind == "array" or (kind is None and "items" in raw):
            return {"type": "array", "items": self.schema(node.at("items")) if "items" in raw else {}}
        if kind == "object" or (kind is None and {"properties", "additionalProperties", "allOf"} & raw.keys()):
            return self._object(node)
        return self._scalar(node, kind, raw.get("format"))

    def _scalar(self, node: Node, kind: Any, form: Any) -> Schema:
        node.check(kind is None or kind in SCALARS, f"the type {json.dumps(kind)} is not understood")
        node.check(isinstance(form, str | None), "a format that is no word")
        if kind == "number" and not form and re.search(self.names.integers, node.field):
            kind = "integer"
        if kind == "string" and not form and not node.text and re.search(self.names.dates, node.field):
            form = "date-time"
        return {key: value for key, value in (("type", kind), ("format", form)) if value}

    def _union(self, node: Node, word: str) -> Schema:
        node.check("properties" not in node.value, f"properties beside {word}")
        if len(node.value[word]) == 1:
            return self.schema(node.at(word, 0))
        found = [resolved(node.at(word, i)) for i in range(len(node.value[word]))]
        kinds = {str(one.value.get("type", "string" if _is_word(one.value) else "")) for one in found}
        if kinds == {"string"}:
            return _words([one.value for one in found], node)
        node.check(kinds & {"", "object"}, "a union of scalars; Python code could not tell what comes")
        told = node.value.get("discriminator", {}).get("propertyName", "type")
        node.check(told == "type", f"a union told apart by `{told}`, not by a constant `type`")
        members = [self._object(one) for one in found]
        tags = {tag_of(one) for one in members}
        distinct = None not in tags and len(tags) == len(members)
        node.check(distinct, f"{word} whose members no constant `type` tells apart")
        return {"oneOf": members, "discriminator": {"propertyName": "type"}}

    def _object(self, node: Node) -> Schema:
        extra = further(node)
        if properties(node):
            node.check(extra is None or extra.value in (True, {}), "properties beside a schema of additional ones")
            return self.fields(node)
        return {"type": "object", "additionalProperties": {} if extra is None else self.schema(extra)}

    def fields(self, node: Node) -> Schema:
        """An object, but for the fields that only the other side sends."""
        unseen = "readOnly" if node.given else "writeOnly"
        seen = [one for one in properties(node).values() if one.value is True or not one.target().value.get(unseen)]
        made = {one.field: self.schema(one) for one in seen}
        required = dict.fromkeys(key for one in pieces(node) for key in one.value.get("required", ()) if key in made)
        return {"type": "object", "properties": made, "required": [*required], "x-at": node.pointer}


def resolved(node: Node) -> Node:
    """A schema without a reference, and where it stands."""
    node = (evolve(node, value={}) if node.value is True else node).target()
    unknown = sorted(node.value.keys() & _NOT_UNDERSTOOD)
    node.check(not unknown, f"the keyword `{'`, `'.join(unknown)}` is not understood")
    node = evolve(node, value={key: value for key, value in node.value.items() if not _is_rule(key, value)})
    if len(node.value.get("allOf", ())) != 1 or {"properties", "required"} & node.value.keys():
        return node
    part = resolved(node.at("allOf", 0))  # words beside a reference
    return evolve(part, value={**part.value, **without(node.value, "allOf")})


def pieces(node: Node) -> list[Node]:
    """What an object is put together of: what is in `allOf`, and what stands beside that."""
    node = resolved(node)
    inner = [node.at("allOf", i) for i in range(len(node.value.get("allOf", ())))]
    return [*(piece for one in inner for piece in pieces(one)), evolve(node, value=without(node.value, "allOf"))]


def properties(node: Node) -> dict[str, Node]:
    """The fields of an object; a later piece of it may be narrower."""
    found: dict[str, Node] = {}
    for piece in pieces(node):
        is_union = {"oneOf", "anyOf"} & piece.value.keys()
        sound = piece.value.get("type") in (None, "object", ["object"]) and not is_union
        piece.check(sound, "a part that is no object")
        for key in piece.value.get("properties", {}):
            one = piece.at("properties", key, field=key)
            one.check(key not in found or _agree(found[key].value, one.value), "part and part differ in type")
            found[key] = one
    return found


def further(node: Node) -> Node | None:
    """The schema of further fields, if there may be any."""
    word = "additionalProperties"
    found = (piece.at(word) for piece in pieces(node) if piece.value.get(word, False) is not False)
    return next(found, None)


def _is_rule(key: str, value: Any) -> bool:
    """Return True if a union only says which fields go together, which is the API's to check."""
    harmless = {"required", "title", "description"}
    return key in ("oneOf", "anyOf") and all(is_object(one) and one.keys() <= harmless for one in value)


def _agree(one: Any, two: Any) -> bool:
    """Return True if two schemas of one field leave it a type."""
    if not all(is_object(each) and "type" in each for each in (one, two)):
        return True
    before, after = (set(each["type"]) if is_list(each["type"]) else {each["type"]} for each in (one, two))
    return bool(before & after) or before | after <= {"integer", "number", "null"}


def _is_word(schema: Schema) -> bool:
    return bool({"const", "enum"} & schema.keys())


def _kind(value: object) -> str | None:
    return _KINDS.get(value.__class__)


def _constant(value: Any) -> Schema:
    kind = _kind(value)
    if kind is None:
        return {}  # an object or a list, of which no more is said
    return {"type": kind} if value is None else {"type": kind, "const": value}


def _enumeration(values: list[Any], node: Node) -> Schema:
    kinds = {_kind(value) for value in values}
    node.check(len(kinds) == 1 and None not in kinds, "an enumeration of several types")
    if kinds != {"string"}:
        return {"type": kinds.pop()}
    if node.text and set(values) == {"true", "false"}:
        return {"type": "boolean"}  # in a path or a query they are the same
    return {"type": "string", "enum": list(dict.fromkeys(values)), "x-at": node.pointer}


def _words(members: list[Schema], node: Node) -> Schema:
    """A union of strings: an enumeration, or, if one of them is any string, words with a meaning of their own."""
    words = [value for one in members for value in ([one["const"]] if "const" in one else one.get("enum", ()))]
    if all(_is_word(one) for one in members):
        return _enumeration(words, node)
    known = [{"type": "string", "const": value} for value in dict.fromkeys(words)]
    return {"anyOf": [*known, {"type": "string"}]} if known else {"type": "string"}

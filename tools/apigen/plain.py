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
        inside = evolve(found, value=bare)
        if nullable and {"$ref", "allOf"} & bare.keys():
            made = self.schema(evolve(inside, value=without(bare, *NOTES)))
        else:
            made = self._bare(inside)
        default = {"default": found.value["default"]} if "default" in found.value else {}
        return {**with_null(made, nullable), **found_marks(found), **default}

    def _bare(self, node: Node) -> Schema:
        raw, kind = node.value, node.value.get("type")
        if is_list(kind) and len(kind) == 1:
            kind = kind[0]
        if "oneOf" in raw or "anyOf" in raw:
            return self._union(node, "oneOf" if "oneOf" in raw else "anyOf")
        if "const" in raw:
            return _constant(raw["const"])
        if "enum" in raw:
            return _enumeration(raw["enum"], node)
        if kind == "array" or (kind is None and "items" in raw):
            return {"type": "array", "items": self.schema(node.at("items")) if "items" in raw else {}}
        if kind == "object" or (kind is None and {"properties", "additionalProperties"} & raw.keys()):
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
        extra = node.value.get("additionalProperties", True)
        if node.value.get("properties"):
            node.check(extra in (True, False, {}), "properties beside a schema of additional ones")
            return self.fields(node)
        free = extra in (True, False)
        return {"type": "object", "additionalProperties": {} if free else self.schema(node.at("additionalProperties"))}

    def fields(self, node: Node) -> Schema:
        """An object, but for the fields that only the other side sends."""
        unseen = "readOnly" if node.given else "writeOnly"
        found = {key: node.at("properties", key, field=key) for key in node.value["properties"]}
        seen = {key: one for key, one in found.items() if one.value is True or not one.target().value.get(unseen)}
        required = [key for key in dict.fromkeys(node.value.get("required", ())) if key in seen]
        made = {key: self.schema(one) for key, one in seen.items()}
        return {"type": "object", "properties": made, "required": required, "x-at": node.pointer}


def resolved(node: Node) -> Node:
    """A schema without references and `allOf`, and where it stands."""
    if node.value is True:
        return evolve(node, value={})
    if is_object(node.value) and "x-at" in node.value:
        node = evolve(node, value=without(node.value, "x-at"), pointer=node.value["x-at"])
    node = node.target()
    unknown = sorted(node.value.keys() & _NOT_UNDERSTOOD)
    node.check(not unknown, f"the keyword `{'`, `'.join(unknown)}` is not understood")
    node = evolve(node, value={key: value for key, value in node.value.items() if not _is_rule(key, value)})
    if "allOf" not in node.value:
        return node
    parts = [resolved(node.at("allOf", i)) for i in range(len(node.value["allOf"]))]
    rest = without(node.value, "allOf")
    if len(parts) == 1 and "properties" not in rest:
        required = [*parts[0].value.get("required", ()), *rest.get("required", ())]
        return evolve(parts[0], value={**parts[0].value, **rest, "required": required})
    return evolve(node, value={**rest, **_whole([*parts, evolve(node, value=rest)])})


def _is_rule(key: str, value: Any) -> bool:
    """Return True if a union only says which fields go together, which is the API's to check."""
    harmless = {"required", "title", "description"}
    return key in ("oneOf", "anyOf") and all(is_object(one) and one.keys() <= harmless for one in value)


def _whole(parts: list[Node]) -> Schema:
    """The parts of an object put together; a later one may be narrower."""
    fields: Schema = {}
    whole: Schema = {"type": "object", "properties": fields, "required": []}
    for part in parts:
        sound = part.value.get("type", "object") == "object" and not {"oneOf", "anyOf"} & part.value.keys()
        part.check(sound, "a part that is no object")
        for key, one in part.value.get("properties", {}).items():
            at = part.at("properties", key)
            at.check(_agree(fields.get(key), one), "part and part differ in type")
            fields[key] = {"x-at": at.pointer, **({} if one is True else one)}
        whole["required"] += part.value.get("required", [])
        whole |= {key: part.value[key] for key in ("additionalProperties",) if part.value.get(key)}
    return whole


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

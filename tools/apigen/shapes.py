"""Questions about schemas as they come: what tells them apart, what they say beside their shape."""

from typing import Any

from tools.apigen.description import Schema, is_list, is_object, refs, split_null
from tools.apigen.document import Place

CONSTANTS: dict[type, str | None] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def is_rule(key: str, value: Any) -> bool:
    """Return True if a union only says which fields go together, which is the API's to check."""
    harmless = {"required", "title", "description"}
    return key in ("oneOf", "anyOf") and all(is_object(one) and one.keys() <= harmless for one in value)


def inner(place: Place, *steps: Any) -> Any:
    """What the committed description has under these steps; a member of a union by its tag."""
    found: Any = split_null(place.old or {})[0]
    if steps[0] in ("oneOf", "anyOf"):
        _, tag, committed = steps
        members = [one for one in found.get("oneOf", ()) if tag_of(committed.get(refs(one)[0], {})) == tag]
        return members[0] if members else {}
    for step in steps:
        found = found.get(step, {}) if is_object(found) else {}
    return found


def plain(schemas: Schema) -> Schema:
    """Schemas without the words that are kept with them."""
    return {name: wordless(schema) for name, schema in schemas.items()}


def wordless(schema: Any) -> Any:
    if not is_object(schema):
        return [wordless(one) for one in schema] if is_list(schema) else schema
    words = {key: wordless(value) for key, value in schema.items() if key != "description" or is_object(value)}
    return {key: sorted(value) if key == "required" else value for key, value in words.items() if key != "default"}


def kind_of(value: object) -> str | None:
    """The type of a constant; None for an object or a list."""
    return CONSTANTS.get(value.__class__)


def constant(value: Any) -> Schema:
    kind = kind_of(value)
    if kind in (None, "null"):
        return {"type": "null"} if kind else {}  # of an object or a list, no more is said
    return {"type": kind, "const": value}


def tag_of(schema: Schema) -> str | None:
    """The constant that tells a member of a union from the others."""
    found = schema.get("properties", {}).get("type", {})
    found = (
        found.get("const", found["enum"][0] if len(found.get("enum", ())) == 1 else None) if is_object(found) else None
    )
    return found if isinstance(found, str) else None

"""What differs between two descriptions, as lines for CHANGELOG.md."""

from collections.abc import Iterator

from tools.apigen.homes import answer_schema
from tools.apigen.merge import Schema
from tools.apigen.method import body_schema
from tools.apigen.names import identifier
from tools.apigen.normalise import operations
from tools.apigen.types import python_type

_ORDER = ("Added", "Deprecated", "Renamed", "Changed", "Removed")


def changes(old: Schema, new: Schema) -> list[str]:
    """Additions first, removals last; a model comes and goes with its operations, and has no line of its own."""
    before, after = ({f"{m.upper()} {path}": one for path, m, one in operations(doc)} for doc in (old, new))
    lines = [f"Added `{route}` (`{one['operationId']}`)" for route, one in after.items() if route not in before]
    for route in after.keys() & before.keys():
        lines += _operation(before[route], after[route], route)
    schemas, known = new["components"]["schemas"], old.get("components", {}).get("schemas", {})
    for name in schemas.keys() & known.keys():
        values = [dict.fromkeys(one[name].get("enum", ()), "") for one in (known, schemas)]
        lines += _differences(values[0], values[1], "value", name)
        lines += _differences(_fields(known[name]), _fields(schemas[name]), "field", name)
    lines += [f"Removed `{route}`" for route in before if route not in after]
    return [
        f"- {line}" for line in sorted(lines, key=lambda one: (_ORDER.index(one.split()[0]), "`" not in one[:9], one))
    ]


def _operation(old: Schema, new: Schema, route: str) -> Iterator[str]:
    name = new["operationId"]
    if old["operationId"] != name:
        yield f"Renamed `{old['operationId']}` to `{name}`"
    if "deprecated" in new and "deprecated" not in old:
        yield f"Deprecated `{route}` (`{name}`)"
    if answer_schema(old) != answer_schema(new):
        yield f"Changed the answer of `{name}`"
    yield from _differences(_keywords(old), _keywords(new), "keyword", name)


def _keywords(operation: Schema) -> dict[str, str]:
    names = [one.get("x-keyword") or one["name"] for one in operation["parameters"]]
    schemas = {name: one["schema"] for name, one in zip(names, operation["parameters"], strict=True)}
    required = [name for name, one in zip(names, operation["parameters"], strict=True) if one["required"]]
    found = {**_fields({"properties": schemas, "required": required}), **_fields(body_schema(operation) or {})}
    return {identifier(key): kind for key, kind in found.items()}


def _fields(schema: Schema) -> dict[str, str]:
    left_out = {key: "" if key in schema["required"] else " or left out" for key in schema.get("properties", {})}
    return {key: python_type(schema["properties"][key]) + text for key, text in left_out.items()}


def _differences(old: dict[str, str], new: dict[str, str], what: str, owner: str) -> Iterator[str]:
    yield from (f"Added {what} `{key}` to `{owner}`" for key in new if key not in old)
    for key in new:
        if key in old and old[key] != new[key]:
            yield f"Changed {what} `{key}` of `{owner}` from {old[key]} to {new[key]}"
    yield from (f"Removed {what} `{key}` from `{owner}`" for key in old if key not in new)

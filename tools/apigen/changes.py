"""What differs between two descriptions, as lines for CHANGELOG.md."""

from tools.apigen.description import Schema, operations, python_type


def changes(old: Schema, new: Schema) -> list[str]:
    """In the order of Keep a Changelog; a model comes and goes with its operations, and has no line of its own."""
    before, after = ({one.route: one for one in operations(document)} for document in (old, new))
    lines = [f"Added `{route}` (`{after[route].name}`)" for route in after if route not in before]
    lines += [f"Removed `{route}`" for route in before if route not in after]
    for route in after.keys() & before.keys():
        was, now = before[route], after[route]
        lines += [f"Changed the name of `{was.name}` to `{now.name}`"] * (was.name != now.name)
        lines += [f"Deprecated `{route}` (`{now.name}`)"] * ("deprecated" in now.raw and "deprecated" not in was.raw)
        lines += [f"Changed the answer of `{now.name}`"] * (was.answer != now.answer)
    old_parts, new_parts = _parts(old), _parts(new)
    for owner in old_parts.keys() & new_parts.keys():
        had, has, name = old_parts[owner], new_parts[owner], after[owner].name if owner in after else owner
        lines += [f"Added {part} to `{name}`" for part in has.keys() - had.keys()]
        changed = [part for part in has.keys() & had.keys() if has[part] != had[part]]
        lines += [f"Changed {part} of `{name}` from {had[part]} to {has[part]}" for part in changed]
        lines += [f"Removed {part} from `{name}`" for part in had.keys() - has.keys()]
    return [f"- {line}" for line in sorted(lines)]


def _parts(document: Schema) -> dict[str, dict[str, str]]:
    """The keywords of each route, the fields of each model, the values of each enumeration; with their types."""
    found: dict[str, dict[str, str]] = {}
    for one in operations(document):
        found[one.route] = {f"keyword `{part.word}`": _text(part.schema, part.required) for part in one.arguments}
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        fields = schema.get("properties", {}).items()
        found[name] = {f"field `{key}`": _text(value, key in schema["required"]) for key, value in fields}
        found[name] |= {f"value `{value}`": "" for value in schema.get("enum", ())}
    return found


def _text(schema: Schema, required: bool) -> str:
    return python_type(schema) + ("" if required else " or left out")

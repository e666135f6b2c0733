"""Whole valid answers for users' tests, as the source of a module: an example of every model that is answered."""

from typing import Any

from tools.apigen.description import Schema, literal, refs, split_null
from tools.apigen.names import FIELDS, camel, identifier, snake
from tools.apigen.package import HEAD, Package

_NOON = '"2026-01-01T12:00:00.000Z"'
_TEXTS = {
    "url": "https://api.prisma.io",
    "email": "ada@example.com",
    "host": "db.prisma.io",
    "name": "name",
    "connectionString": "postgresql://user:password@db.prisma.io:5432/postgres",
}


def factories(package: Package) -> str:
    """A module with a factory for each model, those that others hold first."""
    lines = [HEAD.format(package.api, f"Whole valid answers of the {package.info['title']}, for tests.")]
    lines.append("from prisma_mgmt.factories.making import Factory\n")
    for name in package.reached:
        schema = package.schemas[name]
        if name in package.roles.answered and "properties" in schema:
            fields = schema["properties"].items()
            required = schema["required"]
            examples = [(key, _example(package, name, key, value, key in required)) for key, value in fields]
            whole = ", ".join(f"{literal(key)}: {example}" for key, example in examples)
            words = {value.get("x-word") or identifier(key, FIELDS): key for key, value in fields}
            odd = ", ".join(f"{literal(word)}: {literal(key)}" for word, key in words.items() if camel(word) != key)
            lines.append(f'{_called(name)}: Factory = Factory("{name}", {{{whole}}}{f", {{{odd}}}" if odd else ""})')
    return "\n".join(lines) + "\n"


def _called(model: str) -> str:
    return identifier(snake(model), FIELDS)


def _example(package: Package, owner: str, key: str, schema: Schema, required: bool = True) -> str:
    """A value of a field; `...` leaves out a secret that most answers do not hold."""
    rest, _ = split_null(schema)
    if not required and rest.get("format") == "password":
        return "..."
    names = refs(rest)
    known: Any = package.schemas[names[0]] if "$ref" in rest else rest
    if "const" in known:
        return repr(known["const"]) if not isinstance(known["const"], str) else literal(known["const"])
    if "enum" in known:
        return literal(known["enum"][0])
    if "properties" in known or "oneOf" in rest:
        return _called(names[0])
    if "anyOf" in known:
        return literal(next((one["const"] for one in known["anyOf"] if "const" in one), "text"))
    if known.get("type", "null") == "null":
        return "None"
    if known["type"] == "array":
        return f"[{_example(package, owner, key, known['items'])}]"
    values = {"object": "{}", "boolean": "False", "integer": "5432" if key == "port" else "1", "number": "1.5"}
    return values.get(known["type"]) or _text(owner, key, known.get("format"))


def _text(owner: str, key: str, form: str | None) -> str:
    if form == "date-time":
        return _NOON
    if form == "date":
        return _NOON[:11] + '"'
    if key == "id":
        return literal(f"{snake(owner).removeprefix('created_').removeprefix('minted_')}_1")
    if key.endswith("Id"):
        return literal(f"{snake(key.removesuffix('Id'))}_1")
    return literal(_TEXTS["url"] if form == "uri" else _TEXTS.get(key, snake(key)))

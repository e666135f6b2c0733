"""Whole valid answers for users' tests, as the source of a module: an example of every model that is answered."""

from tools.apigen.description import Part
from tools.apigen.names import FIELDS, identifier, snake
from tools.apigen.package import Package, render
from tools.apigen.schemas import Schema, literal, refs, split_null

_NOON = "2026-01-01T12:00:00.000Z"
_FORMATS = {"date-time": _NOON, "date": _NOON[:10], "uri": "https://api.prisma.io"}
_TEXTS = {
    "url": "https://api.prisma.io",
    "email": "ada@example.com",
    "host": "db.prisma.io",
    "name": "name",
    "connectionString": "postgresql://user:password@db.prisma.io:5432/postgres",
}
_VALUES = {"object": "{}", "boolean": "False", "integer": "1", "number": "1.5", "null": "None"}


def factories(package: Package) -> str:
    """A module with a factory for each model, those that others hold first."""
    models = [package.models[name] for name in package.reached]
    found = [model for model in models if model.is_answered and "enum" not in model.schema]
    return render("factories.py", package=package, models=found, called=_called, example=_example)


def _called(model: str) -> str:
    return identifier(snake(model), FIELDS)


def _example(package: Package, part: Part, schema: Schema) -> str:
    """A value of a field; `...` leaves out a secret that most answers do not hold."""
    bare, _ = split_null(schema)
    if not part.required and bare.get("format") == "password":
        return "..."
    names = refs(bare)
    known = package.schemas[names[0]] if "$ref" in bare else bare
    if "properties" in known or "oneOf" in bare:
        return _called(names[0])
    words = [one["const"] for one in [known, *known.get("anyOf", ())] if "const" in one] or known.get("enum")
    if words:
        return literal(words[0]) if isinstance(words[0], str) else repr(words[0])
    kind = known.get("type", "string" if "anyOf" in known else "null")
    if kind == "array":
        return f"[{_example(package, part, known['items'])}]"
    if kind == "integer" and part.key == "port":
        return "5432"
    return _VALUES.get(kind) or literal(_text(part.owner, part.key, known.get("format")))


def _text(owner: str, key: str, form: str | None) -> str:
    if form in _FORMATS:
        return _FORMATS[form]
    if key == "id":
        return f"{snake(owner).removeprefix('created_').removeprefix('minted_')}_1"
    if key.endswith("Id"):
        return f"{snake(key.removesuffix('Id'))}_1"
    return _TEXTS.get(key, snake(key))

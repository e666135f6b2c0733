"""What a schema allows: a check that names what is wrong, for the part of JSON Schema that the descriptions use."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple, TypeGuard
from urllib.parse import urlsplit

Schema = Mapping[str, Any]

_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "string": (str, "a string"),
    "integer": (int, "a whole number"),
    "number": ((int, float), "a number"),
    "boolean": (bool, "true or false"),
    "array": (list, "a list"),
    "object": (dict, "an object"),
    "null": (type(None), "null"),
}


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


class Problem(NamedTuple):
    message: str
    hint: str | None = None


class Schemas:
    """The schemas of one description; a `$ref` leads to another of them."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def resolve(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._definitions[schema["$ref"].rpartition("/")[2]]
        return schema

    def members(self, schema: Schema) -> list[Schema]:
        """The schemas of which one has to fit; most schemas have no such choice."""
        return list(schema.get("anyOf") or schema.get("oneOf") or ())

    def tells_secret(self, schema: Schema) -> bool:
        """Tell if whatever fits has a secret in it."""
        schema = self.resolve(schema)
        known: Mapping[str, Schema] = schema.get("properties", {})
        inner = [known[key] for key in schema.get("required", ())] or self.members(schema)
        inner = [schema["items"]] if "items" in schema else inner
        return schema.get("format") == "password" or any(map(self.tells_secret, inner))

    def fits(self, schema: Schema, value: object) -> bool:
        return next(self.problems(schema, value, "it"), None) is None

    def problems(self, schema: Schema, value: Any, where: str, *, closed: bool = False) -> Iterator[Problem]:
        """Say what is wrong with a value; `closed` refuses fields that the schema does not name."""
        schema = self.resolve(schema)
        if self.members(schema):
            yield from self._choice(schema, value, where, closed)
            return
        wrong = _wrong(schema, value, where)
        if wrong is not None:
            yield wrong
        elif is_list(value) and "items" in schema:
            for index, item in enumerate(value):
                yield from self.problems(schema["items"], item, f"{where}[{index}]", closed=closed)
        elif is_object(value):
            yield from self._fields(schema, value, where, closed)

    def _fields(self, schema: Schema, value: dict[str, Any], where: str, closed: bool) -> Iterator[Problem]:
        known: Mapping[str, Schema] = schema.get("properties", {})
        others: Any = schema.get("additionalProperties")
        prefix = f"{where}." if where else ""
        for key in schema.get("required", ()):
            if key not in value:
                yield Problem(f"{prefix}{key} is required.")
        for key, item in value.items():
            if key in known:
                yield from self.problems(known[key], item, prefix + key, closed=closed)
            elif is_object(others):
                yield from self.problems(others, item, prefix + key, closed=closed)
            elif closed and "properties" in schema:
                yield Problem(f"{prefix}{key[:80]} is not a field of this request.", _listed("The fields are", known))

    def _choice(self, schema: Schema, value: Any, where: str, closed: bool) -> Iterator[Problem]:
        members = [self.resolve(one) for one in self.members(schema)]
        if any(next(self.problems(one, value, where, closed=closed), None) is None for one in members):
            return
        tag = schema.get("discriminator", {}).get("propertyName")
        if tag is not None and is_object(value):
            named = {one["properties"][tag].get("const"): one for one in members}
            chosen = named.get(value[tag]) if isinstance(value.get(tag), str) else None
            if chosen is None:
                yield Problem(f"{where}.{tag} is missing or not known.", _listed("Use one of", named))
                return
            members = [chosen]
        yield from self.problems(members[0], value, where, closed=closed)


def _wrong(schema: Schema, value: Any, where: str) -> Problem | None:
    """What is wrong with the value itself, whatever it may hold."""
    types = schema.get("type", ())
    types = (types,) if isinstance(types, str) else types
    if types and not any(_is(value, one) for one in types):
        return Problem(f"{where or 'The body'} must be {' or '.join(_TYPES[one][1] for one in types)}.")
    if value is None:
        return None
    if "const" in schema and value != schema["const"]:
        return Problem(f"{where} must be {schema['const']!r}.")
    if "enum" in schema and value not in schema["enum"]:
        return Problem(f"{where} is not known.", _listed("Use one of", schema["enum"]))
    if isinstance(value, str) and not _is_format(schema.get("format"), value):
        return Problem(f"{where} is no {schema['format']}.")
    return None


def _is(value: object, name: str) -> bool:
    return isinstance(value, _TYPES[name][0]) and (name == "boolean" or not isinstance(value, bool))


_FORMATS: dict[str, Callable[[str], object]] = {
    "date-time": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uri": lambda text: urlsplit(text).scheme,
    "email": lambda text: "@" in text,
}


def _is_format(name: str | None, value: str) -> bool:
    try:
        return name not in _FORMATS or bool(_FORMATS[name](value))
    except ValueError:
        return False


def _listed(words: str, names: Any) -> str:
    return f"{words}: {', '.join(map(str, names))}."

"""What an API's committed description says: its operations, and the schemas of what they take and answer."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any, NamedTuple, TypeGuard
from urllib.parse import urlsplit

from prisma_mgmt.spec import load

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
_FORMATS: dict[str, Callable[[str], object]] = {
    "date-time": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uri": lambda text: urlsplit(text).scheme,
    "email": lambda text: "@" in text,
}


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


class Problem(NamedTuple):
    message: str
    hint: str | None = None


class Schemas:
    """The schemas of one description, in the part of JSON Schema that ours use; a `$ref` leads to another of them."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def resolve(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._definitions[schema["$ref"].rpartition("/")[2]]
        return schema

    def members(self, schema: Schema) -> list[Schema]:
        """The schemas of which one has to fit; most schemas have no such choice."""
        return [self.resolve(one) for one in schema.get("anyOf") or schema.get("oneOf") or ()]

    def member(self, schema: Schema, value: Any, *, closed: bool = False) -> Schema | None:
        """The member of a choice that a value fits, or is meant for by the member's constants."""
        members = self.members(schema)
        fitting = [one for one in members if not any(self.problems(one, value, "it", closed=closed))]
        return next(iter(fitting or [one for one in members if _is_meant(one, value)]), None)

    def tells_secret(self, schema: Schema) -> bool:
        """Tell if whatever fits has a secret in it."""
        schema = self.resolve(schema)
        known: Mapping[str, Schema] = schema.get("properties", {})
        inner = [known[key] for key in schema.get("required", ())] or self.members(schema)
        inner = [schema["items"]] if "items" in schema else inner
        return schema.get("format") == "password" or any(map(self.tells_secret, inner))

    def fits(self, schema: Schema, value: object) -> bool:
        return not any(self.problems(schema, value, "it"))

    def problems(self, schema: Schema, value: Any, where: str, *, closed: bool = False) -> Iterator[Problem]:
        """Say what is wrong with a value; `closed` refuses fields that the schema does not name."""
        schema = self.resolve(schema)
        members = self.members(schema)
        if members:
            member = self.member(schema, value, closed=closed)
            tag = schema.get("discriminator", {}).get("propertyName")
            if member is None and tag is not None and is_object(value):
                known = [one["properties"][tag]["const"] for one in members]
                yield Problem(f"{where}.{tag} is missing or not known.", _listed("Use one of", known))
            else:
                yield from self.problems(member or members[0], value, where, closed=closed)
            return
        yield from _wrong(schema, value, where)
        if is_list(value) and "items" in schema:
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
            inner = known.get(key, others)
            if is_object(inner):
                yield from self.problems(inner, item, prefix + key, closed=closed)
            elif closed and "properties" in schema:
                yield Problem(f"{prefix}{key[:80]} is not a field of this request.", _listed("The fields are", known))


def _is_meant(schema: Schema, value: Any) -> bool:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    constants = {key: one["const"] for key, one in properties.items() if "const" in one}
    return bool(properties) and is_object(value) and constants.items() <= value.items()


def _wrong(schema: Schema, value: Any, where: str) -> Iterator[Problem]:
    """What is wrong with the value itself, whatever it may hold."""
    types = schema.get("type", ())
    types = (types,) if isinstance(types, str) else types
    if types and not any(_is(value, one) for one in types):
        yield Problem(f"{where or 'The body'} must be {' or '.join(_TYPES[one][1] for one in types)}.")
    elif value is not None and value != schema.get("const", value):
        yield Problem(f"{where} must be {schema['const']!r}.")
    elif value is not None and value not in schema.get("enum", [value]):
        yield Problem(f"{where} is not known.", _listed("Use one of", schema["enum"]))
    elif isinstance(value, str) and not _is_format(schema.get("format"), value):
        yield Problem(f"{where} is no {schema['format']}.")


def _is(value: object, name: str) -> bool:
    return isinstance(value, _TYPES[name][0]) and (name == "boolean" or not isinstance(value, bool))


def _is_format(name: str | None, value: str) -> bool:
    try:
        return name not in _FORMATS or bool(_FORMATS[name](value))
    except ValueError:
        return False


def _listed(words: str, names: Collection[object]) -> str:
    return f"{words}: {', '.join(map(str, names))}."


# Operations


class Operation:
    """What the description says of one method of one path."""

    def __init__(self, description: "Description", method: str, path: str, raw: Mapping[str, Any]) -> None:
        self.description: Description = description
        self.method: str = method
        self.raw: Mapping[str, Any] = raw
        self.template: str = path if path.startswith("/v1/") else f"/v1{path}"
        self.segments: list[str] = self.template.split("/")[1:]
        # The name that code of its own is found by; a deprecated operation has that of its successor.
        self.id: str = raw.get("x-replaced-by") or raw["operationId"]
        # The path parameters that name things, outermost first, each with the kind of what it names.
        self.lookups: list[tuple[str, str]] = [
            (name[1:-1], kind_of(before))
            for before, name in zip(self.segments, self.segments[1:], strict=False)
            if name == "{id}" or (name.endswith("Id}") and not before.startswith("{"))
        ]
        # The schema of all that stands in the path, the query or the header.
        self.parameters: dict[str, Schema] = {it: _parameters(raw, it) for it in ("path", "query", "header")}
        # The schema of the body, an empty one if anything goes; None if it takes no body.
        content = raw.get("requestBody", {}).get("content")
        self.body: Schema | None = None if content is None else content["application/json"].get("schema", {})
        # The schema of every success by its status, 201 before 200, 200 before 101; None if it has no body.
        self.answers: dict[int, Schema | None] = {
            int(status): next((one.get("schema", {}) for one in answer.get("content", {}).values()), None)
            for status, answer in sorted(raw["responses"].items(), reverse=True)
        }
        # The statuses of its errors, and that for a request that does not fit the description.
        self.errors: Sequence[int] = raw["x-errors"]
        self.refusal: int = 400 if 400 in self.errors and 422 not in self.errors else 422
        # The kind of thing that the path ends with: one of them, or else a collection or something to do.
        self.kind: str = self.lookups[-1][1] if self.segments[-1].startswith("{") else kind_of(self.segments[-1])
        # If it lists the things of a kind, and if it makes one.
        name = raw["operationId"].rpartition(".")[2]
        self.lists: bool = name.startswith("list")
        self.creates: bool = name.startswith("create") or 201 in self.answers


class Description:
    """One API: its schemas, and its operations."""

    def __init__(self, api: str, spec: Mapping[str, Any]) -> None:
        self.api = api
        self.schemas: Schemas = Schemas(spec["components"]["schemas"])
        self.operations: list[Operation] = [
            Operation(self, method.upper(), path, raw)
            for path, methods in spec["paths"].items()
            for method, raw in methods.items()
        ]
        self.kinds: set[str] = {kind for operation in self.operations for _, kind in operation.lookups}


def _parameters(raw: Mapping[str, Any], place: str) -> Schema:
    found = [one for one in raw["parameters"] if one["in"] == place]
    required = [one["name"] for one in found if one["required"]]
    return {"type": "object", "properties": {one["name"]: one["schema"] for one in found}, "required": required}


def kind_of(collection: str) -> str:
    """The kind of thing that a collection of a path lists; apps are services by their former name."""
    return "services" if collection == "apps" else collection


def plural(word: str) -> str:
    """The kind that a key such as `branchId` speaks of, given `branch`."""
    if word.endswith("y"):
        return word[:-1] + "ies"
    return kind_of(word + ("es" if word.endswith(("ch", "s", "x")) else "s"))


@cache
def describe(api: str) -> Description:
    """The description of an API, read once in a process."""
    return Description(api, load(api))

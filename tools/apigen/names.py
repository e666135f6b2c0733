"""The names of routes, models, enumerations and keywords: those that names.toml lists, and defaults for the others."""

import keyword
import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

VERBS = ("list", "create", "get", "update", "replace", "delete")
_HTTP = {"GET": "list", "POST": "create", "PUT": "replace", "PATCH": "update", "DELETE": "delete"}
_TAKEN = {"self", "query", "body", "route", "path", "str", "int", "float", "bool", "dict", "list", "datetime"}


class DocumentError(ValueError):
    """Something in a document that the generator cannot handle, with its JSON pointer."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer}: {message}")


class Names:
    """What names.toml says about one API."""

    def __init__(self, table: dict[str, Any], api: str) -> None:
        own = table.get(api, {})
        self.client: str = own.get("client", pascal(api) + "Client")
        self.replaced: dict[str, str] = own.get("replaced", {})
        self.operations: dict[str, str] = own.get("operations", {})
        self._shapes: dict[str, dict[str, str]] = {"model": own.get("models", {}), "enum": own.get("enums", {})}
        self._parameters: dict[str, str] = table.get("parameters", {})
        self._integers: str = table.get("integers", "$^")
        self._secrets = set(table.get("secrets", ()))

    def operation(self, route: str) -> tuple[str, str, str | None]:
        """The resource and the method of a route, and the model of its answer where the table names one."""
        name, _, model = self.operations.get(route, default_operation(route)).partition(" ")
        resource, _, method = name.partition(".")
        return resource, method, model or None

    def given(self, kind: str, owner: str, field: str, tag: str | None) -> str | None:
        """The name that the table gives to a shape in a field; `tag` is the constant `type` of the shape."""
        tagged = [f"{owner}.{field}.{tag}", f"{owner}.{tag}", f"{field}.{tag}"] if tag else []
        keys = [*tagged, f"{owner}.{field}", field]
        return next((self._shapes[kind][key] for key in keys if key in self._shapes[kind]), None)

    def keyword(self, parameter: str, path: str) -> str | None:
        """The keyword of a parameter, where it is not plainly its name in snake_case."""
        if parameter == "id" and "/{id}" in path:
            return singular(snake(path.partition("/{id}")[0].rpartition("/")[2])) + "_id"
        return self._parameters.get(parameter)

    def is_integer(self, field: str) -> bool:
        return re.search(self._integers, field) is not None

    def is_secret(self, owner: str, field: str) -> bool:
        return not self._secrets.isdisjoint((field, f"{owner}.{field}"))


def load(api: str) -> Names:
    return Names(tomllib.loads(Path(__file__).with_name("names.toml").read_text("utf-8")), api)


def default_operation(route: str) -> str:
    """`GET /v1/things/{id}/parts` is `things.list_parts`; a plural at the end is a collection, else an action."""
    http, _, path = route.partition(" ")
    segments = [segment for segment in path.strip("/").split("/") if not re.fullmatch(r"v\d+", segment)]
    nouns = [snake(segment) for segment in segments if not segment.startswith("{")] or ["root"]
    last, verb = nouns[-1], _HTTP[http]
    one = path.endswith("}") or verb in ("update", "replace", "delete")
    verb = "get" if one and verb == "list" else verb
    if len(nouns) == 1:
        return f"{nouns[0]}.{verb}"
    if not one and singular(last) == last:
        return f"{nouns[0]}.{identifier(last)}"
    return f"{nouns[0]}.{verb}_{last if verb == 'list' else singular(last)}"


def default_model(resource: str, method: str) -> str:
    """`things.list` and `things.get` answer `Thing`, `things.list_parts` a `Part`, `things.spin` a `ThingSpin`."""
    verb, _, noun = method.partition("_")
    thing = pascal(singular(resource))
    return thing + pascal(method) if verb not in VERBS else pascal(singular(noun)) if noun else thing


def default_summary(resource: str, method: str) -> str:
    verb, _, noun = method.partition("_")
    return f"{verb} {noun or (resource if verb == 'list' else singular(resource))}.".replace("_", " ").capitalize()


def snake(name: str) -> str:
    return re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)).strip("_").lower()


def pascal(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in snake(name).split("_"))


def camel(name: str) -> str:
    """The JSON key that the core gives to a Python name."""
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def singular(noun: str) -> str:
    for ending, instead in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("xes", "x")):
        if noun.endswith(ending):
            return noun.removesuffix(ending) + instead
    return noun[:-1] if noun.endswith("s") and not noun.endswith(("ss", "us", "is")) else noun


def identifier(name: str) -> str:
    """A Python name for a field or a parameter."""
    word = snake(name)
    return word + "_" if keyword.iskeyword(word) or word in _TAKEN else word


def clash(names: Iterable[str]) -> str | None:
    """The first name that comes twice."""
    return next((name for name, count in Counter(names).items() if count > 1), None)

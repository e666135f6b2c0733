"""The names of routes, models, enumerations and keywords: those that names.toml lists, and defaults for the others."""

import keyword
import re
import tomllib
from pathlib import Path
from typing import Any

VERBS = ("list", "create", "get", "update", "replace", "delete")
_HTTP = {"GET": "list", "POST": "create", "PUT": "replace", "PATCH": "update", "DELETE": "delete"}
_TAKEN = {"self", "query", "body", "route", "path", "choice", "str", "int", "float", "bool", "dict", "list", "datetime"}
_ENDS = {"ies": "y", "ches": "ch", "shes": "sh", "sses": "ss", "xes": "x", "ss": "ss", "us": "us", "is": "is", "s": ""}


class DocumentError(ValueError):
    """Something in a document that the generator cannot handle, after its JSON pointer."""


class Names:
    """What names.toml says about one API."""

    def __init__(self, table: dict[str, Any], api: str) -> None:
        self._own: dict[str, Any] = table.get(api, {})
        self.client: str = self._own.get("client", pascal(api) + "Client")
        self.replaced: dict[str, str] = self._own.get("replaced", {})
        self.operations: dict[str, str] = self._own.get("operations", {})
        self.integers: str = table.get("integers", "$^")
        self.secrets = set(table.get("secrets", ()))
        self.parameters: dict[str, str] = table.get("parameters", {})

    def operation(self, route: str) -> tuple[str, str, str | None]:
        """The resource and the method of a route, and the model of its answer where the table names one."""
        name, _, model = self.operations.get(route, default_operation(route)).partition(" ")
        resource, _, method = name.partition(".")
        return resource, method, model or None

    def given(self, kind: str, owner: str, field: str, tag: str | None) -> str | None:
        """The name that the table gives to a shape in a field; `tag` is the constant `type` of the shape."""
        names: dict[str, str] = self._own.get(kind, {})
        tagged = [f"{owner}.{field}.{tag}", f"{owner}.{tag}", f"{field}.{tag}"] if tag else []
        return next((names[key] for key in [*tagged, f"{owner}.{field}", field] if key in names), None)

    def keyword(self, parameter: str, path: str) -> str | None:
        """The keyword of a parameter, where it is not plainly its name in snake_case."""
        if parameter == "id" and "/{id}" in path:
            return singular(snake(path.partition("/{id}")[0].rpartition("/")[2])) + "_id"
        return self.parameters.get(parameter)


def load(api: str) -> Names:
    return Names(tomllib.loads(Path(__file__).with_name("names.toml").read_text("utf-8")), api)


def default_operation(route: str) -> str:
    """`GET /v1/things/{id}/parts` is `things.list_parts`; a plural at the end is a collection, else an action."""
    http, _, path = route.partition(" ")
    nouns = [snake(step) for step in path.split("/") if not re.fullmatch(r"v\d+|{.*}|", step)] or ["root"]
    last, verb = nouns[-1], _HTTP[http]
    one = path.endswith("}") or verb in ("update", "replace", "delete")
    if len(nouns) > 1 and not one and singular(last) == last:
        return f"{nouns[0]}.{identifier(last)}"
    noun = last if verb == "list" and not one else singular(last)
    return f"{nouns[0]}.{'get' if verb == 'list' and one else verb}" + (f"_{noun}" if len(nouns) > 1 else "")


def default_model(resource: str, method: str) -> str:
    """`things.list` and `things.get` answer `Thing`, `things.list_parts` a `Part`, `things.spin` a `ThingSpin`."""
    verb, _, noun = method.partition("_")
    thing = pascal(singular(resource))
    return thing + pascal(method) if verb not in VERBS else pascal(singular(noun)) if noun else thing


def default_summary(resource: str, method: str) -> str:
    verb, _, noun = method.partition("_")
    return sentence(f"{verb} {noun or (resource if verb == 'list' else singular(resource))}")


def sentence(name: str) -> str:
    return name.replace("_", " ").capitalize() + "."


def snake(name: str) -> str:
    return re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)).strip("_").lower()


def pascal(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in snake(name).split("_"))


def camel(name: str) -> str:
    """The JSON key that the core gives to a Python name."""
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def singular(noun: str) -> str:
    return next((noun.removesuffix(many) + one for many, one in _ENDS.items() if noun.endswith(many)), noun)


def identifier(name: str) -> str:
    """A Python name for a field or a parameter."""
    word = snake(name)
    return word + "_" if keyword.iskeyword(word) or word in _TAKEN else word

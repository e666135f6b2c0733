"""The names of routes, models, enumerations and keywords: those that names.toml lists, and defaults for the others."""

import keyword
import re
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prisma_mgmt.core import resource as core
from prisma_mgmt.core.client import BaseClient

VERBS = ("list", "create", "get", "update", "replace", "delete", "check")
_HTTP = {"get": "get", "post": "create", "put": "replace", "patch": "update", "delete": "delete", "head": "check"}
_OTHER = {"create": "Created{}", "update": "Updated{}", "replace": "Replaced{}", "list": "{}Summary", "get": "{}Detail"}
_BUILTINS = {"str", "int", "float", "bool", "dict", "list", "datetime", "self"}
FIELDS = _BUILTINS | {"field", "to_dict", "to_json", "from_dict"}  # what no field of a model may be called
_CORE: set[str] = {*vars(core)["__all__"]}  # what methods and models use of the core
# What no keyword may be called, since methods use it themselves.
KEYWORDS = _BUILTINS | {"query", "body", "route", "headers", "cast", "builtins", "missing_ok", *_CORE}
# Names that a generated module imports, and those that Python has.
IMPORTED = {"BaseClient", "Literal", "Mapping", "Sequence", "TypeAlias", "True", "False", "None", *_CORE}
_MODULES = {"models", "shared", *dir(BaseClient)}
_ENDS = {"ies": "y", "ches": "ch", "shes": "sh", "sses": "ss", "xes": "x", "ss": "ss", "us": "us", "is": "is", "s": ""}
_RULES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("names.toml").read_text("utf-8"))


class Names:
    """What names.toml says about one API; `used` are its lines that a document has needed."""

    def __init__(self, table: dict[str, Any], api: str) -> None:
        parts: dict[str, Any] = {"operations": {}, "models": {}, "enums": {}, "errors": {}, "replaced": {}}
        self.own: dict[str, Any] = {"tokenless": [], **parts, **table.get(api, {})}
        self.api, self.client = api, str(self.own.get("client", pascal(api) + "Client"))
        self.integers, self.dates = (str(table.get(rule, "(?!)")) for rule in ("integers", "dates"))
        self.secrets, self.public, self.twice = (set(table.get(rule, ())) for rule in ("secrets", "public", "twice"))
        self.parameters: dict[str, str] = table.get("parameters", {})
        self.used: set[str] = set()

    def unused(self) -> list[str]:
        """What is told of the lines that name what is not there."""
        vain = {key for part in ("operations", "models", "enums") for key in self.own[part]} - self.used
        return [f'names.toml: "{key}" of [{self.api}] matches nothing' for key in sorted(vain)]

    def operation(self, route: str) -> tuple[str, str | None]:
        """The name of an operation that the table lists, else nothing; and of the model of its answer."""
        listed = next((key for key in self.own["operations"] if template(key) == template(route)), "")
        name, _, model = (self.given("operations", [listed]) or "").partition(" ")
        return name, model or None

    def given(self, kind: str, keys: list[str]) -> str | None:
        """The name that the table gives to a shape under the first of these keys that it has."""
        table: dict[str, str] = self.own[kind]
        key = next((key for key in keys if key in table), "")
        self.used.add(key)
        return table.get(key)

    def is_secret(self, owner: str, field: str, form: str | None) -> bool:
        """Return True if a string is to be masked: by the table, its format, or its name."""
        keys, word = {field, f"{owner}.{field}"}, snake(field)
        if keys & self.public or re.search(_RULES["not_secret"], word):
            return False
        opens = word in ("value", "key") and re.search(_RULES["opening"], snake(owner))
        return bool(opens or keys & self.secrets or form == "password" or re.search(_RULES["secret"], word))

    def keyword(self, parameter: str, path: str) -> str:
        """The keyword of a parameter: `id` is called after what stands before it in the path."""
        if parameter == "id" and "/{id}" in path:
            return singular(identifier(path.partition("/{id}")[0].rpartition("/")[2])) + "_id"
        return self.parameters.get(parameter) or identifier(parameter, KEYWORDS)


def load(api: str) -> Names:
    return Names(_RULES, api)


def template(route: str) -> str:
    """A route whose parameters have no names: that they are renamed is no change."""
    return re.sub(r"{.*?}", "{}", route)


def default_operations(http: str, path: str, many: bool, *, log: bool = False) -> Iterator[tuple[str, str]]:
    """Resource and method, in the order of preference; `many` says that the answer is a list.

    `GET /v1/things/{id}/parts` is `things.list_parts`; a plural at the end of a path is a collection, else an action.
    """
    steps = [step for step in re.split(r"[/:]", path) if not re.fullmatch(r"v\d+|", step)]
    nouns = [identifier(step) for step in steps if "{" not in step] or ["root"]
    resource, inner, verb = nouns[0], nouns[1:], "list" if http == "get" and many else _HTTP[http]
    resource += "_api" if pascal(resource) in IMPORTED else "_" if resource in _MODULES else ""
    last, ends_in_id = nouns[-1], bool(steps) and "{" in steps[-1]
    action = singular(last) == last and (http == "post" or (http == "get" and not many))
    if inner and not ends_in_id and (action or log):
        names = [last] if len(inner) == 1 else []
        names += [f"{last}_{singular(nouns[-2])}", f"{'_'.join(inner[:-1])}_{last}"]
        yield from ((resource, identifier(name, _BUILTINS | set(VERBS))) for name in names)
        return
    one = last if verb in ("list", "get") and not ends_in_id else singular(last)
    if not inner:
        yield resource, verb
    for start in reversed(range(len(nouns))):
        yield resource, "_".join([verb, *map(singular, nouns[start:-1]), one])


def default_models(resource: str, method: str, secret: bool) -> Iterator[str]:
    """`things.get` and `things.list` answer a `Thing`; if that is another model, a `ThingDetail` and `ThingSummary`."""
    verb, _, noun = method.partition("_")
    owner, thing = pascal(singular(resource)), pascal(singular(noun or resource))
    if verb in VERBS:
        yield f"Created{thing}" if verb == "create" and secret else thing
        yield from [owner + thing] if noun else []
        yield _OTHER.get(verb, "{}").format(thing)
    else:
        yield owner + pascal(singular(method))
    yield owner + pascal(method)


def default_summary(resource: str, method: str) -> str:
    verb, _, noun = method.partition("_")
    return sentence(f"{verb} {noun or (resource if verb == 'list' else singular(resource))}")


def sentence(name: str) -> str:
    return name.replace("_", " ").strip().capitalize() + "."


def snake(name: str) -> str:
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"\W+|_+", "_", parted).strip("_").lower()


def pascal(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in identifier(name).strip("_").split("_"))


def camel(name: str) -> str:
    """The JSON key that the core gives to a Python name."""
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def singular(noun: str) -> str:
    return next((noun.removesuffix(many) + one for many, one in _ENDS.items() if noun.endswith(many)), noun)


def identifier(name: str, taken: frozenset[str] | set[str] = frozenset()) -> str:
    """A Python name for a field or a parameter: `x` if there are no letters that it could be made of."""
    word = snake(unicodedata.normalize("NFKC", name))
    word = next(filter(str.isidentifier, (word, f"x_{word}".rstrip("_"), "x")))
    return word + "_" if keyword.iskeyword(word) or word in taken else word

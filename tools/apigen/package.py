"""A description as the modules of a Python package, and the templates that these are made of; ruff lays them out."""

import copy
import json
import re
from graphlib import CycleError, TopologicalSorter
from inspect import getfullargspec
from textwrap import fill
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from prisma_mgmt.core.resource import Resource
from tools.apigen import names, schemas
from tools.apigen.description import LINES, Operation, Part, fields, operations
from tools.apigen.names import FIELDS, VERBS, identifier, singular, snake
from tools.apigen.schemas import Schema, python_type, reach, refs, without

_WIDTH = 108  # of words, and of routes
_CALL = 116  # of a statement
_TEMPLATES = Environment(
    loader=PackageLoader("tools.apigen"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def render(name: str, **values: Any) -> str:
    shared = {"search": re.search, "statements": statements, "width": _WIDTH}
    return _TEMPLATES.get_template(f"{name}.jinja").render(values, **shared)


def docstring(paragraphs: list[str]) -> str:
    """Paragraphs, wrapped but for those that have line breaks of their own."""
    text = "\n\n".join(one if "\n" in one else fill(one.strip(), _WIDTH) for one in paragraphs if one)
    text = re.sub(r'"(?="")|"$', r'\\"', text.replace("\\", "\\\\"))
    return f'"""{text}\n"""' if "\n" in text else f'"""{text}"""'


def statements(verb: str, first: list[str], result: str, given: dict[str, str]) -> list[str]:
    """What is too long to stand in a call, the longest first; and the call: a verb, and what it takes and is given."""
    by_position, lines = {"route", *getfullargspec(getattr(Resource, verb)).args}, list[str]()

    def call() -> str:
        told = [text if key in by_position else f"{key}={text}" for key, text in given.items() if text]
        start = "" if result == "None" else "return "
        wait = "" if result.startswith(("Pager[", "LogStream[")) else "await "
        return f"{start}{wait}self.{verb}({', '.join([*first, *told])})"

    for name in sorted(("route", "body", "query", "headers"), key=lambda name: -len(given[name])):
        if len(call()) > _CALL and given[name].endswith(("}", ")")):
            lines.append(f"{name} = {given[name]}")
            given |= {name: name}
    return [*lines, call()]


def factory(model: str) -> str:
    """What its factory is called."""
    return identifier(snake(model), FIELDS)


_TEMPLATES.filters.update(vars(names) | vars(schemas) | {one.__name__: one for one in (docstring, factory, repr)})


class Package:
    """The package of an API: its client, and a module for each resource with the models that it answers."""

    def __init__(self, description: Schema, api: str, client: str) -> None:
        self.api, self.client, self.info = api, client, description["info"]
        self.url: str = description["servers"][0]["url"]
        self.notes: dict[str, str] = {tag["name"]: tag["description"] for tag in description["tags"]}
        found = operations(description)
        self.operations = sorted(found, key=lambda one: (one.resource, [*VERBS, one.method].index(one.method)))
        self.methods = {one.name for one in self.operations}
        self.schemas: dict[str, Schema] = copy.deepcopy(description["components"]["schemas"])
        self._add_extras()
        self.answers = {name for one in self.operations for name in _answered(one)}
        self.uses: dict[str, set[str]] = {resource: set() for resource in self.notes}
        for one in self.operations:
            self.uses[one.resource].update(_answered(one), refs(one.raw["parameters"]), refs(one.body))
        self.answered = reach(self.answers, self.schemas)
        self.given = reach(refs([one.body for one in self.operations]), self.schemas)
        unions = re.findall(r'"oneOf": (\[.*?\])', json.dumps(description))
        self.members = {name for union in unions for name in refs(json.loads(union))}
        used = reach(set[str]().union(*self.uses.values()), self.schemas)
        reached = {name: refs(self.schemas[name]) for name in sorted(used)}
        in_order = TopologicalSorter(reached).static_order()  # each after those that it holds
        self.models = sorted(in_order, key=lambda name: "enum" not in self.schemas[name])  # and enumerations first
        self._settle(set())

    def _add_extras(self) -> None:
        """Make fields of a model of what stands beside `data`; beside a list it becomes extras of a page."""
        for one in self.operations:
            data, beside = one.envelope.get("data", {}), without(one.envelope, "data")
            if "$ref" in data and beside:
                fields = self.schemas[refs(data)[0]]["properties"]
                fields |= {key: value for key, value in beside.items() if key not in fields}

    def _settle(self, shared: set[str]) -> None:
        """Place answers with the resource they are named after, parts with their only user; share the others."""
        self.home: dict[str, str] = {}
        for name in reversed(self.models):
            named = [one for one in self.uses if f"_{singular(one)}_" in f"_{snake(name)}_" and name in self.answers]
            users = {one for one, names in self.uses.items() if name in names}
            users |= {home for owner, home in self.home.items() if name in refs(self.schemas[owner])}
            home = max(named, key=len) if named else users.pop() if len(users) == 1 else "shared"
            self.home[name] = "shared" if name in shared else home
        graph = {module: dict(self.imports(module)) for module in [*self.uses, "shared"]}
        try:
            TopologicalSorter({module: needs.values() for module, needs in graph.items()}).prepare()
        except CycleError as error:
            cycle = error.args[1]  # of modules that would import each other: share what they would
            self._settle(shared | {name for one in cycle for name, home in graph[one].items() if home in cycle})

    def known(self, schema: Schema) -> Schema:
        """What a schema refers to, or itself."""
        return self.schemas[refs(schema)[0]] if "$ref" in schema else schema

    def fields(self, model: str) -> list[tuple[int, Part, str, str]]:
        """The fields of a model, each after its place in it, with its type and its default."""
        return [self._field(part) for part in fields(model, "", self.schemas[model])]

    def _field(self, part: Part) -> tuple[int, Part, str, str]:
        """First come those that are always there, then those that may be missing, then the tag of a union's member."""
        kind, is_given = python_type(part.bare), part.owner in self.given
        may_go = part.nullable or kind == "None" or "deprecated" in part.bare  # one day, where we only read it
        if part.key == "type" and part.owner in self.members and "const" in part.bare:
            return 2, part, f"Literal[{part.bare['const']!r}]", repr(part.bare["const"])
        if part.required and (is_given or not may_go):
            return 0, part, python_type(part.schema), ""
        if is_given and part.nullable:
            return 1, part, f"{kind} | Unset | None", "UNSET"
        return 1, part, kind if kind == "None" else f"{kind} | None", "None"

    def imports(self, module: str) -> list[tuple[str, str]]:
        """The models of other modules that a module needs, with their homes."""
        held = refs([self.schemas[name] for name, home in self.home.items() if home == module])
        needs = self.uses.get(module, set()).union(held)
        return sorted((name, self.home[name]) for name in needs if self.home[name] != module)

    def verb(self, one: Operation) -> tuple[str, list[str], str]:
        """The verb of the core that a method calls, what it takes first, and the annotation of what comes of it."""
        http, data, is_plain = one.http.upper(), one.data, one.body is None
        if data is None:
            return ("_delete", [], "None") if http == "DELETE" and is_plain else ("_send", [f'"{http}"'], "None")
        if one.answer[0] == LINES:
            return "_stream", refs(data), f"LogStream[{', '.join(refs(data))}]"
        if data.get("type") == "array" and http == "GET" and is_plain:
            page = [key for name in refs(one.envelope.get("pagination")) for key in self.schemas[name]["properties"]]
            walks = "nextCursor" in page and any(part.key == "cursor" for part in one.at("query"))
            verb = "_pages" if walks else "_single_page" if page else "_list"
            return verb, [self._class(one, data["items"])], f"Pager[{self._type(one, data['items'])}]"
        result, first = self._type(one, data), self._class(one, data)
        is_usual = http in ("POST", "PUT", "PATCH") or (http == "GET" and is_plain)
        return (f"_{one.http}", [first], result) if is_usual else ("_request", [first, f'"{http}"'], result)

    def _type(self, one: Operation, schema: Schema) -> str:
        """The annotation of an answer; a method called `list` hides the type from the annotations of its class."""
        hidden = f"{one.resource}.list" in self.methods
        return re.sub(r"\blist\[", "builtins.list[", python_type(schema)) if hidden else python_type(schema)

    def _class(self, one: Operation, schema: Schema) -> str:
        """A type as an argument; what is no class, such as a union, is passed off as one."""
        text = self._type(one, schema)
        if "enum" in self.schemas.get(text, ()):
            return "str"
        is_class = " | " not in re.sub(r"\[.*\]", "", text)
        return "object" if text in ("JSON", "None") else text if is_class else f'cast("type[{text}]", {text})'

    def files(self) -> dict[str, str]:
        """By name; unused imports are the formatter's to remove."""
        shared = {"shared": "What several resources share."} if "shared" in self.home.values() else {}
        files = {name: render(name, package=self) for name in ("__init__.py", "models.py")}
        for module, note in {**self.notes, **shared}.items():
            files[f"{module}.py"] = render("module.py", package=self, module=module, note=note)
        return files


def _answered(one: Operation) -> list[str]:
    """The models of an answer; of a page, those of its items only."""
    data = one.envelope.get("data", {})
    return refs(data if data.get("type") == "array" else one.answer[1])

"""A description as the modules of a Python package, and the templates that these are made of; ruff lays them out."""

import copy
import json
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from textwrap import fill
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tools.apigen import names, schemas
from tools.apigen.code import Method, Model
from tools.apigen.description import Operation, operations
from tools.apigen.names import FIELDS, VERBS, identifier, singular, snake
from tools.apigen.schemas import Schema, refs, without

_WIDTH = 108  # of words
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(name: str, **values: Any) -> str:
    return _TEMPLATES.get_template(f"{name}.jinja").render(values)


def docstring(text: str | list[str]) -> str:
    """Paragraphs, wrapped but for those that have line breaks of their own."""
    paragraphs = [text] if isinstance(text, str) else text
    text = "\n\n".join(one if "\n" in one else fill(one, _WIDTH) for one in paragraphs if one)
    text = text.replace("\\", "\\\\").replace('"""', '\\"""')
    return f'"""{text}\n"""' if "\n" in text else f'"""{text}"""'


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
        self.schemas: dict[str, Schema] = copy.deepcopy(description["components"]["schemas"])
        self._add_extras()
        self.answers = {name for one in self.operations for name in _answered(one)}
        self.uses: dict[str, set[str]] = {resource: set() for resource in self.notes}
        for one in self.operations:
            self.uses[one.resource].update(_answered(one), refs(one.raw["parameters"]), refs(one.body))
        answered, given = self._reach(self.answers), self._reach({*refs([one.body for one in self.operations])})
        unions = re.findall(r'"oneOf": (\[.*?\])', json.dumps(description))
        members = {name for union in unions for name in refs(json.loads(union))}
        reached = sorted(self._reach(set[str]().union(*self.uses.values())))
        self.models = {
            name: Model(name, self.schemas[name], name in given, name in members, name in answered)
            for name in TopologicalSorter({name: refs(self.schemas[name]) for name in reached}).static_order()
        }
        self.home: dict[str, str] = {}
        self._settle(set())

    def _add_extras(self) -> None:
        """Make fields of a model of what stands beside `data`; beside a list it becomes extras of a page."""
        for one in self.operations:
            data, beside = one.envelope.get("data", {}), without(one.envelope, "data")
            if "$ref" in data and beside:
                fields = self.schemas[refs(data)[0]]["properties"]
                fields |= {key: value for key, value in beside.items() if key not in fields}

    def _reach(self, names: set[str]) -> set[str]:
        """These models and all that they refer to."""
        new = {part for name in names for part in refs(self.schemas[name])} - names
        return self._reach(names | new) if new else names

    def _settle(self, shared: set[str]) -> None:
        """Place answers with the resource they are named after, parts with their only user; share the others."""
        self.home = {}
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

    def models_in(self, module: str) -> list[Model]:
        """The enumerations of a module, and its models, each after those it refers to."""
        found = [model for name, model in self.models.items() if self.home[name] == module]
        return sorted(found, key=lambda model: "enum" not in model.schema)

    def imports(self, module: str) -> list[tuple[str, str]]:
        """The models of other modules that a module needs, with their homes."""
        needs = self.uses.get(module, set()).union(refs([model.schema for model in self.models_in(module)]))
        return sorted((name, self.home[name]) for name in needs if self.home[name] != module)

    def methods_in(self, module: str) -> list[Method]:
        names = {one.name for one in self.operations}
        return [Method(one, self.schemas, names) for one in self.operations if one.resource == module]

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

"""Which module of a package each model stands in."""

import json
import re
from graphlib import CycleError, TopologicalSorter

from tools.apigen.merge import Schema
from tools.apigen.names import singular, snake
from tools.apigen.normalise import operations
from tools.apigen.types import refs

SHARED = "shared"


class Homes:
    """A resource's answers stand with it, parts of one module's models with those; what several use is shared."""

    def __init__(self, description: Schema) -> None:
        self.schemas: dict[str, Schema] = description["components"]["schemas"]
        self.uses: dict[str, list[str]] = {tag["name"]: [] for tag in description["tags"]}
        self.members = set(refs_of_unions(description))
        self.given: set[str] = set()  # models that callers fill in
        self.beside: dict[str, Schema] = {}  # what stands beside `data` in the answers of a model
        self._answers: set[str] = set()
        for *_, operation in operations(description):
            self._read(operation)
        reached = sorted(self._reach({name for names in self.uses.values() for name in names}))
        self._reached = list(TopologicalSorter({name: refs(self.schemas[name]) for name in reached}).static_order())
        self._home: dict[str, str] = {}
        self._settle(set())

    def _read(self, operation: Schema) -> None:
        """Note what an operation takes and gives; what stands beside a list is a Page's business."""
        schema = answer_schema(operation) or {}
        data = schema.get("properties", {}).get("data", {})
        answer = refs(data if data.get("type") == "array" else schema)
        body = refs(operation.get("requestBody"))
        self.uses[operation["tags"][0]] += [*answer, *body, *refs(operation["parameters"])]
        self.given |= self._reach(set(body))
        self._answers |= set(answer)
        if "$ref" in data:
            rest = {key: value for key, value in schema["properties"].items() if key != "data"}
            self.beside.setdefault(answer[0], {}).update(rest)

    def _reach(self, names: set[str]) -> set[str]:
        """These models and all that they refer to."""
        new = {part for name in names for part in refs(self.schemas[name])} - names
        return self._reach(names | new) if new else names

    def _settle(self, shared: set[str]) -> None:
        """Give every model its home; what would make two modules import each other is shared."""
        self._home = dict.fromkeys(shared, SHARED)
        for name in self._reached:
            self._home_of(name)
        graph = {module: self._needs(module) for module in [*self.uses, SHARED]}
        try:
            TopologicalSorter({one: {self._home[name] for name in graph[one]} - {one} for one in graph}).prepare()
        except CycleError as error:
            cycle = set(error.args[1])
            crossing = {name for one in cycle for name in graph[one] if self._home[name] in cycle - {one}}
            self._settle(shared | self._reach(crossing))

    def _needs(self, module: str) -> set[str]:
        own = [name for name, home in self._home.items() if home == module]
        return {*self.uses.get(module, ()), *(part for name in own for part in refs(self.schemas[name]))}

    def _home_of(self, name: str) -> str:
        """An answer's home is the resource it is named after, as `databases` is that of `CreatedDatabase`."""
        if name not in self._home:
            named = [one for one in self.uses if f"_{singular(one)}_" in f"_{snake(name)}_" and name in self._answers]
            users = {one for one, names in self.uses.items() if name in names}
            users |= {self._home_of(owner) for owner in self._reached if name in refs(self.schemas[owner])}
            self._home[name] = max(named, key=len) if named else users.pop() if len(users) == 1 else SHARED
        return self._home[name]

    def models_of(self, module: str) -> list[str]:
        """The models of a module, each after those it refers to."""
        return [name for name in self._reached if self._home[name] == module]

    def imports(self, module: str) -> list[tuple[str, str]]:
        """The models of other modules that a module needs, with their homes."""
        return sorted((name, self._home[name]) for name in self._needs(module) if self._home[name] != module)


def refs_of_unions(description: Schema) -> list[str]:
    """The members of unions, which hold nothing but references."""
    return [
        name for union in re.findall(r'"oneOf": (\[.*?\])', json.dumps(description)) for name in refs(json.loads(union))
    ]


def answer_schema(operation: Schema) -> Schema | None:
    """The schema of an operation's success; None where it has no body."""
    content = next(iter(operation["responses"].values())).get("content", {})
    return next(iter(content.values()))["schema"] if content else None

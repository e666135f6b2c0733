"""The operations of an API, as its committed description lists them, and how a path leads to one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from prisma_mgmt.sandbox.schema import Schema, Schemas
from prisma_mgmt.spec import load


@dataclass(frozen=True)
class Operation:
    api: str
    method: str
    template: str
    raw: Mapping[str, Any]  # as the description has it

    @property
    def id(self) -> str:
        """The name that code of its own is found by; a deprecated operation has that of its successor."""
        return str(self.raw.get("x-replaced-by") or self.raw["operationId"])

    @cached_property
    def segments(self) -> list[str]:
        return self.template.split("/")[1:]

    @cached_property
    def lookups(self) -> list[tuple[str, str]]:
        """The path parameters that name things, outermost first, each with the kind of what it names."""
        pairs = zip(self.segments, self.segments[1:], strict=False)
        return [
            (name[1:-1], kind_of(before))
            for before, name in pairs
            if name == "{id}" or (name.endswith("Id}") and not before.startswith("{"))
        ]

    @cached_property
    def kind(self) -> str:
        """The kind of thing that the path ends with."""
        return self.lookups[-1][1] if self.segments[-1].startswith("{") else kind_of(self.segments[-1])

    def parameters(self, place: str) -> Schema:
        """The schema of all that stands in the path, the query or the header."""
        found = [one for one in self.raw["parameters"] if one["in"] == place]
        required = [one["name"] for one in found if one["required"]]
        return {"type": "object", "properties": {one["name"]: one["schema"] for one in found}, "required": required}

    @cached_property
    def body(self) -> Schema | None:
        """The schema of the body, an empty one if anything goes; None if it takes no body."""
        content = self.raw.get("requestBody", {}).get("content")
        return None if content is None else content["application/json"].get("schema", {})

    @cached_property
    def answers(self) -> Mapping[int, Schema | None]:
        """The schema of every success by its status; None if it has no body."""
        found: dict[int, Schema | None] = {}
        for status, answer in self.raw["responses"].items():
            media = next(iter(answer.get("content", {}).values()), None)
            found[int(status)] = None if media is None else media.get("schema", {})
        return {status: found[status] for status in sorted(found, reverse=True)}  # 201 before 200, 200 before 101

    @property
    def is_open(self) -> bool:
        """Tell if it needs no token."""
        return self.raw.get("security") == []

    @property
    def errors(self) -> Sequence[int]:
        return list(self.raw["x-errors"])

    @property
    def refusal(self) -> int:
        """The status for a request that does not fit the description."""
        return 400 if 400 in self.errors and 422 not in self.errors else 422

    @property
    def newest_first(self) -> bool:
        return "newest first" in self.raw["summary"]


class Description:
    """One API: its schemas, its operations, and the tree of their paths."""

    def __init__(self, api: str, spec: Mapping[str, Any]) -> None:
        self.api = api
        self.schemas: Schemas = Schemas(spec["components"]["schemas"])
        self.operations: list[Operation] = [
            Operation(api, method.upper(), path if path.startswith("/v1/") else f"/v1{path}", raw)
            for path, methods in spec["paths"].items()
            for method, raw in methods.items()
        ]
        self.kinds: set[str] = {kind for operation in self.operations for _, kind in operation.lookups}
        self._by_path: dict[tuple[str, ...], dict[str, Operation]] = {}
        for operation in self.operations:
            path = tuple("{}" if segment.startswith("{") else segment for segment in operation.segments)
            self._by_path.setdefault(path, {})[operation.method] = operation

    def find(self, segments: Sequence[str]) -> dict[str, Operation]:
        """The operations of a path by their methods; none for a path that is unknown."""
        if segments[:1] != ["v1"]:
            segments = ["v1", *segments]
        fitting = [path for path in self._by_path if len(path) == len(segments) and all(map(_fits, path, segments))]
        return self._by_path[min(fitting)] if fitting else {}  # "{}" comes after what is spelled out

    def creates(self, operation: Operation) -> bool:
        """Tell if a POST makes a thing: it says Created, or the same path lists such things."""
        return 201 in operation.answers or "GET" in self.find(operation.segments)


def _fits(known: str, sent: str) -> bool:
    return sent != "" and known in {sent, "{}"}


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

"""How an operation is carried out: by a handler of its own, or else by what its description says of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prisma_mgmt.sandbox.description import Description, Operation, plural
from prisma_mgmt.sandbox.schema import is_list, is_object
from prisma_mgmt.sandbox.state import Thing, User, Values, World
from prisma_mgmt.sandbox.tokens import Principal, Tokens
from prisma_mgmt.sandbox.views import MISSING, Sight, head
from prisma_mgmt.sandbox.wire import MAX_LIMIT, ApiError, missing, read_cursor, write_cursor

RENAMED = {"displayName": "name", "regionId": "region"}  # fields that answers show under another name
MOMENT = 1.0  # seconds of the clock that things take to become something else


class Resource:
    """What a kind of thing does beyond being stored. This one does nothing; others fill in what they need."""

    def made(self, call: "Call", thing: Thing) -> None:
        """See to a thing that has just been stored; raise ApiError to refuse it."""

    def changed(self, call: "Call", thing: Thing, changes: Values) -> None:
        """Check changes before they are made, and drop those that were made here."""

    def leaving(self, call: "Call", thing: Thing, asked: bool) -> None:
        """Raise ApiError to refuse a deletion, `asked` for this thing itself and not for what holds it."""

    def gone(self, call: "Call", thing: Thing) -> None:
        """See to what a deleted thing leaves behind."""

    def settle(self, world: World, thing: Thing) -> None:
        """Move a thing through its states as far as the clock has come."""

    def matches(self, world: World, thing: Thing, key: str, wanted: Any) -> bool:
        """Tell if a list that is narrowed by a key of the query holds a thing."""
        if key.endswith("Contains"):
            return wanted in thing.values.get(key.removesuffix("Contains"), "")
        holder = thing.up(plural(key.removesuffix("Id")))
        return bool(thing.values.get(key, None if holder is None else holder.id) == wanted)

    def show(self, sight: Sight, thing: Thing) -> Values:
        """Say what is to be shown beyond, or instead of, a thing's values."""
        return {}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is not just a value: with secrets in it, a status of its own, or more beside `data`."""

    value: Any = MISSING
    secrets: bool = False
    status: int | None = None
    beside: Values = field(default_factory=dict[str, Any])


Handler = Callable[["Call"], Any]
R = TypeVar("R", bound=Resource)
OWN: dict[str, Handler] = {}
RESOURCES: dict[str, Resource] = {}


def answers(*operations: str) -> Callable[[Handler], Handler]:
    """Register the handler of operations, such as "management:databases.restore"."""

    def register(handler: Handler) -> Handler:
        OWN.update(dict.fromkeys(operations, handler))
        return handler

    return register


def resource(kind: str) -> Callable[[type[R]], type[R]]:
    """Register what things of a kind do."""

    def register(made: type[R]) -> type[R]:
        RESOURCES[kind] = made()
        return made

    return register


def resource_of(thing: Thing) -> Resource:
    return RESOURCES.get(thing.kind, _STORED)


_STORED = Resource()


def facts(sight: Sight, thing: Thing) -> Values:
    resource_of(thing).settle(sight.world, thing)
    return {**head(sight, thing), **resource_of(thing).show(sight, thing)}


@dataclass
class Call:
    """One authenticated request. It finds only what its token may see; everything else does not exist."""

    world: World
    tokens: Tokens
    description: Description
    operation: Operation
    principal: Principal
    token: str
    base: str
    path: Mapping[str, str]
    query: Values
    headers: Mapping[str, str]
    body: Any = MISSING
    target: Thing | None = None  # the innermost thing that the path names

    @property
    def it(self) -> Thing:
        assert self.target is not None, f"{self.operation.template} names no thing"
        return self.target

    @property
    def fields(self) -> Values:
        """The body's fields; none if there is no body."""
        return self.body if is_object(self.body) else {}

    @property
    def user(self) -> User:
        return self.world.user(self.principal.user_id)

    @property
    def workspace(self) -> Thing:
        return self.find("workspaces", self.principal.workspace_id)

    def find(self, kind: str, id: str, inside: Thing | None = None) -> Thing:
        found = self.world.things(kind).get(id)
        if found is None or not self.sees(found) or (inside is not None and not found.inside(inside)):
            raise missing(id)
        resource_of(found).settle(self.world, found)
        return found

    def sees(self, thing: Thing) -> bool:
        return thing.workspace_id in {None, self.principal.workspace_id}

    def every(self, kind: str, inside: Thing | None = None) -> list[Thing]:
        things = self.world.inside(inside, kind) if inside is not None else self.world.things(kind).values()
        seen = [it for it in things if self.sees(it)]
        for it in seen:
            resource_of(it).settle(self.world, it)
        return seen

    def refuse(self, message: str, hint: str | None = None) -> ApiError:
        """A request that does not fit, with the status that this operation has for that."""
        return ApiError(self.operation.refusal, message, hint=hint)

    def sight(self, *, secrets: bool = False) -> Sight:
        return Sight(self.world, self.operation.api, self.description.schemas, self.base, facts, secrets)

    # What the operations of the description do unless a handler of their own does it

    def perform(self) -> Any:
        for key, value in self.fields.items() if self.operation.body else ():
            if self.names(key) and value is not None:
                self.find(plural(key[:-2]), value)
        return OWN.get(self.operation.id, Call.stored)(self)

    def names(self, key: str) -> bool:
        """Tell if a key of a body speaks of a thing that has a path of its own."""
        return key.endswith("Id") and plural(key[:-2]) in self.description.kinds

    def stored(self) -> Any:
        """Carry out an operation by its method and its path alone."""
        operation, last = self.operation, self.operation.segments[-1]
        if operation.method == "GET":
            return self.listed() if self.lists else self.target or MISSING
        if operation.method == "POST" and not last.startswith("{") and self.description.creates(operation):
            return Reply(self.create(operation.kind), secrets=True)
        if self.target is not None and operation.method == "DELETE":
            return self.delete(self.target)
        if self.target is not None and operation.method in {"PATCH", "PUT"}:
            return self.change(self.target)
        return self.target or MISSING

    @property
    def lists(self) -> bool:
        """Tell if the operation lists the things of a kind."""
        if self.operation.method != "GET" or self.operation.segments[-1].startswith("{"):
            return False
        schema = next(iter(self.operation.answers.values())) or {}
        data = self.description.schemas.resolve(schema.get("properties", {}).get("data", schema))
        return bool(data.get("type") == "array")

    def listed(self) -> list[Thing]:
        """What a list holds: everything that is there and that the query asks for."""
        inside = self.target if self.operation.lookups else None
        if self.operation.lookups and inside is None:
            return []
        found = self.every(self.operation.kind, inside)
        for key, wanted in self.query.items():
            if key not in {"cursor", "limit"}:
                found = [it for it in found if resource_of(it).matches(self.world, it, key, wanted)]
        return found

    def create(self, kind: str, parent: Thing | None = None, values: Values | None = None) -> Thing:
        values = {RENAMED.get(key, key): value for key, value in (self.fields if values is None else values).items()}
        thing = self.world.add(kind, parent or self.target or self._named_parent(), values)
        try:
            resource_of(thing).made(self, thing)
        except ApiError:
            self.world.remove(thing)
            raise
        return thing

    def _named_parent(self) -> Thing:
        """What a new thing belongs to, by the body: the first thing that it has to name, else a workspace."""
        required = self.description.schemas.resolve(self.operation.body or {}).get("required", ())
        key = next((one for one in [*required, "workspaceId"] if self.names(one) and one in self.fields), None)
        return self.workspace if key is None else self.find(plural(key[:-2]), self.fields[key])

    def change(self, thing: Thing) -> Thing:
        changes = {RENAMED.get(key, key): value for key, value in self.fields.items()}
        resource_of(thing).changed(self, thing, changes)
        thing.values.update(changes)
        thing.changed_at = self.world.clock()
        return thing

    def delete(self, thing: Thing) -> None:
        """Delete a thing with all that it holds, or nothing if any of it may not go."""
        for it in self.world.inside(thing):
            resource_of(it).settle(self.world, it)
        doomed = [thing, *self.world.inside(thing)]
        for it in doomed:
            resource_of(it).leaving(self, it, it is thing)
        for it in reversed(doomed):
            self.world.remove(it)
            resource_of(it).gone(self, it)


def envelope(call: Call, result: Any) -> tuple[int, Any]:
    """Put what an operation gave into the shape that its description asks for."""
    reply = result if isinstance(result, Reply) else Reply(result)
    status = reply.status or next(iter(call.operation.answers))
    schema = call.operation.answers.get(status)
    if schema is None:
        return status, None
    sight, value = call.sight(secrets=reply.secrets), reply.value
    schema = call.description.schemas.resolve(schema)
    if "data" not in schema.get("properties", {}):
        return status, sight.show(schema, value) if schema else (None if value is MISSING else value)
    beside: Values = dict(reply.beside)
    if is_list(value) and "pagination" in schema["properties"] and "pagination" not in beside:
        value, pagination = _page(call, value)
        beside = {"pagination": pagination, **beside}
    return status, sight.show(schema, {"data": value, **beside})


def _page(call: Call, things: Iterable[Thing]) -> tuple[list[Thing], Values]:
    """Cut one page. A cursor names the last thing's place, so it outlives that thing."""
    limit = call.query.get("limit", MAX_LIMIT) if "limit" in call.operation.query else None
    newest_first, after = call.operation.newest_first, None
    if call.query.get("cursor") is not None:
        after = read_cursor(call.query["cursor"])
        if after is None:
            raise call.refuse("cursor is not one that this API gave out.", "Pass the nextCursor of the page before.")
    rest = sorted(things, key=lambda it: it.sequence, reverse=newest_first)
    if after is not None:
        rest = [it for it in rest if (it.sequence < after if newest_first else it.sequence > after)]
    shown = rest[:limit]
    more = len(rest) > len(shown)
    return shown, {"nextCursor": write_cursor(shown[-1].sequence) if more else None, "hasMore": more}

"""How an operation is carried out: by a handler of its own, or else by what its description says of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from prisma_mgmt.sandbox.description import Description, Operation, plural
from prisma_mgmt.sandbox.schema import is_list, is_object
from prisma_mgmt.sandbox.state import Thing, Values, World
from prisma_mgmt.sandbox.tokens import Grant, Tokens
from prisma_mgmt.sandbox.views import MISSING, Sight, head
from prisma_mgmt.sandbox.wire import MAX_LIMIT, ApiError, missing, read_cursor, write_cursor

RENAMED = {"displayName": "name", "regionId": "region"}  # fields that answers show under another name
MOMENT = 1.0  # seconds of the clock that things take to become something else
RESOURCES: dict[str, "Resource"] = {}  # by kind
OWN: dict[str, Callable[["Call"], Any]] = {}  # what carries out the operations that have code of their own


class Resource:
    """What a kind of thing does beyond being stored. This one does nothing; others fill in what they need.

    Their other public methods carry out the operations of the same name: `restore` that of databases.restore.
    """

    defaults: ClassVar[Values] = {}
    unique: ClassVar[tuple[tuple[str, ...], ...]] = ()  # the values that no two things of one parent have together

    def __init_subclass__(cls, kind: str | None = None, word: str | None = None) -> None:
        """`word` is what the description calls the operations by, if that is not the kind."""
        if kind is not None:
            RESOURCES[kind] = it = cls()
            for name in dir(cls):
                if not (name.startswith("_") or hasattr(Resource, name)):
                    OWN[f"{word or kind.replace('-', '_')}.{name}"] = getattr(it, name)

    def prepare(self, call: "Call", thing: Thing) -> None:
        """Fill in and check the values of a new thing; raise ApiError to refuse it."""

    def made(self, call: "Call", thing: Thing) -> None:
        """See to what comes with a new thing, which is there now."""

    def changed(self, call: "Call", thing: Thing, changes: Values) -> None:
        """Check changes before they are made, and drop those that were made here."""

    def leaving(self, call: "Call", thing: Thing, asked: bool) -> None:
        """Raise ApiError to refuse a deletion, `asked` for this thing itself and not for what holds it."""

    def gone(self, call: "Call", thing: Thing) -> None:
        """See to what a deleted thing leaves behind."""

    def matches(self, world: World, thing: Thing, key: str, wanted: Any) -> bool:
        """Tell if a list that is narrowed by a key of the query holds a thing."""
        if key.endswith("Contains"):
            return wanted in thing.values.get(key.removesuffix("Contains"), "")
        holder = thing.up(plural(key.removesuffix("Id")))
        return bool(thing.values.get(key, None if holder is None else holder.id) == wanted)

    def show(self, sight: Sight, thing: Thing) -> Values:
        """Say what is to be shown beyond, or instead of, a thing's values."""
        return {}

    def conflict(self, call: "Call", other: Thing, key: str) -> ApiError:
        """Refuse what another thing has already."""
        return ApiError(409, f"{key} {other.values[key]!r} is taken by {other.id}.", id=other.id)

    def check_free(self, call: "Call", thing: Thing, values: Values, parent: Thing | None) -> None:
        """Refuse values that something else in the parent has."""
        for key, *scope in self.unique:
            wanted = {one: values.get(one) for one in (key, *scope)}
            others = [] if wanted[key] is None else call.world.every(thing.kind, parent, **wanted)
            for other in others:
                if other is not thing:
                    raise self.conflict(call, other, key)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is not just a value: with secrets in it, a status of its own, or more beside `data`."""

    value: Any = MISSING
    secrets: bool = False
    status: int | None = None
    beside: Values = field(default_factory=dict[str, Any])


_STORED = Resource()


def resource_of(kind: str) -> Resource:
    return RESOURCES.get(kind, _STORED)


def facts(sight: Sight, thing: Thing) -> Values:
    """What there is to say of a thing."""
    return {**thing.values, **head(sight, thing), **resource_of(thing.kind).show(sight, thing)}


@dataclass
class Call:
    """One authenticated request. It finds only what its token may see; everything else does not exist."""

    world: World
    tokens: Tokens
    description: Description
    operation: Operation
    grant: Grant
    token: str
    base: str
    path: Mapping[str, str]
    query: Values
    headers: Mapping[str, str]
    body: Any = None
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
    def workspace(self) -> Thing:
        return self.find("workspaces", self.grant.workspace_id)

    def look_up(self) -> None:
        """Find what the path names, outermost first."""
        for parameter, kind in self.operation.lookups:
            id = self.path[parameter]
            by_value = self.world.first(kind, self.target, **{parameter: id})  # as integrations go by their clientId
            try:
                self.target = self.find(kind, by_value.id if by_value else id, inside=self.target)
            except ApiError:
                if not self.lists or 404 in self.operation.errors:
                    raise
                self.target = None  # the description knows no such refusal: the list is empty
        database = self.target and self.target.up("databases")
        if database is not None:  # what is asked about a database is what it is used for here
            database.hidden["used"][self.world.now()[:10]] += 1

    def find(self, kind: str, id: str, inside: Thing | None = None) -> Thing:
        found = self.world.things(kind).get(id)
        if found is None or not self.sees(found) or (inside is not None and not found.inside(inside)):
            raise missing(id)
        return found

    def sees(self, thing: Thing) -> bool:
        return thing.workspace_id in {None, self.grant.workspace_id}

    def refuse_apps(self) -> None:
        """Refuse what only people and service tokens may do."""
        if self.grant.user_id is not None:
            raise ApiError(403, "An integration may not do that.", hint="Use a service token.")

    def refuse(self, message: str, hint: str | None = None) -> ApiError:
        """A request that does not fit, with the status that this operation has for that."""
        return ApiError(self.operation.refusal, message, hint=hint)

    # What the operations of the description do unless a handler of their own does it

    def perform(self) -> Any:
        required = {key: self.query[key] for key in self.operation.parameters("query")["required"]}
        for key, value in {**required, **(self.fields if self.operation.body else {})}.items():
            if self.names(key) and value is not None:
                self.find(plural(key[:-2]), value)
        return OWN.get(self.operation.id, Call.stored)(self)

    def names(self, key: str) -> bool:
        """Tell if a key of a request speaks of a thing that has a path of its own."""
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
        inside, kind = self.target if self.operation.lookups else None, self.operation.kind
        if self.operation.lookups and inside is None:
            return []
        found, matches = [it for it in self.world.every(kind, inside) if self.sees(it)], resource_of(kind).matches
        for key, wanted in self.query.items():
            if key not in {"cursor", "limit"}:
                found = [it for it in found if matches(self.world, it, key, wanted)]
        return found

    def create(self, kind: str, parent: Thing | None = None, values: Values | None = None) -> Thing:
        its = resource_of(kind)
        values = {**its.defaults, **_renamed(self.fields if values is None else values)}
        thing = self.world.new(kind, parent or self.target or self._named_parent(), values)
        its.prepare(self, thing)
        its.check_free(self, thing, thing.values, thing.parent)
        its.made(self, self.world.put(thing))
        number = len(self.world.every(kind, thing.parent))
        thing.values.setdefault("name", f"{kind.rstrip('s').capitalize()} {number}")  # if nobody has said one
        return thing

    def _named_parent(self) -> Thing:
        """What a new thing belongs to, by the body: the first thing that it has to name, else a workspace."""
        required = self.description.schemas.resolve(self.operation.body or {}).get("required", ())
        key = next((one for one in [*required, "workspaceId"] if self.names(one) and one in self.fields), None)
        return self.workspace if key is None else self.find(plural(key[:-2]), self.fields[key])

    def change(self, thing: Thing) -> Thing:
        its, changes = resource_of(thing.kind), _renamed(self.fields)
        its.changed(self, thing, changes)
        its.check_free(self, thing, {**thing.values, **changes}, thing.parent)
        thing.values.update(changes)
        thing.changed_at = self.world.clock()
        return thing

    def delete(self, thing: Thing) -> None:
        """Delete a thing with all that it holds, or nothing if any of it may not go."""
        doomed = [thing, *self.world.held(thing)]
        for it in doomed:
            resource_of(it.kind).leaving(self, it, it is thing)
        for it in reversed(doomed):
            self.world.remove(it)
            resource_of(it.kind).gone(self, it)


def demand(thing: Thing, *statuses: str, hint: str | None = None) -> None:
    """Refuse what a thing has to be in another state for."""
    status = thing.values["status"]
    if status not in statuses:
        raise ApiError(409, f"{thing.id} is {status}, not {' or '.join(statuses)}.", hint=hint)


def _renamed(fields: Values) -> Values:
    return {RENAMED.get(key, key): value for key, value in fields.items()}


def envelope(call: Call, result: Any) -> tuple[int, Any]:
    """Put what an operation gave into the shape that its description asks for."""
    reply = result if isinstance(result, Reply) else Reply(result)
    status = reply.status or next(iter(call.operation.answers))
    schema = call.operation.answers.get(status)
    if schema is None:
        return status, None
    sight = Sight(call.world, call.operation.api, call.description.schemas, call.base, facts, reply.secrets)
    value, schema = reply.value, call.description.schemas.resolve(schema)
    if "data" not in schema.get("properties", {}):
        return status, sight.show(schema, value) if schema else (None if value is MISSING else value)
    beside: Values = dict(reply.beside)
    if is_list(value) and "pagination" in schema["properties"] and "pagination" not in beside:
        value, pagination = _page(call, value)
        beside = {"pagination": pagination, **beside}
    return status, sight.show(schema, {"data": value, **beside})


def _page(call: Call, things: Iterable[Thing]) -> tuple[list[Thing], Values]:
    """Cut one page. A cursor names the last thing's place, so it outlives that thing."""
    limit = call.query.get("limit", MAX_LIMIT) if "limit" in call.operation.parameters("query")["properties"] else None
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

"""How an operation is carried out and answered: by code of its own, or else by what its description says of it."""

import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from starlette.requests import HTTPConnection

from prisma_mgmt.sandbox.description import Operation, Schema, Schemas, is_list, is_object, plural
from prisma_mgmt.sandbox.state import Thing, Values, World, new_id, timestamp
from prisma_mgmt.sandbox.tokens import Tokens
from prisma_mgmt.sandbox.wire import MAX_LIMIT, ApiError, missing, need, read_cursor, write_cursor

MISSING: Any = object()
RENAMED = {"displayName": "name", "regionId": "region"}  # fields that answers show under another name
REGIONS = {
    "us-east-1": "US East (N. Virginia)",
    "us-west-1": "US West (N. California)",
    "eu-west-3": "Europe (Paris)",
    "eu-central-1": "Europe (Frankfurt)",
    "ap-northeast-1": "Asia Pacific (Tokyo)",
    "ap-southeast-1": "Asia Pacific (Singapore)",
}
MOMENT = 1.0  # seconds of the clock that things take to become something else
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

    def matches(self, call: "Call", thing: Thing, key: str, wanted: Any) -> bool:
        """Tell if a list that is narrowed by a key of the query holds a thing."""
        if key.endswith("Contains"):
            return wanted in thing.values.get(key.removesuffix("Contains"), "")
        holder = thing.up(plural(key.removesuffix("Id")))
        return bool(thing.values.get(key, None if holder is None else holder.id) == wanted)

    def show(self, call: "Call", thing: Thing) -> Values:
        """Say what is to be shown beyond, or instead of, a thing's values."""
        return {}

    def conflict(self, call: "Call", other: Thing, key: str) -> ApiError:
        """Refuse what another thing has already."""
        return ApiError(409, f"{key} {other.values[key]!r} is taken by {other.id}.", id=other.id)

    def check_free(self, call: "Call", thing: Thing, values: Values, parent: Thing | None) -> None:
        """Refuse values that something else in the parent has."""
        for key, *scope in self.unique:
            wanted = {one: values.get(one) for one in (key, *scope)}
            others = [it for it in call.world.every(thing.kind, parent, **wanted) if it is not thing]
            if others and wanted[key] is not None:
                raise self.conflict(call, others[0], key)


RESOURCES: defaultdict[str, Resource] = defaultdict(Resource)  # by kind


class Call:
    """One authenticated request. It finds only what its token may see; everything else does not exist."""

    def __init__(self, tokens: Tokens, operation: Operation, connection: HTTPConnection, token: Thing | None) -> None:
        """`token` is None for an operation that needs none."""
        self.world: World = tokens.world
        self.tokens: Tokens = tokens
        self.operation: Operation = operation
        self.token: Thing | None = token
        self.schemas: Schemas = operation.description.schemas
        self.base: str = str(connection.base_url).rstrip("/")  # the URL that the caller reached this API by
        self.path: Mapping[str, str] = connection.path_params
        self.headers: Mapping[str, str] = dict(connection.headers)  # by names in lower case
        self.query: Values = {}
        self.body: Any = None
        self.target: Thing | None = None  # the innermost thing that the path names
        self.named: dict[str, Thing] = {}  # the things that query and body name, by their keys
        self.status: int = next(iter(operation.answers))  # of the answer, unless it is a refusal
        self.secrets: bool = operation.creates  # if the answer tells secrets: of what has just been made, it does
        self.beside: Values = {}  # what the answer has beside its data
        self.live: bool = connection.scope["type"] == "websocket"  # if a log is followed for as long as it goes on

    @property
    def it(self) -> Thing:
        assert self.target is not None, f"{self.operation.template} names no thing"
        return self.target

    @property
    def fields(self) -> Values:
        """The body's fields by the names that answers have for them; none if there is no body."""
        return {RENAMED.get(key, key): value for key, value in self.body.items()} if is_object(self.body) else {}

    @property
    def bearer(self) -> Thing:
        assert self.token is not None, f"{self.operation.template} needs no token"
        return self.token

    @property
    def workspace(self) -> Thing:
        *_, outermost = self.bearer.chain()
        return outermost

    def look_up(self) -> None:
        """Find what the path names, outermost first."""
        for parameter, kind in self.operation.lookups:
            id = self.path[parameter]
            by_value = self.world.first(kind, self.target, **{parameter: id})  # as integrations go by their clientId
            try:
                self.target = self.find(kind, by_value.id if by_value else id, inside=self.target)
            except ApiError:
                if not self.operation.lists or 404 in self.operation.errors:
                    raise
                self.target = None  # the description knows no such refusal: the list is empty
        database = self.target and self.target.up("databases")
        if database is not None:  # what is asked about a database is what it is used for here
            database.hidden["used"][self.world.now()[:10]] += 1

    def find(self, kind: str, id: str, inside: Thing | None = None) -> Thing:
        found = need(self.world.things(kind).get(id), missing(id))
        need(self.sees(found) and (inside is None or inside in found.chain()), missing(id))
        return found

    def sees(self, thing: Thing) -> bool:
        return thing.up("workspaces") in {None, self.workspace}

    def refuse_apps(self) -> None:
        """Refuse what only people and service tokens may do."""
        if self.bearer.up("logins") is not None:
            raise ApiError(403, "An integration may not do that.", hint="Use a service token.")

    def refuse(self, message: str, hint: str | None = None) -> ApiError:
        """A request that does not fit, with the status that this operation has for that."""
        return ApiError(self.operation.refusal, message, hint=hint)

    # What the operations of the description do unless code of their own does it

    def perform(self) -> Any:
        required = {key: self.query[key] for key in self.operation.parameters["query"]["required"]}
        for key, value in {**required, **(self.fields if self.operation.body else {})}.items():
            kind = plural(key.removesuffix("Id"))
            if key.endswith("Id") and kind in self.operation.description.kinds and value is not None:
                self.named[key] = self.find(kind, value)
        return OWN.get(self.operation.id, Call.stored)(self)

    def stored(self) -> Any:
        """Carry out an operation by its method and its path alone."""
        if self.operation.lists:
            return self.listed()
        if self.operation.creates:  # in what the path names, or the first that the body has to name
            keys = (*self.schemas.resolve(self.operation.body or {}).get("required", ()), "workspaceId")
            named = next((self.named[key] for key in keys if key in self.named), self.workspace)
            return self.create(self.operation.kind, self.target or named)
        change = {"DELETE": self.delete, "PATCH": self.change, "PUT": self.change}.get(self.operation.method)
        if self.target is None or change is None:
            return self.target or MISSING
        return change(self.target)

    def listed(self) -> list[Thing]:
        """What a list holds: everything that is there and that the query asks for."""
        if self.operation.lookups and self.target is None:
            return []
        kind = self.operation.kind
        found = [it for it in self.world.every(kind, self.target) if self.sees(it)]
        for key, wanted in self.query.items():
            if key not in {"cursor", "limit"}:
                found = [it for it in found if RESOURCES[kind].matches(self, it, key, wanted)]
        return found

    def create(self, kind: str, parent: Thing, values: Values | None = None) -> Thing:
        """Make a thing of a kind, with the fields of the body unless other values are given."""
        thing, its = self.world.new(kind, parent), RESOURCES[kind]
        thing.values.update(its.defaults, **(self.fields if values is None else values))
        its.prepare(self, thing)
        its.check_free(self, thing, thing.values, thing.parent)
        its.made(self, self.world.put(thing))
        number = len(self.world.every(kind, thing.parent))
        thing.values.setdefault("name", f"{kind.rstrip('s').capitalize()} {number}")  # if nobody has said one
        return thing

    def change(self, thing: Thing) -> Thing:
        its, changes = RESOURCES[thing.kind], self.fields
        its.changed(self, thing, changes)
        its.check_free(self, thing, {**thing.values, **changes}, thing.parent)
        thing.values.update(changes)
        thing.changed_at = self.world.clock()
        return thing

    def delete(self, thing: Thing) -> None:
        """Delete a thing with all that it holds, or nothing if any of it may not go."""
        doomed = [thing, *self.world.held(thing)]
        for it in doomed:
            RESOURCES[it.kind].leaving(self, it, it is thing)
        for it in reversed(doomed):
            self.world.remove(it)
            RESOURCES[it.kind].gone(self, it)

    # How answers are shown: their schema says which fields there are, the world says what stands in them

    def answer(self, result: Any) -> Any:
        """Put what an operation gave into the shape that its description asks for."""
        schema = self.operation.answers.get(self.status) or {}
        properties = self.schemas.resolve(schema).get("properties", {})
        if "data" not in properties:
            return self.show(schema, result)
        if is_list(result) and "pagination" in properties and "pagination" not in self.beside:
            result, self.beside["pagination"] = self._page(result)
        return self.show(schema, {"data": result, **self.beside})

    def _page(self, things: list[Thing]) -> tuple[list[Thing], Values]:
        """Cut one page. A cursor names the last thing's place, so it outlives that thing."""
        order = -1 if "newest first" in self.operation.raw["summary"] else 1
        rest = sorted(things, key=lambda it: it.sequence * order)
        if "cursor" in self.query:
            after = read_cursor(self.query["cursor"], self.operation.refusal)
            rest = [it for it in rest if it.sequence * order > after * order]
        shown = rest[: self.query.get("limit", MAX_LIMIT)]
        more = len(rest) > len(shown)
        return shown, {"nextCursor": write_cursor(shown[-1].sequence) if more else None, "hasMore": more}

    def show(self, schema: Schema, value: Any, name: str = "") -> Any:
        """Show a value in the shape that a schema asks for; what nobody has said is made up."""
        schema = self.schemas.resolve(schema)
        members = self.schemas.members(schema)
        if members:
            return self.show(self.schemas.member(schema, value) or members[0], value, name)
        if isinstance(value, Thing):
            facts = self.facts(value)
            return self._object(schema, lambda key: self._fact(value, facts, key))
        if isinstance(value, str) and "properties" in schema:  # a region; the older APIs have some of their own
            value = {"id": value, "name": REGIONS.get(value, value)}
        if is_object(value) and "properties" in schema:
            return self._object(schema, lambda key: value.get(key, MISSING))
        if is_list(value) and "items" in schema:
            return [self.show(schema["items"], item) for item in value]
        if value is not MISSING and self.schemas.fits(schema, value):
            return value
        return self._example(schema, name)

    def facts(self, thing: Thing) -> Values:
        """What there is to say of a thing."""
        url = f"{self.base}/v1/{thing.kind}/{thing.id}"
        head = {"id": thing.values.get("id", thing.id), "url": url, "name": thing.name}
        ages = {"createdAt": timestamp(thing.made_at), "updatedAt": timestamp(thing.changed_at)}
        return {**thing.values, **head, **ages, **RESOURCES[thing.kind].show(self, thing)}

    def _fact(self, thing: Thing, facts: Values, key: str) -> Any:
        """What is said of a thing under a key, or what holds it, or what it holds."""
        if key in facts:
            return facts[key]
        holder = thing.up(plural(key.removesuffix("Id")))
        if holder is not None and holder is not thing:
            return holder.id if key.endswith("Id") else holder
        return self.world.every(key, thing) if self.world.things(key) else MISSING

    def _object(self, schema: Schema, find: Callable[[str], Any]) -> Values:
        shown: Values = {}
        required = schema.get("required", ())
        for key, inner in schema.get("properties", {}).items():
            found = find(key)
            untold = found is MISSING or (found is None and not self.schemas.fits(inner, None))
            masked = not self.secrets and self.schemas.tells_secret(inner)
            if key in required or not (untold or masked):
                shown[key] = self.show(inner, found, key)
        return shown

    def _example(self, schema: Schema, name: str) -> Any:
        """Make up a value for a schema."""
        kinds = schema.get("type", "null")
        told = [*(schema[key] for key in ("const", "default") if key in schema), *schema.get("enum", ())]
        if told or "null" in kinds:
            return next(iter(told), None)
        if kinds == "object":
            return self._object(schema, lambda _: MISSING)
        if kinds != "string":
            made: Values = {"array": [], "boolean": False, "integer": 0, "number": 0}
            return made.get(kinds)
        now, secret, email = self.world.now(), f"sk_{secrets.token_urlsafe(24)}", "someone@sandbox.invalid"
        texts = {"date-time": now, "date": now[:10], "uri": self.base, "password": secret, "email": email}
        return {**texts, "id": new_id("id")}.get(schema.get("format", name), name)


def demand(thing: Thing, *statuses: str, hint: str | None = None) -> None:
    """Refuse what a thing has to be in another state for."""
    status = thing.values["status"]
    need(status in statuses, ApiError(409, f"{thing.id} is {status}, not {' or '.join(statuses)}.", hint=hint))

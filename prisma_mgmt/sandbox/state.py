"""The world of the sandbox: everything that exists in it, for all three APIs and the login server."""

import itertools
import secrets
import threading
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prisma_mgmt.sandbox.arguments import check, is_number
from prisma_mgmt.sandbox.backing import Backing

Values = dict[str, Any]
LAST_MOMENT = 100e9  # Unix seconds: the year 5138; dates end not much later

PREFIXES = {
    "users": "usr", "workspaces": "wksp", "projects": "proj", "databases": "db", "connections": "con", "backups": "bkp",
    "integrations": "int", "services": "app", "deployments": "dep", "domains": "dom", "branches": "br", "keys": "key",
    "buckets": "bkt", "builds": "bld", "environment-variables": "env", "service-tokens": "st", "environments": "stage",
    "scm-installations": "ins", "source-repositories": "repo", "agent-approvals": "apr", "members": "mem",
}  # fmt: skip


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


@dataclass(slots=True, eq=False)
class Thing:
    """Anything that the API tells of: a project, a database, a domain."""

    kind: str  # the collection that lists it, such as "projects"
    id: str
    sequence: int  # its place in the order of creation
    made_at: float
    changed_at: float
    parent: "Thing | None"  # what it goes away with
    values: Values  # under the API's own keys
    hidden: Values = field(default_factory=dict[str, Any])  # what no answer shows as it is

    @property
    def name(self) -> str:
        return str(self.values.get("name", self.id))

    def chain(self) -> "Iterator[Thing]":
        """The thing, what holds it, and so on."""
        it: Thing | None = self
        while it is not None:
            yield it
            it = it.parent

    def up(self, kind: str) -> "Thing | None":
        """The nearest of a kind among the thing itself and what holds it."""
        return next((it for it in self.chain() if it.kind == kind), None)

    @property
    def holder(self) -> "Thing":
        assert self.parent is not None, f"nothing holds {self.id}"
        return self.parent


class World:
    """Everything that exists. Whoever reads or changes it enters it, which brings it up to its clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.backing: Backing = Backing()
        self.approval_id: str = new_id("apr")
        self._lock = threading.RLock()
        self._sequence = itertools.count(1)
        self.forget()

    def forget(self) -> None:
        """Begin anew, at the time of the clock itself: nothing exists but an agent approval."""
        self._ahead = 0.0
        self.counts: Counter[str] = Counter()
        self._things: defaultdict[str, dict[str, Thing]] = defaultdict(dict)
        self._planned: list[tuple[float, Thing, Callable[[float], object]]] = []  # in the order in which it is due
        self.put(self.new("agent-approvals", None, id=self.approval_id))

    def __enter__(self) -> None:
        with self._lock:
            self.catch_up()
            self._lock.acquire()  # once more, to hold it beyond this method

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    # How things move

    def clock(self) -> float:
        """Unix seconds of the world."""
        return self._clock() + self._ahead

    def advance(self, seconds: float) -> None:
        good = is_number(seconds, 0, LAST_MOMENT - self.clock())
        check(good, "seconds is a number from 0, to the year 5138", seconds)
        self._ahead += seconds

    def plan(self, at: float, thing: Thing, what: Callable[[float], object]) -> None:
        """Do something to a thing when the clock gets to `at`, which it is given, if the thing still exists then."""
        insort(self._planned, (at, thing, what), key=lambda one: one[0])

    def cancel(self, thing: Thing) -> None:
        """Forget what is planned for a thing."""
        self._planned = [one for one in self._planned if one[1] is not thing]

    def catch_up(self) -> None:
        """Do what is due by now, in order."""
        while self._planned and self._planned[0][0] <= self.clock():
            at, thing, what = self._planned.pop(0)
            if self.things(thing.kind).get(thing.id) is thing:
                what(at)

    def now(self) -> str:
        return timestamp(self.clock())

    # What there is

    def things(self, kind: str) -> dict[str, Thing]:
        """Everything of a kind by its id, in the order of creation."""
        return self._things.get(kind, {})

    def every(self, kind: str, inside: Thing | None = None, /, **values: Any) -> list[Thing]:
        """Everything of a kind, or what of it a thing holds or has these values, in the order of creation."""
        found = [it for it in self.things(kind).values() if inside is None or inside in it.chain()]
        return [it for it in found if all(it.values.get(key) == value for key, value in values.items())]

    def first(self, kind: str, inside: Thing | None = None, /, **values: Any) -> Thing | None:
        return next(iter(self.every(kind, inside, **values)), None)

    def held(self, by: Thing) -> list[Thing]:
        """Everything that a thing holds."""
        return [it for kind in list(self._things) for it in self.every(kind, by) if it is not by]

    def new(self, kind: str, parent: Thing | None, values: Values | None = None, *, id: str | None = None) -> Thing:
        """Make a thing that is not there yet; see put."""
        made_at = self.clock()
        id = id or new_id(PREFIXES.get(kind, kind.rstrip("s")))
        return Thing(kind, id, next(self._sequence), made_at, made_at, parent, values or {})

    def put(self, thing: Thing) -> Thing:
        self._things[thing.kind][thing.id] = thing
        return thing

    def ensure(self, kind: str, inside: Thing | None, where: Values, **more: Any) -> Thing:
        """The first thing of a kind with these values; it is made, with more of them, if there is none."""
        return self.first(kind, inside, **where) or self.put(self.new(kind, inside, {**where, **more}))

    def remove(self, thing: Thing) -> None:
        """Remove a thing, and what it holds."""
        for it in (thing, *self.held(thing)):
            self._things[it.kind].pop(it.id, None)

    # Users, workspaces, and the apps let into them

    def create_user(self, name: str, *, id: str | None = None) -> Thing:
        email = f"user{len(self.things('users')) + 1}@sandbox.invalid"
        return self.put(self.new("users", None, {"name": name, "displayName": name, "email": email}, id=id))

    def create_workspace(self, name: str, owner: Thing, *, id: str | None = None) -> Thing:
        workspace = self.new("workspaces", None, {"name": name}, id=id)
        workspace.hidden["owner"] = owner
        member = {"userId": owner.id, "email": owner.values["email"], "role": "owner", "joinedAt": self.now()}
        self.put(self.new("members", workspace, member))
        return self.put(workspace)

    def let_in(self, login: Thing) -> Thing:
        """Record that a login let an app into a workspace; a second login of the same app is the same integration."""
        client_id, name, user = login.values["clientId"], login.name, login.hidden["user"]
        client = {"id": client_id, "name": name, "createdAt": self.now()}
        told = {"name": name, "provider": "oauth", "client": client, "createdByUser": user}
        known = self.ensure("integrations", login.up("workspaces"), {"clientId": client_id}, **told)
        known.values["scopes"] = login.values["scope"].split()
        return known

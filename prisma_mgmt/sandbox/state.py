"""The world of the sandbox: everything that exists in it, for all three APIs and the login server."""

import heapq
import itertools
import secrets
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prisma_mgmt.sandbox.backing import Backing

Values = dict[str, Any]

PREFIXES = {
    "workspaces": "wksp", "projects": "proj", "databases": "db", "connections": "con", "integrations": "int",
    "services": "app", "deployments": "dep", "domains": "dom", "branches": "br", "buckets": "bkt", "keys": "key",
    "builds": "bld", "backups": "bkp", "environment-variables": "env", "service-tokens": "st", "environments": "stage",
    "scm-installations": "ins", "source-repositories": "repo", "agent-approvals": "apr",
}  # fmt: skip


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True)
class User:
    """Someone who can log in."""

    id: str
    name: str
    email: str


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

    def above(self, kind: str) -> "Thing":
        """What of a kind holds the thing, which is known to be held by one."""
        found = self.up(kind)
        assert found is not None, f"{self.id} is in none of the {kind}"
        return found

    @property
    def holder(self) -> "Thing":
        assert self.parent is not None, f"nothing holds {self.id}"
        return self.parent

    def inside(self, other: "Thing") -> bool:
        return any(it is other for it in self.chain())

    @property
    def workspace_id(self) -> str | None:
        workspace = self.up("workspaces")
        return None if workspace is None else workspace.id


class World:
    """Everything that exists. Whoever reads or changes it enters it, which brings it up to its clock."""

    def __init__(self, clock: Callable[[], float], approval_id: str | None = None) -> None:
        self.clock = clock
        self.counts: Counter[str] = Counter()
        self.backing: Backing = Backing()
        self.users: dict[str, User] = {}
        self._lock = threading.RLock()
        self._things: defaultdict[str, dict[str, Thing]] = defaultdict(dict)
        self._sequence = itertools.count(1)
        self._planned: list[tuple[float, int, Thing, Callable[[float], object]]] = []  # a heap
        self.approval_id: str = self.add("agent-approvals", None, id=approval_id).id

    def __enter__(self) -> None:
        self._lock.acquire()
        self.catch_up()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    # How things move

    def plan(self, at: float, thing: Thing, what: Callable[[float], object]) -> None:
        """Do something to a thing when the clock gets to `at`, which it is given, if the thing still exists then."""
        heapq.heappush(self._planned, (at, next(self._sequence), thing, what))

    def cancel(self, thing: Thing) -> None:
        """Forget what is planned for a thing."""
        self._planned = [one for one in self._planned if one[2] is not thing]
        heapq.heapify(self._planned)

    def catch_up(self) -> None:
        """Do what is due by now, in order."""
        while self._planned and self._planned[0][0] <= self.clock():
            at, _, thing, what = heapq.heappop(self._planned)
            if self.things(thing.kind).get(thing.id) is thing:
                what(at)

    def now(self) -> str:
        return timestamp(self.clock())

    # What there is

    def things(self, kind: str) -> dict[str, Thing]:
        """Everything of a kind by its id, in the order of creation."""
        return self._things.get(kind, {})

    def inside(self, parent: Thing, kind: str | None = None) -> list[Thing]:
        """Everything, or everything of a kind, that a thing holds."""
        kinds = [kind] if kind is not None else list(self._things)
        return [it for one in kinds for it in self._things[one].values() if it.inside(parent) and it is not parent]

    def add(
        self,
        kind: str,
        parent: Thing | None,
        values: Values | None = None,
        hidden: Values | None = None,
        *,
        id: str | None = None,
        at: float | None = None,
    ) -> Thing:
        id = id or new_id(PREFIXES.get(kind, kind.rstrip("s")))
        made_at = self.clock() if at is None else at
        thing = Thing(kind, id, next(self._sequence), made_at, made_at, parent, values or {}, hidden or {})
        self._things[kind][id] = thing
        return thing

    def remove(self, thing: Thing) -> None:
        """Remove a thing alone; the caller removes what it holds."""
        self._things[thing.kind].pop(thing.id, None)

    # Users, workspaces, and the apps let into them

    @property
    def workspaces(self) -> dict[str, Thing]:
        return self._things["workspaces"]

    def create_user(self, name: str, *, id: str | None = None) -> User:
        user = User(id or new_id("usr"), name, f"user{len(self.users) + 1}@sandbox.invalid")
        self.users[user.id] = user
        return user

    def user(self, user_id: str | None) -> User:
        """The user of an id; the first one for no id."""
        return self.users.get(user_id or "") or next(iter(self.users.values()))

    def create_workspace(self, name: str, owner: User, *, id: str | None = None) -> Thing:
        return self.add("workspaces", None, {"name": name}, {"owner": owner}, id=id)

    def let_in(
        self, client_id: str, client_name: str, workspace_id: str, scopes: list[str], user_id: str | None = None
    ) -> None:
        """Record that an app was let into a workspace; a second login of the same app is the same integration."""
        for one in self._things["integrations"].values():
            if (one.values["clientId"], one.workspace_id) == (client_id, workspace_id):
                one.values["scopes"] = scopes
                return
        user = self.user(user_id)
        values = {"name": client_name, "clientId": client_id, "scopes": scopes, "provider": "oauth"}
        values["client"] = {"id": client_id, "name": client_name, "createdAt": self.now()}
        values["createdByUser"] = {"id": user.id, "email": user.email, "displayName": user.name}
        self.add("integrations", self.workspaces[workspace_id], values)

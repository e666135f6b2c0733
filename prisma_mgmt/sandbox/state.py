"""The world of the sandbox: everything that exists in it, for all three APIs and the login server."""

import itertools
import secrets
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
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
    """Everything that exists. Whoever reads or changes it holds the lock."""

    def __init__(self, clock: Callable[[], float], approval_id: str | None = None) -> None:
        self.lock: AbstractContextManager[object] = threading.RLock()
        self.clock = clock
        self.api_url = ""
        self.counts: Counter[str] = Counter()
        self.backing: Backing | None = None
        self.users: dict[str, User] = {}
        self._things: defaultdict[str, dict[str, Thing]] = defaultdict(dict)
        self._sequence = itertools.count(1)
        self.approval_id: str = self.add("agent-approvals", None, id=approval_id).id

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
    ) -> Thing:
        now, id = self.clock(), id or new_id(PREFIXES.get(kind, kind.rstrip("s")))
        thing = Thing(kind, id, next(self._sequence), now, now, parent, values or {}, hidden or {})
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
        values = {"name": client_name, "clientId": client_id, "scopes": scopes}
        self.add("integrations", self.workspaces[workspace_id], values, {"user": self.user(user_id)})

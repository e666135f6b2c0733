"""The world of the sandbox: workspaces, projects, databases, connections, and the apps let in by a login."""

import itertools
import secrets
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prisma_mgmt.sandbox.backing import Backing

REGIONS = {
    "us-east-1": "US East (N. Virginia)",
    "us-west-1": "US West (N. California)",
    "eu-west-3": "Europe (Paris)",
    "eu-central-1": "Europe (Frankfurt)",
    "ap-northeast-1": "Asia Pacific (Tokyo)",
    "ap-southeast-1": "Asia Pacific (Singapore)",
}
DEFAULT_REGION = "us-east-1"


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:24]}"


@dataclass(frozen=True, slots=True)
class User:
    id: str
    name: str
    email: str


@dataclass(slots=True)
class Entity:
    id: str
    name: str
    created_at: str
    sequence: int


@dataclass(slots=True)
class Workspace(Entity):
    """What a token sees: everything in one workspace, and nothing else."""


@dataclass(slots=True)
class Project(Entity):
    workspace_id: str
    region: str | None
    logical_id: str | None
    branch_id: str = field(default_factory=lambda: new_id("br"))


@dataclass(slots=True)
class Database(Entity):
    project_id: str
    region: str
    is_default: bool
    source: dict[str, str]
    logical_id: str | None = None
    status: str = "provisioning"
    default_connection_id: str | None = None
    backups: tuple[str, ...] = field(default_factory=lambda: (new_id("bkp"), new_id("bkp")))


@dataclass(slots=True)
class Connection(Entity):
    database_id: str
    user: str = ""
    password: str = ""

    def rotate(self) -> None:
        self.user, self.password = secrets.token_hex(16), f"sk_{secrets.token_urlsafe(24)}"


@dataclass(slots=True)
class Integration(Entity):
    """An app let into a workspace; its name is the app's."""

    client_id: str
    workspace_id: str
    scopes: list[str]


class World:
    """Everything that exists. Whoever reads or changes it holds the lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.api_url = ""
        self.counts: Counter[str] = Counter()
        self.backing: Backing | None = None
        self.approval_id = new_id("apr")
        self.users: dict[str, User] = {}
        self.owners: dict[str, User | None] = {}
        self.workspaces: dict[str, Workspace] = {}
        self.projects: dict[str, Project] = {}
        self.databases: dict[str, Database] = {}
        self.connections: dict[str, Connection] = {}
        self.integrations: dict[str, Integration] = {}
        self._sequence = itertools.count(1)

    def now(self) -> str:
        return timestamp(self.clock())

    def create_user(self, name: str, email: str | None = None, *, id: str | None = None) -> User:
        user = User(id or new_id("usr"), name, email or f"user{len(self.users) + 1}@sandbox.invalid")
        self.users[user.id] = user
        return user

    def members(self, workspace: Workspace) -> list[User]:
        owner = self.owners[workspace.id]
        return [owner] if owner else list(self.users.values())

    def create_workspace(self, name: str, owner: User | None = None, *, id: str | None = None) -> Workspace:
        workspace = Workspace(*self._head("wksp", name))
        workspace.id = id or workspace.id
        self.owners[workspace.id] = owner
        self.workspaces[workspace.id] = workspace
        return workspace

    def create_project(self, workspace: Workspace, name: str, region: str | None, logical_id: str | None) -> Project:
        project = Project(*self._head("proj", name), workspace.id, region, logical_id)
        self.projects[project.id] = project
        return project

    def create_database(
        self, project: Project, name: str, region: str, *, is_default: bool, source: dict[str, str] | None = None
    ) -> Database:
        """Create a database, provisioning as yet, with its default connection."""
        database = Database(*self._head("db", name), project.id, region, is_default, source or {"type": "empty"})
        self.databases[database.id] = database
        database.default_connection_id = self.create_connection(database, "Default").id
        return database

    def create_connection(self, database: Database, name: str) -> Connection:
        connection = Connection(*self._head("con", name), database.id)
        connection.rotate()
        self.connections[connection.id] = connection
        return connection

    def let_in(
        self, client_id: str, client_name: str, workspace_id: str, scopes: list[str], user_id: str | None = None
    ) -> None:
        """Record that an app was let into a workspace; a second login of the same app is the same integration."""
        for integration in self.integrations.values():
            if (integration.client_id, integration.workspace_id) == (client_id, workspace_id):
                integration.scopes = scopes
                return
        integration = Integration(*self._head("int", client_name), client_id, workspace_id, scopes)
        self.integrations[integration.id] = integration

    def workspace_of(self, it: Entity) -> str:
        if isinstance(it, Connection):
            it = self.databases[it.database_id]
        if isinstance(it, Database):
            it = self.projects[it.project_id]
        return it.workspace_id if isinstance(it, Project | Integration) else it.id

    def databases_of(self, project: Project) -> list[Database]:
        return [database for database in self.databases.values() if database.project_id == project.id]

    def connections_of(self, database: Database) -> list[Connection]:
        return [connection for connection in self.connections.values() if connection.database_id == database.id]

    def delete_project(self, project: Project) -> None:
        for database in self.databases_of(project):
            self.delete_database(database)
        del self.projects[project.id]

    def delete_database(self, database: Database) -> None:
        for connection in self.connections_of(database):
            del self.connections[connection.id]
        del self.databases[database.id]

    def delete_connection(self, connection: Connection) -> None:
        database = self.databases[connection.database_id]
        if database.default_connection_id == connection.id:
            database.default_connection_id = None
        del self.connections[connection.id]

    def _head(self, prefix: str, name: str) -> tuple[str, str, str, int]:
        return new_id(prefix), name, self.now(), next(self._sequence)

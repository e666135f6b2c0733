"""The JSON that the Management API shows for each thing. Secrets only where `secrets` says so."""

from prisma_mgmt.sandbox.state import REGIONS, Connection, Database, Entity, Integration, Project, Workspace, World

JSON = dict[str, object]

# Names that no resolver knows: nothing in the sandbox may reach a real database.
DIRECT_HOST, POOLED_HOST, ACCELERATE_HOST = "db.sandbox.invalid", "pooled.sandbox.invalid", "accelerate.sandbox.invalid"
DIRECT_ADDRESS = f"{DIRECT_HOST}:5432"
USER = {"id": "usr_sandbox", "email": "dev@sandbox.invalid"}


def _url(world: World, kind: str, entity: Entity) -> str:
    return f"{world.api_url}/v1/{kind}s/{entity.id}"


def _reference(world: World, kind: str, entity: Entity) -> JSON:
    return {"id": entity.id, "url": _url(world, kind, entity), "name": entity.name}


def _head(world: World, kind: str, entity: Entity) -> JSON:
    url = _url(world, kind, entity)
    return {"id": entity.id, "type": kind, "url": url, "name": entity.name, "createdAt": entity.created_at}


def workspace(world: World, it: Workspace) -> JSON:
    return _head(world, "workspace", it)


def project(world: World, it: Project) -> JSON:
    return {
        **_head(world, "project", it),
        "logicalId": it.logical_id,
        "defaultRegion": it.region,
        "workspace": _reference(world, "workspace", world.workspaces[it.workspace_id]),
    }


def database(world: World, it: Database, *, secrets: bool = False) -> JSON:
    owner = world.projects[it.project_id]
    return {
        **_head(world, "database", it),
        "status": it.status,
        "isDefault": it.is_default,
        "defaultConnectionId": it.default_connection_id,
        "connections": [connection(world, one, secrets=secrets) for one in world.connections_of(it)],
        "project": _reference(world, "project", owner),
        "region": {"id": it.region, "name": REGIONS[it.region]},
        "source": it.source,
        "branchId": owner.branch_id,
        "logicalId": it.logical_id,
    }


def created_database(world: World, it: Database) -> JSON:
    """A database as its project's routes show it once: with the deprecated fields beside its connections."""
    first = world.connections_of(it)[0]
    key = connection(world, first)
    del key["database"]
    string, direct = _accelerate(first), _direct(first)
    return {
        **database(world, it, secrets=True),
        "apiKeys": [{**key, "connectionString": string, "directConnection": direct}],
        "connectionString": string,
        "directConnection": direct,
    }


def connection(world: World, it: Connection, *, secrets: bool = False) -> JSON:
    endpoints: dict[str, JSON] = {
        "direct": {"host": DIRECT_HOST, "port": 5432},
        "pooled": {"host": POOLED_HOST, "port": 5432},
        "accelerate": {"host": ACCELERATE_HOST, "port": 443},
    }
    if secrets:
        endpoints["direct"]["connectionString"] = _postgres(it, DIRECT_HOST)
        endpoints["pooled"]["connectionString"] = _postgres(it, POOLED_HOST)
        endpoints["accelerate"]["connectionString"] = _accelerate(it)
    shown: JSON = {
        **_head(world, "connection", it),
        "kind": "postgres",
        "endpoints": endpoints,
        "database": _reference(world, "database", world.databases[it.database_id]),
    }
    return {**shown, "directConnection": _direct(it)} if secrets else shown


def connection_with_secrets(world: World, it: Connection) -> JSON:
    return {
        **connection(world, it, secrets=True),
        "connectionString": _accelerate(it),
        "host": DIRECT_ADDRESS,
        "user": it.user,
        "pass": it.password,
    }


def _postgres(it: Connection, host: str) -> str:
    return f"postgresql://{it.user}:{it.password}@{host}:5432/postgres?sslmode=require"


def _accelerate(it: Connection) -> str:
    return f"prisma+postgres://{ACCELERATE_HOST}/?api_key={it.password}"


def _direct(it: Connection) -> JSON:
    return {"host": DIRECT_ADDRESS, "user": it.user, "pass": it.password}


def integration(world: World, it: Integration) -> JSON:
    return {
        "id": it.id,
        "url": _url(world, "integration", it),
        "createdAt": it.created_at,
        "scopes": it.scopes,
        "client": {"id": it.client_id, "name": it.name, "createdAt": it.created_at},
        "createdByUser": {**USER, "displayName": "Sandbox Developer"},
    }

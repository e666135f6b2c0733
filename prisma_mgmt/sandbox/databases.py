"""Routes of the Management API: databases, their backups and their connections."""

from datetime import UTC, datetime, timedelta

from starlette.responses import JSONResponse, Response

from prisma_mgmt.sandbox import views
from prisma_mgmt.sandbox.api import Call, Handler, data, done
from prisma_mgmt.sandbox.state import DEFAULT_REGION, REGIONS, Database, Project, World, timestamp
from prisma_mgmt.sandbox.wire import ApiError, invalid

BACKUP_RETENTION_DAYS = 7


def show_to_reader(world: World, database: Database) -> views.JSON:
    """Show a database; the work that this reader saw under way is done by the next read."""
    shown = views.database(world, database)
    database.status = "ready"
    return shown


def list_databases(call: Call) -> Response:
    project_id, logical_id = call.query.text("projectId"), call.query.text("logicalId")
    found = (
        one
        for one in call.every(call.world.databases)
        if project_id in {None, one.project_id} and logical_id in {None, one.logical_id}
    )
    return call.page(found, show_to_reader)


def list_project_databases(call: Call) -> Response:
    return call.page(call.world.databases_of(call.project()), show_to_reader)


def create_database(call: Call) -> Response:
    project, logical_id = call.project(call.body.required("projectId")), call.body.text("logicalId")
    _check_logical_id(call, project.id, logical_id)
    database = _new_database(call, project)
    database.logical_id = logical_id
    return data(views.database(call.world, database, secrets=True), 201)


def create_project_database(call: Call) -> Response:
    return data(views.created_database(call.world, _new_database(call, call.project())), 201)


def _new_database(call: Call, project: Project) -> Database:
    body, siblings = call.body, call.world.databases_of(project)
    region = body.choice("region", [*REGIONS, "inherit"]) or DEFAULT_REGION
    default = next((one for one in siblings if one.is_default), None)
    if region == "inherit":
        region = project.region or (default.region if default else DEFAULT_REGION)
    is_default = body.flag("isDefault", False)
    if is_default and default is not None:
        raise ApiError(400, "The project has a default database already.")
    name = body.text("name") or f"Database {len(siblings) + 1}"
    return call.world.create_database(project, name, region, is_default=is_default, source=_read_source(call))


def _read_source(call: Call) -> dict[str, str]:
    """Read what a new database is filled from: `source`, or `fromDatabase` as it was said before."""
    source, old = call.body.object("source"), call.body.object("fromDatabase")
    if source is None and old is not None:
        database_id, backup_id = old.required("id"), old.text("backupId")
    elif source is None or source.choice("type", ("empty", "backup", "database")) == "empty":
        return {"type": "empty"}
    else:
        kind, database_id = source.required("type"), source.required("databaseId")
        backup_id = source.required("backupId") if kind == "backup" else None
    database = call.database(database_id)
    if backup_id is None:
        return {"type": "database", "databaseId": database.id}
    return _backup_source(database, backup_id)


def _backup_source(database: Database, backup_id: str) -> dict[str, str]:
    if backup_id not in database.backups:
        raise ApiError(404, "There is no such backup.")
    return {"type": "backup", "databaseId": database.id, "backupId": backup_id}


def _check_logical_id(call: Call, project_id: str, logical_id: str | None) -> None:
    siblings = (one for one in call.every(call.world.databases) if one.project_id == project_id)
    if logical_id is not None and any(one.logical_id == logical_id for one in siblings):
        raise ApiError(409, f"A database with logicalId {logical_id!r} exists already.")


def get_database(call: Call) -> Response:
    return data(show_to_reader(call.world, call.database()))


def update_database(call: Call) -> Response:
    database, name, logical_id = call.database(), call.body.text("name"), call.body.text("logicalId")
    if logical_id != database.logical_id:
        _check_logical_id(call, database.project_id, logical_id)
    database.name, database.logical_id = name or database.name, logical_id or database.logical_id
    return data(views.database(call.world, database))


def delete_database(call: Call) -> Response:
    database = call.database()
    if database.is_default:
        raise ApiError(403, "The default database is protected.", hint="Delete its project.")
    call.world.delete_database(database)
    return done()


def get_usage(call: Call) -> Response:
    call.database()
    now = datetime.fromtimestamp(call.world.clock(), UTC)
    start = _date(call, "startDate", now - timedelta(days=30))
    end = _date(call, "endDate", now)
    if start > end:
        raise ApiError(400, "startDate is after endDate.")
    period = {"start": timestamp(start.timestamp()), "end": timestamp(end.timestamp())}
    metrics = {"operations": {"used": 0, "unit": "ops"}, "storage": {"used": 0.01, "unit": "GiB"}}
    return JSONResponse({"period": period, "metrics": metrics, "generatedAt": call.world.now()})


def _date(call: Call, key: str, default: datetime) -> datetime:
    text = call.query.text(key)
    try:
        date = default if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise ApiError(400, f"{key} is not an ISO 8601 date.") from None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def list_backups(call: Call) -> Response:
    database, limit = call.database(), call.query.limit(default=25)
    kinds = ("full", "incremental")
    shown = [
        {
            "id": backup_id,
            "type": "backup",
            "backupType": kind,
            "createdAt": database.created_at,
            "size": 8_388_608,
            "status": "completed",
        }
        for backup_id, kind in zip(database.backups, kinds, strict=True)
    ]
    pagination = {"hasMore": len(shown) > limit, "limit": limit}
    meta = {"backupRetentionDays": BACKUP_RETENTION_DAYS}
    return JSONResponse({"data": shown[:limit], "meta": meta, "pagination": pagination})


def restore_database(call: Call) -> Response:
    database, source = call.database(), call.body.object("source")
    if source is None or source.choice("type", ("backup",)) is None:
        raise invalid("source must be a backup.")
    origin, backup_id = call.database(source.required("databaseId")), source.required("backupId")
    restored_from = _backup_source(origin, backup_id)
    if database.status != "ready":
        raise ApiError(409, f"The database is {database.status}.", hint="Wait until it is ready.")
    database.source, database.status = restored_from, "recovering"
    return data(views.database(call.world, database))


# Connections


def list_connections(call: Call) -> Response:
    only = call.query.text("databaseId")
    return call.page(
        (one for one in call.every(call.world.connections) if only in {None, one.database_id}), views.connection
    )


def list_database_connections(call: Call) -> Response:
    inside = call.world.connections_of(call.database())
    return call.page(inside, views.connection)


def _create_connection(call: Call, database: Database, status: int) -> Response:
    connection = call.world.create_connection(database, call.body.required("name"))
    return data(views.connection_with_secrets(call.world, connection), status)


def create_connection(call: Call) -> Response:
    return _create_connection(call, call.database(call.body.required("databaseId")), 201)


def create_database_connection(call: Call) -> Response:
    return _create_connection(call, call.database(), 200)


def get_connection(call: Call) -> Response:
    return data(views.connection(call.world, call.connection()))


def delete_connection(call: Call) -> Response:
    call.world.delete_connection(call.connection())
    return done()


def rotate_connection(call: Call) -> Response:
    connection = call.connection()
    connection.rotate()
    return data(views.connection_with_secrets(call.world, connection))


ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/v1/projects/{id}/databases", list_project_databases),
    ("POST", "/v1/projects/{id}/databases", create_project_database),
    ("GET", "/v1/databases", list_databases),
    ("POST", "/v1/databases", create_database),
    ("GET", "/v1/databases/{id}", get_database),
    ("PATCH", "/v1/databases/{id}", update_database),
    ("DELETE", "/v1/databases/{id}", delete_database),
    ("GET", "/v1/databases/{id}/usage", get_usage),
    ("GET", "/v1/databases/{id}/backups", list_backups),
    ("POST", "/v1/databases/{id}/restore", restore_database),
    ("GET", "/v1/databases/{id}/connections", list_database_connections),
    ("POST", "/v1/databases/{id}/connections", create_database_connection),
    ("GET", "/v1/connections", list_connections),
    ("POST", "/v1/connections", create_connection),
    ("GET", "/v1/connections/{id}", get_connection),
    ("DELETE", "/v1/connections/{id}", delete_connection),
    ("POST", "/v1/connections/{id}/rotate", rotate_connection),
]

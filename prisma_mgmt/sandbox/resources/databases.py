"""Databases and their connections: provisioned and restored within a moment of the clock, backed up every day of it.

Credentials are told when they are made and never again.
"""

import secrets
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from prisma_mgmt.sandbox.backing import EMPTY_SIZE, Address
from prisma_mgmt.sandbox.engine import MOMENT, Call, Reply, Resource, answers, demand
from prisma_mgmt.sandbox.resources.account import DEFAULT_REGION, region
from prisma_mgmt.sandbox.resources.projects import Placed
from prisma_mgmt.sandbox.state import Thing, Values, World, timestamp
from prisma_mgmt.sandbox.views import Sight
from prisma_mgmt.sandbox.wire import ApiError

DAY = 86_400
RETENTION = 7  # days
STATUSES = {"provisioning": "provisioning", "recovering": "provisioning", "ready": "active"}  # as `postgres` has them
ACCELERATE = "accelerate.prisma-sandbox.invalid"


class Databases(Placed, kind="databases"):
    defaults: ClassVar[Values] = {**Placed.defaults, "isDefault": False, "region": DEFAULT_REGION}

    def prepare(self, call: Call, thing: Thing) -> None:
        values, project = thing.values, thing.above("projects")
        default = call.world.first("databases", project, isDefault=True)
        if values["isDefault"] and default is not None:
            raise ApiError(400, f"The project has a default database already: {default.id}.")
        if values["region"] == "inherit":
            values["region"] = project.values["region"] or (default.values["region"] if default else DEFAULT_REGION)
        values["source"] = _source(call, values)
        super().prepare(call, thing)

    def made(self, call: Call, thing: Thing) -> None:
        thing.hidden["used"] = Counter[str]()  # requests by day
        _work(call.world, thing, "provisioning")
        _plan_backup(call.world, thing, thing.made_at + DAY)
        call.world.backing.create(thing.id)
        _fill(call.world, thing)
        thing.values["defaultConnectionId"] = call.create("connections", thing, {"name": "Default"}).id

    def leaving(self, call: Call, thing: Thing, asked: bool) -> None:
        if asked and thing.values["isDefault"] and 403 in call.operation.errors:
            raise ApiError(403, "The default database is protected.", hint="Delete its project.")

    def gone(self, call: Call, thing: Thing) -> None:
        call.world.backing.drop(thing.id)

    def show(self, sight: Sight, thing: Thing) -> Values:
        postgres, connections = sight.api == "postgres", sight.world.every("connections", thing)
        status, place = thing.values["status"], thing.values["region"]
        shown: Values = {"connections": connections, "region": place if postgres else region(place)}
        shown["status"] = STATUSES[status] if postgres else status
        if sight.secrets and connections:
            first, string = connections[0], connections[0].values["endpoints"]["accelerate"]["connectionString"]
            key = {"apiKey": string.rpartition("=")[2], "connectionString": string}
            shown |= {"connectionString": string, "apiKeys": [key] if postgres else connections}
            shown["directConnection"] = (
                asdict(first.hidden["address"]) if postgres else first.values["directConnection"]
            )
        return shown


def _work(world: World, database: Thing, status: str) -> None:
    database.values["status"] = status
    world.plan(world.clock() + MOMENT, database, lambda _: database.values.update(status="ready"))


def _plan_backup(world: World, database: Thing, day: float) -> None:
    def back_up(at: float) -> None:
        values = {"type": "automatic", "backupType": "incremental"}
        _back_up(world, world.put(world.new("backups", database, values, at=at)), at)
        missed = (world.clock() - at) // DAY  # of which only the last are still kept
        _plan_backup(world, database, at + max(1, missed - RETENTION) * DAY)

    world.plan(day, database, back_up)


def _fill(world: World, database: Thing) -> None:
    """Let a real database hold what its source holds."""
    source = database.values["source"].get("databaseId", database.id)
    if source != database.id:
        world.backing.copy(source, database.id)


def _source(call: Call, values: Values) -> Values:
    """What a database is filled from: `source`, or `fromDatabase` as it was said before."""
    old, source = values.pop("fromDatabase", None), values.get("source")
    if source is None and old is not None:
        source = {"type": "backup" if "backupId" in old else "database", "databaseId": old["id"]}
        source |= {"backupId": old["backupId"]} if "backupId" in old else {}
    if source is None or source["type"] == "empty":
        return {"type": "empty"}
    origin = call.find("databases", source["databaseId"])
    if source["type"] == "backup":
        call.find("backups", source["backupId"], inside=origin)
    return dict(source)


@answers("management:databases.restore", "postgres:databases.restore_backup")
def restore(call: Call) -> Thing:
    database = call.it.above("databases")
    named = {"type": "backup", "databaseId": database.id, "backupId": call.it.id}
    source = _source(call, {"source": call.fields.get("source", named)})
    demand(database, "ready", hint="Wait until it is ready.")
    database.values["source"] = source
    _fill(call.world, database)
    _work(call.world, database, "recovering")
    return database


class Backups(Resource, kind="backups"):
    """One a day, kept for a week, and those that were asked for."""

    defaults: ClassVar[Values] = {"type": "manual", "backupType": "full"}

    def made(self, call: Call, thing: Thing) -> None:
        _back_up(call.world, thing, thing.made_at)


def _back_up(world: World, backup: Thing, at: float) -> None:
    """Let a backup come to its end, and go after a while."""
    values = backup.values
    values.update(size=EMPTY_SIZE, sizeBytes=EMPTY_SIZE, status="pending")
    world.plan(at, backup, lambda _: values.update(status="in_progress"))
    world.plan(at + MOMENT, backup, lambda at: values.update(status="completed", completedAt=timestamp(at)))
    world.plan(at + RETENTION * DAY, backup, lambda _: world.remove(backup))


@answers("management:databases.list_backups")
def list_backups(call: Call) -> Reply:
    limit, found = call.query.get("limit", 25), call.world.every("backups", call.it)
    pagination = {"hasMore": len(found) > limit, "limit": limit}
    return Reply(found[:limit], beside={"meta": {"backupRetentionDays": RETENTION}, "pagination": pagination})


@answers("management:databases.usage", "postgres:databases.usage")
def usage(call: Call) -> Values:
    now = datetime.fromtimestamp(call.world.clock(), UTC)
    start, end = _date(call, "startDate", now - timedelta(days=30)), _date(call, "endDate", now)
    if start > end:
        raise ApiError(400, "startDate is after endDate.")
    used = call.it.hidden["used"]
    operations = sum(count for day, count in used.items() if str(start.date()) <= day <= str(end.date()))
    size = call.world.backing.size(call.it.id)
    period = {"start": timestamp(start.timestamp()), "end": timestamp(end.timestamp())}
    storage = {"used": size / 2**30, "unit": "GiB"}
    return {  # in the words of both APIs, of which each shows its own
        "databaseId": call.it.id,
        "period": {**period, "startDate": str(start.date()), "endDate": str(end.date())},
        "metrics": {"operations": {"used": operations, "unit": "ops"}, "storage": storage},
        "storage": {"usedBytes": size},
        "queries": {"totalCount": operations},
        "connections": {"peakCount": len(call.world.every("connections", call.it))},
        "generatedAt": call.world.now(),
    }


def _date(call: Call, key: str, otherwise: datetime) -> datetime:
    text: Any = call.query.get(key)
    try:
        date = otherwise if text is None else datetime.fromisoformat(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ApiError(400, f"{key} is not an ISO 8601 date.") from None


# Connections


class Connections(Resource, kind="connections"):
    defaults: ClassVar[Values] = {"type": "direct"}
    told_once: ClassVar[frozenset[str]] = frozenset({"connectionString", "directConnection", "host", "user", "pass"})

    def made(self, call: Call, thing: Thing) -> None:
        thing.values["kind"] = "accelerate" if thing.values["type"] == "prisma" else "postgres"
        _open(thing, call.world.backing.grant(thing.holder.id, thing.id))

    def gone(self, call: Call, thing: Thing) -> None:
        database = thing.holder
        if database.values.get("defaultConnectionId") == thing.id:
            database.values["defaultConnectionId"] = None
        call.world.backing.revoke(database.id, thing.id)

    def show(self, sight: Sight, thing: Thing) -> Values:
        ways = thing.values["endpoints"]
        if not sight.secrets:
            return {"endpoints": {name: {"host": it["host"], "port": it["port"]} for name, it in ways.items()}}
        plain = sight.api == "postgres" and thing.values["type"] == "direct"
        return {"connectionString": ways["direct" if plain else "accelerate"]["connectionString"]}


def _open(connection: Thing, it: Address) -> None:
    """Give a connection all that opens its database."""
    pooled, key = it.pooled or it.host, f"prisma+postgres://{ACCELERATE}/?api_key=sk_{secrets.token_urlsafe(24)}"
    endpoints = {
        "direct": {"host": it.host, "port": it.port, "connectionString": it.url(it.host)},
        "pooled": {"host": pooled, "port": it.port, "connectionString": it.url(pooled)},
        "accelerate": {"host": ACCELERATE, "port": 443, "connectionString": key},
    }
    direct = {"host": f"{it.host}:{it.port}", "user": it.username, "pass": it.password}
    connection.values.update(**direct, directConnection=direct, endpoints=endpoints)
    connection.hidden["address"] = it


@answers("management:connections.rotate")
def rotate(call: Call) -> Reply:
    _open(call.it, call.world.backing.rotate(call.it.holder.id, call.it.id))
    return Reply(call.it, secrets=True)

"""Databases and their connections: provisioned and restored within a moment of the clock, backed up every day of it.

Credentials are told when they are made and never again.
"""

import secrets
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import ClassVar

from prisma_mgmt.sandbox.backing import EMPTY_SIZE, Address
from prisma_mgmt.sandbox.engine import MOMENT, Call, Resource, demand
from prisma_mgmt.sandbox.resources.account import DEFAULT_REGION
from prisma_mgmt.sandbox.resources.projects import Placed
from prisma_mgmt.sandbox.state import Thing, Values, World, timestamp
from prisma_mgmt.sandbox.wire import ApiError, need

DAY = 86_400
RETENTION, BACKUPS = 7, 25  # days that a backup is kept for, and how many are listed
ACCELERATE = "accelerate.prisma-sandbox.invalid"


class Databases(Placed, kind="databases"):
    def prepare(self, call: Call, thing: Thing) -> None:
        values, project = thing.values, thing.holder
        default = call.world.first("databases", project, isDefault=True)
        if values.setdefault("isDefault", False) and default is not None:
            raise ApiError(400, f"The project has a default database already: {default.id}.")
        if values.setdefault("region", DEFAULT_REGION) == "inherit":
            regions = (it.values.get("region") for it in (project, default) if it is not None)
            values["region"] = next(filter(None, regions), DEFAULT_REGION)
        values["source"] = _source(call, values)
        super().prepare(call, thing)

    def made(self, call: Call, thing: Thing) -> None:
        thing.hidden["used"] = Counter[str]()  # requests by day
        call.world.plan(thing.made_at + DAY, thing, lambda at: _back_up_daily(call.world, thing, at))
        call.world.backing.create(thing.id)
        _fill(call.world, thing, "provisioning")
        call.create("connections", thing, {"name": "Default", "isDefault": True})

    def leaving(self, call: Call, thing: Thing, asked: bool) -> None:
        if asked and thing.values["isDefault"] and 403 in call.operation.errors:
            raise ApiError(403, "The default database is protected.", hint="Delete its project.")

    def gone(self, call: Call, thing: Thing) -> None:
        call.world.backing.drop(thing.id)

    def show(self, call: Call, thing: Thing) -> Values:
        postgres, connections = call.operation.description.api == "postgres", call.world.every("connections", thing)
        default = next((it.id for it in connections if "isDefault" in it.values), None)
        shown: Values = {"connections": connections, "defaultConnectionId": default}
        shown |= {"status": "active"} if postgres and thing.values["status"] == "ready" else {}
        for first in connections[:1]:
            string = first.values["endpoints"]["accelerate"]["connectionString"]
            key, direct = {"apiKey": string.rpartition("=")[2], "connectionString": string}, first.hidden["address"]
            shown |= {"connectionString": string, "apiKeys": [key] if postgres else connections}
            shown["directConnection"] = asdict(direct) if postgres else first.values["directConnection"]
        return shown

    def restore(self, call: Call) -> Thing:
        database = call.it.up("databases") or call.it
        named = {"type": "backup", "databaseId": database.id, "backupId": call.it.id}
        source = _source(call, {"source": call.fields.get("source", named)})
        demand(database, "ready", hint="Wait until it is ready.")
        database.values["source"] = source
        _fill(call.world, database, "recovering")
        return database

    restore_backup = restore

    def list_backups(self, call: Call) -> list[Thing]:
        found, limit = call.listed(), call.query.get("limit", BACKUPS)
        pagination = {"hasMore": len(found) > limit, "limit": limit}
        call.beside = {"meta": {"backupRetentionDays": RETENTION}, "pagination": pagination}
        return found if call.operation.description.api == "postgres" else found[:limit]

    def usage(self, call: Call) -> Values:
        now = call.world.clock()
        start, end = _date(call, "startDate", now - 30 * DAY), _date(call, "endDate", now)
        need(start <= end, ApiError(400, "startDate is after endDate."))
        first, last = start[:10], end[:10]
        operations = sum(count for day, count in call.it.hidden["used"].items() if first <= day <= last)
        size, peak = call.world.backing.size(call.it.id), len(call.world.every("connections", call.it))
        metrics = {
            "operations": {"used": operations, "unit": "ops"},
            "storage": {"used": size / 2**30, "unit": "GiB"},
        }
        # In the words of both APIs, of which each shows its own.
        period = {"start": start, "end": end, "startDate": first, "endDate": last}
        ours = {"databaseId": call.it.id, "period": period, "metrics": metrics, "generatedAt": timestamp(now)}
        theirs = {"storage": {"usedBytes": size}, "queries": {"totalCount": operations}}
        return {**ours, **theirs, "connections": {"peakCount": peak}}


def _fill(world: World, database: Thing, status: str) -> None:
    """Let a database hold what its source holds, and be ready after a moment in that status."""
    source = database.values["source"].get("databaseId", database.id)
    if source != database.id:
        world.backing.copy(source, database.id)
    database.values["status"] = status
    world.plan(world.clock() + MOMENT, database, lambda _: database.values.update(status="ready"))


def _source(call: Call, values: Values) -> Values:
    """What a database is filled from: `source`, or `fromDatabase` as it was said before."""
    old = values.pop("fromDatabase", None)
    meant = old and {**old, "type": "backup" if "backupId" in old else "database", "databaseId": old["id"]}
    source: Values = values.get("source") or meant or {"type": "empty"}
    if source["type"] != "empty":
        origin = call.find("databases", source["databaseId"])
        if source["type"] == "backup":
            call.find("backups", source["backupId"], inside=origin)
    return source


def _date(call: Call, key: str, otherwise: float) -> str:
    """What the query says of a time, as a timestamp."""
    try:
        date = datetime.fromisoformat(call.query.get(key, timestamp(otherwise)))
        return timestamp((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise ApiError(400, f"{key} is not an ISO 8601 date.") from None


class Backups(Resource, kind="backups"):
    """One a day, kept for a week, and those that were asked for."""

    defaults: ClassVar[Values] = {"type": "manual"}

    def made(self, call: Call, thing: Thing) -> None:
        _back_up(call.world, thing, thing.made_at)


def _back_up_daily(world: World, database: Thing, at: float) -> None:
    backup = world.put(world.new("backups", database, {"type": "automatic", "backupType": "incremental"}))
    backup.made_at = backup.changed_at = at
    _back_up(world, backup, at)
    missed = (world.clock() - at) // DAY  # of which only the last are still kept
    world.plan(at + max(1, missed - RETENTION) * DAY, database, lambda at: _back_up_daily(world, database, at))


def _back_up(world: World, backup: Thing, at: float) -> None:
    """Let a backup come to its end, and go after a while."""
    values = backup.values
    values.update(size=EMPTY_SIZE, sizeBytes=EMPTY_SIZE, status="pending")
    world.plan(at, backup, lambda _: values.update(status="in_progress"))
    world.plan(at + MOMENT, backup, lambda at: values.update(status="completed", completedAt=timestamp(at)))
    world.plan(at + RETENTION * DAY, backup, lambda _: world.remove(backup))


class Connections(Resource, kind="connections"):
    defaults: ClassVar[Values] = {"type": "direct"}

    def made(self, call: Call, thing: Thing) -> None:
        thing.values["kind"] = "accelerate" if thing.values["type"] == "prisma" else "postgres"
        _open(thing, call.world.backing.grant(thing.holder.id, thing.id))

    def rotate(self, call: Call) -> Thing:
        _open(call.it, call.world.backing.rotate(call.it.holder.id, call.it.id))
        call.secrets = True
        return call.it

    def gone(self, call: Call, thing: Thing) -> None:
        call.world.backing.revoke(thing.holder.id, thing.id)

    def show(self, call: Call, thing: Thing) -> Values:
        plain = call.operation.description.api == "postgres" and thing.values["type"] == "direct"
        return {"connectionString": thing.values["endpoints"]["direct" if plain else "accelerate"]["connectionString"]}


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

"""Connections: credentials of a database, told when they are made and never again."""

import secrets
from urllib.parse import quote

from prisma_mgmt.sandbox.backing import Address
from prisma_mgmt.sandbox.engine import Call, Reply, Resource, answers, resource
from prisma_mgmt.sandbox.state import Thing, Values
from prisma_mgmt.sandbox.views import Sight

# Names that no resolver knows: without a backing nothing here may reach a real database.
DIRECT, POOLED, ACCELERATE = (f"{name}.prisma-sandbox.invalid" for name in ("db", "pooled", "accelerate"))


@resource("connections")
class Connections(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        thing.values.setdefault("name", f"Connection {len(call.world.inside(thing.holder, 'connections'))}")
        _new_credentials(call, thing)

    def gone(self, call: Call, thing: Thing) -> None:
        database = thing.holder
        if database.values.get("defaultConnectionId") == thing.id:
            database.values["defaultConnectionId"] = None
        if call.world.backing is not None:
            call.world.backing.revoke(database.id, thing.id)

    def show(self, sight: Sight, thing: Thing) -> Values:
        accelerate = thing.values.get("type") == "prisma"
        shown: Values = {
            "kind": "accelerate" if accelerate else "postgres",
            "type": "prisma" if accelerate else "direct",
            "endpoints": _endpoints(thing, sight.secrets),
            "connectionString": "prisma+postgres://***",
        }
        if sight.secrets:
            direct = direct_connection(thing, "management")
            shown |= {**direct, "directConnection": direct, "connectionString": key_string(thing)}
            if sight.api == "postgres" and not accelerate:
                shown["connectionString"] = postgres_string(thing)
        return shown


def _new_credentials(call: Call, connection: Thing) -> None:
    backing, database_id = call.world.backing, connection.holder.id
    renewed = "address" in connection.hidden
    connection.hidden["key"] = f"sk_{secrets.token_urlsafe(24)}"
    if backing is None:
        address = Address(DIRECT, 5432, secrets.token_hex(16), f"sk_{secrets.token_urlsafe(24)}", "postgres")
    else:
        address = (backing.rotate if renewed else backing.grant)(database_id, connection.id)
    connection.hidden.update(address=address, real=backing is not None)


def _endpoints(connection: Thing, with_secrets: bool) -> Values:
    address: Address = connection.hidden["address"]
    real = connection.hidden["real"]
    shown: dict[str, Values] = {
        "direct": {"host": address.host, "port": address.port},
        "pooled": {"host": address.host if real else POOLED, "port": address.port},
        "accelerate": {"host": ACCELERATE, "port": 443},
    }
    if with_secrets:
        shown["direct"]["connectionString"] = postgres_string(connection)
        shown["pooled"]["connectionString"] = postgres_string(connection, None if real else POOLED)
        shown["accelerate"]["connectionString"] = key_string(connection)
    return shown


def postgres_string(connection: Thing, host: str | None = None) -> str:
    it: Address = connection.hidden["address"]
    tail = "" if connection.hidden["real"] else "?sslmode=require"
    user, password = quote(it.user, safe=""), quote(it.password, safe="")
    return f"postgresql://{user}:{password}@{host or it.host}:{it.port}/{it.database}{tail}"


def key_string(connection: Thing) -> str:
    return f"prisma+postgres://{ACCELERATE}/?api_key={connection.hidden['key']}"


def direct_connection(connection: Thing, api: str) -> Values:
    it: Address = connection.hidden["address"]
    if api == "postgres":
        where: Values = {"host": it.host, "port": it.port, "database": it.database}
        return {**where, "username": it.user, "password": it.password}
    return {"host": f"{it.host}:{it.port}", "user": it.user, "pass": it.password}


@answers("management:connections.rotate")
def rotate(call: Call) -> Reply:
    _new_credentials(call, call.it)
    return Reply(call.it, secrets=True)

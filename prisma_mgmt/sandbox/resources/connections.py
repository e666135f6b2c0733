"""Connections: credentials of a database, told when they are made and never again."""

import secrets
from urllib.parse import quote

from prisma_mgmt.sandbox.backing import Address
from prisma_mgmt.sandbox.engine import Call, Reply, Resource, answers, resource
from prisma_mgmt.sandbox.state import Thing, Values
from prisma_mgmt.sandbox.views import Sight

ACCELERATE = "accelerate.prisma-sandbox.invalid"


@resource("connections")
class Connections(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        thing.hidden.update(key=_new_key(), address=call.world.backing.grant(thing.holder.id, thing.id))

    def gone(self, call: Call, thing: Thing) -> None:
        database = thing.holder
        if database.values.get("defaultConnectionId") == thing.id:
            database.values["defaultConnectionId"] = None
        call.world.backing.revoke(database.id, thing.id)

    def show(self, sight: Sight, thing: Thing) -> Values:
        accelerate = thing.values.get("type") == "prisma"
        shown: Values = {
            "kind": "accelerate" if accelerate else "postgres",
            "type": "prisma" if accelerate else "direct",
            "endpoints": _endpoints(thing, sight.secrets),
        }
        if not sight.secrets:
            return shown
        direct, plain = direct_connection(thing, "management"), sight.api == "postgres" and not accelerate
        string = postgres_string(thing) if plain else key_string(thing)
        return {**shown, **direct, "directConnection": direct, "connectionString": string}


def _new_key() -> str:
    return f"sk_{secrets.token_urlsafe(24)}"


def _endpoints(connection: Thing, with_secrets: bool) -> Values:
    it: Address = connection.hidden["address"]
    pooled = it.pooled or it.host
    ways = {
        "direct": (it.host, it.port, postgres_string(connection)),
        "pooled": (pooled, it.port, postgres_string(connection, pooled)),
        "accelerate": (ACCELERATE, 443, key_string(connection)),
    }
    return {
        name: {"host": host, "port": port, **({"connectionString": string} if with_secrets else {})}
        for name, (host, port, string) in ways.items()
    }


def postgres_string(connection: Thing, host: str | None = None) -> str:
    it: Address = connection.hidden["address"]
    user, password = quote(it.user, safe=""), quote(it.password, safe="")
    return f"postgresql://{user}:{password}@{host or it.host}:{it.port}/{it.database}{it.query}"


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
    call.it.hidden.update(key=_new_key(), address=call.world.backing.rotate(call.it.holder.id, call.it.id))
    return Reply(call.it, secrets=True)

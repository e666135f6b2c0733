"""Environments of the Data Platform API and their keys; a secret is told once."""

import secrets

from prisma_mgmt.sandbox.engine import Call, Resource, resource
from prisma_mgmt.sandbox.state import Thing, Values
from prisma_mgmt.sandbox.views import Sight


@resource("environments")
class Environments(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        thing.hidden["connectionString"] = thing.values.pop("connectionString")

    def show(self, sight: Sight, thing: Thing) -> Values:
        return {"connectionString": thing.hidden["connectionString"]} if sight.secrets else {}


@resource("apikeys")
class ApiKeys(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        thing.hidden["apiKey"] = f"key_{secrets.token_urlsafe(24)}"

    def show(self, sight: Sight, thing: Thing) -> Values:
        key = thing.hidden["apiKey"]
        return {"hint": f"…{key[-4:]}", "apiKey": key if sight.secrets else None}

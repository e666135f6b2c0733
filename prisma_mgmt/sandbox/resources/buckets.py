"""Buckets and the keys that open them."""

import secrets

from prisma_mgmt.sandbox.engine import Call, Resource, answers, resource
from prisma_mgmt.sandbox.resources.placed import Placed
from prisma_mgmt.sandbox.state import Thing, Values, new_id
from prisma_mgmt.sandbox.views import Sight


@resource("buckets")
class Buckets(Placed):
    def made(self, call: Call, thing: Thing) -> None:
        thing.values.setdefault("name", f"bucket-{secrets.token_hex(4)}")
        super().made(call, thing)

    def show(self, sight: Sight, thing: Thing) -> Values:
        return {"providerName": "sandbox", "status": "ready"}


@answers("management:buckets.update")
def update(call: Call) -> Thing:
    if not call.fields:
        raise call.refuse("There is nothing to change.")
    return call.change(call.it)


@resource("keys")
class Keys(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        thing.values.setdefault("name", f"key-{secrets.token_hex(4)}")
        thing.hidden.update(id=new_id("AK"), secret=secrets.token_urlsafe(30))

    def show(self, sight: Sight, thing: Thing) -> Values:
        return {
            "valueHint": f"…{thing.hidden['secret'][-4:]}",
            "secretAccessKey": thing.hidden["secret"] if sight.secrets else None,
            "accessKeyId": thing.hidden["id"],
            "endpoint": "https://buckets.prisma-sandbox.invalid",
            "bucketName": thing.holder.name,
        }

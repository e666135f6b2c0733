"""Service tokens, as people make them and as GitHub's workflows get them; the latter expire."""

from prisma_mgmt.sandbox.engine import Call, Resource, resource
from prisma_mgmt.sandbox.state import Thing, Values, World
from prisma_mgmt.sandbox.views import Sight


@resource("service-tokens")
class ServiceTokens(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        thing.hidden["value"] = call.tokens.issue_service_token(thing.holder.id)
        thing.values.setdefault("expiresAt", None)

    def gone(self, call: Call, thing: Thing) -> None:
        call.tokens.service_tokens.pop(thing.hidden["value"], None)

    def show(self, sight: Sight, thing: Thing) -> Values:
        value = thing.hidden["value"]
        hint: Values = {"valueHint": f"…{value[-4:]}"}
        return {**hint, "value": value} if sight.secrets else hint


def has_expired(world: World, token: str) -> bool:
    return any(
        it.hidden["value"] == token and world.clock() >= it.hidden.get("expires_at", float("inf"))
        for it in world.things("service-tokens").values()
    )

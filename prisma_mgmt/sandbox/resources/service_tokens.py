"""Service tokens, as people make them and as GitHub's workflows get them; the latter expire."""

from prisma_mgmt.sandbox.engine import Call, Resource, resource
from prisma_mgmt.sandbox.state import Thing, Values, timestamp
from prisma_mgmt.sandbox.views import Sight


@resource("service-tokens")
class ServiceTokens(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        expires_at = thing.values.get("expiresAt")
        thing.hidden["value"] = call.tokens.issue_service_token(thing.holder.id, expires_at=expires_at)
        thing.values["expiresAt"] = expires_at and timestamp(expires_at)

    def gone(self, call: Call, thing: Thing) -> None:
        call.tokens.service_tokens.pop(thing.hidden["value"], None)

    def show(self, sight: Sight, thing: Thing) -> Values:
        value = thing.hidden["value"]
        hint: Values = {"valueHint": f"…{value[-4:]}"}
        return {**hint, "value": value} if sight.secrets else hint

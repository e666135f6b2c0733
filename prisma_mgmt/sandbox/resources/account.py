"""Workspaces and who may enter them, regions, approvals, and whom a token stands for."""

import secrets

from prisma_mgmt.sandbox.engine import MOMENT, REGIONS, Call, Resource
from prisma_mgmt.sandbox.state import Thing, Values, timestamp

DEFAULT_REGION = "us-east-1"
PRODUCTS: dict[str, Values] = {"postgres": {"status": "available"}, "accelerate": {}}  # and what is told of its regions
APPROVAL_LIFETIME = 600.0  # seconds
UNNAMED = "Sandbox service token"


def hint(secret: str) -> str:
    """What is told of a secret later on."""
    return f"…{secret[-4:]}"


class Regions(Resource, kind="regions"):
    def list(self, call: Call) -> list[Values]:
        """The regions of every product, or of the one that the query or the path names."""
        last = call.operation.segments[-1]
        wanted = [one for one in PRODUCTS if call.query.get("product", last) in {one, "regions"}]
        regions = [
            {"id": id, "name": name, "product": one, **PRODUCTS[one]} for one in wanted for id, name in REGIONS.items()
        ]
        return regions if last == "regions" else [{**one, "product": None} for one in regions]

    list_postgres = list
    list_accelerate = list


class Me(Resource, kind="me"):
    def get(self, call: Call) -> Values:
        login, app, own = (call.bearer.up(kind) for kind in ("logins", "integrations", "service-tokens"))
        credential: Values = {"type": "service_token", "id": own and own.id, "name": own.name if own else UNNAMED}
        if app is not None:
            credential = {"type": "oauth", "id": app.values["clientId"], "name": app.name}
        return {"user": login.hidden["user"] if login else None, "workspace": call.workspace, "credential": credential}


class Workspaces(Resource, kind="workspaces"):
    def create(self, call: Call) -> Thing:
        call.refuse_apps()
        # A service token acts for whoever owns its workspace.
        return call.world.create_workspace(call.fields.get("name", "My workspace"), call.workspace.hidden["owner"])

    def show(self, call: Call, thing: Thing) -> Values:
        slug = "-".join("".join(one if one.isalnum() else " " for one in thing.name.lower()).split())
        return {"slug": slug or thing.id, "planName": "Free"}


class ServiceTokens(Resource, kind="service-tokens"):
    """Tokens as people make them and as GitHub's workflows get them; the latter expire."""

    def made(self, call: Call, thing: Thing) -> None:
        until = thing.values.get("expiresAt")
        value = call.tokens.issue_service_token(thing.holder.id, holder=thing, until=until)
        thing.values.update(value=value, valueHint=hint(value), expiresAt=until and timestamp(until))


class AgentApprovals(Resource, kind="agent-approvals"):
    """One exists from the start, is granted within a moment and expires after ten minutes."""

    def show(self, call: Call, thing: Thing) -> Values:
        age = call.world.clock() - thing.made_at
        status = "expired" if age >= APPROVAL_LIFETIME else "approved" if age >= MOMENT else "pending"
        decided_at = None if status == "pending" else timestamp(thing.made_at + MOMENT)
        return {"status": status, "decidedAt": decided_at, "expiresAt": timestamp(thing.made_at + APPROVAL_LIFETIME)}


class ApiKeys(Resource, kind="apikeys"):
    """The keys of the Data Platform API's environments."""

    def made(self, call: Call, thing: Thing) -> None:
        key = f"key_{secrets.token_urlsafe(24)}"
        thing.values.update(apiKey=key, hint=hint(key))

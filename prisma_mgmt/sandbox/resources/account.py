"""Workspaces and who may enter them, regions, approvals, and whom a token stands for."""

from typing import ClassVar

from prisma_mgmt.sandbox.engine import MOMENT, Call, Resource, answers
from prisma_mgmt.sandbox.state import Thing, Values, timestamp
from prisma_mgmt.sandbox.views import Sight

REGIONS = {
    "us-east-1": "US East (N. Virginia)",
    "us-west-1": "US West (N. California)",
    "eu-west-3": "Europe (Paris)",
    "eu-central-1": "Europe (Frankfurt)",
    "ap-northeast-1": "Asia Pacific (Tokyo)",
    "ap-southeast-1": "Asia Pacific (Singapore)",
}
DEFAULT_REGION = "us-east-1"
PRODUCTS = ("postgres", "accelerate")
APPROVAL_LIFETIME = 600.0  # seconds


def region(id: str) -> Values:
    return {"id": id, "name": REGIONS.get(id, id)}  # the older APIs have regions of their own


@answers("management:regions.list", "management:regions.list_postgres", "management:regions.list_accelerate")
def list_regions(call: Call) -> list[Values]:
    """The regions of every product, or of the one that the query or the path names; what is None is left out."""
    last = call.operation.segments[-1]
    wanted = call.query.get("product", last)
    return [
        {
            **region(id),
            "product": product if last == "regions" else None,
            "status": "available" if product == "postgres" else None,
        }
        for product in PRODUCTS
        for id in REGIONS
        if wanted in {product, "regions"}
    ]


@answers("management:me.get")
def me(call: Call) -> Values:
    client, user = call.grant.client, None
    if call.grant.user_id is None:
        own = call.world.first("service-tokens", call.workspace, value=call.token)
        id, name = (own.id, own.name) if own else (None, client.name)
        credential = {"type": "service_token", "id": id, "name": name}
    else:
        credential = {"type": "oauth", "id": client.id, "name": client.name}
        it = call.world.user(call.grant.user_id)
        user = {"id": it.id, "email": it.email, "name": it.name}
    return {"user": user, "workspace": call.workspace, "credential": credential}


class Workspaces(Resource, kind="workspaces"):
    def show(self, sight: Sight, thing: Thing) -> Values:
        slug = "-".join("".join(one if one.isalnum() else " " for one in thing.name.lower()).split())
        subscription = {"planName": "Free", "upgradeUrl": f"{sight.base}/{thing.id}/billing"}
        return {"slug": slug or thing.id, "plan": "free", **subscription}


@answers("management:workspaces.create")
def create_workspace(call: Call) -> Thing:
    call.refuse_apps()
    owner = call.workspace.hidden["owner"]  # a service token acts for whoever owns its workspace
    return call.world.create_workspace(call.fields.get("displayName", "My workspace"), owner)


class Integrations(Resource, kind="integrations"):
    """What a login leaves behind."""

    def gone(self, call: Call, thing: Thing) -> None:
        call.tokens.revoke_app(thing.values["clientId"], thing.holder.id)


class ServiceTokens(Resource, kind="service-tokens"):
    """Tokens as people make them and as GitHub's workflows get them; the latter expire."""

    told_once: ClassVar[frozenset[str]] = frozenset({"value"})

    def made(self, call: Call, thing: Thing) -> None:
        expires_at = thing.values.get("expiresAt")
        value = call.tokens.issue_service_token(thing.holder.id, expires_at=expires_at)
        thing.values.update(value=value, valueHint=hint(value), expiresAt=expires_at and timestamp(expires_at))

    def gone(self, call: Call, thing: Thing) -> None:
        call.tokens.service_tokens.pop(thing.values["value"], None)


def hint(secret: str) -> str:
    """What is told of a secret later on."""
    return f"…{secret[-4:]}"


class AgentApprovals(Resource, kind="agent-approvals"):
    """One exists from the start, is granted within a moment and expires after ten minutes."""

    def show(self, sight: Sight, thing: Thing) -> Values:
        age, made_at = sight.world.clock() - thing.made_at, thing.made_at
        decided, expired = age >= MOMENT, age >= APPROVAL_LIFETIME
        return {
            "status": "expired" if expired else "approved" if decided else "pending",
            "expiresAt": timestamp(made_at + APPROVAL_LIFETIME),
            "decidedAt": timestamp(made_at + MOMENT) if decided else None,
        }

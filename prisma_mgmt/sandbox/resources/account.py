"""Workspaces and who may enter them, regions, approvals, and whom a token stands for."""

from typing import Any

from prisma_mgmt.sandbox.engine import MOMENT, Call, Resource, answers, resource
from prisma_mgmt.sandbox.state import Thing, Values, World, timestamp
from prisma_mgmt.sandbox.views import Sight
from prisma_mgmt.sandbox.wire import ApiError

REGIONS = {
    "us-east-1": "US East (N. Virginia)",
    "us-west-1": "US West (N. California)",
    "eu-west-3": "Europe (Paris)",
    "eu-central-1": "Europe (Frankfurt)",
    "ap-northeast-1": "Asia Pacific (Tokyo)",
    "ap-southeast-1": "Asia Pacific (Singapore)",
}
DEFAULT_REGION = "us-east-1"
APPROVAL_LIFETIME = 600.0  # seconds


def region(id: str) -> Values:
    return {"id": id, "name": REGIONS.get(id, id)}  # the older APIs have regions of their own


def _regions(product: str) -> list[Values]:
    status = {"status": "available"} if product == "postgres" else {}
    return [{**region(id), "type": "region", **status} for id in REGIONS]


@answers("management:regions.list")
def list_regions(call: Call) -> list[Values]:
    products = [call.query["product"]] if "product" in call.query else ["postgres", "accelerate"]
    return [{**one, "product": product} for product in products for one in _regions(product)]


@answers("management:regions.list_postgres")
def list_postgres_regions(_call: Call) -> list[Values]:
    return _regions("postgres")


@answers("management:regions.list_accelerate")
def list_accelerate_regions(_call: Call) -> list[Values]:
    return _regions("accelerate")


@answers("management:me.get")
def me(call: Call) -> Values:
    principal, workspace = call.principal, call.workspace
    place = {"id": workspace.id, "name": workspace.name}
    if principal.client is None:
        own = [it for it in call.world.inside(workspace, "service-tokens") if it.hidden["value"] == call.token]
        id, name = (own[0].id, own[0].name) if own else (None, "Sandbox service token")
        return {"user": None, "workspace": place, "credential": {"type": "service_token", "id": id, "name": name}}
    user = call.user
    credential = {"type": "oauth", "id": principal.client.id, "name": principal.client.name}
    return {
        "user": {"id": user.id, "email": user.email, "name": user.name},
        "workspace": place,
        "credential": credential,
    }


# Workspaces


@resource("workspaces")
class Workspaces(Resource):
    def show(self, sight: Sight, thing: Thing) -> Values:
        slug = "-".join("".join(one if one.isalnum() else " " for one in thing.name.lower()).split())
        return {"slug": slug or thing.id, "plan": "free"}


@answers("management:workspaces.create")
def create_workspace(call: Call) -> Thing:
    if call.principal.client is not None:
        raise ApiError(403, "An integration may not create workspaces.", hint="Use a service token.")
    owner = call.workspace.hidden["owner"]  # a service token acts for whoever owns its workspace
    return call.world.create_workspace(call.fields.get("displayName", "My workspace"), owner)


@answers("management:workspaces.subscription")
def subscription(call: Call) -> Values:
    return {"planName": "Free", "usageBlocked": False, "upgradeUrl": f"{call.base}/{call.it.id}/billing"}


@answers("data_platform:members.list")
def list_members(call: Call) -> list[Values]:
    head = {"role": "owner", "status": "active", "joinedAt": timestamp(call.it.made_at)}
    members = call.world.members(call.it)
    return [{"id": f"mem_{user.id[4:]}", "userId": user.id, "email": user.email, **head} for user in members]


# Integrations: what a login leaves behind


@resource("integrations")
class Integrations(Resource):
    def gone(self, call: Call, thing: Thing) -> None:
        call.tokens.revoke_app(thing.values["clientId"], thing.holder.id)

    def show(self, sight: Sight, thing: Thing) -> Values:
        user = thing.hidden["user"]
        return {
            "client": {"id": thing.values["clientId"], "name": thing.name, "createdAt": timestamp(thing.made_at)},
            "createdByUser": {"id": user.id, "email": user.email, "displayName": user.name},
            "provider": "oauth",
            "status": "active",
        }


@answers("management:integrations.list")
def list_integrations(call: Call) -> list[Thing]:
    return call.every("integrations", call.find("workspaces", call.query["workspaceId"]))


# Approvals: one exists from the start, is granted within a moment and expires after ten minutes


@resource("agent-approvals")
class AgentApprovals(Resource):
    def settle(self, world: World, thing: Thing) -> None:
        age = world.clock() - thing.made_at
        decided, expired = age >= MOMENT, age >= APPROVAL_LIFETIME
        moment: Any = timestamp(thing.made_at + MOMENT) if decided else None
        thing.values.update(
            status="expired" if expired else "approved" if decided else "pending",
            expiresAt=timestamp(thing.made_at + APPROVAL_LIFETIME),
            windowExpiresAt=None,
            decidedAt=moment,
        )

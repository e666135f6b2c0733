"""Projects: each comes with a branch `main`, and mostly with a database."""

from typing import ClassVar

from prisma_mgmt.sandbox.engine import Call, Resource, answers, facts, resource, resource_of
from prisma_mgmt.sandbox.state import Thing, Values
from prisma_mgmt.sandbox.views import Sight
from prisma_mgmt.sandbox.wire import ApiError, missing


@resource("projects")
class Projects(Resource):
    defaults: ClassVar[Values] = {"name": "My project", "region": None, "logicalId": None, "createDatabase": True}
    unique = (("logicalId",),)

    def made(self, call: Call, thing: Thing) -> None:
        call.create("branches", thing, {"gitName": "main"})
        if thing.values["createDatabase"] and call.operation.api != "data_platform":
            region = {"region": thing.values["region"]} if thing.values["region"] else {}
            call.create("databases", thing, {"name": f"{thing.name} database", "isDefault": True, **region})

    def show(self, sight: Sight, thing: Thing) -> Values:
        shown: Values = {"defaultRegion": thing.values["region"]}
        if sight.secrets:  # a database in its new project, which it does not name
            inside = sight.world.inside(thing, "databases")
            shown["database"] = facts(sight, inside[0]) if inside else None
        return shown


@answers("management:projects.transfer")
def transfer(call: Call) -> None:
    recipient = call.tokens.principal(call.fields["recipientAccessToken"])
    if recipient is None:
        raise missing("The workspace of recipientAccessToken")
    if recipient.workspace_id == call.it.workspace_id:
        raise ApiError(409, "The project is in that workspace already.")
    workspace = call.world.workspaces[recipient.workspace_id]
    resource_of("projects").check_free(call, call.it, call.it.values, workspace)
    call.it.parent = workspace
    call.it.values.pop("workspaceId", None)  # which its creation may have named

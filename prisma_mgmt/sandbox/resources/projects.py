"""Projects: each comes with a branch `main`, and mostly with a database."""

from typing import Any

from prisma_mgmt.sandbox.engine import Call, Reply, Resource, answers, facts, resource
from prisma_mgmt.sandbox.state import Thing, Values
from prisma_mgmt.sandbox.views import Sight
from prisma_mgmt.sandbox.wire import ApiError, missing


@resource("projects")
class Projects(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        values = thing.values
        values.pop("workspaceId", None)
        values.setdefault("logicalId", None)
        _check_free(call, thing, thing.holder)
        values.setdefault("name", "My project")
        values.setdefault("region", None)
        call.create("branches", thing, {"gitName": "main"})

    def changed(self, call: Call, thing: Thing, changes: Values) -> None:
        changes.pop("settings", None)  # no operation shows them

    def show(self, sight: Sight, thing: Thing) -> Values:
        shown: Values = {"defaultRegion": thing.values["region"]}
        if sight.secrets:
            inside = sight.world.inside(thing, "databases")
            shown["database"] = _alone(sight, inside[0]) if inside else None
        return shown


def _alone(sight: Sight, database: Thing) -> Values:
    """A database as it is shown inside its new project, which it does not name."""
    connections = sight.world.inside(database, "connections")
    return {**database.values, **facts(sight, database), "connections": connections}


def _check_free(call: Call, project: Thing, workspace: Thing) -> None:
    logical_id = project.values["logicalId"]
    for other in call.world.inside(workspace, "projects"):
        if other is not project and logical_id is not None and other.values["logicalId"] == logical_id:
            raise ApiError(409, f"logicalId {logical_id!r} is taken by {other.id}.", id=other.id)


@answers("management:projects.create", "postgres:projects.create")
def create(call: Call) -> Reply:
    fields = dict(call.fields)
    with_database = fields.pop("createDatabase", True)
    project = call.create("projects", values=fields)
    if with_database:
        database = {"name": f"{project.name} database", "isDefault": True}
        if project.values["region"]:
            database["region"] = project.values["region"]
        call.create("databases", project, database)
    return Reply(project, secrets=True)


@answers("management:projects.transfer")
def transfer(call: Call) -> Any:
    recipient = call.tokens.principal(call.fields["recipientAccessToken"])
    if recipient is None:
        raise missing("The workspace of recipientAccessToken")
    if recipient.workspace_id == call.it.workspace_id:
        raise ApiError(409, "The project is in that workspace already.")
    workspace = call.world.workspaces[recipient.workspace_id]
    _check_free(call, call.it, workspace)
    call.it.parent = workspace

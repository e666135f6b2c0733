"""Routes of the Management API: workspaces, who may enter them, regions and projects."""

from starlette.responses import Response

from prisma_mgmt.sandbox import views
from prisma_mgmt.sandbox.api import Call, Handler, data, done
from prisma_mgmt.sandbox.state import DEFAULT_REGION, REGIONS, Integration
from prisma_mgmt.sandbox.wire import ApiError


def list_workspaces(call: Call) -> Response:
    own = call.workspace(call.principal.workspace_id)
    return call.page([own], views.workspace)


def create_workspace(call: Call) -> Response:
    if call.principal.client is not None:
        raise ApiError(403, "An integration may not create workspaces.", hint="Use a service token.")
    name = call.body.text("displayName") or "My workspace"
    return data(views.workspace(call.world, call.world.create_workspace(name)), 201)


def get_workspace(call: Call) -> Response:
    return data(views.workspace(call.world, call.workspace()))


def get_subscription(call: Call) -> Response:
    url = f"{call.world.api_url}/{call.workspace().id}/billing"
    return data({"planName": "Free", "usageBlocked": False, "upgradeUrl": url})


def list_regions(call: Call) -> Response:
    products = ("postgres", "accelerate")
    only = call.query.choice("product", products)
    shown = [
        {"id": region, "type": "region", "name": name, "product": product, "status": "available"}
        for product in products
        if only in {None, product}
        for region, name in REGIONS.items()
    ]
    return data(shown)


def list_postgres_regions(_call: Call) -> Response:
    return data([{"id": id, "type": "region", "name": name, "status": "available"} for id, name in REGIONS.items()])


def list_accelerate_regions(_call: Call) -> Response:
    return data([{"id": id, "type": "region", "name": name} for id, name in REGIONS.items()])


def get_me(call: Call) -> Response:
    workspace, client = call.workspace(call.principal.workspace_id), call.principal.client
    if client is None:
        user, credential = None, {"type": "service_token", "id": None, "name": "Sandbox service token"}
    else:
        user = {**views.USER, "name": "Sandbox Developer"}
        credential = {"type": "oauth", "id": client.id, "name": client.name}
    place = {"id": workspace.id, "name": workspace.name}
    return data({"user": user, "workspace": place, "credential": credential})


# Integrations


def list_integrations(call: Call) -> Response:
    call.workspace(call.query.required("workspaceId"))
    return call.page(call.every(call.world.integrations), views.integration)


def list_workspace_integrations(call: Call) -> Response:
    call.workspace()
    return call.page(call.every(call.world.integrations), views.integration)


def get_integration(call: Call) -> Response:
    return data(views.integration(call.world, call.integration()))


def _remove_integration(call: Call, integration: Integration) -> Response:
    call.tokens.revoke_app(integration.client_id, integration.workspace_id)
    del call.world.integrations[integration.id]
    return done()


def delete_integration(call: Call) -> Response:
    return _remove_integration(call, call.integration())


def delete_workspace_integration(call: Call) -> Response:
    call.workspace()
    for integration in call.every(call.world.integrations):
        if integration.client_id == call.path["client_id"]:
            return _remove_integration(call, integration)
    raise ApiError(404, f"{call.path['client_id']} was not let into this workspace.")


# Projects


def list_projects(call: Call) -> Response:
    logical_id = call.query.text("logicalId")
    found = [one for one in call.every(call.world.projects) if logical_id in {None, one.logical_id}]
    return call.page(found, views.project)


def create_project(call: Call) -> Response:
    body = call.body
    workspace = call.workspace(body.text("workspaceId") or call.principal.workspace_id)
    name, region = body.text("name") or "My project", body.choice("region", REGIONS)
    with_database, logical_id = body.flag("createDatabase", True), body.text("logicalId")
    if logical_id is not None and any(one.logical_id == logical_id for one in call.every(call.world.projects)):
        raise ApiError(409, f"A project with logicalId {logical_id!r} exists already.")
    project = call.world.create_project(workspace, name, region, logical_id)
    shown: views.JSON | None = None
    if with_database:
        database = call.world.create_database(project, f"{name} database", region or DEFAULT_REGION, is_default=True)
        shown = views.created_database(call.world, database)
        del shown["project"]
    return data({**views.project(call.world, project), "database": shown}, 201)


def get_project(call: Call) -> Response:
    return data(views.project(call.world, call.project()))


def update_project(call: Call) -> Response:
    project = call.project()
    name, _ = call.body.text("name"), call.body.object("settings")
    project.name = name or project.name
    return data(views.project(call.world, project))


def delete_project(call: Call) -> Response:
    call.world.delete_project(call.project())
    return done()


def transfer_project(call: Call) -> Response:
    project = call.project()
    recipient = call.tokens.principal(call.body.required("recipientAccessToken"))
    if recipient is None:
        raise ApiError(404, "recipientAccessToken belongs to no workspace.")
    if recipient.workspace_id == project.workspace_id:
        raise ApiError(409, "The project is in that workspace already.")
    project.workspace_id = recipient.workspace_id
    return done()


ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/v1/me", get_me),
    ("GET", "/v1/regions", list_regions),
    ("GET", "/v1/regions/postgres", list_postgres_regions),
    ("GET", "/v1/regions/accelerate", list_accelerate_regions),
    ("GET", "/v1/workspaces", list_workspaces),
    ("POST", "/v1/workspaces", create_workspace),
    ("GET", "/v1/workspaces/{id}", get_workspace),
    ("GET", "/v1/workspaces/{id}/subscription", get_subscription),
    ("GET", "/v1/workspaces/{id}/integrations", list_workspace_integrations),
    ("DELETE", "/v1/workspaces/{id}/integrations/{client_id}", delete_workspace_integration),
    ("GET", "/v1/integrations", list_integrations),
    ("GET", "/v1/integrations/{id}", get_integration),
    ("DELETE", "/v1/integrations/{id}", delete_integration),
    ("GET", "/v1/projects", list_projects),
    ("POST", "/v1/projects", create_project),
    ("GET", "/v1/projects/{id}", get_project),
    ("PATCH", "/v1/projects/{id}", update_project),
    ("DELETE", "/v1/projects/{id}", delete_project),
    ("POST", "/v1/projects/{id}/transfer", transfer_project),
]

"""The engine below the resources: what it makes of a description that it has never seen, and what it knows of ours."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from benchmarks.answers import connection
from prisma_mgmt.sandbox.api import Application
from prisma_mgmt.sandbox.description import Description, Schemas, describe
from prisma_mgmt.sandbox.engine import OWN
from tests.sandbox.local import APIS, BASE, InProcess, Local, assert_error, made, read

WIDGET = {
    "type": "object",
    "required": [
        "id",
        "type",
        "url",
        "name",
        "colour",
        "projectId",
        "createdAt",
        "size",
        "owner",
        "tags",
        "shape",
        "email",
    ],
    "properties": {
        "id": {"type": "string"},
        "type": {"type": "string", "const": "widget"},
        "url": {"type": "string", "format": "uri"},
        "name": {"type": "string"},
        "colour": {"type": "string", "enum": ["red", "blue"]},
        "projectId": {"type": "string"},
        "createdAt": {"type": "string", "format": "date-time"},
        "size": {"type": "integer"},
        "owner": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "email": {"type": "string", "format": "email"},
        "shape": {"anyOf": [{"$ref": "#/components/schemas/Round"}, {"type": "null"}]},
        "extra": {"type": "string"},
    },
}
BODY = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "colour": {"type": "string", "enum": ["red", "blue"]}},
}


def operation(id: str, answer: Any, *, status: int = 200, body: Any = None, parameters: Any = ()) -> dict[str, Any]:
    content = {} if answer is None else {"content": {"application/json": {"schema": answer}}}
    asked = {} if body is None else {"requestBody": {"content": {"application/json": {"schema": body}}}}
    errors = {"x-errors": [401, 404, 422]}
    return {"operationId": id, "summary": id, "parameters": list(parameters), "responses": {str(status): content},
            **asked, **errors}  # fmt: skip


def data(schema: Any) -> dict[str, Any]:
    return {"type": "object", "required": ["data"], "properties": {"data": schema}}


REF = {"$ref": "#/components/schemas/Widget"}
PAGE = {
    **data({"type": "array", "items": REF})["properties"],
    "pagination": {"$ref": "#/components/schemas/Pagination"},
}
QUERY = [
    {"name": name, "in": "query", "required": False, "schema": {"type": kind}}
    for name, kind in (("cursor", "string"), ("limit", "integer"), ("colour", "string"))
]
NEW = {
    "components": {
        "schemas": {
            "Widget": WIDGET,
            "Round": {"type": "object", "required": ["radius"], "properties": {"radius": {"type": "number"}}},
            "Pagination": {
                "type": "object",
                "required": ["nextCursor", "hasMore"],
                "properties": {"nextCursor": {"type": ["string", "null"]}, "hasMore": {"type": "boolean"}},
            },
        }
    },
    "paths": {
        "/v1/projects/{projectId}/widgets": {
            "get": operation(
                "widgets.list",
                {"type": "object", "required": ["data", "pagination"], "properties": PAGE},
                parameters=QUERY,
            ),
            "post": operation("widgets.create", data(REF), status=201, body=BODY),
        },
        "/v1/widgets/{widgetId}": {
            "get": operation("widgets.get", data(REF)),
            "patch": operation("widgets.update", data(REF), body={**BODY, "required": []}),
            "delete": operation("widgets.delete", None, status=204),
        },
        "/v1/widgets/{widgetId}/polish": {"post": operation("widgets.polish", data(REF))},
        "/v1/widgets/{widgetId}/report": {"get": operation("widgets.report", WIDGET["properties"]["shape"])},
        "/v1/weather": {"get": operation("weather.get", data({"$ref": "#/components/schemas/Round"}))},
    },
}


@pytest.fixture
def new(local: Local) -> Iterator[httpx.Client]:
    """An API that nobody has written a line for."""
    app = Application(local.tokens, Description("new", NEW))
    headers = {"Authorization": f"Bearer {local.token}"}
    with httpx.Client(transport=InProcess(app), base_url=f"{BASE}/v1", headers=headers) as client:
        yield client


def test_a_new_operation_answers_sensibly_with_no_code(local: Local, new: httpx.Client, api: httpx.Client) -> None:
    project = made(api.post("/projects", json={}))["id"]
    widgets = f"/projects/{project}/widgets"
    assert read(new, widgets) == []
    widget = made(new.post(widgets, json={"name": "one", "colour": "blue"}))
    url = f"/widgets/{widget['id']}"
    assert widget == {
        "id": widget["id"], "type": "widget", "url": f"{BASE}/v1{url}", "name": "one", "colour": "blue",
        "projectId": project, "createdAt": "2027-01-15T08:00:00.000Z", "size": 0, "owner": None, "tags": [],
        "shape": {"radius": 0}, "email": "someone@sandbox.invalid",
    }  # fmt: skip
    made(new.post(widgets, json={"name": "two", "colour": "red"}))
    assert read(new, url) == widget
    assert made(new.patch(url, json={"name": "three"})) == {**widget, "name": "three"}
    assert [one["name"] for one in read(new, widgets)] == ["three", "two"]
    assert [one["name"] for one in read(new, f"{widgets}?colour=red")] == ["two"]
    assert new.get(f"{widgets}?limit=1").json()["pagination"]["hasMore"] is True
    assert made(new.post(f"{url}/polish"))["id"] == widget["id"]
    assert read(new, f"{url}/report") == {"radius": 0}
    assert read(new, "/weather") == {"radius": 0}
    assert_error(new.post(widgets, json={}), 422, "validation-error", "name is required")
    assert_error(new.post(widgets, json={"name": "x", "size": 1}), 422, "validation-error", "size")
    assert_error(new.post("/projects/proj_x/widgets", json={"name": "x"}), 404, "resource-not-found")
    assert new.delete(url).status_code == 204
    assert_error(new.get(url), 404, "resource-not-found")
    assert api.delete(f"/projects/{project}").status_code == 204
    assert not local.world.things("widgets")


# What has no code of its own is carried out by the description alone; a new operation of ours shows up here.
STORED = """
data_platform: api_keys.create api_keys.delete api_keys.list environments.create environments.delete environments.get
    environments.list members.list projects.create projects.delete projects.get projects.list workspaces.get
    workspaces.list workspaces.update
management: agent_approvals.get branches.create branches.delete branches.get branches.update buckets.create
    buckets.create_key buckets.delete buckets.delete_key buckets.get buckets.list buckets.list_keys builds.get
    builds.list builds.update connections.create connections.delete connections.get connections.list databases.create
    databases.create_connection databases.delete databases.get databases.list databases.list_connections
    databases.update deployments.delete deployments.get domains.delete domains.get environment_variables.create
    environment_variables.delete environment_variables.get environment_variables.list environment_variables.update
    integrations.delete integrations.get integrations.list projects.create projects.create_database projects.delete
    projects.get projects.list projects.list_databases projects.update scm_installations.list_repositories
    service_tokens.create service_tokens.delete service_tokens.list services.create services.create_deployment
    services.delete services.get services.list services.list_deployments services.list_domains services.update
    source_repositories.create source_repositories.delete source_repositories.get source_repositories.list
    state.acquire_lease topology.get workspaces.delete_integration workspaces.get workspaces.list
    workspaces.list_integrations workspaces.subscription
postgres: connections.create connections.delete connections.list databases.create databases.create_backup
    databases.delete databases.get integrations.list projects.create projects.delete projects.get projects.list
    workspaces.get workspaces.list
"""


def test_these_operations_have_no_code_of_their_own() -> None:
    expected, api = set(), ""
    for word in STORED.split():
        api = word if word.endswith(":") else api
        expected.add(api + word)
    operations = [it for api in APIS for it in describe(api).operations]
    stored = {f"{it.description.api}:{it.id}" for it in operations if it.id not in OWN}
    assert stored == expected - {f"{api}:{api}:" for api in APIS}
    assert set(OWN) <= {it.id for it in operations}, "code of no operation"


@pytest.mark.parametrize(
    ("api", "method", "path", "template"),
    [
        ("management", "GET", "/v1/projects", "/v1/projects"),
        ("management", "GET", "/v1/projects/a%2Fb", "/v1/projects/{id}"),
        ("management", "POST", "/v1/databases/x/restore", "/v1/databases/{targetDatabaseId}/restore"),
        ("management", "PUT", "/uploads/dep_1", "/uploads/{deploymentId}"),
        ("management", "GET", "/github/install/x", "/github/install/{intentId}"),
        ("management", "PUT", "/v1/projects", None),
        ("management", "GET", "/v1/nothing", None),
        ("management", "GET", "", None),
        ("management", "GET", "/", None),
        ("postgres", "GET", "/v1/databases/x", "/v1/databases/{databaseId}"),
        ("postgres", "GET", "/databases/x", "/v1/databases/{databaseId}"),
        ("postgres", "PUT", "/uploads/dep_1", None),
        ("data_platform", "DELETE", "/v1/apikeys/x", "/v1/apikeys/{apiKeyId}"),
    ],
)
def test_a_path_leads_to_its_route(local: Local, api: str, method: str, path: str, template: str | None) -> None:
    assert local.apps[api].template_of(method, path) == template


def test_the_answers_in_our_other_tests_fit_the_same_schemas() -> None:
    schemas, ref = describe("management").schemas, {"$ref": "#/components/schemas/Connection"}
    assert not list(schemas.problems(ref, connection(1), "it", closed=True))


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": "integer"}, True, "it must be a whole number."),
        ({"type": "integer"}, 1.5, "it must be a whole number."),
        ({"type": "number"}, False, "it must be a number."),
        ({"type": "boolean"}, 1, "it must be true or false."),
        ({"type": ["string", "null"]}, 1, "it must be a string or null."),
        ({"type": "string", "const": "a"}, "b", "it must be 'a'."),
        ({"type": "string", "format": "date-time"}, "today", "it is no date-time."),
        ({"type": "string", "format": "date"}, "2027-02-30", "it is no date."),
        ({"type": "string", "format": "uri"}, "http://[", "it is no uri."),
        ({"type": "string", "format": "email"}, "me", "it is no email."),
        ({"type": "array", "items": {"type": "string"}}, ["a", 1], "it[1] must be a string."),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"a": 1}, "it.a must be a string."),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1, "it must be a string."),
    ],
)
def test_a_value_that_does_not_fit_is_told_why(schema: dict[str, Any], value: Any, message: str) -> None:
    assert [problem.message for problem in Schemas({}).problems(schema, value, "it")] == [message]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, object()),
        ({"type": ["string", "null"]}, None),
        ({"type": "number"}, 1),
        ({"type": "string", "format": "date-time"}, "2027-01-15T08:00:00.000Z"),
        ({"type": "object", "additionalProperties": {}}, {"a": 1}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
    ],
)
def test_a_value_that_fits_has_no_problems(schema: dict[str, Any], value: Any) -> None:
    assert Schemas({}).fits(schema, value)

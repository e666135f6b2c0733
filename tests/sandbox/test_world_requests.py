"""What every request to the sandbox's APIs has to pass, and in which words it is refused."""

import json
from typing import Any

import httpx
import pytest

from tests.sandbox.local import BASE, InProcess, Local, assert_error, made, make_project, read


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic abc", "Bearer  two"])
def test_a_request_without_a_live_token_is_refused(local: Local, header: str | None) -> None:
    with httpx.Client(transport=InProcess(local.apps["management"])) as client:
        response = client.get(f"{BASE}/v1/projects", headers={} if header is None else {"Authorization": header})
    assert_error(response, 401, "authentication-failed")
    assert response.headers["www-authenticate"] == "Bearer"
    assert local.world.counts == {"api": 1, "unauthenticated": 1}


def test_an_unknown_route_is_a_404_and_a_wrong_method_a_405(api: httpx.Client, postgres: httpx.Client) -> None:
    assert_error(api.get("/nonsense"), 404, "resource-not-found", "/v1/nonsense")
    assert_error(api.get("//projects"), 404, "resource-not-found")
    assert_error(postgres.get("/buckets"), 404, "resource-not-found")
    response = api.put("/projects", json={})
    assert_error(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, POST"


def test_the_older_apis_are_served_with_and_without_a_version(local: Local) -> None:
    for name in ("postgres", "data_platform"):
        with local.client(name) as client:
            assert client.get("/workspaces").json() == client.get(f"{BASE}/workspaces").json()


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b'{"name":', 400, "client-error"),
        (b"\xff", 400, "client-error"),
        (b"[" * 100_000, 400, "client-error"),
        (b'{"name":' + b"[" * 200 + b"]" * 200 + b"}", 400, "client-error"),
        (b'{"name": NaN}', 400, "client-error"),
        (b'{"name": 1e999}', 400, "client-error"),
        (b'{"name": %s}' % (b"9" * 5000), 400, "client-error"),
        (b'{"name": "\\ud800"}', 400, "client-error"),
        (b'{"\\udfff": 1}', 400, "client-error"),
        (b'["name"]', 422, "validation-error"),
        (b"null", 422, "validation-error"),
        (b" " * (1024 * 1024 + 1), 413, "payload-too-large"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(api: httpx.Client, content: bytes, status: int, code: str) -> None:
    assert_error(api.post("/projects", content=content), status, code)
    assert read(api, "/projects") == []


def test_a_body_of_another_type_is_refused(api: httpx.Client) -> None:
    assert_error(api.post("/projects", data={"name": "x"}), 415, "unsupported-media-type", "application/json")
    assert_error(api.post("/projects", files={"name": b"x"}), 415, "unsupported-media-type")
    for kind in ("application/json; charset=utf-8", "application/merge-patch+json"):
        assert api.post("/projects", content=b"{}", headers={"content-type": kind}).status_code == 201
    assert api.post("/projects").status_code == 201


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": " "}, "name"),
        ({"name": 7}, "name must be a string"),
        ({"name": None}, "name must be a string"),
        ({"logicalId": ""}, "logicalId"),
        ({"createDatabase": "false"}, "createDatabase must be true or false"),
        ({"colour": "red"}, "createDatabase, name, region, logicalId, workspaceId"),
        ({"region": "moon-1"}, "us-east-1, us-west-1, eu-west-3, eu-central-1, ap-northeast-1, ap-southeast-1"),
    ],
)
def test_a_wrong_field_is_named(api: httpx.Client, body: dict[str, object], words: str) -> None:
    error = assert_error(api.post("/projects", json=body), 422, "validation-error", words)
    assert next(iter(body)) in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "status", "missing"),
    [
        ("/databases", {}, 400, "projectId is required"),
        ("/connections", {"name": "x"}, 422, "databaseId is required"),
        ("/databases/{db}/connections", {}, 422, "name is required"),
        ("/databases/{db}/restore", {}, 422, "source is required"),
        ("/databases/{db}/restore", {"source": {"type": "empty"}}, 422, "source.databaseId is required"),
        ("/databases/{db}/restore", {"source": {"type": "backup", "databaseId": "{db}"}}, 422, "source.backupId"),
        ("/projects/{proj}/transfer", {}, 422, "recipientAccessToken"),
        ("/projects/{proj}/databases", {"source": "empty"}, 400, "source must be an object"),
        ("/projects/{proj}/databases", {"source": {"type": "file"}}, 400, "empty, backup, database"),
        ("/projects/{proj}/databases", {"source": {}}, 400, "source.type"),
        ("/projects/{proj}/databases", {"region": "moon-1"}, 400, "inherit"),
        ("/builds", {"source": "ci", "commitSha": "1", "branchName": "b", "runIdentity": {"runId": 1}}, 422,
         "runIdentity.provider is required"),
        ("/builds", {"source": "ci", "commitSha": "1", "branchName": "b", "externalLogUrl": "x"}, 422,
         "externalLogUrl is no uri"),
    ],
)  # fmt: skip
def test_a_missing_or_nested_field_is_named_in_the_status_of_the_operation(
    api: httpx.Client, path: str, body: dict[str, Any], status: int, missing: str
) -> None:
    project = make_project(api)
    text = json.dumps(body)
    for word, id in {"{proj}": project["id"], "{db}": project["database"]["id"]}.items():
        path, text = path.replace(word, id), text.replace(word, id)
    code = "client-error" if status == 400 else "validation-error"
    assert_error(api.post(path, content=text), status, code, missing)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("colour=red", "cursor, limit, logicalId"),
        ("limit=1&limit=2", "limit came more than once"),
        ("limit=%FF", "UTF-8"),
        ("limit=0", "limit"), ("limit=101", "limit"), ("limit=-1", "limit"), ("limit=ten", "limit"),
        ("limit=1.5", "limit"), ("limit=", "limit"), ("limit=%D9%A1", "limit"), ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=é", "cursor"), ("logicalId=%ED%A0%80", "UTF-8"), ("cursor=after:-1", "cursor"),
    ],
)  # fmt: skip
def test_a_query_that_the_description_does_not_know_is_refused(api: httpx.Client, query: str, words: str) -> None:
    assert_error(api.get(f"/projects?{query}"), 422, "validation-error", words)


def test_a_query_is_checked_by_its_schema(api: httpx.Client, local: Local) -> None:
    assert_error(api.get("/regions?product=mysql"), 422, "validation-error", "postgres, accelerate")
    assert_error(api.get("/integrations"), 422, "validation-error", "workspaceId is required")
    assert_error(api.get("/builds?state=lost"), 422, "validation-error", "pending, running")
    project = make_project(api)
    with local.client("postgres") as postgres:
        usage = f"/databases/{project['database']['id']}/usage"
        assert_error(postgres.get(f"{usage}?startDate=today"), 422, "validation-error", "startDate is no date")


UNKNOWN = [
    "GET /workspaces/wksp_x", "GET /workspaces/wksp_x/subscription", "GET /workspaces/wksp_x/integrations",
    "DELETE /workspaces/wksp_x/integrations/y", "GET /integrations?workspaceId=wksp_x", "GET /integrations/int_x",
    "DELETE /integrations/int_x", "GET /projects/proj_x", "PATCH /projects/proj_x", "DELETE /projects/proj_x",
    "POST /projects/proj_x/transfer", "GET /projects/proj_x/databases", "POST /projects/proj_x/databases",
    "GET /databases/db_x", "PATCH /databases/db_x", "DELETE /databases/db_x", "GET /databases/db_x/usage",
    "GET /databases/db_x/backups", "POST /databases/db_x/restore",
    "POST /databases/db_x/connections", "GET /connections/con_x", "DELETE /connections/con_x",
    "POST /connections/con_x/rotate", "GET /agent-approvals/apr_x", "GET /domains/%00", "GET /deployments/%2F/logs",
]  # fmt: skip


@pytest.mark.parametrize("route", UNKNOWN)
def test_an_unknown_id_is_a_404_and_without_a_token_a_401(local: Local, api: httpx.Client, route: str) -> None:
    method, path = route.split()
    assert_error(api.request(method, path), 404, "resource-not-found")
    with local.client(token="") as stranger:
        assert_error(stranger.request(method, path), 401, "authentication-failed")


def test_a_list_that_knows_no_404_is_empty_instead(api: httpx.Client) -> None:
    assert read(api, "/databases/db_x/connections") == []
    assert read(api, "/workspaces/wksp_x/service-tokens") == []


def test_ids_in_a_body_are_looked_up_too(api: httpx.Client) -> None:
    assert_error(api.post("/projects", json={"workspaceId": "wksp_x"}), 404, "resource-not-found", "wksp_x")
    assert_error(api.post("/databases", json={"projectId": "proj_x"}), 404, "resource-not-found", "proj_x")
    assert_error(api.post("/connections", json={"databaseId": "db_x", "name": "x"}), 404, "resource-not-found")
    project, other = make_project(api)["id"], make_project(api)["id"]
    theirs = read(api, f"/projects/{other}/branches")[0]["id"]
    body = {"projectId": project, "displayName": "web", "branchId": theirs}
    assert_error(api.post("/services", json=body), 404, "resource-not-found", theirs)


def test_an_id_within_another_thing_does_not_exist(api: httpx.Client) -> None:
    project, other = make_project(api)["id"], make_project(api)["id"]
    theirs = read(api, f"/projects/{other}/branches")[0]["id"]
    assert_error(api.get(f"/projects/{project}/branches/{theirs}/application-topology"), 404, "resource-not-found")
    bucket = made(api.post("/buckets", json={"projectId": project}))["id"]
    another = made(api.post("/buckets", json={"projectId": project}))["id"]
    key = made(api.post(f"/buckets/{bucket}/keys", json={"role": "read"}))["id"]
    assert_error(api.delete(f"/buckets/{another}/keys/{key}"), 404, "resource-not-found")
    assert api.delete(f"/buckets/{bucket}/keys/{key}").status_code == 204


def test_lists_page_by_cursor(api: httpx.Client) -> None:
    names = [make_project(api, name=f"p{number}", createDatabase=False)["name"] for number in range(5)]
    first = api.get("/projects", params={"limit": 2}).json()
    assert first["pagination"]["hasMore"] is True
    cursor = first["pagination"]["nextCursor"]
    # The cursor holds although the item that it was made from is gone.
    api.delete(f"/projects/{first['data'][-1]['id']}")
    second = api.get("/projects", params={"limit": 2, "cursor": cursor}).json()
    third = api.get("/projects", params={"limit": 2, "cursor": second["pagination"]["nextCursor"]}).json()
    assert third["pagination"] == {"nextCursor": None, "hasMore": False}
    assert [one["name"] for part in (first, second, third) for one in part["data"]] == names


def test_lists_that_begin_with_the_newest_page_backwards(api: httpx.Client) -> None:
    build = {"source": "cli", "branchName": "main"}
    for number in range(5):
        made(api.post("/builds", json={**build, "commitSha": str(number)}))
    first = api.get("/builds?limit=3").json()
    second = api.get("/builds", params={"limit": 3, "cursor": first["pagination"]["nextCursor"]}).json()
    assert [one["commitSha"] for part in (first, second) for one in part["data"]] == ["4", "3", "2", "1", "0"]


def test_a_page_holds_a_hundred_by_default(api: httpx.Client) -> None:
    for _ in range(101):
        make_project(api, createDatabase=False)
    answer = api.get("/projects").json()
    assert (len(answer["data"]), answer["pagination"]["hasMore"]) == (100, True)
    exact = api.get("/projects", params={"cursor": answer["pagination"]["nextCursor"], "limit": 1}).json()
    assert (len(exact["data"]), exact["pagination"]) == (1, {"nextCursor": None, "hasMore": False})


def test_a_token_sees_its_own_workspace_only(local: Local, api: httpx.Client) -> None:
    other = made(api.post("/workspaces", json={"displayName": "Other"}))
    assert other["name"] == "Other"
    project = make_project(api, logicalId="shop")
    database, connection = project["database"]["id"], project["database"]["defaultConnectionId"]
    with local.client(token=local.tokens.issue_service_token(other["id"])) as stranger:
        for path in ("projects", "databases", "connections"):
            assert read(stranger, f"/{path}") == []
        own = [f"projects/{project['id']}", f"databases/{database}", f"connections/{connection}"]
        for path in [*own, f"workspaces/{local.workspace_id}"]:
            assert_error(stranger.get(f"/{path}"), 404, "resource-not-found")
        assert stranger.post("/projects", json={"logicalId": "shop"}).status_code == 201
        assert [one["name"] for one in read(stranger, "/workspaces")] == ["Other"]

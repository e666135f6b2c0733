"""Services, their deployments and domains, builds, and the logs of both."""

import json
from typing import Any

import anyio
import httpx
import pytest

from prisma_mgmt.sandbox.resources import services
from tests.sandbox.local import BASE, Local, assert_error, made, make_project, read


def make_service(api: httpx.Client, **body: object) -> dict[str, Any]:
    project = body.pop("projectId", None) or make_project(api)["id"]
    return made(api.post("/services", json={"projectId": project, "displayName": "web", **body}))


def make_deployment(api: httpx.Client, service: str, *, uploaded: bool = True, **body: object) -> dict[str, Any]:
    deployment = made(api.post(f"/services/{service}/deployments", json=body))
    if uploaded:
        assert api.put(deployment["uploadUrl"], content=b"archive").status_code == 200
    return deployment


def run(local: Local, api: httpx.Client, service: str) -> str:
    """A deployment that runs."""
    id: str = make_deployment(api, service)["id"]
    made(api.post(f"/deployments/{id}/start"))
    local.clock.now += 1
    return id


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


# Services


def test_a_service_and_an_app_are_one_thing(api: httpx.Client) -> None:
    project = make_project(api, region="eu-west-3")
    service = make_service(api, projectId=project["id"])
    assert (service["type"], service["region"]["id"]) == ("app", "eu-west-3")
    assert service["branchId"] == read(api, f"/projects/{project['id']}/branches")[0]["id"]
    assert read(api, f"/apps/{service['id']}") == service
    assert [one["id"] for one in read(api, f"/apps?projectId={project['id']}")] == [service["id"]]
    assert made(api.patch(f"/apps/{service['id']}", json={"displayName": "shop"}))["name"] == "shop"
    assert api.delete(f"/apps/{service['id']}").status_code == 204
    assert_error(api.get(f"/services/{service['id']}"), 404, "resource-not-found")


def test_a_taken_name_or_logical_id_tells_which_service_has_it(api: httpx.Client) -> None:
    project = make_project(api)["id"]
    service = make_service(api, projectId=project, logicalId="web")
    body = {"projectId": project, "displayName": "web"}
    told = {"existingAppId": service["id"], "name": "web", "branchGitName": "main", "logicalId": "web"}
    error = assert_error(api.post("/services", json=body), 409, "app:already_exists", service["id"])
    assert error.items() >= {**told, "conflict": "name"}.items()
    again = {**body, "displayName": "other", "logicalId": "web"}
    error = assert_error(api.post("/apps", json=again), 409, "app:already_exists")
    assert error.items() >= {**told, "conflict": "logicalId"}.items()
    assert made(api.post("/services", json={**body, "branchGitName": "next"}))["id"]
    other = make_service(api, projectId=project, displayName="other")
    assert_error(api.patch(f"/services/{other['id']}", json={"displayName": "web"}), 409, "app:already_exists")
    both = {**body, "displayName": "third", "branchGitName": "next", "logicalId": "third"}
    assert_error(api.post("/services", json=both), 422, "validation-error", "cannot go together")
    assert api.patch(f"/services/{other['id']}", json={"displayName": "other"}).status_code == 200


# Deployments


def test_a_deployment_goes_from_its_upload_to_service_and_back(local: Local, api: httpx.Client) -> None:
    service = make_service(api)["id"]
    deployment = make_deployment(api, service, uploaded=False, portMapping={"http": 8080})
    url = f"/deployments/{deployment['id']}"
    assert deployment["uploadUrl"].startswith(f"{BASE}/uploads/{deployment['id']}?signature=")
    shown = read(api, url)
    assert (shown["status"], shown["previewDomain"], shown["portMapping"]) == ("new", None, {"http": 8080})
    assert deployment["uploadUrl"] not in api.get(url).text
    assert_error(api.post(f"{url}/start"), 409, "conflict", "no code")
    assert_error(api.post(f"{url}/stop"), 409, "conflict", "new")

    assert api.put(deployment["uploadUrl"], content=b"archive").status_code == 200
    preview = made(api.post(f"{url}/start"))["previewDomain"]
    assert read(api, url)["status"] == "starting"
    assert_error(api.post(f"{url}/start"), 409, "conflict", "starting")
    promote = f"/services/{service}/promote"
    assert_error(api.post(promote, json={"deploymentId": deployment["id"]}), 409, "conflict", "starting")
    local.clock.now += 1
    shown = read(api, url)
    assert (shown["status"], shown["previewDomain"]) == ("running", preview)
    assert_error(api.put(deployment["uploadUrl"], content=b"x"), 409, "conflict", "running")

    result = made(api.post(promote, json={"deploymentId": deployment["id"]}))
    assert result == {
        "appEndpointDomain": read(api, f"/services/{service}")["appEndpointDomain"],
        "reassignedDomains": 0,
    }
    assert_error(api.delete(url), 409, "conflict", "running")
    assert api.post(f"{url}/stop").status_code == 204
    assert read(api, url)["status"] == "stopping"
    local.clock.now += 1
    assert read(api, url)["status"] == "stopped"
    assert api.delete(url).status_code == 204
    assert_error(api.get(url), 404, "resource-not-found")


def test_whoever_has_the_signed_url_may_upload_and_nobody_else(local: Local, api: httpx.Client) -> None:
    deployment = make_deployment(api, make_service(api)["id"], uploaded=False)
    url = deployment["uploadUrl"]
    with local.client(token="none") as stranger:
        assert_error(stranger.put(f"{url}x", content=b"x"), 403, "permission-denied", "signature")
        assert_error(stranger.put(url.partition("?")[0], content=b"x"), 403, "permission-denied")
        assert_error(stranger.put(url.replace("dep_", "dep_x"), content=b"x"), 404, "resource-not-found")
        assert_error(stranger.put(url, content=b""), 400, "client-error", "empty")
        assert_error(stranger.get(url), 405, "method-not-allowed", "PUT")
        assert stranger.put(url, content=b"x" * 3_000_000).status_code == 200
    assert "3000000 bytes" in api.get(f"/deployments/{deployment['id']}/logs").text


@pytest.mark.anyio
async def test_an_archive_that_is_cut_off_or_too_large_is_none(
    local: Local, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MAX_ARCHIVE", 10)
    deployment = await anyio.to_thread.run_sync(lambda: make_deployment(api, make_service(api)["id"], uploaded=False))
    url = httpx.URL(deployment["uploadUrl"])
    scope = {"type": "http", "method": "PUT", "path": url.path, "query_string": url.query, "headers": []}
    for messages, status in (
        ([{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}], 400),
        ([{"type": "http.request", "body": b"x" * 11}], 413),
    ):
        sent: list[Any] = []

        async def receive(messages: list[Any] = messages) -> Any:
            return messages.pop(0)

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        await local.apps["management"](scope, receive, send)
        assert sent[0]["status"] == status
    assert local.world.things("deployments")[deployment["id"]].hidden["code"] is False


def test_code_that_is_in_service_can_be_deployed_again(local: Local, api: httpx.Client) -> None:
    service = make_service(api)["id"]
    url = f"/services/{service}/deployments"
    assert_error(api.post(url, json={"skipCodeUpload": True}), 422, "validation-error", "promoted")
    first = run(local, api, service)
    made(api.post(f"/services/{service}/promote", json={"deploymentId": first}))
    again = made(api.post(url, json={"skipCodeUpload": True}))
    assert again["uploadUrl"] is None
    assert_error(api.put(f"{BASE}/uploads/{again['id']}", content=b"x"), 403, "permission-denied")
    made(api.post(f"/deployments/{again['id']}/start"))
    assert [one["id"] for one in read(api, url)] == [again["id"], first]
    assert read(api, f"/services/{service}")["latestDeploymentId"] == again["id"]


def test_a_service_without_a_branch_has_no_deployments(api: httpx.Client) -> None:
    service = make_service(api, branchId=None)["id"]
    assert_error(api.post(f"/services/{service}/deployments", json={}), 422, "validation-error", "branch")


def test_a_rollback_starts_what_was_stopped(local: Local, api: httpx.Client) -> None:
    service = make_service(api)["id"]
    first, spare = run(local, api, service), make_deployment(api, service, uploaded=False)["id"]
    api.post(f"/deployments/{first}/stop")
    local.clock.now += 1
    rollback = f"/services/{service}/rollback"
    version = read(api, f"/deployments/{first}")["foundryVersionId"]
    assert_error(api.post(f"/services/{service}/promote", json={"versionId": version}), 409, "conflict", "stopped")
    made(api.post(rollback, json={"versionId": version}))
    assert read(api, f"/deployments/{first}")["status"] == "running"
    assert_error(api.post(rollback, json={"deploymentId": spare}), 404, "resource-not-found", "code")
    api.post(f"/deployments/{first}/stop")
    assert_error(api.post(rollback, json={"deploymentId": first}), 409, "conflict", "stopping")
    assert_error(api.post(rollback, json={"deploymentId": "dep_x"}), 404, "resource-not-found")
    assert_error(api.post(rollback, json={}), 422, "validation-error", "deploymentId")


def test_nothing_that_runs_is_deleted_with_what_holds_it(local: Local, api: httpx.Client) -> None:
    project = make_project(api)["id"]
    service = make_service(api, projectId=project)["id"]
    deployment = run(local, api, service)
    for url in (f"/services/{service}", f"/projects/{project}"):
        assert_error(api.delete(url), 409, "conflict", deployment)
        assert api.get(url).status_code == 200
    assert read(api, "/databases") != []
    api.post(f"/deployments/{deployment}/stop")
    assert_error(api.delete(f"/projects/{project}"), 409, "conflict", "stopping")
    local.clock.now += 1
    assert api.delete(f"/projects/{project}").status_code == 204
    assert_error(api.get(f"/deployments/{deployment}"), 404, "resource-not-found")


def test_a_deployment_has_the_variables_of_its_branch_without_their_values(api: httpx.Client) -> None:
    project = make_project(api)["id"]
    variable = {"projectId": project, "class": "production", "key": "MODE", "value": "s3cret-value"}
    made(api.post("/environment-variables", json=variable))
    deployment = make_deployment(api, make_service(api, projectId=project)["id"])
    answer = api.get(f"/deployments/{deployment['id']}")
    assert answer.json()["data"]["envVars"] == {"MODE": "[redacted]"}


# Logs


def test_a_deployments_log_is_read_from_anywhere(local: Local, api: httpx.Client) -> None:
    deployment = run(local, api, make_service(api)["id"])
    url = f"/deployments/{deployment}/logs"
    *records, end = lines(api.get(url))
    assert [one["text"].split(" ", 1)[1] for one in records] == [
        "Created\n", "Code uploaded: 7 bytes\n", "Starting\n", "Running, and listening for requests\n",
    ]  # fmt: skip
    places = [(one["byteStart"], one["byteEnd"]) for one in records]
    assert places[0][0] == 0
    assert [end for _, end in places[:-1]] == [start for start, _ in places[1:]]
    assert (end["type"], end["kind"], end["retryable"]) == ("terminal", "end", True)
    *two, _ = lines(api.get(f"{url}?tail=2"))
    assert two == records[2:]
    assert lines(api.get(f"{url}?tail=2&from_start=true"))[:-1] == records

    assert lines(api.get(url, params={"cursor": end["cursor"]})) == [end]  # nothing new
    api.post(f"/deployments/{deployment}/stop")
    local.clock.now += 1
    *rest, last = lines(api.get(url, params={"cursor": end["cursor"]}))
    assert [one["text"].split(" ", 1)[1] for one in rest] == ["Stopping\n", "Stopped\n"]
    assert (last["code"], last["retryable"]) == ("stopped", False)
    assert_error(api.get(f"{url}?cursor=x"), 404, "resource-not-found", "cursor")
    assert_error(api.get(f"{url}?tail=0"), 422, "validation-error", "tail")


class Follower:
    """The client's side of a WebSocket, without a socket."""

    def __init__(self, local: Local, path: str, token: str | None = None, *, extensions: bool = True) -> None:
        self._app = local.apps["management"]
        token = local.token if token is None else token
        self._scope = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"from_start=true",
            "root_path": "", "scheme": "ws", "server": ("sandbox.test", 80),
            "headers": [(b"authorization", f"Bearer {token}".encode()), (b"host", b"sandbox.test")],
            "extensions": {"websocket.http.response": {}} if extensions else {},
        }  # fmt: skip
        self.sent: list[Any] = []
        self._heard_send, self._heard = anyio.create_memory_object_stream[Any](10)

    async def leave(self) -> None:
        await self._heard_send.send({"type": "websocket.disconnect", "code": 1000})

    async def __call__(self) -> None:
        async def send(message: Any) -> None:
            self.sent.append(message)

        async with self._heard_send, self._heard:
            await self._heard_send.send({"type": "websocket.connect"})
            await self._app(self._scope, self._heard.receive, send)

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(one["text"]) for one in self.sent if one["type"] == "websocket.send"]

    async def wait(self, count: int) -> None:
        with anyio.fail_after(5):
            while len(self.records) < count:
                await anyio.sleep(0.01)


@pytest.mark.anyio
async def test_a_log_is_followed_over_a_websocket(local: Local, api: httpx.Client) -> None:
    deployment = await anyio.to_thread.run_sync(lambda: run(local, api, make_service(api)["id"]))
    follower = Follower(local, f"/v1/deployments/{deployment}/logs")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower)
        await follower.wait(4)
        await anyio.to_thread.run_sync(lambda: api.post(f"/deployments/{deployment}/stop"))
        local.clock.now += 1
        await follower.wait(7)
    assert [one["type"] for one in follower.records] == ["log"] * 6 + ["terminal"]
    assert follower.records[-1]["code"] == "stopped"
    assert follower.sent[-1] == {"type": "websocket.close", "code": 1000, "reason": ""}


@pytest.mark.anyio
async def test_a_follower_may_leave(local: Local, api: httpx.Client) -> None:
    deployment = await anyio.to_thread.run_sync(lambda: run(local, api, make_service(api)["id"]))
    follower = Follower(local, f"/v1/deployments/{deployment}/logs")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower)
        await follower.wait(4)
        await follower.leave()
    assert follower.records[-1]["type"] == "log"


@pytest.mark.anyio
async def test_a_refused_follower_is_at_least_told_no(local: Local) -> None:
    follower = Follower(local, "/v1/nonsense", extensions=False)
    await follower()
    assert [one["type"] for one in follower.sent] == ["websocket.close"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/v1/deployments/dep_x/logs", None, 404),
        ("/v1/deployments/dep_x/logs", "none", 401),
        ("/v1/me", None, 404),
        ("/v1/nonsense", None, 404),
    ],
)
async def test_a_refused_follower_gets_the_envelope(local: Local, path: str, token: str | None, status: int) -> None:
    follower = Follower(local, path, token)
    await follower()
    start, body = follower.sent
    assert start["status"] == status
    assert json.loads(body["body"])["error"]["message"]


# Domains


def test_a_domain_is_verified_after_its_records_were_asked_for(local: Local, api: httpx.Client) -> None:
    service = make_service(api)["id"]
    url = f"/services/{service}/domains"
    assert_error(api.post(url, json={"hostname": "shop.example.com"}), 422, "validation-error", "promoted")
    made(api.post(f"/services/{service}/promote", json={"deploymentId": run(local, api, service)}))
    created = api.post(url, json={"hostname": "Shop.Example.com."})
    domain = made(created)
    assert (created.status_code, domain["status"], domain["hostname"]) == (201, "pending_dns", "shop.example.com")
    assert domain["dnsRecords"][0]["value"].endswith(".invalid")
    again = api.post(url, json={"hostname": "shop.example.com"})
    assert (again.status_code, made(again)["id"]) == (200, domain["id"])
    path, seen = f"/domains/{domain['id']}", []
    for seconds in (0, 0, 1):
        local.clock.now += seconds
        seen.append(read(api, path)["status"])
    assert seen == ["pending_dns", "provisioning_tls", "active"]
    assert read(api, path)["certExpiresAt"] == "2027-04-15T08:00:01.000Z"
    assert_error(api.post(f"{path}/retry"), 409, "conflict", "active")
    other = make_service(api)["id"]
    made(api.post(f"/services/{other}/promote", json={"deploymentId": run(local, api, other)}))
    assert_error(api.post(f"/services/{other}/domains", json={"hostname": "shop.example.com"}), 409, "conflict")
    assert made(api.post(f"/services/{service}/promote", json={"deploymentId": run(local, api, service)})) == {
        "appEndpointDomain": read(api, f"/services/{service}")["appEndpointDomain"], "reassignedDomains": 1,
    }  # fmt: skip
    assert api.delete(path).status_code == 204
    assert read(api, url) == []


def test_a_domain_that_cannot_be_fails_and_is_tried_again(local: Local, api: httpx.Client) -> None:
    service = make_service(api)["id"]
    made(api.post(f"/services/{service}/promote", json={"deploymentId": run(local, api, service)}))
    url = f"/services/{service}/domains"
    for wrong in ("nowhere", "1.2.3.4", "a..b", "-a.example", "ä.example", "x" * 300 + ".example", "a b.example"):
        assert_error(api.post(url, json={"hostname": wrong}), 400, "client-error", "hostname")
    domain = made(api.post(url, json={"hostname": "shop.invalid"}))["id"]
    assert [read(api, url)[0]["status"] for _ in range(2)] == ["pending_dns", "failed"]
    shown = made(api.post(f"/domains/{domain}/retry"))
    assert (shown["status"], shown["failureCategory"]) == ("failed", "dns")
    for number in range(2):
        made(api.post(url, json={"hostname": f"{number}.example.com"}))
    assert_error(api.post(url, json={"hostname": "3.example.com"}), 429, "customDomainQuotaReached")
    listed = api.get(url).json()
    assert (len(listed["data"]), listed["pagination"]) == (3, {"nextCursor": None, "hasMore": False})


# Builds

REPORT = {"source": "ci", "commitSha": "c0ffee", "branchName": "main"}


def test_a_build_left_alone_goes_on(local: Local, api: httpx.Client) -> None:
    build = made(api.post("/builds", json=REPORT))
    url, seen = f"/builds/{build['id']}", [(build["state"], build["phase"])]
    for seconds in (2, 4, 4):
        local.clock.now += seconds
        shown = read(api, url)
        seen.append((shown["state"], shown["phase"]))
    assert seen == [("pending", "queued"), ("running", "build"), ("running", "deploy"), ("succeeded", "deploy")]
    assert (shown["startedAt"], shown["finishedAt"]) == ("2027-01-15T08:00:02.000Z", "2027-01-15T08:00:10.000Z")
    *records, end = lines(api.get(f"{url}/logs"))
    assert [one["text"] for one in records] == ["Queued", "Building", "Deploying", "Done"]
    assert (end["code"], end["retryable"], end["cursor"]) == ("succeeded", False, records[-1]["cursor"])
    assert lines(api.get(f"{url}/logs", params={"cursor": records[1]["cursor"]})) == [*records[2:], end]
    assert lines(api.get(f"{url}/logs?follow=true")) == [*records, end]
    assert [one["id"] for one in read(api, "/builds?state=succeeded")] == [build["id"]]


def test_a_build_that_is_reported_on_is_driven_by_its_reporter(local: Local, api: httpx.Client) -> None:
    project = make_project(api)["id"]
    url = f"/builds/{made(api.post('/builds', json=REPORT))['id']}"
    assert made(api.patch(url, json={"state": "running", "phase": "build", "projectId": project}))["state"] == "running"
    local.clock.now += 60
    assert read(api, url)["state"] == "running"
    assert [one["projectId"] for one in read(api, f"/builds?projectId={project}")] == [project]
    assert_error(api.patch(url, json={"projectId": make_project(api)["id"]}), 409, "conflict", "projectId")
    failed = {"state": "failed", "failingStep": "test", "errorMessage": "1 test failed"}
    shown = made(api.patch(url, json=failed))
    assert {key: shown[key] for key in failed} == failed
    assert shown["finishedAt"] == "2027-01-15T08:01:00.000Z"
    assert_error(api.patch(url, json={"state": "running"}), 409, "conflict", "failed")
    assert lines(api.get(f"{url}/logs"))[-2].items() >= {"level": "error", "text": "1 test failed"}.items()
    assert_error(api.get(f"{url}/logs?cursor=x"), 404, "resource-not-found")


def test_the_same_run_is_the_same_build(api: httpx.Client) -> None:
    run = {"provider": "github", "repositoryId": "7", "runId": "1", "runAttempt": 1}
    first, again = (made(api.post("/builds", json={**REPORT, "runIdentity": run}))["id"] for _ in range(2))
    assert first == again
    assert made(api.post("/builds", json={**REPORT, "runIdentity": {**run, "runAttempt": 2}}))["id"] != first
    assert made(api.post("/builds", json=REPORT))["id"] != made(api.post("/builds", json=REPORT))["id"]


def test_a_build_remembers_the_strongest_action(api: httpx.Client) -> None:
    project = make_project(api)
    url = f"/builds/{made(api.post('/builds', json=REPORT))['id']}"
    path = f"{url}/resources/database/{project['database']['id']}"
    for action in ("created", "acted_on", "created"):
        assert api.put(path, json={"action": action}).status_code == 204
    (resource,) = read(api, url)["resources"]
    assert (resource["resourceType"], resource["action"]) == ("database", "created")
    assert_error(api.put(path, json={"action": "lost"}), 422, "validation-error", "acted_on")
    assert_error(api.put(f"{url}/resources/table/x", json={"action": "created"}), 422, "validation-error", "database")
    assert_error(api.put(f"{url}/resources/branch/x", json={"action": "created"}), 404, "resource-not-found")

"""Faults on request: what fails, comes late or is cut off, for callers in this process and in others."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest

from prisma_mgmt import ManagementClient, NetworkError, RetryPolicy, ServerError
from prisma_mgmt.sandbox import Sandbox
from tests.sandbox.visitor import connect, exchange, get_code, log_in, refresh

ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def local() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def caller(local: Sandbox) -> Iterator[httpx.Client]:
    with connect(local, local.service_token) as client:
        yield client


@pytest.fixture
def other(local: Sandbox) -> Iterator[httpx.Client]:
    """A program in another process."""
    with httpx.Client(base_url=f"{local.api_url}/_sandbox") as client:
        yield client


def statuses(caller: httpx.Client, *paths: str) -> list[int]:
    return [caller.get(path).status_code for path in paths]


def test_a_failure_comes_as_often_as_was_asked(local: Sandbox, caller: httpx.Client) -> None:
    fault = local.fail("GET /v1/projects", status=500, times=2)
    assert statuses(caller, "/projects", "/regions", "/projects", "/projects") == [500, 200, 500, 200]
    assert (fault.met, fault.left, local.faults) == (2, 0, [fault])
    assert local.counts["faults"] == 2
    assert [(one.status, one.fault) for one in local.requests] == [(500, "fail"), (200, None)] * 2


def test_a_failure_carries_what_was_asked_for(local: Sandbox, caller: httpx.Client) -> None:
    local.fail("GET /v1/projects", 429, retry_after=1.5)
    limited = caller.get("/projects")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "1.5")
    assert limited.json()["error"]["code"] == "rate-limit-exceeded"
    local.fail("GET /v1/projects", code="planLimitReached")
    assert caller.get("/projects").json()["error"]["code"] == "planLimitReached"


def test_a_failure_does_nothing_of_what_was_asked(local: Sandbox, caller: httpx.Client) -> None:
    local.fail("POST /v1/projects")
    assert caller.post("/projects", json={"name": "shop"}).status_code == 503
    assert local.requests[-1].body == {"name": "shop"}
    assert caller.get("/projects").json()["data"] == []


def test_the_login_server_fails_in_its_own_words(local: Sandbox) -> None:
    with httpx.Client(base_url=local.auth_url) as web:
        code, token = get_code(web, local), log_in(web, local)["refresh_token"]
        local.fail("POST /token", 503)
        answer = exchange(web, local, code)
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert exchange(web, local, code).status_code == 200
        local.fail("POST /auth/token", 400, code="invalid_grant")
        assert refresh(web, local, token).json()["error"] == "invalid_grant"
        assert refresh(web, local, token).status_code == 200


def test_a_star_is_any_route_but_the_sandboxs_own(local: Sandbox, caller: httpx.Client, other: httpx.Client) -> None:
    local.fail("*", times=3)
    assert other.get("/requests").status_code == 200
    assert httpx.get(local.api_url).status_code == 200
    assert statuses(caller, "/projects", "/nonsense") == [503, 503]
    assert httpx.get(f"{local.postgres_url}/v1/projects").status_code == 503
    assert caller.get("/projects").status_code == 200


@pytest.mark.parametrize(
    "route", ["GET /v1/projects/{id}", "GET /v1/projects/{projectId}", "GET /v1/projects/proj_1", "*"]
)
def test_a_route_may_be_named_by_its_template_or_as_it_is_sent(
    local: Sandbox, caller: httpx.Client, route: str
) -> None:
    fault = local.fail(route)
    assert statuses(caller, "/projects/proj_1", "/projects/proj_1") == [503, 404]
    assert fault.met == 1


def test_a_prefix_names_one_of_the_apis(local: Sandbox, caller: httpx.Client) -> None:
    local.fail("GET /postgres/v1/projects/{id}")
    assert caller.get("/projects/proj_1").status_code == 404
    assert httpx.get(f"{local.postgres_url}/v1/projects/proj_1").status_code == 503


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"route": "GET /v1/projcts"}, "no route"),
        ({"route": "PUT /v1/projects"}, "no route"),
        ({"route": "GET /postgres/v1/buckets"}, "no route"),
        ({"route": "/v1/projects"}, "route must be"),
        ({"route": "get /v1/projects"}, "route must be"),
        ({"route": 7}, "route must be"),
        ({"status": 200}, "status"),
        ({"status": "503"}, "status"),
        ({"times": 0}, "times"),
        ({"times": 1.5}, "times"),
        ({"times": True}, "times"),
        ({"retry_after": -1}, "retry_after"),
        ({"retry_after": float("nan")}, "retry_after"),
        ({"code": 7}, "code"),
    ],
)
def test_a_fault_that_could_not_happen_is_an_error(local: Sandbox, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        local.fail(**{"route": "GET /v1/projects", **arguments})
    assert local.faults == []


@pytest.mark.parametrize(
    ("route", "meant"),
    [
        ("GET /projects", "GET /v1/projects"),
        ("DELETE /projects/{id}", "DELETE /v1/projects/{id}"),
        ("GET /projects/proj_1", "GET /v1/projects/proj_1"),
        ("GET /v1/projcts", "GET /v1/projects"),
        ("GET /postgres/v1/database/{id}", "GET /postgres/v1/databases/{databaseId}"),
        ("POST /tokens", "POST /token"),
        ("POST /auth/tokens", "POST /auth/token"),
    ],
)
@pytest.mark.parametrize("ask", [Sandbox.fail, Sandbox.cut, lambda it, route: it.delay(route, 1)])
def test_a_fault_for_a_route_that_is_none_names_the_nearest_one(
    local: Sandbox, other: httpx.Client, ask: Any, route: str, meant: str
) -> None:
    words = f"there is no route {route!r}; did you mean {meant!r}?"
    with pytest.raises(ValueError, match=re.escape(words)):
        ask(local, route)
    answer = other.post("/faults", json={"route": route, "kind": "cut"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, words)
    assert local.faults == []


def test_what_is_like_no_route_has_no_nearest_one(local: Sandbox) -> None:
    with pytest.raises(ValueError, match=r"there is no route 'GET /quite/another/thing'$"):
        local.fail("GET /quite/another/thing")


@pytest.mark.anyio
@pytest.mark.parametrize("route", ["GET /postgres/workspaces/{id}", "GET /postgres/v1/workspaces/{id}"])
async def test_a_route_of_an_api_that_leaves_out_the_version_may_leave_it_out(local: Sandbox, route: str) -> None:
    for named in (route, route.replace("{id}", local.workspace_id)):
        fault = local.fail(named, 500)
        async with local.postgres_client(retry=ONCE) as postgres:
            with pytest.raises(ServerError):
                await postgres.workspaces.get(local.workspace_id)
        assert fault.met == 1


def test_an_answer_comes_late(local: Sandbox, caller: httpx.Client) -> None:
    local.delay("GET /v1/projects", 0.2)
    started = time.perf_counter()
    assert caller.get("/projects").status_code == 200
    assert time.perf_counter() - started >= 0.2
    assert (local.requests[-1].fault, local.requests[-1].seconds >= 0.2) == ("delay", True)


def test_a_late_answer_may_be_a_failure(local: Sandbox, caller: httpx.Client) -> None:
    local.fail("*", 500)
    local.delay("*", 0.05)
    local.cut("*")
    started = time.perf_counter()
    assert caller.get("/projects").status_code == 500
    assert time.perf_counter() - started >= 0.05
    with pytest.raises(httpx.RemoteProtocolError):
        caller.get("/projects")
    assert caller.get("/projects").status_code == 200


def test_a_connection_is_cut(local: Sandbox, caller: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    fault = local.cut("POST /v1/projects", times=2)
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            caller.post("/projects", json={"name": "shop"})
    assert caller.get("/projects").json()["data"] == []
    assert fault.met == 2
    assert [(one.status, one.fault) for one in local.requests[:2]] == [(None, "cut")] * 2
    assert not [record for record in caplog.records if record.name.startswith("uvicorn") and record.levelno > 20]


def test_a_connection_is_known_by_itself_and_not_by_what_its_headers_say(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    headers = {"X-Forwarded-For": "10.1.2.3"}
    with Sandbox() as sandbox, httpx.Client(base_url=sandbox.api_url, headers=headers) as proxied:
        sandbox.cut("GET /v1/me")
        with pytest.raises(httpx.TransportError):
            proxied.get("/v1/me")
        assert proxied.get("/_sandbox/requests").status_code == 200
    assert not [record for record in caplog.records if record.name.startswith("uvicorn") and record.levelno > 20]


@pytest.mark.anyio
async def test_our_own_client_bears_what_it_promises_to(local: Sandbox) -> None:
    local.fail("GET /v1/regions", 503, retry_after=0)
    local.cut("GET /v1/regions")
    async with local.client() as prisma:
        assert await prisma.regions.list()
    assert local.counts["faults"] == 2


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["socket", "process"])
async def test_a_fault_is_the_same_with_and_without_a_socket(local: Sandbox, way: str) -> None:
    sandbox = local if way == "socket" else Sandbox()
    assert sandbox.app
    sandbox.fail("GET /v1/me", 500)
    sandbox.cut("GET /v1/me")
    async with sandbox.client(retry=ONCE, timeout=0.3) as prisma:
        with pytest.raises(ServerError):
            await prisma.me.get()
        with pytest.raises(NetworkError):
            await prisma.me.get()
        sandbox.delay("GET /v1/me", 30)
        with pytest.raises(NetworkError):
            await prisma.me.get()
        await prisma.me.get()
    assert [one.fault for one in sandbox.requests] == ["fail", "cut", "delay", None]


# From other processes


def test_a_fault_is_asked_for_over_http(local: Sandbox, caller: httpx.Client, other: httpx.Client) -> None:
    body = {"route": "GET /v1/projects", "kind": "fail", "status": 429, "times": 2, "retryAfter": 3, "code": "slow"}
    answer = other.post("/faults", json=body)
    assert answer.status_code == 200
    assert answer.json()["data"] == {**body, "seconds": 0.0, "left": 2, "met": 0}
    limited = caller.get("/projects")
    assert (limited.status_code, limited.headers["retry-after"], limited.json()["error"]["code"]) == (429, "3", "slow")
    (told,) = other.get("/faults").json()["data"]
    assert (told["left"], told["met"]) == (1, 1)
    assert caller.get("/projects").status_code == 429
    assert other.post("/faults", json=told).status_code == 200  # the same once more
    assert statuses(caller, "/projects", "/projects", "/projects") == [429, 429, 200]
    assert [one["met"] for one in other.get("/faults").json()["data"]] == [2, 2]
    assert other.post("/faults", json={"route": "*", "kind": "delay", "seconds": 0.0}).status_code == 200
    assert other.post("/faults", json={"route": "*", "kind": "cut"}).status_code == 200
    assert len(local.faults) == 4


def test_the_clock_and_the_world_are_moved_over_http(local: Sandbox, caller: httpx.Client, other: httpx.Client) -> None:
    def now() -> float:
        caller.get("/me")
        return local.requests[-1].at

    before = now()
    assert other.post("/advance", json={"seconds": 1000}).status_code == 204
    assert now() - before >= 1000
    local.fail("*")
    assert other.post("/reset").status_code == 204
    assert local.faults == []
    assert now() - before < 1000


def test_requests_are_told_over_http(caller: httpx.Client, other: httpx.Client, local: Sandbox) -> None:
    caller.post("/projects", json={"name": "shop"})
    (told,) = other.get("/requests").json()["data"]
    assert (told["method"], told["path"], told["status"]) == ("POST", "/v1/projects", 201)
    assert told["body"] == {"name": "shop"}
    assert local.service_token not in str(told)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/faults", {"kind": "fail"}, 422, "route is required"),
        ("/faults", {"route": "*"}, 422, "kind is required"),
        ("/faults", {"route": "*", "kind": "explode"}, 422, "kind"),
        ("/faults", {"route": "*", "kind": ["fail"]}, 422, "kind"),
        ("/faults", {"route": "*", "kind": "fail", "retry_after": 1}, 422, "'retry_after' is not known"),
        ("/faults", {"route": "GET /nonsense", "kind": "fail"}, 422, "no route"),
        ("/faults", {"route": {}, "kind": "fail"}, 422, "route"),
        ("/faults", {"route": "*", "kind": "delay", "seconds": 1e300}, 422, "seconds"),
        ("/faults", ["*"], 422, "object"),
        ("/advance", {}, 422, "seconds is required"),
        ("/advance", {"seconds": -1}, 422, "seconds"),
        ("/advance", {"seconds": 1e300}, 422, "seconds"),
        ("/advance", {"seconds": None}, 422, "seconds"),
    ],
)
def test_a_mistake_is_named(other: httpx.Client, path: str, body: Any, status: int, words: str) -> None:
    answer = other.post(path, content=json.dumps(body))
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 10_000, b'"\\ud800"'])
def test_garbage_is_refused(other: httpx.Client, body: bytes) -> None:
    assert other.post("/faults", content=body).status_code in {400, 422}
    assert other.post("/faults", content=b"x" * 2_000_000).status_code == 413
    assert other.get("/nonsense").status_code == 404
    assert other.get("/reset").status_code == 405


def test_a_page_of_another_site_may_ask_for_nothing(local: Sandbox, other: httpx.Client) -> None:
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        assert other.post("/reset", headers={"Origin": origin}).status_code == 403
    assert other.post("/reset", headers={"Origin": local.api_url}).status_code == 204


@pytest.mark.anyio
async def test_another_machine_may_ask_for_nothing() -> None:
    sandbox = Sandbox(host="0.0.0.0")
    transport = httpx.ASGITransport(sandbox.app, client=("10.0.0.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://10.0.0.1") as client:
        assert (await client.get("/v1/me")).status_code == 401
        assert (await client.get("/_sandbox/requests")).status_code == 403


@pytest.mark.anyio
async def test_many_callers_share_out_a_fault(local: Sandbox) -> None:
    local.fail("GET /v1/regions", 500, times=7)
    met: list[int] = []

    async def ask(prisma: ManagementClient) -> None:
        try:
            await prisma.regions.list()
        except ServerError as error:
            met.append(error.status)

    async with local.client(retry=ONCE) as prisma, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask, prisma)
    assert met == [500] * 7

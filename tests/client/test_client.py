"""A client: what it is made of, what it refuses, its views, and the way to any route."""

import importlib
from typing import Any

import attrs
import httpx
import pytest

from prisma_mgmt import (
    UNSET,
    AuthError,
    Credentials,
    DataPlatformClient,
    DecodeError,
    LoginRequiredError,
    ManagementClient,
    NetworkError,
    PostgresClient,
    Response,
    RetryPolicy,
    ServiceToken,
)
from prisma_mgmt.core import codec
from tests.kit.canaries import leaks
from tests.kit.rig import Reply, Request, serve
from tests.kit.script import CONNECTION, Renewing, Script, answer, scripted

pytestmark = pytest.mark.anyio


async def test_a_call() -> None:
    async def handler(request: Request) -> Reply:
        return Reply(body={"data": CONNECTION})

    async with serve(handler) as server, ManagementClient("token", base_url=server.url) as client:
        connection = await client.connections.get("con_1")
    assert connection.name == "n"
    assert server.requests[0].token == "token"
    assert server.requests[0].target == "/v1/connections/con_1"


async def test_any_route() -> None:
    client, script = scripted(answer(201, {"data": [1]}), answer(204, b""), answer(200, b"null"))
    response = await client.request(
        "PATCH",
        "/v9/{a}/x",
        path_params={"a": "b/c"},
        query={"q": True, "n": None},
        headers={"x-one": "1"},
        body=[None],
    )
    assert isinstance(response, Response)
    assert (response.status, response.body, response.headers["x-request-id"]) == (201, {"data": [1]}, "req_1")
    request = script.requests[0]
    assert (request.method, str(request.url)) == ("PATCH", "https://api.prisma.io/v9/b%2Fc/x?q=true")
    assert (request.headers["x-one"], request.content) == ("1", b"[null]")
    assert (await client.request("DELETE", "/v1/x")).body is None
    assert (await client.request("GET", "/v1/x")).body is None


@pytest.mark.parametrize("method", ["", "GET /", "G T", "GET\r\nX: y", "GÉT"])
async def test_methods_that_are_refused(method: str) -> None:
    client, script = scripted(answer())
    with pytest.raises(ValueError, match="no HTTP method"):
        await client.request(method, "/v1/x")
    assert script.requests == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "a\r\nX-Evil: 1"),
        ("X-A", "a\nb"),
        ("X-A", "a\x00"),
        ("X-A", "ü"),
        ("X A", "a"),
        ("X-A:", "a"),
        ("", "a"),
        ("X\r\nY", "a"),
        ("Authorization", "Bearer a\r\nX-Evil: 1"),
        ("Content-Length", "5"),
        ("content-length", "0"),
        ("Transfer-Encoding", "chunked"),
    ],
)
async def test_headers_that_are_refused(name: str, value: str) -> None:
    client, script = scripted(answer())
    with pytest.raises(ValueError, match="header"):
        await client.request("GET", "/v1/x", headers={name: value})
    with pytest.raises(ValueError, match="header"):
        ManagementClient("token", headers={name: value})
    with pytest.raises(ValueError, match="header"):
        client.with_options(headers={name: value})
    assert script.requests == []


@pytest.mark.parametrize("value", [5, None, b"x", ["a"]])
async def test_headers_of_another_type(value: Any) -> None:
    client, script = scripted(answer())
    with pytest.raises(TypeError, match="X-A must be a string"):
        await client.request("GET", "/v1/x", headers={"X-A": value})
    with pytest.raises(TypeError, match="X-A must be a string"):
        ManagementClient("token", headers={"X-A": value})
    assert script.requests == []


async def test_urls_that_are_too_long_are_refused_before_anything_is_sent() -> None:
    client, script = scripted(answer())
    for call in (
        client.request("GET", "/v1/x", query={"a": "x" * 65_536}),
        client.connections.get("x" * 65_536),
        client.connections.get("ü" * 11_000),
        anext(client.builds.logs("x" * 65_536)),
    ):
        with pytest.raises(ValueError, match="too long"):
            await call
    assert script.requests == []
    await client.connections.get("x" * 65_000)
    assert len(script.requests) == 1


@pytest.mark.parametrize("library", ["orjson", "json"])
@pytest.mark.parametrize(
    "bad", ["canary \ud800", b"canary", {"canary": float("nan")}, {b"canary": 1}, [[UNSET, "canary"]]], ids=repr
)
async def test_a_body_that_is_refused_shows_nothing(bad: Any, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "json":
        monkeypatch.setattr(codec, "_orjson", None)
    client, script = scripted(answer())
    body = {"a": bad, "b": "canary"}
    calls = [lambda: client.request("POST", "/v1/x", body=body, headers={"X-A": "canary"})]
    calls.append(lambda: client.connections._post(Response, "/v1/x", body))
    calls.append(lambda: client.connections._send("PUT", "/v1/x", body))
    for call in calls:
        with pytest.raises((ValueError, TypeError)) as caught:
            await call()
        assert isinstance(caught.value, ValueError) or not isinstance(bad, str)
        assert leaks(caught.value) == []
    assert script.requests == []


async def test_an_answer_that_should_be_empty_and_is_a_page_is_no_success() -> None:
    page = answer(200, b"<html>please log in</html>", content_type="text/html")
    for good in (answer(204, b""), answer(200, b""), answer(200, {}), answer(200, b"null")):
        client, _ = scripted(good, good, good, page)
        assert await client.connections._delete("/v1/x") is None
        assert await client.connections._send("POST", "/v1/x") is None
        await client.databases.delete("db_1")
        for call in (
            client.databases.delete("db_1"),
            client.connections._delete("/v1/x"),
            client.connections._send("POST", "/v1/x", {"a": 1}),
        ):
            with pytest.raises(DecodeError, match=r"expected JSON, got .*text/html.*200") as caught:
                await call
            assert (caught.value.status, caught.value.request_id) == (200, "req_1")


async def test_headers_are_merged_whatever_their_case() -> None:
    client, script = scripted(answer(), headers={"user-agent": "mine", "x-a": "1", "x-b": "1"})
    view = client.with_options(headers={"X-A": "2"})
    await view.request("GET", "/v1/x", headers={"x-A": " 3 ", "ACCEPT": "text/plain"})
    headers = script.requests[0].headers
    assert headers.get_list("user-agent") == ["mine"]
    assert headers.get_list("x-a") == ["3"]
    assert headers.get_list("x-b") == ["1"]
    assert headers.get_list("accept") == ["text/plain"]


async def test_a_view_changes_what_it_was_told_to_and_nothing_else() -> None:
    client, script = scripted(answer(), auth="a", headers={"X-A": "1"}, timeout=5.0)
    policy = RetryPolicy(attempts=2)
    view = client.with_options(
        auth=Renewing("b"), base_url="https://other.example/base/", headers={"X-B": "2"}, timeout=None, retry=policy
    )
    assert type(view) is ManagementClient
    assert (view.base_url, view._options.timeout, view._options.retry) == ("https://other.example/base", None, policy)
    assert (client.base_url, client._options.timeout) == ("https://api.prisma.io", 5.0)
    await view.connections.get("con_1")
    await view.with_options().connections.get("con_1")
    await client.connections.get("con_1")
    assert script.tokens == ["b", "b", "a"]
    assert str(script.requests[0].url) == "https://other.example/base/v1/connections/con_1"
    assert [request.headers.get("x-b") for request in script.requests] == ["2", "2", None]
    assert view.pipeline is client.pipeline
    assert view.connections is view.connections
    assert view.connections is not client.connections


async def test_a_view_without_auth_takes_no_token_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMA_SERVICE_TOKEN", "everything")
    client, script = scripted(answer(), auth="a")
    with pytest.raises(LoginRequiredError, match="no token"):
        await client.with_options(auth=None).connections.get("con_1")
    assert script.requests == []


async def test_a_closed_view_leaves_its_client_open() -> None:
    client, _ = scripted(answer())
    async with client.with_options() as view:
        await view.aclose()
    await client.connections.get("con_1")
    await client.aclose()
    for one in (client, view):
        with pytest.raises(RuntimeError, match="the client is closed"):
            await one.connections.get("con_1")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.prisma.io",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://10.0.0.1",
        "https://user:pass@api.prisma.io",
        "https://api.prisma.io@evil.example",
        "https://api.prisma.io?x=1",
        "https://api.prisma.io/#x",
        "https://api.prisma.io?",
        "https://api.prisma.io/base#",
        "https://api.prisma.io/a b",
        "https://api.prisma.io\\@evil",
        "ftp://api.prisma.io",
        "api.prisma.io",
        "//api.prisma.io",
        "https://",
        "file:///etc/passwd",
        "https://h:99999",
        "https://h:0",
        "https://h:abc",
        "https://999.1.1.1",
        "https://[v1.x]",
        "https://a..b",
        "https://a.example/v1/../v2",
        "https://a.example/./",
        "https://a.example/<v1>",
        f"https://{'a' * 64}.example",
        f"https://a.example/{'b' * 70_000}",
    ],
)
async def test_base_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        ManagementClient("token", base_url=url)
    client, _ = scripted(answer())
    with pytest.raises(ValueError, match="base_url"):
        client.with_options(base_url=url)


@pytest.mark.parametrize(
    "url", ["http://localhost:1", "http://127.0.0.1", "http://[::1]:8", "https://x.example/api/", "http://127.9.9.9/"]
)
async def test_base_urls_that_pass(url: str) -> None:
    assert ManagementClient("token", base_url=url).base_url == url.rstrip("/")


async def test_plain_http_on_request() -> None:
    client = ManagementClient("token", base_url="http://intranet.example", allow_http=True)
    assert client.with_options(base_url="http://other.example").base_url == "http://other.example"


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
async def test_timeouts_that_are_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        ManagementClient("token", timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        ManagementClient("token").with_options(timeout=timeout)


async def test_auth_of_another_kind_is_refused() -> None:
    bad: Any = object()
    with pytest.raises(TypeError, match="access_token, renew"):
        ManagementClient(bad)
    assert isinstance(Renewing("a"), Credentials)
    assert isinstance(ServiceToken("a"), Credentials)


async def test_the_environment_gives_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMA_SERVICE_TOKEN", " from-env ")
    client, script = scripted(answer(), auth=None)
    await client.connections.get("con_1")
    assert script.tokens == ["from-env"]


@pytest.mark.parametrize(("value", "told"), [("  ", "is blank"), ("a b", "holds spaces"), ("", "is blank")])
async def test_a_bad_token_in_the_environment_is_an_error_of_the_first_call_that_wants_it(
    value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRISMA_SERVICE_TOKEN", value)
    client, script = scripted(answer(), auth=None)
    with pytest.raises(
        AuthError, match=f"PRISMA_SERVICE_TOKEN {told}.*: GET https://api.prisma.io/v1/connections/con_1"
    ):
        await client.connections.get("con_1")
    assert script.requests == []
    await client.with_options(auth="mine").connections.get("con_1")
    await client.request("GET", "/v1/x", headers={"Authorization": "Basic abc"})
    assert len(script.requests) == 2


@pytest.mark.parametrize("kind", [ManagementClient, PostgresClient, DataPlatformClient])
async def test_every_api_has_its_client(kind: Any) -> None:
    script = Script(answer(200, {"data": 1}))
    async with kind("token", transport=script) as client:
        assert (await client.request("GET", "/v1/x")).body == {"data": 1}
    assert str(script.requests[0].url) == f"{kind.base_url}/v1/x"


async def test_the_verbs_of_a_resource() -> None:
    model = attrs.make_class("Thing", {"id": attrs.field(type=str), "hint": attrs.field(type=str | None, default=None)})
    one, bare = answer(200, {"data": {"id": "x"}, "hint": "h"}), answer(200, {"id": "x"})
    for name, method in (("_get", "GET"), ("_post", "POST"), ("_put", "PUT"), ("_patch", "PATCH")):
        client, script = scripted(one, bare)
        verb = getattr(client.connections, name)
        assert await verb(model, "/v1/x", headers={"x-a": "1"}) == model("x", "h")
        assert await verb(model, "/v1/x", bare=True) == model("x")
        assert (script.requests[0].method, script.requests[0].headers["x-a"]) == (method, "1")
    client, script = scripted(answer(200, {"data": [{"id": "x"}]}), answer(200, [{"id": "x"}]), answer(204, b""))
    assert (await client.connections._list(model, "/v1/x", {"a": 1})).items == (model("x"),)
    assert (await client.connections._list(model, "/v1/x", bare=True)).items == (model("x"),)
    assert await client.connections._delete("/v1/x", {"b": 2}) is None
    await client.connections._send("POST", "/v1/x", {"a": 1, "b": UNSET})
    assert script.requests[3].content == b'{"a":1}'
    assert [request.url.query for request in script.requests] == [b"a=1", b"", b"b=2", b""]


async def test_a_client_without_a_loop_or_a_call_costs_nothing() -> None:
    client = ManagementClient("token")
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await client.connections.get("con_1")


@pytest.mark.parametrize("module", ["prisma_mgmt", "prisma_mgmt.auth", "prisma_mgmt.auth.storage"])
def test_public_names(module: str) -> None:
    package = importlib.import_module(module)
    assert dir(package) == sorted(package.__all__)
    for name in dir(package):
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute"):
        getattr(package, "nothing")  # noqa: B009  # a name that no checker knows


async def test_plain_http_reads_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")

    async def reply(_: Request) -> Reply:
        return Reply(body={"data": CONNECTION})

    async with serve(reply) as server, ManagementClient("token", base_url=server.url) as client:
        await client.connections.get("con_1")
    async with ManagementClient("token", base_url="https://127.0.0.1:1", retry=RetryPolicy(backoff=60)) as client:
        with pytest.raises(
            NetworkError, match=r"SSL_CERT_FILE .*: GET https://127.0.0.1:1/v1/connections/con_1"
        ) as caught:
            await client.connections.get("con_1")  # at once: no second try would mend it
    assert caught.value.unsent


async def test_what_a_hook_does_to_a_request_stays_with_it() -> None:
    async def sending(request: httpx.Request) -> None:
        assert request.content in (b"", b"[]")
        request.headers["x-once" if not server.requests else "x-later"] = "1"
        request.headers["authorization"] = "Bearer mine"

    async def reply(request: Request) -> Reply:
        return Reply(body={"data": CONNECTION})

    async with (
        serve(reply) as server,
        httpx.AsyncClient(event_hooks={"request": [sending], "response": []}) as theirs,
        ManagementClient("token", base_url=server.url, http_client=theirs) as client,
    ):
        await client.connections.get("con_1")
        await client.request("POST", "/v1/x", body=[])
    async with serve(reply) as other, ManagementClient("token", base_url=other.url) as client:
        await client.request("POST", "/v1/x", body=[], headers={"content-type": "application/merge-patch+json"})
        await client.request("POST", "/v1/x")
        await client.request("DELETE", "/v1/x", body={})
        await client.with_options(headers={"host": "api.example"}).connections.get("con_1")
    assert [request.headers.get("x-once") for request in server.requests] == ["1", None]
    sent = [request.headers for request in other.requests]
    assert [one.get("content-type") for one in sent] == ["application/merge-patch+json", None, "application/json", None]
    assert [one.get("content-length") for one in sent] == ["2", "0", "2", None]
    assert [one["host"] for one in sent] == [other.url.removeprefix("http://")] * 3 + ["api.example"]

"""One call: which token it carries, what a 401 does, and what comes of each kind of answer."""

from typing import Any

import anyio
import httpx
import pytest

from prisma_mgmt import (
    APIError,
    AuthenticationError,
    AuthError,
    BadRequestError,
    ConflictError,
    DecodeError,
    ManagementClient,
    NetworkError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    PrismaError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    UnprocessableEntityError,
)
from prisma_mgmt.errors import LoginRequiredError
from tests.kit.rig import Drop, Reply, Request, serve
from tests.kit.script import CONNECTION, Renewing, answer, scripted

pytestmark = pytest.mark.anyio
REFUSED = answer(401, {"error": {"code": "unauthorized", "message": "no"}})


async def test_a_401_is_renewed_once_and_sent_again() -> None:
    auth = Renewing("old", "new")
    client, script = scripted(REFUSED, answer(), auth=auth)
    await client.request("POST", "/v1/x", body={"a": 1})
    assert script.tokens == ["old", "new"]
    assert [request.content for request in script.requests] == [b'{"a":1}'] * 2
    assert (auth.renewals, auth.taken) == (["old"], ["new"])


async def test_a_second_401_surfaces() -> None:
    auth = Renewing("a", "b", "c")
    client, script = scripted(REFUSED, auth=auth)
    with pytest.raises(AuthenticationError, match="no"):
        await client.connections.get("con_1")
    assert script.tokens == ["a", "b"]
    assert (auth.renewals, auth.taken) == (["a"], [])


async def test_one_renewal_a_call_however_often_it_is_tried() -> None:
    auth = Renewing("a", "b", "c")
    client, script = scripted(REFUSED, answer(503), REFUSED, auth=auth)
    with pytest.raises(AuthenticationError):
        await client.connections.get("con_1")
    assert script.tokens == ["a", "b", "b"]


async def test_without_a_new_token_the_401_surfaces() -> None:
    for auth in ("token", Renewing("old")):
        client, script = scripted(REFUSED, auth=auth)
        with pytest.raises(AuthenticationError) as caught:
            await client.connections.get("con_1")
        assert caught.value.code == "unauthorized"
        assert len(script.requests) == 1


@pytest.mark.parametrize("kind", [AuthError, LoginRequiredError])
async def test_a_failed_renewal_keeps_the_401_as_its_cause(kind: type[AuthError]) -> None:
    class Failing(Renewing):
        async def renew(self, rejected: str) -> str | None:
            raise kind("gone")

    client, script = scripted(REFUSED, auth=Failing("old"))
    with pytest.raises(kind, match="gone") as caught:
        await client.connections.get("con_1")
    assert isinstance(caught.value.__cause__, AuthenticationError)
    assert caught.value.__cause__.request_id == "req_1"
    assert len(script.requests) == 1


async def test_credentials_hear_of_every_token_that_was_taken() -> None:
    auth = Renewing("a")
    client, _ = scripted(answer(), answer(403), REFUSED, auth=auth)
    await client.connections.get("con_1")
    with pytest.raises(PermissionDeniedError):
        await client.connections.get("con_1")
    with pytest.raises(AuthenticationError):
        await client.connections.get("con_1")
    assert auth.taken == ["a", "a"]


async def test_an_authorization_header_of_the_callers_wins() -> None:
    auth = Renewing("unused")
    client, script = scripted(answer(), answer(), REFUSED, auth=auth)
    await client.request("GET", "/v1/x", headers={"authorization": "Basic abc"})
    view = client.with_options(headers={"AUTHORIZATION": " Bearer mine "})
    await view.connections.get("con_1")
    with pytest.raises(AuthenticationError):
        await view.connections.get("con_1")
    assert [request.headers.get_list("authorization") for request in script.requests] == [
        ["Basic abc"],
        ["Bearer mine"],
        ["Bearer mine"],
    ]
    assert (auth.renewals, auth.taken) == ([], [])


async def test_nothing_leaves_without_a_token() -> None:
    client, script = scripted(answer(), auth=None)
    with pytest.raises(LoginRequiredError, match="PRISMA_SERVICE_TOKEN"):
        await client.connections.get("con_1")
    for bad in ("", "a b", "a\r\nx-evil: 1", "ü"):
        client, script = scripted(answer(), auth=Renewing(bad))
        with pytest.raises(ValueError, match="token"):
            await client.connections.get("con_1")
        assert script.requests == []
        client, script = scripted(REFUSED, auth=Renewing("old", bad))
        with pytest.raises(ValueError, match="token"):
            await client.connections.get("con_1")
        assert script.tokens == ["old"]


async def test_a_token_is_asked_for_again_at_each_try() -> None:
    class Changing(Renewing):
        async def access_token(self) -> str:
            return self.tokens.pop(0)

    client, script = scripted(answer(503), answer(), auth=Changing("a", "b"))
    await client.connections.get("con_1")
    assert script.tokens == ["a", "b"]


# What comes of an answer


KINDS: dict[int, type[APIError]] = {
    300: APIError,
    301: APIError,
    302: APIError,
    304: APIError,
    307: APIError,
    308: APIError,
    400: BadRequestError,
    401: AuthenticationError,
    402: APIError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: PayloadTooLargeError,
    418: APIError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    500: ServerError,
    599: ServerError,
}


@pytest.mark.parametrize("status", KINDS)
async def test_every_status_has_its_error(status: int) -> None:
    body = {"error": {"code": "c", "message": "m", "hint": "h", "details": [1]}, "meta": 1}
    client, script = scripted(answer(status, body), retry=_once())
    with pytest.raises(APIError) as caught:
        await client.request("GET", "/v1/x", query={"a": 1})
    error = caught.value
    assert type(error) is KINDS[status]
    assert (error.status, error.code, error.message, error.hint, error.details) == (status, "c", "m", "h", [1])
    assert (error.request_id, error.method, error.url) == ("req_1", "GET", "https://api.prisma.io/v1/x?a=1")
    assert error.body == body
    assert error.headers["X-Request-Id"] == "req_1"
    source = " (the token was given as auth=)" if status == 401 else ""
    assert str(error) == f"{status} c: m (h): GET https://api.prisma.io/v1/x?a=1 [request req_1]{source}"
    assert len(script.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async def elsewhere(request: Request) -> Reply:
        return Reply(body={})

    async with serve(elsewhere) as other:

        async def handler(request: Request) -> Reply:
            return Reply(status=status, body={}, headers={"location": f"{other.url}/stolen"})

        async with serve(handler) as server, ManagementClient("token", base_url=server.url) as client:
            for method in ("GET", "POST"):
                with pytest.raises(APIError, match="redirect") as caught:
                    await client.request(method, "/v1/x", body={"secret": 1})
                assert caught.value.headers["location"] == f"{other.url}/stolen"
        assert other.requests == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected JSON, got 0 bytes"),
        (b"<html>hello</html>", "expected JSON, got 18 bytes (text/html)"),
        (b'{"data": ', "expected JSON, got 9 bytes"),
        (b"\xff\xfe\xff", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b'{"data": NaN}', "expected JSON"),
        (b"null", "data: missing"),
        (b"[]", "data: missing"),
        (b"{}", "data: missing"),
        (b'{"data": null}', "data: expected an object, got null"),
        (b'{"data": []}', "data: expected an object, got an array"),
    ],
)
async def test_a_success_that_cannot_be_read(content: bytes, said: str) -> None:
    client, script = scripted(answer(200, content, content_type="text/html"))
    with pytest.raises(DecodeError) as caught:
        await client.connections.get("con_1")
    assert said in str(caught.value)
    assert (caught.value.status, caught.value.request_id) == (200, "req_1")
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"<html>oops</html>", None, "oops (text/html)"),
        (b"<html><TITLE>\n 502 &amp; gone </TITLE><body>Bad gateway", None, "502 & gone (text/html)"),
        (b"<style>a {}</style> <p>upstream  request\ntimeout</p>", None, "upstream request timeout (text/html)"),
        (b"no " * 100, None, f"{('no ' * 34)[:100]} (text/html)"),
        (b'\xef\xbb\xbf{"code": "c", "message": "m"}', "c", "m"),
        (b"", None, "an error without a message (text/html)"),
        (b"null", None, "an error without a message (text/html)"),
        (b"[1]", None, "an error without a message (text/html)"),
        (b'{"error": null}', None, "an error without a message (text/html)"),
        (b'{"error": 5, "message": 5}', None, "an error without a message (text/html)"),
        (b'{"code": "c", "message": "m"}', "c", "m"),
        (b'{"error": {"code": 5, "message": "m"}}', None, "m"),
        (b'{"error": "invalid", "error_description": "why"}', "invalid", "why"),
        (b'{"error": "invalid", "errorDescription": "why"}', "invalid", "why"),
        (b'{"statusCode": 400, "error": "Bad Request", "message": "why"}', None, "why"),
        (b'{"statusCode": 400, "code": "FST_ERR", "error": "Bad Request", "message": "why"}', "FST_ERR", "why"),
        (b'{"error": null, "message": "why"}', None, "why"),
        (b'{"error": ["a"], "message": "why"}', None, "why"),
        (b'{"type": "about:blank", "title": "Bad", "status": 400, "detail": "why"}', None, "why"),
        (b'{"title": "Bad"}', None, "Bad"),
        (b'{"data": "secr', None, "an error without a message (text/html)"),
        (b'{"error": "Too many requests"}', None, "Too many requests"),
        (b'{"error": "Slow down", "message": "why"}', None, "why"),
        (b'{"errors": [{"code": "c", "message": "one"}, "two", {}, 3, {"message": 4}]}', None, "one; two"),
        (b'{"errors": {"name": ["too short"]}}', None, "an error without a message (text/html)"),
        (b'{"success": false, "error": {"name": "ZodError", "issues": [{"message": "one"}]}}', None, "one"),
        (b'{"statusCode": 400, "error": "Bad Request", "message": ["one", "two"]}', None, "one; two"),
        (b'{"message": [], "title": "Bad"}', None, "Bad"),
    ],
)
async def test_errors_of_any_shape(body: bytes, code: str | None, message: str) -> None:
    client, _ = scripted(answer(400, body, content_type="text/html"))
    with pytest.raises(BadRequestError) as caught:
        await client.connections.get("con_1")
    assert (caught.value.code, caught.value.message) == (code, message)
    if body.startswith(b"<"):
        assert caught.value.body == body.decode()


@pytest.mark.parametrize("body", [{"errors": [{"path": ["name"], "message": "m"}]}, {"error": {"issues": ["m"]}}])
@pytest.mark.parametrize("status", [400, 409])
async def test_a_list_of_faults_is_the_details_of_an_error(status: int, body: Any) -> None:
    client, _ = scripted(answer(status, body))
    with pytest.raises(APIError, match=f"{status}: m: ") as caught:
        await client.connections.get("con_1")
    assert caught.value.details == body.get("errors", ["m"])


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"upstream connect error", None, "upstream connect error (no content type)"),
        (b"<html><title>Gone</title>", "application/xhtml+xml", "Gone (application/xhtml+xml)"),
        (b"<p>Bad gateway</p>", "application/json", "Bad gateway (application/json)"),
        (b'{"token": "secret', "application/json", "an error without a message (application/json)"),
        (b"\xff\xfe\x00\x01", "application/octet-stream", "an error without a message (application/octet-stream)"),
        ("Grüße".encode("latin-1"), "text/plain; charset=iso-8859-1", "Grüße (text/plain; charset=iso-8859-1)"),
        (b"why", "text/plain; charset=idna", "why (text/plain; charset=idna)"),
        (b"why", "text/plain; charset=undefined", "why (text/plain; charset=undefined)"),
    ],
)
async def test_the_first_words_of_an_error_of_any_type(content: bytes, kind: str | None, message: str) -> None:
    headers = {} if kind is None else {"content-type": kind}
    client, _ = scripted(httpx.Response(400, headers=headers, content=content))
    with pytest.raises(BadRequestError) as caught:
        await client.connections.get("con_1")
    assert caught.value.message == message


@pytest.mark.parametrize("start", [b"<", b"<script ", b"<title>", b"<title"])
async def test_a_long_error_page_is_read_at_its_start_only(start: bytes) -> None:
    client, _ = scripted(answer(400, start * 200_000, content_type="text/html"))
    with pytest.raises(BadRequestError) as caught:
        await client.connections.get("con_1")
    assert len(str(caught.value)) < 300


async def test_what_a_server_says_forges_no_line_of_a_log() -> None:
    body = {"code": "c\nx", "message": "m\r\n2026 INFO paid \x1b[0m" + "m" * 10_000, "hint": "h\th"}
    client, _ = scripted(answer(400, body))
    with pytest.raises(BadRequestError) as caught:
        await client.connections.get("con_1")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert caught.value.message == body["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "exists", "message": "m", "existingAppId": "app_1", "logicalId": "x"}},
        {"error": {"code": "exists", "message": "m", "details": None, "existingAppId": "app_1", "logicalId": "x"}},
        {"error": {"code": "exists", "message": "m", "details": {}, "existingAppId": "app_1", "logicalId": "x"}},
        {"error": {"code": "exists", "message": "m", "logicalId": "x"}, "existingAppId": "app_1"},
        {"error": "exists", "existingAppId": "app_1", "logicalId": "x"},
    ],
)
async def test_what_a_conflict_is_with_stays_within_reach(body: object) -> None:
    client, _ = scripted(answer(409, body))
    with pytest.raises(ConflictError) as caught:
        await client.connections.get("con_1")
    assert caught.value.details == {"existingAppId": "app_1", "logicalId": "x"}


async def test_an_answer_without_an_id_of_its_own_has_cloudflares() -> None:
    client, _ = scripted(httpx.Response(502, headers={"cf-ray": "ray_1"}), retry=_once())
    with pytest.raises(ServerError, match=r"\[request ray_1\]") as caught:
        await client.connections.get("con_1")
    assert caught.value.request_id == "ray_1"


async def test_an_error_says_how_often_the_call_was_tried() -> None:
    call = "GET https://api.prisma.io/v1/connections/con_1"
    for step in (httpx.ReadError("x"), answer(500, {"message": "m"})):
        client, _ = scripted(step)
        with pytest.raises(PrismaError) as caught:
            await client.connections.get("con_1")
        assert f": {call} (tried 4 times)" in str(caught.value)
        assert caught.value.attempts == 4
    client, _ = scripted(answer(500), answer(200, {"data": 1}))
    with pytest.raises(DecodeError) as told:
        await client.connections.get("con_1")
    assert (told.value.method, told.value.url, told.value.attempts) == (*call.split(), 2)
    assert f": {call} (tried 2 times)" in str(told.value)


async def test_an_error_below_names_its_errno_and_the_address() -> None:
    async with ManagementClient("token", base_url="http://127.0.0.1:9", retry=_once()) as client:
        with pytest.raises(NetworkError, match=r"\[?Errno 111.*GET http://127.0.0.1:9/v1/x") as caught:
            await client.request("GET", "/v1/x")
    assert caught.value.unsent


async def test_a_401_says_where_its_token_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMA_SERVICE_TOKEN", "from-env")
    for auth, told in (
        (None, "PRISMA_SERVICE_TOKEN of the environment"),
        ("token", "given as auth="),
        (Renewing("only"), "given by Renewing"),
    ):
        client, _ = scripted(REFUSED, auth=auth)
        with pytest.raises(AuthenticationError, match=rf"\(the token was {told}\)"):
            await client.connections.get("con_1")
        with pytest.raises(AuthenticationError, match="given as the header Authorization"):
            await client.request("GET", "/v1/x", headers={"authorization": "x"})


async def test_why_a_renewal_failed_stays_in_the_chain() -> None:
    class Full(Renewing):
        async def renew(self, rejected: str) -> str | None:
            raise AuthError("the tokens could not be stored") from OSError(28, "No space left on device")

    client, _ = scripted(REFUSED, auth=Full("old"))
    with pytest.raises(AuthError) as caught:
        await client.connections.get("con_1")
    assert isinstance(caught.value.__cause__, OSError)
    assert isinstance(caught.value.__cause__.__cause__, AuthenticationError)


async def test_a_route_that_needs_no_token_is_sent_none() -> None:
    client, script = scripted(answer(200, {"data": {}}), auth=None, headers={"Authorization": "Bearer mine"})
    await client.connections._get(dict[str, int], "/v1/x", token=False)
    await client.connections._send("POST", "/v1/x", {"a": 1}, token=False)
    assert ["authorization" in request.headers for request in script.requests] == [False, False]


async def test_an_answer_without_any_header() -> None:
    client, _ = scripted(httpx.Response(404))
    with pytest.raises(NotFoundError, match="no content type") as caught:
        await client.connections.get("con_1")
    assert caught.value.request_id is None


async def test_an_answer_that_lies_about_its_length_is_no_answer() -> None:
    async def handler(request: Request) -> Reply:
        raise Drop(b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n{}")

    async with serve(handler) as server, ManagementClient("token", base_url=server.url, retry=_once()) as client:
        with pytest.raises(PrismaError, match="RemoteProtocolError"):
            await client.connections.get("con_1")


async def test_many_calls_over_one_client() -> None:
    names: list[str] = []

    async def handler(request: Request) -> Reply:
        return Reply(body={"data": {**CONNECTION, "name": request.path}})

    async def call(client: Any, number: int) -> None:
        names.append((await client.connections.get(f"con_{number}")).name)

    async with (
        serve(handler) as server,
        ManagementClient("token", base_url=server.url) as client,
        anyio.create_task_group() as group,
    ):
        for number in range(50):
            group.start_soon(call, client, number)
    assert sorted(names) == sorted(f"/v1/connections/con_{number}" for number in range(50))


def _once() -> RetryPolicy:
    return RetryPolicy(attempts=1)

"""Errors: they copy and pickle, say what is needed, and no part of them shows a secret."""

import copy
import pickle
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpx
import pytest

from prisma_mgmt import (
    APIError,
    AuthError,
    CallbackError,
    DecodeError,
    ManagementClient,
    NetworkError,
    PrismaError,
    RateLimitError,
    RequestTimeoutError,
    RetryPolicy,
    StreamError,
)
from prisma_mgmt.errors import LoginRequiredError
from prisma_mgmt.masks import below
from tests.kit.engines import anyio_backend as anyio_backend
from tests.kit.rig import Drop, Reply, Request, serve
from tests.kit.script import CONNECTION, Renewing, answer, scripted

TOKEN, SENT, GOT = "canary-token-1", "canary-sent-2", "canary-got-3"


def samples() -> list[PrismaError]:
    limited = RateLimitError("m", status=429, code="c", headers=httpx.Headers({"a": "b"}), body={"x": [1]})
    limited.retry_after = 3.0
    return [
        PrismaError("m"),
        APIError("m", status=418, code="c", hint="h", details={"d": 1}, request_id="r", method="GET", url="u"),
        limited,
        NetworkError("m", method="GET", url="u", status=200, request_id="r", unsent=True),
        RequestTimeoutError("m"),
        DecodeError("m", status=200, request_id="r", path="data.x"),
        StreamError("m", code="c", retryable=True, cursor="x"),
        AuthError("m", refresh_token_invalid=True, error="e", error_description="d", retry_after=1.0),
        CallbackError("m"),
        LoginRequiredError("m"),
    ]


@pytest.mark.parametrize("error", samples(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_copy_and_pickle(error: PrismaError, again: Any) -> None:
    twin = again(error)
    assert type(twin) is type(error)
    assert (str(twin), twin.args, vars(twin).keys()) == (str(error), error.args, vars(error).keys())
    assert all(vars(twin)[name] == value for name, value in vars(error).items())


@pytest.mark.anyio
async def test_an_error_of_a_real_answer_pickles() -> None:
    client, _ = scripted(answer(404, {"error": {"code": "c", "message": "m"}}))
    with pytest.raises(APIError) as caught:
        await client.connections.get("con_1")
    twin = pickle.loads(pickle.dumps(caught.value))
    assert str(twin) == str(caught.value)
    assert twin.headers["x-request-id"] == "req_1"


@pytest.mark.anyio
async def test_what_the_api_says_stands_in_the_text_of_an_error_without_its_full_stops() -> None:
    told = {"code": "c", "message": "There is no such region.", "hint": "Use one of: us-east-1, …."}
    client, _ = scripted(answer(422, {"error": told}))
    with pytest.raises(APIError) as caught:
        await client.connections.get("con_1")
    assert str(caught.value).startswith("422 c: There is no such region (Use one of: us-east-1, …): GET https://")
    assert (caught.value.message, caught.value.hint) == (told["message"], told["hint"])


@pytest.mark.anyio
async def test_the_wait_that_the_api_asks_for_stands_in_the_text_of_an_error() -> None:
    client, _ = scripted(answer(503, {"message": "m"}, retry_after="900"))
    with pytest.raises(APIError) as caught:
        await client.connections.get("con_1")
    assert str(caught.value).startswith("503: m (it asks for a wait of 900 s): GET https://")


FORGED = "why\r\n2026 INFO paid \x1b[0m\x85 \u2028" + "m" * 10_000


@pytest.mark.parametrize(
    "error",
    [
        NetworkError(FORGED, request_id=FORGED),
        DecodeError(f"data.{FORGED}: missing", request_id=FORGED),
        StreamError(FORGED, code=FORGED, retryable=False),
        AuthError(FORGED),
        APIError("m", status=400, request_id=FORGED),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_server_says_forges_no_line_of_a_log(error: PrismaError) -> None:
    error.method, error.url, error.attempts = "GET", "https://api.prisma.io/v1/x", 2
    assert str(error).isprintable()
    assert len(str(error)) < 1200
    assert "GET https://api.prisma.io/v1/x (tried 2 times)" in str(error)


# Secrets


def shown(error: BaseException) -> Iterator[str]:
    """All that a report of `error` could hold: texts, attributes, and the locals of every frame but the tests' own."""
    seen: list[BaseException] = []
    queue: list[BaseException | None] = [error]
    while queue:
        one = queue.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        queue += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            queue += one.exceptions
        yield str(one) + repr(one) + repr(one.args)
        yield repr(
            {name: value for name, value in vars(one).items() if name != "body"}
        )  # `body` is the caller's to see
        summary = traceback.TracebackException.from_exception(one, capture_locals=True)
        for frame in summary.stack:
            if "/tests/" not in frame.filename:
                yield f"{frame.filename}:{frame.lineno} {frame.name} {frame.locals}"


def check(error: BaseException) -> None:
    for text in shown(error):
        for canary in (TOKEN, SENT, GOT):
            assert canary not in text, text


def test_the_check_finds_what_is_there() -> None:
    with pytest.raises(AssertionError):
        check(ValueError(TOKEN))
    try:
        copy.copy({"a": [GOT]}[TOKEN])
    except KeyError as error:
        with pytest.raises(AssertionError):
            check(error)


async def cut(request: Request) -> Reply:
    raise Drop(b'HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{"data": "' + GOT.encode())


async def no_status_line(request: Request) -> Reply:
    raise Drop(f'"{GOT}"\r\n\r\n'.encode())


async def bad_header(request: Request) -> Reply:
    raise Drop(f"HTTP/1.1 200 OK\r\nx-secret {GOT}\r\n\r\n".encode())


async def misfit(request: Request) -> Reply:
    return Reply(body={"data": {**CONNECTION, "name": [GOT]}})


async def missing(request: Request) -> Reply:
    return Reply(body={"data": {"id": GOT}})


async def no_json(request: Request) -> Reply:
    return Reply(content=b'{"data": "' + GOT.encode())


async def refused(request: Request) -> Reply:
    return Reply(status=422, body={"error": {"code": "c", "message": "m"}, "echo": GOT})


async def rejected(request: Request) -> Reply:
    return Reply(status=401, body={"echo": GOT})


async def dropped(request: Request) -> Reply:
    raise Drop


async def compressed(request: Request) -> Reply:
    return Reply(content=GOT.encode(), headers={"content-encoding": "gzip"})


async def dribbled(request: Request) -> Reply:
    return Reply(chunks=_Held(GOT.encode()))


class _Held(AsyncIterator[bytes]):
    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)

    async def __anext__(self) -> bytes:
        if self.chunks:
            return self.chunks.pop(0)
        return await anyio.sleep_forever()


class _Plain(Renewing):
    """Credentials of a user's who takes no care of what shows."""

    async def renew(self, rejected: str) -> str | None:
        raise AuthError("gone")


# On trio httpx drops two generators where an answer cannot be decompressed or a body only half sent, and trio says so.
DROPPED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
HANDLERS = [cut, no_status_line, bad_header, misfit, missing, no_json, refused, rejected, dropped, dribbled]


@pytest.mark.anyio
@pytest.mark.parametrize("handler", [*HANDLERS, pytest.param(compressed, marks=DROPPED)])
async def test_no_report_of_an_error_shows_a_secret(handler: Any) -> None:
    async with serve(handler) as server:
        client = ManagementClient(
            _Plain(TOKEN), base_url=server.url, retry=RetryPolicy(attempts=1), timeout=0.2, headers={"X-Key": SENT}
        )

        async def typed() -> Any:
            return await client.connections.get("con_1")

        async def put() -> Any:
            return await client.connections._put(str, "/v1/x", {"password": SENT})

        async def post() -> Any:
            return await client.connections._post(str, "/v1/x", {"password": SENT})

        async def untyped() -> Any:
            answered = await client.request(
                "PATCH", "/v1/x", body={"password": SENT}, headers={"Authorization": f"Bearer {TOKEN}"}
            )
            assert answered.body is not None
            raise PrismaError(repr(answered).replace(GOT, "") if GOT in str(answered.body) else "")

        async def logs() -> Any:
            return await anext(client.builds.logs("bld_1"))

        async def listed() -> Any:
            return await client.connections.list()

        async with client:
            for call in (typed, put, post, untyped, listed, *([] if handler is dribbled else [logs])):
                with pytest.raises(PrismaError) as caught:
                    await call()
                check(caught.value)


@pytest.mark.anyio
@DROPPED
async def test_a_timeout_while_the_body_is_sent_shows_nothing_of_it() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        client = ManagementClient(
            TOKEN, base_url=f"http://127.0.0.1:{port}", retry=RetryPolicy(attempts=1), timeout=0.2
        )
        async with client:
            with pytest.raises(RequestTimeoutError) as caught:
                await client.request("POST", "/v1/x", body=SENT * 1_000_000)
    check(caught.value)


class Odd(Exception):
    """An error of an application's, with an attribute that groups have."""

    exceptions = None


@pytest.mark.anyio
async def test_an_error_of_an_applications_own_that_looks_like_a_group_does_no_harm() -> None:
    async with ManagementClient("token", base_url="http://127.0.0.1:1", retry=RetryPolicy(attempts=1)) as client:
        try:
            raise Odd
        except Odd:
            with pytest.raises(NetworkError, match=r"ConnectError: .+"):
                await client.request("GET", "/v1/me")


def test_what_an_error_drags_along_is_found_once_in_no_time_to_speak_of() -> None:
    group: BaseException = ExceptionGroup("many", [ValueError(n) for n in range(20_000)])
    last = KeyError("last")
    last.__context__ = group
    group.__context__ = last  # a circle
    assert len(below(last)) == 20_002


@pytest.mark.anyio
async def test_a_leftover_of_one_answer_is_not_quoted_by_the_next_error() -> None:
    async def handler(request: Request) -> Reply:
        raise Drop(b"HTTP/1.1 204 No Content\r\n\r\n" + f'{{"secret": "{GOT}"}}\r\n\r\n'.encode())

    once = RetryPolicy(attempts=1)
    async with serve(handler) as server, ManagementClient(TOKEN, base_url=server.url, retry=once) as client:
        for _ in range(2):
            try:
                await client.request("GET", "/v1/x")
            except NetworkError as error:
                check(error)


@pytest.mark.anyio
async def test_a_bad_token_is_not_shown_by_the_error_that_refuses_it() -> None:
    for make in (
        lambda: ManagementClient(f"{TOKEN} \n x"),
        lambda: ManagementClient("t").with_options(auth=f"{TOKEN} \n x"),
        lambda: ManagementClient(TOKEN, base_url="http://remote.example"),
    ):
        with pytest.raises(ValueError, match="token") as caught:
            make()
        check(caught.value)
    client, _ = scripted(answer(), auth=Renewing(f"{TOKEN} \n x"))
    with pytest.raises(ValueError, match="token") as caught:
        await client.connections.get("con_1")
    check(caught.value)


@pytest.mark.anyio
async def test_reprs_show_no_secret() -> None:
    client, script = scripted(answer(200, {"data": {**CONNECTION, "connectionString": GOT}}), auth=TOKEN)
    response = await client.request("GET", "/v1/x", headers={"X-Key": SENT})
    for thing in (response, client._options, client, script.requests[0]):
        assert not any(canary in repr(thing) for canary in (TOKEN, SENT, GOT))

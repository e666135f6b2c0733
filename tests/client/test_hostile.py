"""Servers that do what no server should: each deed ends in a clear error or a good answer, and the client goes on."""

import gzip
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketAttribute, SocketStream
from attrs import define

from prisma_mgmt import (
    APIError,
    AuthenticationError,
    DecodeError,
    ManagementClient,
    NetworkError,
    PrismaError,
    RequestTimeoutError,
    RetryPolicy,
    ServerError,
)
from tests.kit.engines import anyio_backend as anyio_backend
from tests.kit.engines import needs_new_anyio
from tests.kit.rig import until
from tests.kit.script import CONNECTION, Renewing

pytestmark = pytest.mark.anyio
ONCE = RetryPolicy(attempts=1)
BODY = json.dumps({"data": CONNECTION}).encode()
Deed = Callable[[SocketStream], Awaitable[None]]


def head(*lines: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    return "\r\n".join((f"HTTP/{version} {status}", "x-request-id: req_7", *lines, "", "")).encode()


def whole(*lines: str, status: str = "200 OK", body: bytes = BODY, version: str = "1.1") -> bytes:
    return head(f"content-length: {len(body)}", *lines, status=status, version=version) + body


@define
class Hostile:
    """A server that answers /v1/connections/fine, and does its deed for everything else."""

    url: str
    requests: int = 0
    connections: int = 0
    open: int = 0


@asynccontextmanager
async def hostile(deed: Deed) -> AsyncIterator[Hostile]:
    async def connected(stream: SocketStream) -> None:
        server.connections += 1
        server.open += 1
        try:
            async with stream:
                while True:
                    asked = b""
                    while b"\r\n\r\n" not in asked:
                        asked += await stream.receive()
                    server.requests += 1
                    if b"/fine" in asked.split(b"\r\n")[0]:
                        await stream.send(whole())
                    else:
                        await deed(stream)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            server.open -= 1

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = Hostile(f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, connected)
        try:
            with anyio.fail_after(30):
                yield server
        finally:
            group.cancel_scope.cancel()


def sends(*parts: bytes, close: bool = True, reset: bool = False) -> Deed:
    """Sends the parts, and closes; or resets; or keeps the connection open."""

    async def deed(stream: SocketStream) -> None:
        for part in parts:
            await stream.send(part)
            await anyio.lowlevel.checkpoint()
        if reset:
            raw: socket.socket = stream.extra(SocketAttribute.raw_socket)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if close or reset:
            await stream.aclose()

    return deed


def forever(first: bytes, part: bytes) -> Deed:
    async def deed(stream: SocketStream) -> None:
        await stream.send(first)
        while True:
            await stream.send(part)
            await anyio.lowlevel.checkpoint()

    return deed


def dribble(first: bytes, part: bytes) -> Deed:
    async def deed(stream: SocketStream) -> None:
        await stream.send(first)
        while True:
            await stream.send(part)
            await anyio.sleep(0.01)

    return deed


CHUNK = b"fffff\r\n" + b"a" * 0xFFFFF + b"\r\n"
BOMB = gzip.compress(b" " * 300_000_000)
LATE = 0.3  # seconds: the timeout of those that never end

FAILURES: dict[str, tuple[Deed, type[PrismaError], str]] = {
    "closes": (sends(), NetworkError, "disconnected without sending a response"),
    "resets": (sends(reset=True), NetworkError, "ReadError"),
    "resets in the head": (sends(b"HTTP/1.1 200 OK\r\nx", reset=True), NetworkError, "ReadError"),
    "resets in the body": (sends(head("content-length: 99"), b"{", reset=True), NetworkError, "ReadError"),
    "stalls": (sends(close=False), RequestTimeoutError, "no answer within"),
    "stalls in the head": (sends(b"HTTP/1.1 200 OK\r\nx", close=False), RequestTimeoutError, "no answer within"),
    "stalls in the body": (sends(head("content-length: 9"), close=False), RequestTimeoutError, "no answer within"),
    "dribbles its head": (dribble(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"), RequestTimeoutError, "no answer within"),
    "dribbles its body": (dribble(head("content-length: 99999"), b" "), RequestTimeoutError, "no answer within"),
    "dribbles 1xx": (dribble(b"", b"HTTP/1.1 102 Processing\r\n\r\n"), RequestTimeoutError, "no answer within"),
    "truncates": (sends(whole()[:-9]), NetworkError, "without sending complete message body"),
    "truncates chunks": (sends(head("transfer-encoding: chunked"), b"5\r\nab"), NetworkError, "RemoteProtocolError"),
    "bad chunks": (sends(head("transfer-encoding: chunked"), b"zz\r\nab"), NetworkError, "RemoteProtocolError"),
    "says it is longer": (sends(head("content-length: 999"), BODY), NetworkError, "complete message body"),
    "says it is longer and waits": (sends(head("content-length: 999"), BODY, close=False), NetworkError, "no answer"),
    "two lengths": (sends(head("content-length: 5", "content-length: 6"), BODY), NetworkError, "RemoteProtocolError"),
    "a length that is none": (sends(head("content-length: x"), BODY), NetworkError, "RemoteProtocolError"),
    "says it is shorter": (sends(head("content-length: 9") + BODY), DecodeError, "expected JSON"),
    "html": (sends(whole("content-type: text/html", body=b"<html>")), DecodeError, r"expected JSON.*text/html"),
    "an error in html": (sends(whole(status="502 No", body=b"<html>")), ServerError, "an error without a message"),
    "garbage": (sends(b"\x00\xff" * 50), NetworkError, "RemoteProtocolError"),
    "another protocol": (sends(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"), NetworkError, "RemoteProtocolError"),
    "TLS": (sends(b"\x15\x03\x01\x00\x02\x02\x46"), NetworkError, "RemoteProtocolError"),
    "an endless header": (forever(b"HTTP/1.1 200 OK\r\nx: ", b"a" * 9999), NetworkError, "RemoteProtocolError"),
    "endless headers": (forever(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 999), NetworkError, "RemoteProtocolError"),
    "an endless trailer": (
        forever(head("transfer-encoding: chunked") + b"2\r\n{}\r\n0\r\nx: ", b"a" * 9999),
        NetworkError,
        "RemoteProtocolError",
    ),
    "an endless body": (forever(head(), b"a" * 999_999), DecodeError, "an answer longer than"),
    "endless chunks": (forever(head("transfer-encoding: chunked"), CHUNK), DecodeError, "an answer longer than"),
    "a bomb": (sends(whole("content-encoding: gzip", body=BOMB)), DecodeError, "an answer longer than"),
    "bad gzip": (sends(whole("content-encoding: gzip", body=b"no gzip")), NetworkError, "DecodingError"),
    "cut gzip": (sends(whole("content-encoding: gzip", body=gzip.compress(BODY)[:50])), NetworkError, "stops short"),
    "gzip without its end": (
        sends(whole("content-encoding: gzip", body=gzip.compress(BODY)[:-8])),
        NetworkError,
        "short",
    ),
    "coded twice in the body": (
        sends(whole("content-encoding: gzip, gzip", body=gzip.compress(BOMB))),
        DecodeError,
        "more than one content coding",
    ),
    "coded twice, said twice, in the body": (
        sends(whole("content-encoding: gzip", "content-encoding: deflate", body=BODY)),
        DecodeError,
        "more than one content coding",
    ),
    "101 unasked": (
        sends(head("upgrade: x", "connection: upgrade", status="101 Go")),
        NetworkError,
        "RemoteProtocolError",
    ),
    "a bad status": (sends(whole(status="99999 Huh")), NetworkError, "RemoteProtocolError"),
    "HTTP/3.0": (sends(whole(version="9")), NetworkError, "RemoteProtocolError"),
    "304 unasked": (sends(head(status="304 Same"), close=False), APIError, "304"),
}

GOOD: dict[str, Deed] = {
    "byte by byte": sends(*(bytes([one]) for one in whole()), close=False),
    "a big header": sends(whole(f"x-big: {'a' * 60_000}"), close=False),
    "1xx first": sends(head(status="100 Continue") + head("link: </x>", status="103 Early"), whole(), close=False),
    "HTTP/1.0 without a length": sends(head(version="1.0"), BODY),
    "HTTP/1.1 without a length": sends(head(), BODY),
    "connection: close": sends(whole("connection: close")),
    "connection: close, and it stays": sends(whole("connection: close"), close=False),
    "closes unannounced": sends(whole()),
    "chunks": sends(head("transfer-encoding: chunked"), b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), close=False),
    "gzip": sends(whole("content-encoding: gzip", body=gzip.compress(BODY)), close=False),
    "gzip of two members": sends(
        whole("content-encoding: gzip", body=gzip.compress(BODY[:50]) + gzip.compress(BODY[50:])), close=False
    ),
    "gzip with zeros after it": sends(
        whole("content-encoding: gzip", body=gzip.compress(BODY) + b"\0" * 20), close=False
    ),
    "x-gzip": sends(whole("content-encoding: X-GZIP", body=gzip.compress(BODY)), close=False),
    "gzip byte by byte": sends(
        *(bytes([one]) for one in whole("content-encoding: gzip", body=gzip.compress(BODY))), close=False
    ),
    "a mark of byte order": sends(whole(body=b"\xef\xbb\xbf" + BODY), close=False),
    "an unknown encoding": sends(whole("content-encoding: x-none"), close=False),
    "another content type": sends(whole("content-type: text/html"), close=False),
    "no headers at all": sends(b"HTTP/1.1 200 OK\r\n\r\n" + BODY),
    "bytes that are no ascii": sends(whole("x-name: gr\xfc\xdfe"), close=False),
}


async def works(client: ManagementClient, server: Hostile) -> None:
    """The client goes on, with the retries that are its default, and no connection is left over."""
    for _ in range(3):
        assert (await client.with_options(retry=RetryPolicy(backoff=0)).connections.get("fine")).name == "n"
    await until(lambda: server.open <= 1)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_new_anyio) if "resets" in name else name for name in FAILURES]
)
async def test_a_clear_error(name: str) -> None:
    deed, kind, said = FAILURES[name]
    timeout = LATE if kind is RequestTimeoutError or said == "no answer" else 20.0
    async with hostile(deed) as server:
        async with ManagementClient("token", base_url=server.url, retry=ONCE, timeout=timeout) as client:
            with pytest.raises(kind, match=said) as caught:
                await client.connections.get("con_1")
            assert isinstance(caught.value, kind)
            assert "deque" not in str(caught.value), "that a library finds nothing in a queue is its own business"
            if "body" in name or "gzip" in name or "html" in name or "bomb" in name:
                known: Any = caught.value
                assert known.status in (200, 502)
                assert known.request_id == "req_7" or kind is RequestTimeoutError
            await works(client.with_options(timeout=20), server)
        await until(lambda: server.open == 0)


def over_our_own_connection(request: pytest.FixtureRequest) -> bool:
    """If this test runs over the connection of our own, which reads less tolerantly than httpx's parser."""
    return request.node.callspec.params["anyio_backend"] in ("asyncio", "uvloop")


async def test_bare_newlines_are_read_over_httpx_only(request: pytest.FixtureRequest) -> None:
    async with (
        hostile(sends(whole().replace(b"\r\n", b"\n"), close=False)) as server,
        ManagementClient("token", base_url=server.url, retry=ONCE) as client,
    ):
        if over_our_own_connection(request):
            with pytest.raises(NetworkError, match="the answer is no HTTP"):
                await client.connections.get("con_1")
        else:
            assert (await client.connections.get("con_1")).name == "n"


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_answer(name: str) -> None:
    async with hostile(GOOD[name]) as server:
        async with ManagementClient("token", base_url=server.url, retry=ONCE) as client:
            for _ in range(3):
                assert (await client.connections.get("con_1")).name == "n"
                if name == "closes unannounced":
                    await until(lambda: server.open == 0)
            assert server.requests == 3
            await works(client, server)
        await until(lambda: server.open == 0)


@pytest.mark.parametrize(
    "name", ["resets", "stalls in the body", "truncates", "garbage", "endless headers", "bad gzip"]
)
async def test_many_calls_at_once_leave_no_connection(name: str) -> None:
    async with hostile(FAILURES[name][0]) as server:
        timeout = LATE if "stalls" in name else 20.0
        client = ManagementClient("token", base_url=server.url, retry=ONCE, timeout=timeout, max_connections=5)

        async def call() -> None:
            with pytest.raises(FAILURES[name][1]):
                await client.connections.get("con_1")

        async with client, anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(call)
        assert server.requests == 20
        await until(lambda: server.open == 0)


EVIL = whole(body=b'{"data": "of another call"}')
OURS = b'{"data": 1}'
SURPLUS = {
    "204 with a body": ("DELETE", head(status="204 No Content") + OURS),
    "204 with a body and its length": ("DELETE", head("content-length: 11", status="204 No Content") + OURS),
    "204 and another answer": ("DELETE", head(status="204 No Content") + EVIL),
    "304 with a body": ("GET", head(status="304 Not Modified") + OURS),
    "HEAD with a body": ("HEAD", head("content-length: 11") + OURS),
    "longer than it says": ("GET", whole(body=OURS) + b"junk"),
    "a newline more than it says": ("GET", whole(body=OURS) + b"\n"),
    "two answers": ("GET", whole(body=OURS) + EVIL),
    "chunks and another answer": (
        "GET",
        head("transfer-encoding: chunked") + b"b\r\n" + OURS + b"\r\n0\r\n\r\n" + EVIL,
    ),
    "as much as is read at once": (
        "GET",
        whole(f"x: {'a' * (65536 - len(whole('x: ', body=OURS)))}", body=OURS) + EVIL,
    ),
    "an answer for a timeout": ("GET", whole(body=OURS) + head("content-length: 0", status="408 Request Timeout")),
}


@pytest.mark.parametrize("name", SURPLUS)
async def test_what_comes_after_an_answer_is_no_answer_to_the_next_call(
    name: str, request: pytest.FixtureRequest
) -> None:
    method, sent = SURPLUS[name]
    kept = name.startswith("a newline") and over_our_own_connection(request)  # whose parser skips an empty line
    async with (
        hostile(sends(sent, close=False)) as server,
        ManagementClient("token", base_url=server.url, retry=ONCE) as client,
    ):
        for number in range(1, 4):
            if name.startswith("304"):
                with pytest.raises(APIError, match="304"):
                    await client.request(method, "/v1/x")
            else:
                answered = await client.request(method, "/v1/x")
                assert answered.body == (None if method in ("DELETE", "HEAD") else {"data": 1})
            assert (await client.request("POST", "/v1/fine")).body == {"data": CONNECTION}
            assert (server.requests, server.connections) == (2 * number, 1 if kept else number + 1)
        await until(lambda: server.open == 1)


async def test_what_comes_after_a_log_is_no_answer_to_the_next_call() -> None:
    log = b'{"type": "terminal", "kind": "end", "code": "c", "message": "m", "retryable": false, "cursor": null}\n'
    async with (
        hostile(sends(whole(body=log) + EVIL, close=False)) as server,
        ManagementClient("token", base_url=server.url, retry=ONCE) as client,
    ):
        assert [record async for record in client.builds.logs("bld_1")] == []
        assert (await client.request("POST", "/v1/fine")).body == {"data": CONNECTION}


@pytest.mark.parametrize("coding", ["gzip, gzip", "gzip,deflate"])
async def test_a_log_that_is_coded_twice(coding: str) -> None:
    deed = sends(whole(f"content-encoding: {coding}", body=gzip.compress(BOMB)), close=False)
    async with hostile(deed) as server, ManagementClient("token", base_url=server.url) as client:
        with pytest.raises(DecodeError, match="more than one content coding"):
            await anext(client.builds.logs("bld_1"))
        await works(client, server)


async def test_a_log_that_is_a_bomb_comes_in_pieces() -> None:
    deed = sends(whole("content-encoding: gzip", body=BOMB), close=False)
    async with hostile(deed) as server, ManagementClient("token", base_url=server.url) as client:
        with pytest.raises(DecodeError, match="a line of the log is longer than"):
            await anext(client.builds.logs("bld_1"))
        stream = (await client.pipeline.send(client.call("GET", "/v1/x", opens=True))).open
        assert stream is not None
        sizes = [len(await stream.read()) for _ in range(5)]
        assert 0 < max(sizes) < 5_000_000
        await stream.aclose()
        await works(client, server)


async def test_a_401_for_ever_costs_one_renewal() -> None:
    auth = Renewing("a", "b", "c", "d")
    deed = sends(whole(status="401 No", body=b"{}"), close=False)
    async with hostile(deed) as server, ManagementClient(auth, base_url=server.url) as client:
        with pytest.raises(AuthenticationError):
            await client.connections.get("con_1")
        assert (server.requests, auth.renewals) == (2, ["a"])
        await works(client, server)


async def test_a_redirect_elsewhere_is_not_followed() -> None:
    async with hostile(sends()) as other:
        moved = whole(f"location: {other.url}/x", status="307 Moved", body=b"")
        deed = sends(moved, close=False)
        async with hostile(deed) as server, ManagementClient("token", base_url=server.url) as client:
            for method in ("GET", "POST"):
                with pytest.raises(APIError, match="redirect"):
                    await client.request(method, "/v1/x", body={"secret": 1})
            await works(client, server)
        assert other.connections == 0


async def test_a_log_whose_line_never_ends() -> None:
    deed = forever(head(), b"a" * 999_999)
    async with hostile(deed) as server, ManagementClient("token", base_url=server.url) as client:
        log = client.builds.logs("bld_1")
        with pytest.raises(DecodeError, match="a line of the log is longer than") as caught:
            await anext(log)
        assert (caught.value.status, caught.value.request_id) == (200, "req_7")
        await works(client, server)

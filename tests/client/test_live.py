"""Live logs: a WebSocket over a real socket, from the handshake to the last segment."""

import gc
import logging
import sys
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import ByteStream
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side
from websockets.utils import accept_key

from prisma_mgmt import (
    APIError,
    DecodeError,
    ManagementClient,
    NetworkError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    RetryPolicy,
    StreamError,
)
from prisma_mgmt.core import live
from prisma_mgmt.core.limits import Limits
from prisma_mgmt.observe import AnswerReceived, Event, RequestSent, Retrying
from tests.client.test_proxies import tunnels
from tests.client.test_streaming import client_of, end, lines, texts, warned
from tests.conftest import FakeClock
from tests.kit.canaries import leaks, logged
from tests.kit.engines import anyio_backend as anyio_backend
from tests.kit.rig import Reply, Request, Server, serve, until
from tests.kit.script import CONNECTION, Renewing
from tests.kit.tls import certificate

pytestmark = pytest.mark.anyio
Say = Callable[[Protocol], None]
ONCE = RetryPolicy(attempts=1)


def record(text: str) -> dict[str, Any]:
    return {"type": "log", "text": text, "byteStart": 0, "byteEnd": len(text)}


def cut(cursor: str | None = "c1", kind: str = "end", *, retryable: bool = True) -> dict[str, Any]:
    """How the API ends a segment."""
    return end(kind, retryable=retryable, cursor=cursor)


def message(data: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> Say:
    return lambda peer: peer.send_frame(Frame(opcode, data, fin))


def raw(data: bytes) -> Say:
    return lambda peer: peer.writes.append(data)


def close(code: int, reason: str = "") -> Say:
    return lambda peer: peer.send_close(code, reason)


class Segment:
    """The server's side of a WebSocket: what it says, and then, until the client closes it, what it hears.

    It hangs up without hearing anything where it `leaves`, and `dribbles` its bytes one by one; where it is to speak
    `later`, it pings first, and calls that when the client has answered.
    """

    def __init__(
        self,
        *says: Say | dict[str, Any],
        accept: str | None = None,
        leaves: bool = False,
        dribbles: bool = False,
        later: Callable[[], None] | None = None,
    ) -> None:
        self.says = [message(lines(one).strip()) if isinstance(one, dict) else one for one in says]
        self.accept, self.leaves, self.dribbles, self.later = accept, leaves, dribbles, later
        self.heard: list[Frame] = []

    def reply(self, request: Request) -> Reply:
        accept = self.accept or accept_key(request.headers["sec-websocket-key"])
        head = (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            f"x-request-id: req_7\r\nsec-websocket-accept: {accept}\r\n\r\n"
        )

        async def talk(stream: ByteStream) -> None:
            peer = Protocol(Side.SERVER, logger=live._UNLOGGED)
            data = head.encode()
            if self.later is not None:
                peer.send_ping(b"")
                await stream.send(data + peer.data_to_send()[0])
                await stream.receive()
                self.later()
                data = b""
            for say in self.says:
                say(peer)
            data += b"".join(peer.data_to_send())
            for i in range(0, len(data), step := 1 if self.dribbles else len(data)):
                await stream.send(data[i : i + step])
            while not self.leaves:
                peer.receive_data(await stream.receive())
                self.heard += peer.events_received()

        return Reply(talk=talk)

    @property
    def opcodes(self) -> list[Opcode]:
        return [frame.opcode for frame in self.heard]


@asynccontextmanager
async def following(
    clock: FakeClock, *steps: Segment | Reply, **options: Any
) -> AsyncIterator[tuple[ManagementClient, Server]]:
    """A client of an API that answers with the steps, one a request."""
    left = list(steps)

    async def handler(request: Request) -> Reply:
        step = left.pop(0)
        return step.reply(request) if isinstance(step, Segment) else step

    async with serve(handler) as server, client_of(server, clock, **options) as client:
        yield client, server


def follow(client: ManagementClient, **query: Any) -> Any:
    return client.deployments.logs("dep_1", follow=True, **query)


async def gone(server: Server) -> None:
    """The sockets are closed, and nothing is left for the collector to close."""
    gc.collect()
    await until(lambda: server.open_connections == 0)


# What comes


async def test_records_then_the_terminal_record_over_one_connection_that_is_closed(clock: FakeClock) -> None:
    segment = Segment(record("a"), record("grüße 🌍"), end(cursor="c9"))
    async with following(clock, segment) as (client, server):
        log = follow(client, tail=5)
        assert server.requests == []
        assert await texts(log) == ["a", "grüße 🌍"]
        assert (log.terminal.kind, log.terminal.cursor) == ("completed", "c9")
        assert await texts(log) == []
        await gone(server)
    (request,) = server.requests
    assert (request.method, request.path, request.query) == ("GET", "/v1/deployments/dep_1/logs", {"tail": "5"})
    assert request.token == "token"
    sent = {name: request.headers[name] for name in ("connection", "upgrade", "sec-websocket-version")}
    assert sent == {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    assert len(b64decode(request.headers["sec-websocket-key"])) == 16
    assert segment.opcodes == [Opcode.CLOSE]


async def test_without_follow_nothing_is_upgraded(clock: FakeClock) -> None:
    async with following(clock, Reply(content=lines(end()))) as (client, server):
        assert await texts(client.deployments.logs("dep_1")) == []
    assert "upgrade" not in server.requests[0].headers


async def test_pings_are_answered(clock: FakeClock) -> None:
    segment = Segment(message(b"1", Opcode.PING), record("a"), message(b"2", Opcode.PING), end())
    async with following(clock, segment) as (client, server):
        assert await texts(follow(client)) == ["a"]
        await gone(server)
    assert [bytes(frame.data) for frame in segment.heard if frame.opcode is Opcode.PONG] == [b"1", b"2"]


@pytest.mark.parametrize("dribbles", [False, True])
async def test_messages_in_pieces_with_pings_between(clock: FakeClock, dribbles: bool) -> None:
    whole = lines(record("grüße"), newline=b"")
    pieces = [message(whole[:9], fin=False), *[message(one, Opcode.CONT, fin=False) for one in (whole[9:25], b"")]]
    segment = Segment(*pieces, message(b"", Opcode.PING), message(whole[25:], Opcode.CONT), end(), dribbles=dribbles)
    async with following(clock, segment) as (client, _):
        assert await texts(follow(client)) == ["grüße"]


async def test_an_error_record_is_a_stream_error(clock: FakeClock) -> None:
    async with following(clock, Segment(record("a"), end("error", code="gone", message="expired"))) as (client, _):
        with pytest.raises(StreamError, match="gone: expired"):
            await texts(follow(client))


# Segments


@pytest.mark.parametrize("kind", ["end", "error"])
async def test_a_segment_that_is_over_is_taken_up_after_its_cursor(clock: FakeClock, kind: str) -> None:
    segments = Segment(record("a"), cut("c1", kind)), Segment(cut("c2", kind)), Segment(record("b"), end())
    async with following(clock, *segments) as (client, server):
        log = follow(client, tail=5, from_start=False)
        assert await texts(log) == ["a", "b"]
        assert log.terminal.kind == "completed"
    queries = [{"tail": "5", "from_start": "false"}, {"cursor": "c1"}, {"cursor": "c2"}]
    assert [request.query for request in server.requests] == queries
    assert len({request.headers["sec-websocket-key"] for request in server.requests}) == 3
    assert clock.slept == [0.5, 1.0]


async def test_segments_without_a_record_are_taken_up_as_often_as_the_policy_has_attempts(clock: FakeClock) -> None:
    policy = RetryPolicy(attempts=3)
    async with following(clock, *[Segment(cut(f"c{n}")) for n in range(3)], retry=policy) as (client, server):
        log = follow(client)
        assert await texts(log) == []
        assert (log.terminal.cursor, log.cursor) == ("c2", "c2")
    assert len(server.requests) == 3
    assert clock.slept == [0.5, 1.0]


async def test_a_record_starts_the_count_anew(clock: FakeClock) -> None:
    segments = [Segment(record(str(n)), cut(f"c{n}")) for n in range(8)]
    async with following(clock, *segments, Segment(end())) as (client, _):
        assert await texts(follow(client)) == list("01234567")
        assert client._pipeline.budget.left > 98
    assert clock.slept == [0.5] * 8


async def test_a_deployment_that_says_nothing_for_hours_is_followed_on(clock: FakeClock) -> None:
    def ten_minutes() -> None:
        clock.time += 600

    segments = [Segment(cut(f"c{n}"), later=ten_minutes) for n in range(120)]
    async with following(clock, *segments, Segment(record("a"), end())) as (client, _):
        assert await texts(follow(client)) == ["a"]
        assert client._pipeline.budget.left == 100
    assert clock.slept == [0.5] * 120


@pytest.mark.parametrize("last", [cut(None), cut(""), cut("c1", retryable=False), cut("c1", "error", retryable=False)])
async def test_any_other_terminal_record_is_the_end(clock: FakeClock, last: dict[str, Any]) -> None:
    async with following(clock, Segment(last)) as (client, server):
        log = follow(client)
        if last["kind"] == "error":
            with pytest.raises(StreamError):
                await texts(log)
        assert await texts(log) == []
        assert log.terminal.kind == last["kind"]
    assert len(server.requests) == 1


async def test_with_retries_off_a_segment_is_the_end(clock: FakeClock) -> None:
    async with following(clock, Segment(record("a"), cut("c1")), retry=ONCE) as (client, server):
        log = follow(client)
        assert await texts(log) == ["a"]
        assert log.terminal.cursor == "c1"
    assert len(server.requests) == 1


async def test_a_page_that_is_not_followed_ends_with_its_terminal_record(clock: FakeClock) -> None:
    async with following(clock, Reply(content=lines(record("a"), cut("c1")))) as (client, server):
        assert await texts(client.deployments.logs("dep_1")) == ["a"]
    assert len(server.requests) == 1


# Cuts


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (raw(b""), "no close frame"),
        (raw(b"\x81\x7e"), "no close frame"),
        (close(1000), "received 1000"),
        (close(1011, "out of memory"), r"received 1011 \(internal error\) out of memory"),
        (raw(b"\x83\x00"), "sent 1002"),
        (message(b"x", Opcode.CONT), "sent 1002"),
        (raw(b"\xc1\x00"), "sent 1002"),
    ],
)
async def test_an_end_without_a_terminal_record_is_a_network_error(clock: FakeClock, last: Say, told: str) -> None:
    first = message(b'{"type": "later"}')  # which says nothing of where it stands in the log
    async with following(clock, Segment(first, last, leaves=True)) as (client, server):
        log = follow(client)
        assert await anext(log) == {"type": "later"}  # though the end came with it
        with pytest.raises(NetworkError, match=f"before its terminal record: .*{told}") as caught:
            await anext(log)
        assert (caught.value.status, caught.value.request_id, caught.value.method) == (101, "req_7", "GET")
        assert caught.value.url.endswith("/v1/deployments/dep_1/logs")
        assert leaks(caught.value) == []
        await gone(server)
    assert len(server.requests) == 1
    assert clock.slept == []


async def test_a_cut_goes_on_after_the_last_record_or_else_the_last_segments_cursor(clock: FakeClock) -> None:
    segments = (
        Segment(record("a"), cut("c1")),
        Segment(leaves=True),
        Segment(record("b"), leaves=True),
        Segment(record("d"), end()),
    )
    async with following(clock, *segments) as (client, server):
        log = follow(client)
        assert await texts(log) == ["a", "b", "d"]
    assert [request.query.get("cursor") for request in server.requests] == [None, "c1", "c1", "1"]


async def test_silence_for_longer_than_a_segment_is_a_timeout(clock: FakeClock) -> None:
    hasty = Limits(silence=0.3)
    async with following(clock, Segment(message(b'{"type": "later"}')), _limits=hasty) as (client, server):
        log = follow(client)
        assert await anext(log) == {"type": "later"}
        with pytest.raises(RequestTimeoutError, match="silent"):
            await anext(log)
        await gone(server)


# Messages that will not do


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("data", [b"canary <html>", b"\xff\xfe canary", b'{"type": "log", "text": 1}', b"[]"])
async def test_a_message_that_is_no_record(
    clock: FakeClock, opcode: Opcode, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with following(clock, Segment(message(data, opcode))) as (client, server):
        with pytest.raises(DecodeError) as caught:
            await texts(follow(client))
        assert (caught.value.status, caught.value.request_id) == (101, "req_7")
        assert leaks(caught.value) == []
        await gone(server)
    assert logged(caplog.records) == []


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_message_that_is_too_long(clock: FakeClock, pieces: int) -> None:
    part = b"canary" * (60 // pieces)
    parts = [message(part, Opcode.CONT if n else Opcode.TEXT, fin=False) for n in range(pieces)]
    segment = Segment(record("a"), *parts)
    async with following(clock, segment, _limits=Limits(line=200)) as (client, server):
        log = follow(client)
        assert (await anext(log)).text == "a"
        with pytest.raises(DecodeError, match="a message of the log is longer than 200 bytes") as caught:
            await anext(log)
        assert leaks(caught.value) == []
        await gone(server)


@pytest.mark.parametrize("part", [b"", b"x"])
def test_a_message_in_endless_pieces_takes_no_more_than_its_bytes(part: bytes) -> None:
    peer, unframed = Protocol(Side.SERVER), live.Unframed(4_000_000)
    for say in [message(b"", fin=False), *[message(part, Opcode.CONT, fin=False)] * 1000]:
        say(peer)
    assert unframed.feed(b"".join(peer.data_to_send())) == b""
    assert len(unframed.message) == len(part) * 1000
    assert sys.getsizeof(unframed.message) < 3000


# The handshake


async def test_a_401_at_the_handshake_is_renewed_once(clock: FakeClock) -> None:
    auth = Renewing("old", "new")
    async with following(clock, Reply(401, {}), Segment(end()), auth=auth) as (client, server):
        assert await texts(follow(client)) == []
    assert [request.token for request in server.requests] == ["old", "new"]
    assert (auth.renewals, auth.taken) == (["old"], ["new"])
    assert len({request.headers["sec-websocket-key"] for request in server.requests}) == 2


@pytest.mark.parametrize(
    ("status", "kind"), [(403, PermissionDeniedError), (404, NotFoundError), (429, RateLimitError)]
)
async def test_a_refused_handshake_is_the_usual_error(clock: FakeClock, status: int, kind: type[APIError]) -> None:
    reply = Reply(status, {"code": "no", "message": "refused"})
    async with following(clock, reply, Segment(end()), retry=ONCE, max_connections=1) as (client, _):
        with pytest.raises(kind, match="refused"):
            await texts(follow(client))
        assert await texts(follow(client)) == []


async def test_a_handshake_is_retried_and_told_as_any_call(clock: FakeClock) -> None:
    told: list[Event] = []
    async with following(clock, Reply(503, {}), Segment(end()), on_event=told.append) as (client, _):
        assert await texts(follow(client)) == []
    kinds = [RequestSent, AnswerReceived, Retrying, RequestSent, AnswerReceived]
    assert [type(event) for event in told] == kinds
    assert [event.status for event in told if isinstance(event, AnswerReceived)] == [503, 101]


@pytest.mark.parametrize(
    "step", [Segment(accept="bm90IGl0"), Segment(accept=" "), Reply(content=lines(record("canary"), end()))]
)
async def test_an_answer_that_does_not_switch_is_an_error(clock: FakeClock, step: Segment | Reply) -> None:
    """A 200 too: whoever asked to follow would take the page so far for all there is."""
    async with following(clock, step, Segment(end()), max_connections=1) as (client, server):
        with pytest.raises(DecodeError, match="did not switch to a WebSocket") as caught:
            await texts(follow(client))
        assert caught.value.status == (200 if isinstance(step, Reply) else 101)
        assert len(server.requests) == 1
        assert await texts(follow(client)) == []
        await gone(server)


def test_following_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.protocol", None)
    monkeypatch.delitem(sys.modules, "prisma_mgmt.core.live")
    client = ManagementClient("token")
    with pytest.raises(ImportError, match=r"^following a log needs websockets: install prisma-mgmt\[live\]"):
        client.deployments.logs("dep_1", follow=True)
    client.deployments.logs("dep_1", follow=False)


# Other ways there


@pytest.mark.parametrize("tunnelled", [False, True])
async def test_a_log_is_followed_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tunnelled: bool) -> None:
    made = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))

    async def handler(request: Request) -> Reply:
        return Segment(record("a"), end()).reply(request)

    async with (
        serve(handler, made.server("h2", "http/1.1")) as server,  # would choose h2, were it offered
        tunnels() as proxy,
        ManagementClient("token", base_url=server.url) as client,
    ):
        if tunnelled:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert await texts(follow(client)) == ["a"]
        assert len(proxy.heads) == tunnelled
        await gone(server)


async def test_an_http_client_of_the_users_follows_and_stays_open(clock: FakeClock) -> None:
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(limits=limits, timeout=0.001, trust_env=False) as theirs:
        steps = Segment(record("a"), end()), Segment(record("b")), Reply(body={"data": CONNECTION})
        async with following(clock, *steps, http_client=theirs) as (client, server):
            assert await texts(follow(client)) == ["a"]
            async with follow(client) as log:
                assert (await anext(log)).text == "b"
            assert (await client.connections.get("con_1")).id == "con_1"
            assert not theirs.is_closed
    await gone(server)


async def test_a_transport_that_cannot_follow() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        accept = accept_key(request.headers["sec-websocket-key"])
        return httpx.Response(101, headers={"sec-websocket-accept": accept})

    async with ManagementClient("token", transport=httpx.MockTransport(answer), max_connections=1) as client:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="network_stream"):
                await texts(follow(client))


# Leaving


async def test_leaving_early_says_goodbye_and_leaves_nothing_open(clock: FakeClock) -> None:
    segments = [Segment(*[record(str(n)) for n in range(5)]) for _ in range(3)]
    async with following(clock, *segments, max_connections=1) as (client, server):
        for _ in segments:
            async with follow(client) as log:
                assert [(await anext(log)).text for _ in range(2)] == ["0", "1"]
        await gone(server)
    assert all(segment.opcodes == [Opcode.CLOSE] for segment in segments)


async def test_a_cancelled_reader_leaves_nothing_open(clock: FakeClock) -> None:
    segment = Segment(record("a"))
    async with following(clock, segment, Reply(body={"data": CONNECTION}), max_connections=1) as (client, server):
        log = follow(client)
        assert (await anext(log)).text == "a"
        async with anyio.create_task_group() as group:
            group.start_soon(anext, log)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert (await client.connections.get("con_1")).id == "con_1"
        await until(lambda: server.open_connections == 1)
    assert segment.opcodes == [Opcode.CLOSE]


async def test_a_live_log_that_is_dropped_says_so_and_leaves_nothing_open(clock: FakeClock) -> None:
    segments = [Segment(record("a")) for _ in range(3)]
    async with following(clock, *segments, max_connections=1) as (client, server):
        for _ in segments:
            log = follow(client)
            assert (await anext(log)).text == "a"
            with warned() as told:
                del log
                gc.collect()
                await until(lambda: server.open_connections == 0)
            assert "a log was left open: use it as `async with`, or call aclose()" in told


async def test_closing_from_another_task_ends_the_reader(clock: FakeClock) -> None:
    async with following(clock, Segment(record("a"))) as (client, server):
        log = follow(client)
        assert (await anext(log)).text == "a"

        async def read() -> None:
            with pytest.raises(NetworkError):
                await anext(log)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            await log.aclose()
        await gone(server)
    assert len(server.requests) == 1


async def test_no_server_holds_up_a_goodbye() -> None:
    class Deaf:
        """A connection that nothing can be sent over."""

        closed = False

        async def read(self, size: int) -> bytes:
            peer = Protocol(Side.SERVER)
            message(lines(record("a")))(peer)
            return peer.data_to_send()[0]

        async def write(self, data: bytes) -> None:
            if data:
                await anyio.sleep_forever()

    def answer(request: httpx.Request) -> httpx.Response:
        accept = accept_key(request.headers["sec-websocket-key"])
        return httpx.Response(101, headers={"sec-websocket-accept": accept}, extensions={"network_stream": Deaf()})

    transport, hasty = httpx.MockTransport(answer), Limits(goodbye=0)
    async with ManagementClient("token", transport=transport, max_connections=1, _limits=hasty) as client:
        for _ in range(2):
            async with follow(client) as log:
                assert (await anext(log)).text == "a"

"""One HTTP/1.1 connection of our own: any split of an answer is the same answer, and what is ambiguous is none."""

import asyncio
import gc
import select
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import h11
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prisma_mgmt import ManagementClient
from prisma_mgmt.core.connection import Origin, Request
from prisma_mgmt.core.dialing import dial
from prisma_mgmt.core.headers import Fields
from prisma_mgmt.core.http1 import Http1
from prisma_mgmt.masks import SecretBytes
from prisma_mgmt.observe import AnswerReceived
from tests.kit.rig import Reply, serve
from tests.kit.rig import Request as Asked
from tests.kit.script import CONNECTION

pytestmark = pytest.mark.anyio
OK = b"HTTP/1.1 200 OK\r\n"
NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Wire(asyncio.Transport):
    """A transport that goes nowhere and remembers what was done to it; its socket is a real one, for asking it."""

    def __init__(self) -> None:
        super().__init__()
        self.ours, self.theirs = socket.socketpair()
        self.written: list[bytes] = []
        self.aborted = self.paused = False
        self.connection: Http1 | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.ours if name == "socket" else default

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True
        if self.connection is not None:
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    close = abort

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def end(self) -> None:
        self.ours.close()
        self.theirs.close()


async def engine() -> str:
    """What carries a call."""
    told: list[Any] = []

    async def handler(request: Asked) -> Reply:
        return Reply(body={"data": CONNECTION})

    async with serve(handler) as server, ManagementClient("t", base_url=server.url, on_event=told.append) as client:
        await client.connections.get("con_1")
    return next(one.engine for one in told if isinstance(one, AnswerReceived))


async def test_it_is_taken_if_it_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await engine() == "asyncio"
    monkeypatch.delitem(sys.modules, "prisma_mgmt.core.http1")
    monkeypatch.delattr(select, "poll")  # as on Windows
    assert await engine() == "httpx"
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "httptools", None)  # as without the extra
    assert await engine() == "httpx"


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.end()


def connected(wire: Wire) -> Http1:
    made = Http1(asyncio.get_running_loop())
    made.connection_made(wire)
    wire.connection = made
    return made


def request(method: str = "GET", body: bytes | None = None, **headers: str) -> Request:
    fields = Fields([("Host", "x"), *headers.items()])
    return Request(method, Origin.of("http://x"), "/", fields, None if body is None else SecretBytes(body))


async def whole(connection: Http1, asked: Request) -> tuple[int, dict[str, str], bytes]:
    """The answer to a request, read to its end."""
    reply = await connection.send(asked)
    body = b""
    while part := await reply.read():
        body += part
    return reply.status, dict(reply.headers), body


async def answered(
    connection: Http1, pieces: list[bytes], *, ends: bool = False, method: str = "GET"
) -> tuple[int, dict[str, str], bytes] | type[BaseException]:
    """What a connection makes of an answer that comes in these pieces, and perhaps ends then."""
    reading = asyncio.create_task(whole(connection, request(method)))
    await asyncio.sleep(0)
    for piece in pieces:
        connection.data_received(piece)
    if ends:
        connection.eof_received()
    for _ in range(3):
        await asyncio.sleep(0)
    if not reading.done():
        reading.cancel()
    try:
        return await reading
    except (asyncio.CancelledError, httpx.HTTPError) as error:
        return type(error)


ANSWERS = {
    "length": (OK + b"Content-Length: 5\r\nX-A: b\r\n\r\nhello", b"hello", True),
    "chunked": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=1\r\nllo\r\n0\r\nTrailer: y\r\n\r\n",
        b"hello",
        True,
    ),
    "interim": (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello", b"hello", True),
    "no content": (b"HTTP/1.1 204 No\r\n\r\n", b"", True),
    "not modified": (b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", b"", True),
    "close": (OK + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello", b"hello", False),
    "old": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
    "nothing": (OK + b"Content-Length: 0\r\n\r\n", b"", True),
}


@pytest.mark.parametrize("kind", ANSWERS)
async def test_an_answer_is_the_same_in_any_pieces(kind: str, wire: Wire) -> None:
    data, body, lives_on = ANSWERS[kind]
    wanted = None
    for cuts in [
        [data],
        [data[i : i + 1] for i in range(len(data))],
        *([data[:i], data[i:]] for i in range(1, len(data))),
    ]:
        connection = connected(wire)
        wire.aborted = False
        found = await answered(connection, cuts)
        assert isinstance(found, tuple), (found, cuts)
        assert found[2] == body
        wanted = wanted or found
        assert found == wanted
        assert (connection.reusable, wire.aborted) == (lives_on, not lives_on)


@given(st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_answer_is_an_error_or_what_another_parser_makes_of_it(data: st.DataObject) -> None:
    answer = bytearray(data.draw(st.sampled_from([one for one, *_ in ANSWERS.values()])))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(answer) - 1))
        answer[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    wire = Wire()

    async def run() -> Any:
        return await answered(connected(wire), [bytes(answer)], ends=True)

    try:
        found = asyncio.run(run())
    finally:
        wire.end()
    if isinstance(found, tuple):
        assert (found[0], found[2]) == by_h11(bytes(answer)), bytes(answer)


def by_h11(data: bytes) -> tuple[int, bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    status, body = 0, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif not isinstance(event, h11.InformationalResponse):
            return status, body


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nok",
        OK + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n2\r\nok\r\n0\r\n\r\n",
        OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        OK + b"A: b\x00c\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: +2\r\n\r\nok",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 C\r\n\r\n" * 100,
        b"HTTP/1.1 104 C\r\nContent-Length: 5\r\n\r\nhello" + OK + b"Content-Length: 2\r\n\r\nok",
        b"HTTP/1.1 104 C\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n\r\n"
        + OK
        + b"Content-Length: 2\r\n\r\nok",
        b"HTTP/1.1 9999 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        OK + b"X: " + b"y" * 70_000,
        OK + b"X: y\r\n" * 20_000 + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 20_000,
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 70_000,
        OK + b"Transfer-Encoding: chunked\r\n\r\n2;x=" + b"y" * 70_000,
    ],
)
async def test_what_is_ambiguous_or_no_http_ends_the_connection(answer: bytes, wire: Wire) -> None:
    connection = connected(wire)
    assert await answered(connection, [answer]) is httpx.RemoteProtocolError
    assert wire.aborted
    assert not connection.reusable


async def test_bytes_beyond_an_answer_end_the_connection_but_not_the_answer(wire: Wire) -> None:
    data, body, _ = ANSWERS["length"]
    connection = connected(wire)
    found = await answered(connection, [data + data])
    assert isinstance(found, tuple)
    assert found[2] == body
    assert not connection.reusable


async def test_an_answer_that_was_not_asked_for_ends_the_connection(wire: Wire) -> None:
    connection = connected(wire)
    assert connection.reusable
    connection.data_received(ANSWERS["length"][0])
    assert not connection.reusable
    assert wire.aborted


async def test_what_the_event_loop_has_not_seen_yet_makes_a_connection_unusable(wire: Wire) -> None:
    connection = connected(wire)
    assert connection.reusable
    wire.theirs.send(b"x")
    assert not connection.reusable


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "without sending a response"),
        (b"HTTP/1.1 2", "without sending a response"),
        (OK + b"Content-Length: 5\r\n\r\nhel", r"received 3 bytes, expected 5"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", "incomplete chunked read"),
    ],
)
async def test_an_answer_that_stops_short_says_so(answer: bytes, told: str, wire: Wire) -> None:
    connection = connected(wire)
    reading = asyncio.create_task(whole(connection, request()))
    await asyncio.sleep(0)
    if answer:
        connection.data_received(answer)
    connection.eof_received()
    with pytest.raises(httpx.RemoteProtocolError, match=told):
        await reading
    assert not connection.reusable


async def test_a_body_may_end_with_the_connection(wire: Wire) -> None:
    connection = connected(wire)
    found = await answered(connection, [OK + b"\r\nhel", b"lo"], ends=True)
    assert isinstance(found, tuple)
    assert found[2] == b"hello"
    assert not connection.reusable


async def test_a_reset_is_not_the_end_of_a_body_that_ends_with_the_connection(wire: Wire) -> None:
    connection = connected(wire)
    reply = await begun(connection, OK + b"\r\nhel")
    assert await reply.read() == b"hel"
    connection.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        await reply.read()


async def test_a_long_head_is_as_good_in_pieces_as_at_once(wire: Wire) -> None:
    data = OK + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 1000) for i in range(60)) + b"Content-Length: 2\r\n\r\nok"
    for size in (len(data), 30_000, 5_000, 100):
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        found = await answered(connected(wire), pieces)
        assert isinstance(found, tuple), size
        assert found[2] == b"ok"


async def test_an_answer_without_a_body_whatever_it_says(wire: Wire) -> None:
    connection = connected(wire)
    found = await answered(connection, [OK + b"Content-Length: 5\r\n\r\n"], method="HEAD")
    assert isinstance(found, tuple)
    assert found[2] == b""
    assert not connection.reusable  # the parser still waits for the body


async def begun(connection: Http1, head: bytes) -> Any:
    """The answer to a request whose head has come."""
    sending = asyncio.create_task(connection.send(request()))
    await asyncio.sleep(0)
    connection.data_received(head)
    return await sending


@pytest.mark.parametrize(("body", "content"), [(b"hello", b"hello"), (b"he", None)])
async def test_a_body_that_comes_with_its_head_is_there_at_once(body: bytes, content: bytes | None, wire: Wire) -> None:
    connection = connected(wire)
    reply = await begun(connection, OK + b"Content-Length: 5\r\n\r\n" + body)
    whole = content is not None
    assert (reply.content, reply.done, connection.idle, connection.busy) == (content, whole, whole, not whole)
    if not whole:
        connection.data_received(b"llo")
        body += b"llo"
    assert b"".join([await reply.read(), await reply.read()]) == b"hello"
    assert (reply.done, connection.idle, connection.busy) == (True, True, False)
    assert await reply.read() == b""


async def test_a_body_that_is_read_as_it_comes_holds_its_sender_back(wire: Wire) -> None:
    connection = connected(wire)
    reply = await begun(connection, OK + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"40000\r\n" + b"x" * 0x40000 + b"\r\n"
    connection.data_received(chunk)
    assert not wire.paused
    connection.data_received(chunk)
    assert wire.paused
    assert len(await reply.read()) == 0x80000
    assert not wire.paused
    connection.data_received(b"1\r\ny\r\n0\r\n\r\n")
    assert [await reply.read(), await reply.read()] == [b"y", b""]
    assert connection.reusable


async def test_what_came_before_a_cut_is_read_first(wire: Wire) -> None:
    connection = connected(wire)
    reply = await begun(connection, OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n")
    connection.eof_received()
    assert await reply.read() == b"he"
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        await reply.read()


async def test_letting_go_of_an_answer_of_which_only_the_end_is_left_keeps_the_connection(wire: Wire) -> None:
    connection = connected(wire)
    reply = await begun(connection, OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n")
    assert await reply.read() == b"he"
    connection.data_received(b"0\r\n\r\n")
    await reply.aclose()
    assert connection.reusable


async def test_letting_go_of_more_closes_the_connection(wire: Wire) -> None:
    connection = connected(wire)
    reply = await begun(connection, OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n")
    await reply.aclose()
    assert not connection.reusable
    assert wire.aborted


async def test_headers_are_found_in_any_case_and_joined(wire: Wire) -> None:
    connection = connected(wire)
    reply = await begun(connection, OK + b"X-A: b\r\nx-a: c \r\nContent-Length: 0\r\n\r\n")
    assert (reply.headers["X-a"], reply.headers.get("x-A"), reply.headers.get("none")) == ("b, c", "b, c", None)
    assert dict(reply.headers) == {"x-a": "b, c", "content-length": "0"}
    assert "b, c" not in repr(reply.headers)


async def test_a_request_is_written_as_one_piece(wire: Wire) -> None:
    for asked, told in [
        (request(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (request("POST", b"{}"), b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"),
        (request("PUT"), b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
        (request("DELETE"), b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (request("OPTIONS"), b"OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ]:
        connection = connected(wire)
        wire.written.clear()
        reading = asyncio.create_task(whole(connection, asked))
        await asyncio.sleep(0)
        connection.data_received(ANSWERS["length"][0])
        await reading
        assert wire.written == [told]


async def test_a_long_request_is_written_as_it_is_taken(wire: Wire) -> None:
    connection = connected(wire)
    connection.pause_writing()
    reading = asyncio.create_task(whole(connection, request("POST", b"b" * 600_000)))
    await asyncio.sleep(0)
    assert wire.written == []
    connection.resume_writing()
    for _ in range(10):
        await asyncio.sleep(0)
    assert b"".join(wire.written).endswith(b"Content-Length: 600000\r\n\r\n" + b"b" * 600_000)
    assert len(wire.written) == 4
    connection.data_received(ANSWERS["length"][0])
    await reading
    assert connection.reusable


async def test_an_early_answer_ends_a_request_that_nobody_reads(wire: Wire) -> None:
    connection = connected(wire)
    connection.pause_writing()
    reading = asyncio.create_task(whole(connection, request("POST", b"b" * 600_000)))
    await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 413 Too large\r\nContent-Length: 2\r\n\r\nno")
    status, _, body = await reading
    assert (status, body) == (413, b"no")
    assert not connection.reusable


async def test_an_answer_that_comes_early_is_read_before_more_is_written(wire: Wire) -> None:
    def write(data: Any) -> None:
        wire.written.append(bytes(data))
        told = b"HTTP/1.1 413 Too large\r\nContent-Length: 2\r\n\r\nno"
        loop.call_soon(loop.call_soon, connection.data_received, told)  # the event loop sees it, and then reads it

    loop = asyncio.get_running_loop()
    wire.write = write  # type: ignore[method-assign]  # for this transport only
    connection = connected(wire)
    assert (await whole(connection, request("POST", b"b" * 600_000)))[::2] == (413, b"no")
    assert len(wire.written) == 1


async def test_nothing_more_is_written_once_the_connection_is_lost(wire: Wire) -> None:
    def write(data: Any) -> None:
        wire.written.append(bytes(data))  # and asyncio's transport says a step later that the socket took nothing
        asyncio.get_running_loop().call_soon(connection.connection_lost, ConnectionResetError(104, "reset"))

    wire.write = write  # type: ignore[method-assign]  # for this transport only
    connection = connected(wire)
    with pytest.raises(httpx.ReadError, match="reset"):
        await connection.send(request("POST", b"b" * 600_000))
    assert len(wire.written) == 1


@pytest.mark.parametrize("head", [b"", OK + b"Content-Length: 5\r\n\r\nhe"])
async def test_cancelling_closes_the_connection(head: bytes, wire: Wire) -> None:
    connection = connected(wire)
    reading = asyncio.create_task(whole(connection, request(Authorization="canary")))
    await asyncio.sleep(0)
    if head:
        connection.data_received(head)
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not connection.reusable
    await connection.aclose()
    assert wire.aborted
    assert "canary" not in repr(connection)


async def test_an_answer_that_is_dropped_closes_its_connection(wire: Wire) -> None:
    connection = connected(wire)
    reply = await begun(connection, OK + b"Content-Length: 5\r\n\r\nhe")
    await asyncio.sleep(0)  # until then the task that has sent keeps its result
    del reply
    gc.collect()
    await asyncio.sleep(0)
    assert wire.aborted


async def test_a_server_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(httpx.ConnectError, match="Errno"):
        await Http1.connect(Origin.of(f"http://127.0.0.1:{port}"), NOBODY)


async def test_two_calls_over_a_real_socket() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWERS["chunked"][0])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        connection = await Http1.connect(Origin.of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), NOBODY)
        for _ in range(2):
            with anyio.fail_after(5):
                assert (await whole(connection, request()))[2] == b"hello"
        await connection.aclose()
        assert not connection.reusable


async def test_closing_does_not_wait_for_the_other_side(wire: Wire) -> None:
    connection = connected(wire)
    wire.close = lambda: None  # type: ignore[method-assign]  # as TLS, whose goodbye nobody answers
    closing = asyncio.create_task(connection.aclose())
    for _ in range(5):
        await asyncio.sleep(0)
    assert closing.done()
    assert wire.aborted


# Dialling


class Resolving(asyncio.SelectorEventLoop):
    """An event loop whose names lead to the given addresses; it remembers the sockets that it connects."""

    def __init__(self, addresses: list[tuple[str, int]]) -> None:
        super().__init__()
        self.addresses = addresses
        self.sockets: list[socket.socket] = []
        self.tried = [asyncio.Event() for _ in addresses]  # the first, the first two …

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in self.addresses]

    async def sock_connect(self, sock: Any, address: Any) -> None:
        self.sockets.append(sock)
        self.tried[len(self.sockets) - 1].set()
        if address[1] == 1:  # an address that never answers
            await asyncio.Event().wait()
        await super().sock_connect(sock, address)


def listening() -> socket.socket:
    made = socket.create_server(("127.0.0.1", 0))
    return made


def test_the_address_that_answers_wins_and_no_other_socket_is_left() -> None:
    with listening() as server:
        loop = Resolving([("127.0.0.1", 1), server.getsockname()])
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            won = runner.run(dial(loop, "x", 80))
            assert [one.fileno() for one in loop.sockets if one is not won] == [-1]
            won.close()


async def dial_and_cancel(loop: Resolving, steps: int, begun: Callable[[], Awaitable[object]] | None = None) -> None:
    """Cancel a dial so many steps after it has `begun`, if it is still under way, and let go of what it got."""
    dialling = asyncio.ensure_future(dial(loop, "x", 80))
    if begun is not None:
        await begun()
    for _ in range(steps):
        await asyncio.sleep(0)
    if dialling.cancel():
        with pytest.raises(asyncio.CancelledError):
            await dialling
    else:
        dialling.result().close()
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("steps", range(12))
def test_a_dial_that_is_cancelled_at_any_step_leaves_no_socket(steps: int) -> None:
    with listening() as server:
        loop = Resolving([server.getsockname(), server.getsockname()])
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(dial_and_cancel(loop, steps))
        assert [one.fileno() for one in loop.sockets if one.fileno() != -1] == []


@pytest.mark.parametrize("steps", range(10))
def test_a_dial_that_is_cancelled_while_one_address_wins_and_another_loses_knows_it(steps: int) -> None:
    with listening() as server:
        loop = Resolving([("127.0.0.1", 1), server.getsockname()])

        async def cancelled() -> None:
            await dial_and_cancel(loop, steps, loop.tried[1].wait)
            assert [one.fileno() for one in loop.sockets if one.fileno() != -1] == []

        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(cancelled())


def test_a_name_without_an_address_is_an_error() -> None:
    with asyncio.Runner(loop_factory=lambda: Resolving([])) as runner, pytest.raises(OSError, match="x has no address"):
        runner.run(dial(runner.get_loop(), "x", 80))


def test_all_addresses_that_fail_give_the_first_failure() -> None:
    with listening() as server:
        closed = server.getsockname()
    loop = Resolving([closed, closed])
    with asyncio.Runner(loop_factory=lambda: loop) as runner, pytest.raises(ConnectionRefusedError):
        runner.run(dial(loop, "x", 80))

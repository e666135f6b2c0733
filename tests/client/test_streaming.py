"""Logs: records, ends, cuts and what is left behind, over a real socket."""

import gc
import gzip
import json
import warnings
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from rich.pretty import pretty_repr

from prisma_mgmt import (
    AuthenticationError,
    DecodeError,
    ManagementClient,
    NetworkError,
    RetryPolicy,
    ServerError,
    StreamError,
)
from prisma_mgmt.core.limits import Limits
from prisma_mgmt.core.logs import Lines
from tests.conftest import FakeClock
from tests.kit.canaries import CANARY
from tests.kit.engines import anyio_backend as anyio_backend
from tests.kit.engines import needs_new_anyio
from tests.kit.rig import Drop, Gate, Reply, Request, Server, serve, until
from tests.kit.script import CONNECTION, Renewing, scripted

pytestmark = pytest.mark.anyio


def record(text: str, cursor: str | None = None) -> dict[str, Any]:
    return {"type": "log", "text": text, "level": "info", "source": "runner", "cursor": cursor or f"after-{text}"}


def end(kind: str = "completed", **more: Any) -> dict[str, Any]:
    base = {"type": "terminal", "kind": kind, "code": "done", "message": "m", "retryable": False, "cursor": None}
    return {**base, **more}


def lines(*records: dict[str, Any], newline: bytes = b"\n") -> bytes:
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + newline for one in records)


def cut(*records: dict[str, Any]) -> Drop:
    """An answer that says it is longer than it comes to be."""
    return Drop(b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\nx-request-id: req_9\r\n\r\n" + lines(*records))


class Chunks(AsyncIterator[bytes]):
    """Chunks of an answer; after them, a gate where one is given."""

    def __init__(self, *chunks: bytes, gate: Gate | None = None) -> None:
        self.chunks = list(chunks)
        self.gate = gate

    async def __anext__(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        if self.chunks:
            return self.chunks.pop(0)
        if self.gate is not None:
            await self.gate()
        raise StopAsyncIteration


class Log:
    """A handler that answers with the written steps, one a request."""

    def __init__(self, *steps: Reply | Exception) -> None:
        self.steps = list(steps)

    async def __call__(self, request: Request) -> Reply:
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


def client_of(server: Server, clock: FakeClock, **options: Any) -> ManagementClient:
    return ManagementClient(options.pop("auth", "token"), base_url=server.url, _clock=clock, **options)


async def texts(log: Any) -> list[str]:
    return [one.text async for one in log]


@contextmanager
def warned() -> Iterator[list[str]]:
    """What is warned of; sockets and trio's generators, which are dropped with a log, may say so too."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield told
    told += [str(one.message) for one in caught if one.category is ResourceWarning]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\n\n \r\n"])
async def test_records_then_the_terminal_record(newline: bytes, clock: FakeClock) -> None:
    content = lines(record("a"), record("b"), end(cursor="c9"), newline=newline)
    async with serve(Log(Reply(content=content))) as server, client_of(server, clock) as client:
        log = client.builds.logs("bld_1", follow=True)
        assert server.requests == []
        assert await texts(log) == ["a", "b"]
        assert log.terminal is not None
        assert (log.terminal.kind, log.terminal.cursor, log.cursor) == ("completed", "c9", "after-b")
        assert await texts(log) == []
        assert server.requests[0].query == {"follow": "true"}
        assert server.requests[0].headers["accept"] == "application/x-ndjson"
        assert server.requests[0].headers["accept-encoding"] == "identity"  # what is packed may come late


async def test_utf_8_and_lines_split_anywhere_and_a_last_line_without_its_newline(clock: FakeClock) -> None:
    content = lines(record("grüße 🌍"), record("zweite"), end()).rstrip(b"\n")
    pieces = Chunks(*(content[i : i + 1] for i in range(len(content))))
    async with serve(Log(Reply(chunks=pieces))) as server, client_of(server, clock) as client:
        log = client.builds.logs("bld_1")
        assert await texts(log) == ["grüße 🌍", "zweite"]
        assert log.terminal is not None


async def test_an_error_record_is_a_stream_error_and_stays_the_end(clock: FakeClock) -> None:
    content = lines(record("a"), end("error", code="gone", message="expired", retryable=True, cursor="c1"))
    async with serve(Log(Reply(content=content))) as server, client_of(server, clock) as client:
        log = client.builds.logs("bld_1")
        with pytest.raises(StreamError, match="gone: expired") as caught:
            await texts(log)
        assert (caught.value.code, caught.value.retryable, caught.value.cursor) == ("gone", True, "c1")
        assert await texts(log) == []


async def test_a_finished_log_gives_its_connection_back(clock: FakeClock) -> None:
    content = lines(record("a"), end())
    log = Log(*(Reply(content=content) for _ in range(3)))
    async with serve(log) as server, client_of(server, clock, max_connections=1) as client:
        for _ in range(3):
            assert await texts(client.builds.logs("bld_1")) == ["a"]
        assert server.connections == 1


@pytest.mark.parametrize("chunked", [False, True])
async def test_leaving_early_leaves_nothing_open(clock: FakeClock, chunked: bool) -> None:
    many = lines(*(record(str(number)) for number in range(500)))
    gates = [Gate() for _ in range(3)]
    log = Log(*(Reply(chunks=Chunks(*([many] if chunked else [many] * 3), gate=gate)) for gate in gates))
    async with serve(log) as server, client_of(server, clock, max_connections=1) as client:
        for gate in gates:
            async with client.builds.logs("bld_1") as stream:
                assert (await anext(stream)).text == "0"
                assert (await anext(stream)).text == "1"
            gate.release()
        gc.collect()
        await until(lambda: server.open_connections == 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # trio says that it closed `__aiter__`
async def test_a_transport_that_never_ends_can_be_left(clock: FakeClock) -> None:
    class Endless(httpx.AsyncByteStream):
        closed = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield lines(record("a"))

        async def aclose(self) -> None:
            self.closed = True

    body = Endless()
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=body))
    async with ManagementClient("token", transport=transport) as client, client.builds.logs("bld_1") as log:
        assert (await anext(log)).text == "a"
    assert body.closed


async def test_a_packed_log_that_is_left_leaves_nothing_open(clock: FakeClock) -> None:
    gate = Gate()
    content = gzip.compress(lines(*(record(str(number)) for number in range(20_000))))
    chunks = Chunks(content[:60_000], content[60_000:-9], gate=gate)
    log = Log(Reply(chunks=chunks, headers={"content-encoding": "gzip"}))
    async with serve(log) as server, client_of(server, clock, max_connections=1) as client:
        async with client.builds.logs("bld_1") as stream:
            assert (await anext(stream)).text == "0"
        gate.release()
        gc.collect()
        await until(lambda: server.open_connections == 0)


async def test_a_packed_log_comes_as_it_is_written(clock: FakeClock) -> None:
    gate, packer = Gate(), zlib.compressobj(wbits=31)
    first = packer.compress(lines(record("a"))) + packer.flush(zlib.Z_SYNC_FLUSH)
    log = Log(Reply(chunks=Chunks(first, gate=gate), headers={"content-encoding": "gzip"}))
    async with serve(log) as server, client_of(server, clock) as client, client.builds.logs("bld_1") as stream:
        assert (await anext(stream)).text == "a"
        gate.release()


async def test_an_open_log_shows_no_cookie_of_its_answer_and_no_query(clock: FakeClock) -> None:
    gate = Gate()
    reply = Reply(chunks=Chunks(lines(record("a", CANARY)), gate=gate), headers={"set-cookie": f"session={CANARY}"})
    async with serve(Log(reply)) as server, client_of(server, clock) as client:
        async with client.builds.logs("bld_1", cursor=f"{CANARY}-0") as stream:
            assert (await anext(stream)).text == "a"
            stream.cursor = None  # which is shown, for it is a log's own
            for shown in (pretty_repr(stream), repr(stream)):
                assert CANARY not in shown
        gate.release()


@needs_new_anyio
async def test_a_log_that_is_dropped_says_so_and_leaves_nothing_open(clock: FakeClock) -> None:
    gate = Gate(open_=True)
    log = Log(*(Reply(chunks=Chunks(lines(record("a")), gate=gate)) for _ in range(3)), Reply(content=lines(end())))
    async with serve(log) as server, client_of(server, clock, max_connections=1) as client:
        for _ in range(3):
            stream = client.builds.logs("bld_1")
            assert (await anext(stream)).text == "a"
            with warned() as told:
                del stream
                gc.collect()
                await until(lambda: server.open_connections == 0)
            assert "a log was left open: use it as `async with`, or call aclose()" in told
        assert await texts(client.builds.logs("bld_1")) == []


async def test_however_many_logs_are_open_other_calls_go_on(clock: FakeClock) -> None:
    gate = Gate()

    async def handler(request: Request) -> Reply:
        if "logs" in request.path:
            return Reply(chunks=Chunks(lines(record("a")), gate=gate))
        return Reply(body={"data": CONNECTION})

    async with serve(handler) as server, client_of(server, clock, max_connections=2) as client:
        logs = [client.builds.logs("bld_1") for _ in range(5)]
        with anyio.fail_after(20):
            for log in logs:
                assert (await anext(log)).text == "a"
            assert (await client.connections.get("con_1")).name == "n"
        assert server.open_connections == 6
        for log in logs:
            await log.aclose()
        gate.release()
        await until(lambda: server.open_connections == 1)


async def test_a_cancelled_reader_leaves_nothing_open(clock: FakeClock) -> None:
    gate = Gate()
    log = Log(Reply(chunks=Chunks(lines(record("a")), gate=gate)), Reply(content=lines(record("b"), end())))
    async with serve(log) as server, client_of(server, clock, max_connections=1) as client:
        stream = client.builds.logs("bld_1")
        assert (await anext(stream)).text == "a"
        async with anyio.create_task_group() as group:
            group.start_soon(anext, stream)
            await gate.arrived.wait()
            group.cancel_scope.cancel()
        gate.release()
        assert await texts(stream) == ["b"]  # goes on where it was
        assert server.requests[1].query == {"cursor": "after-a"}


async def test_closed_in_another_task(clock: FakeClock) -> None:
    gate = Gate()
    log = Log(Reply(chunks=Chunks(lines(record("a")), gate=gate)))
    async with serve(log) as server, client_of(server, clock) as client:
        stream = client.builds.logs("bld_1")
        for step in (stream.__anext__, stream.aclose, stream.aclose):
            async with anyio.create_task_group() as group:
                group.start_soon(step)
        gate.release()
        await until(lambda: server.open_connections == 0)


async def test_two_tasks_cannot_read_one_log(clock: FakeClock) -> None:
    gate = Gate()
    log = Log(Reply(chunks=Chunks(lines(record("a")), gate=gate)))
    async with serve(log) as server, client_of(server, clock) as client:
        async with client.builds.logs("bld_1") as stream, anyio.create_task_group() as group:
            await anext(stream)
            group.start_soon(stream.__anext__)
            await anyio.lowlevel.checkpoint()
            await until(lambda: stream._busy)
            with pytest.raises(RuntimeError, match="another task is reading this log"):
                await anext(stream)
            group.cancel_scope.cancel()
        assert server.connections == 1


async def test_closing_from_another_task_ends_the_reader(clock: FakeClock) -> None:
    gate = Gate()
    log = Log(Reply(chunks=Chunks(lines(record("a")), gate=gate)))
    async with serve(log) as server, client_of(server, clock, max_connections=1) as client:
        stream = client.builds.logs("bld_1")
        assert (await anext(stream)).text == "a"

        async def read() -> None:
            with pytest.raises(NetworkError) as caught:
                await anext(stream)
            assert not caught.value.unsent  # the request was sent, and its answer had begun

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await gate.arrived.wait()
            await anyio.wait_all_tasks_blocked()
            await stream.aclose()
        gate.release()
        assert len(server.requests) == 1
        assert clock.slept == []
        await until(lambda: server.open_connections == 0)


# Cuts


async def test_a_cut_log_is_taken_up_after_its_last_cursor(clock: FakeClock) -> None:
    log = Log(cut(record("a"), record("b")), cut(record("c")), Reply(content=lines(record("d"), end())))
    async with serve(log) as server, client_of(server, clock) as client:
        assert await texts(client.builds.logs("bld_1", follow=True, cursor="start")) == ["a", "b", "c", "d"]
    assert [request.query["cursor"] for request in server.requests] == ["start", "after-b", "after-c"]
    assert all(request.query["follow"] == "true" for request in server.requests)
    assert clock.slept == [0.5, 0.5]  # the count starts anew with each record


async def test_taking_up_is_bounded_by_the_policy(clock: FakeClock) -> None:
    log = Log(cut(record("a")), *(cut() for _ in range(10)))
    async with serve(log) as server, client_of(server, clock, retry=RetryPolicy(attempts=3)) as client:
        stream = client.builds.logs("bld_1")
        assert (await anext(stream)).text == "a"
        with pytest.raises(NetworkError) as caught:
            await anext(stream)
        assert stream.cursor == "after-a"
        assert (caught.value.status, caught.value.request_id, caught.value.method) == (200, "req_9", "GET")
        assert caught.value.url.endswith("/v1/builds/bld_1/logs?cursor=after-a")
    assert len(server.requests) == 3
    assert clock.slept == [0.5, 1.0]


async def test_with_retries_off_a_cut_is_an_error_at_once(clock: FakeClock) -> None:
    log = Log(cut(record("a")), Reply(content=lines(record("b"), end())))
    async with serve(log) as server, client_of(server, clock, retry=RetryPolicy(attempts=1)) as client:
        stream = client.builds.logs("bld_1")
        with pytest.raises(NetworkError):
            await texts(stream)
        assert await texts(stream) == ["b"]  # the caller's own choice to go on
        assert server.requests[1].query == {"cursor": "after-a"}


async def test_a_log_that_ends_without_its_terminal_record_was_cut(clock: FakeClock) -> None:
    log = Log(Reply(content=lines(record("a"))), Reply(content=lines(end())))
    async with serve(log) as server, client_of(server, clock) as client:
        assert await texts(client.builds.logs("bld_1")) == ["a"]
    assert len(server.requests) == 2


async def test_a_deployments_log_is_taken_up_after_the_last_byte(clock: FakeClock) -> None:
    first = {"type": "log", "text": "a", "byteStart": 0, "byteEnd": 7}
    second = {"type": "log", "text": "b", "byteStart": 7, "byteEnd": 9}
    steps = cut(first), Reply(content=lines(second)), Reply(content=lines(end()))
    async with serve(Log(*steps)) as server, client_of(server, clock) as client:
        assert await texts(client.deployments.logs("dep_1", tail=5)) == ["a", "b"]
    assert [request.query for request in server.requests] == [{"tail": "5"}, {"cursor": "7"}, {"cursor": "9"}]


async def test_a_followed_log_is_taken_up_after_a_retryable_end(clock: FakeClock) -> None:
    ends = end("error", retryable=True, cursor="c1"), end("end", retryable=True), end(retryable=True)
    first, second, third = (lines(record(text), one) for text, one in zip("abc", ends, strict=True))
    async with (
        serve(Log(Reply(content=first), Reply(content=second), Reply(content=third))) as server,
        client_of(server, clock) as client,
    ):
        log = client.builds.logs("bld_1", follow=True)
        assert [(await anext(log)).text for _ in range(3)] == ["a", "b", "c"]
        await log.aclose()
        assert [request.query.get("cursor") for request in server.requests] == [None, "c1", "after-b"]


async def test_a_record_of_an_unknown_kind_passes_as_a_dict(clock: FakeClock) -> None:
    odd = {"type": "phase", "name": "build", "cursor": "c7"}
    steps = cut(record("a"), odd), Reply(content=lines(end()))
    async with serve(Log(*steps)) as server, client_of(server, clock) as client:
        found = [one async for one in client.builds.logs("bld_1")]
        assert found[1] == odd
        assert server.requests[1].query == {"cursor": "c7"}


@pytest.mark.parametrize("first", [b"", b"\n", lines(record("a"))[:-20]])
async def test_a_log_that_is_cut_before_its_first_record_is_asked_for_again(first: bytes, clock: FakeClock) -> None:
    whole = lines(record("a"), end())
    steps = Reply(content=first), cut(), Reply(content=whole)
    async with serve(Log(*steps)) as server, client_of(server, clock) as client:
        assert await texts(client.builds.logs("bld_1", cursor="c0")) == ["a"]
        assert [request.query for request in server.requests] == [{"cursor": "c0"}] * 3


async def test_a_log_that_is_always_cut_before_its_first_record_is_an_error(clock: FakeClock) -> None:
    steps = [Reply(content=b"")] * 5
    retry = RetryPolicy(attempts=3)
    async with serve(Log(*steps)) as server, client_of(server, clock, retry=retry) as client:
        with pytest.raises(NetworkError, match="cut off before its terminal record"):
            await texts(client.builds.logs("bld_1"))
        assert len(server.requests) == 3


async def test_records_without_cursors_are_not_asked_for_twice(clock: FakeClock) -> None:
    one = {"type": "later", "text": "a"}
    async with serve(Log(Reply(content=lines(one)))) as server, client_of(server, clock) as client:
        log = client.deployments.logs("dep_1")
        with pytest.raises(NetworkError, match="cut off before its terminal record") as caught:
            _ = [one async for one in log]
        assert (caught.value.status, caught.value.request_id) == (200, "req_1")
        assert len(server.requests) == 1
        await until(lambda: server.open_connections == 1)  # the body was whole, so the connection is kept


@pytest.mark.parametrize("odd", [{}, {"cursor": None}, {"cursor": {"a": 1}}, {"cursor": True}, {"byteEnd": "7"}])
async def test_a_record_that_does_not_say_where_it_is_does_not_lose_the_place(
    odd: dict[str, Any], clock: FakeClock
) -> None:
    steps = cut(record("a"), {"type": "heartbeat", **odd}), Reply(content=lines(end()))
    async with serve(Log(*steps)) as server, client_of(server, clock) as client:
        log = client.builds.logs("bld_1")
        assert len([one async for one in log]) == 2
        assert server.requests[1].query == {"cursor": "after-a"}


async def test_a_last_line_that_is_no_whole_record_is_a_cut(clock: FakeClock) -> None:
    short = lines(record("a"), record("b"))[:-20]
    async with (
        serve(Log(Reply(content=short), Reply(content=lines(record("b"), end())))) as server,
        client_of(server, clock) as client,
    ):
        assert await texts(client.builds.logs("bld_1")) == ["a", "b"]
        assert server.requests[1].query == {"cursor": "after-a"}


@pytest.mark.parametrize("page", [b"<html>no log</html>", b"no log", b"[1]", b"nul"])
async def test_a_page_in_place_of_a_log_is_no_cut(page: bytes, clock: FakeClock) -> None:
    answered = Reply(content=page, headers={"content-type": "text/html"})
    async with serve(Log(answered)) as server, client_of(server, clock) as client:
        with pytest.raises(DecodeError, match=r"expected .* \(status 200\)"):
            await anext(client.builds.logs("bld_1"))
        assert len(server.requests) == 1


async def test_a_log_that_falls_silent_is_taken_up_again(clock: FakeClock) -> None:
    held = Gate()
    steps = Reply(chunks=Chunks(lines(record("a")), gate=held)), Reply(content=lines(record("b"), end()))
    async with serve(Log(*steps)) as server, client_of(server, clock, _limits=Limits(silence=0.2)) as client:
        assert await texts(client.builds.logs("bld_1", follow=True)) == ["a", "b"]
        assert server.requests[1].query["cursor"] == "after-a"
        held.release()


# Lines that will not do


class Counted(bytearray):
    """Counts how often it is copied as a whole."""

    copies = 0

    def __bytes__(self) -> bytes:
        self.copies += 1
        return bytes(memoryview(self))

    def __add__(self, more: bytes) -> "Counted":  # type: ignore[override]  # what is added is bytes here
        raise AssertionError("copied for every chunk")


def test_a_line_that_comes_byte_by_byte_is_copied_once() -> None:
    content = lines(record("a" * 50_000), end())
    rest = Counted()
    cutter = Lines(rest)
    found = [line for i in range(len(content)) for line in cutter.feed(content[i : i + 1])]
    assert found == content.splitlines()
    assert 0 < rest.copies < 3


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b"<html>", ""),
        (b"[" * 100_000, ""),
        (b'{"type": "log", "text": 1, "level": "i", "source": "s", "cursor": "c"}', "text"),
        (b"[]", ""),
        (b'{"type": "terminal"}', "kind"),
    ],
)
async def test_a_line_that_does_not_fit(line: bytes, path: str, clock: FakeClock) -> None:
    async with serve(Log(Reply(content=line + b"\n"))) as server, client_of(server, clock) as client:
        with pytest.raises(DecodeError) as caught:
            await texts(client.builds.logs("bld_1"))
        assert (caught.value.path, caught.value.status, caught.value.request_id) == (path, 200, "req_1")


async def test_unknown_fields_and_kinds_pass(clock: FakeClock) -> None:
    content = lines({**record("a"), "level": "odd", "new": 1}, end("later"))
    async with serve(Log(Reply(content=content))) as server, client_of(server, clock) as client:
        log = client.builds.logs("bld_1")
        assert [one.level async for one in log] == ["odd"]
        assert log.terminal is not None
        assert log.terminal.kind == "later"


# Opening


async def test_a_401_at_the_opening_is_renewed_once(clock: FakeClock) -> None:
    auth = Renewing("old", "new")
    log = Log(Reply(status=401, body={}), Reply(content=lines(end())))
    async with serve(log) as server, client_of(server, clock, auth=auth) as client:
        assert await texts(client.builds.logs("bld_1")) == []
        assert [request.token for request in server.requests] == ["old", "new"]
        assert (auth.renewals, auth.taken) == (["old"], ["new"])
        assert server.connections == 1


async def test_a_401_for_ever_surfaces(clock: FakeClock) -> None:
    log = Log(*(Reply(status=401, body={"message": "no"}) for _ in range(3)))
    async with serve(log) as server, client_of(server, clock, auth=Renewing("old", "new")) as client:
        with pytest.raises(AuthenticationError, match="no"):
            await texts(client.builds.logs("bld_1"))
        assert len(server.requests) == 2


async def test_opening_is_retried_as_any_call(clock: FakeClock) -> None:
    log = Log(Reply(status=503, body={}), Reply(content=lines(record("a"), end())))
    async with serve(log) as server, client_of(server, clock) as client:
        assert await texts(client.builds.logs("bld_1")) == ["a"]
    assert clock.slept == [0.5]
    client, _ = scripted(httpx.Response(503, json={"message": "down"}), clock=clock)
    with pytest.raises(ServerError, match="down"):
        await texts(client.builds.logs("bld_1"))


async def test_the_timeout_is_for_the_head_only(clock: FakeClock) -> None:
    gate = Gate()
    log = Log(Reply(chunks=Chunks(lines(record("a")), gate=gate)))
    async with serve(log) as server, client_of(server, clock, timeout=0.6) as client:
        stream = client.builds.logs("bld_1")
        assert (await anext(stream)).text == "a"
        with anyio.move_on_after(0.7) as waiting:
            await anext(stream)
        assert waiting.cancelled_caught
        gate.release()

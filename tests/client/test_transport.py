"""The pool: bounded, fair, whole after cancellation, and closed when it is closed."""

import asyncio
import gc
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest
import trio
from anyio.from_thread import start_blocking_portal

from prisma_mgmt import ManagementClient, NetworkError, RequestTimeoutError, RetryPolicy
from prisma_mgmt.core.clock import Clock
from prisma_mgmt.core.limits import Limits
from tests.conftest import FakeClock
from tests.kit.engines import anyio_backend as anyio_backend
from tests.kit.rig import Drop, Gate, Reply, Request, serve, until
from tests.kit.script import CONNECTION, Renewing, Script, answer
from tests.kit.tls import certificate

pytestmark = pytest.mark.anyio
ONCE = RetryPolicy(attempts=1)


async def reply(request: Request) -> Reply:
    return Reply(body={"data": CONNECTION})


@pytest.mark.timeout(180)  # it takes five to ten seconds, and some machines are slow
async def test_ten_thousand_calls_at_once_share_a_bounded_pool() -> None:
    lasting = Limits(idle=3600.0)  # on a slow machine a connection may idle past its time
    done = 0

    async def call(client: ManagementClient) -> None:
        nonlocal done
        await client.connections.get("con_1")
        done += 1

    async with (
        serve(reply) as server,
        ManagementClient("token", base_url=server.url, timeout=None, _limits=lasting) as client,
    ):
        async with anyio.create_task_group() as group:
            for _ in range(10_000):
                group.start_soon(call, client)
        assert done == 10_000
        assert server.connections <= 100


async def test_calls_are_served_in_the_order_they_came() -> None:
    gate = Gate()

    async def handler(request: Request) -> Reply:
        await gate()
        return Reply(body={"data": CONNECTION})

    async with serve(handler) as server, ManagementClient("token", base_url=server.url, max_connections=1) as client:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(client.connections.get, f"con_{number}")
                await anyio.lowlevel.checkpoint()
            await gate.arrived.wait()
            gate.release()
        assert [request.path.rpartition("_")[2] for request in server.requests] == [str(n) for n in range(20)]
        assert server.connections == 1


async def test_the_connection_used_last_is_used_next() -> None:
    gate = Gate()

    async def handler(request: Request) -> Reply:
        await gate()
        return Reply(body={"data": CONNECTION})

    async with serve(handler) as server, ManagementClient("token", base_url=server.url) as client:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(client.connections.get, "con_1")
            await until(lambda: len(server.requests) == 5)
            gate.release()
        for _ in range(5):
            await client.connections.get("con_1")
        assert server.connections == 5
        assert len({request.connection for request in server.requests[5:]}) == 1


async def test_idle_connections_past_their_time_are_closed_one_at_a_time() -> None:
    gate = Gate()
    clock = FakeClock()

    async def handler(request: Request) -> Reply:
        await gate()
        return Reply(body={"data": CONNECTION})

    ticking = Clock(monotonic=clock.monotonic)
    async with serve(handler) as server, ManagementClient("token", base_url=server.url, _clock=ticking) as client:
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(client.connections.get, "con_1")
            await until(lambda: len(server.requests) == 4)
            gate.release()
        await client.connections.get("con_1")
        assert server.open_connections == 4
        clock.time += 31
        for left in (3, 2, 1, 1):
            await client.connections.get("con_1")
            await until(lambda left=left: server.open_connections == left)
        assert server.connections == 5, "one that has waited too long is not used again"


async def test_a_token_that_is_replaced_while_a_connection_is_made_is_not_sent_and_not_counted() -> None:
    class Replaced(Renewing):
        asked: tuple[str, ...] = ()

        def outdated(self, token: str) -> bool:
            self.asked += (token,)
            return self.asked == ("old", "old")  # once when the place is there, once when the connection is

    auth = Replaced("old", "new")
    async with serve(reply) as server, ManagementClient(auth, base_url=server.url) as client:
        with client.record() as calls:
            await client.connections.get("con_1")
        assert [request.token for request in server.requests] == ["new"]
        assert [call.attempts for call in calls] == [1]


async def test_a_connection_past_its_time_is_not_kept_by_a_call_that_sends_nothing() -> None:
    class Revocable(Renewing):
        revoked = False

        def outdated(self, token: str) -> bool:
            return self.revoked

        async def renew(self, rejected: str) -> str | None:
            raise LookupError("logged out")

    clock, auth = FakeClock(), Revocable("token")
    ticking = Clock(monotonic=clock.monotonic)
    async with serve(reply) as server, ManagementClient(auth, base_url=server.url, _clock=ticking) as client:
        await client.connections.get("con_1")
        auth.revoked = True
        for later, left in ((29, 1), (31, 0)):
            clock.time += later
            with pytest.raises(LookupError, match="logged out"):
                await client.connections.get("con_1")
            await until(lambda left=left: server.open_connections == left)
        assert len(server.requests) == 1


# Death and time


async def test_a_keep_alive_connection_that_died_is_replaced_unnoticed() -> None:
    async def handler(request: Request) -> Reply:
        return Reply(body={"data": CONNECTION}, hang_up=True)

    async with serve(handler) as server, ManagementClient("token", base_url=server.url, retry=ONCE) as client:
        for number in range(1, 4):
            response = await client.request("POST", "/v1/x")
            assert response.status == 200
            await until(lambda: server.open_connections == 0)
            assert server.connections == number


async def test_a_truncated_answer_is_a_network_error_that_names_the_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nx-request-id: req_7\r\n\r\n{"

    async def handler(request: Request) -> Reply:
        raise Drop(head)

    async with serve(handler) as server, ManagementClient("token", base_url=server.url, retry=ONCE) as client:
        with pytest.raises(NetworkError) as caught:
            await client.connections.get("con_1")
    error = caught.value
    assert (error.status, error.request_id, error.method) == (200, "req_7", "GET")
    assert error.url == f"{server.url}/v1/connections/con_1"
    assert not error.unsent
    assert isinstance(error.__cause__, httpx.RemoteProtocolError)
    assert "without sending complete message body" in str(error)


async def test_no_answer_at_all_is_a_network_error_without_a_status() -> None:
    async def handler(request: Request) -> Reply:
        raise Drop

    async with serve(handler) as server, ManagementClient("token", base_url=server.url, retry=ONCE) as client:
        with pytest.raises(NetworkError, match="disconnected") as caught:
            await client.connections.get("con_1")
    assert (caught.value.status, caught.value.request_id, caught.value.unsent) == (None, None, False)


async def test_a_refused_connection_is_unsent() -> None:
    async with serve(reply) as server:
        pass
    async with ManagementClient("token", base_url=server.url, retry=ONCE) as client:
        with pytest.raises(NetworkError, match="ConnectError") as caught:
            await client.request("POST", "/v1/x", body={})
    assert caught.value.unsent


@pytest.mark.parametrize("bytes_first", [False, True])
async def test_the_timeout_covers_the_attempt_as_a_whole(bytes_first: bool) -> None:
    gate = Gate()

    class Dribble:
        def __aiter__(self) -> "Dribble":
            return self

        async def __anext__(self) -> bytes:
            await anyio.sleep(0.01)
            return b" "

    async def handler(request: Request) -> Reply:
        if not bytes_first:
            await gate()
        return Reply(chunks=Dribble())

    async with serve(handler) as server:
        async with ManagementClient("token", base_url=server.url, retry=ONCE, timeout=0.5) as client:
            with pytest.raises(RequestTimeoutError, match=r"no answer within 0\.5 s") as caught:
                await client.connections.get("con_1")
        gate.release()
        await until(lambda: server.open_connections == 0)
    assert caught.value.status == (200 if bytes_first else None)
    assert caught.value.method == "GET"


async def test_waiting_for_a_connection_is_not_part_of_the_timeout() -> None:
    async def handler(request: Request) -> Reply:
        if "held" in request.path:
            await Gate()()
        return Reply(body={"data": CONNECTION})

    async with serve(handler) as server:
        client = ManagementClient("token", base_url=server.url, retry=ONCE, timeout=1.0, max_connections=1)

        async def hold() -> None:
            with pytest.raises(RequestTimeoutError):
                await client.connections.get("held")

        async with client, anyio.create_task_group() as group:
            group.start_soon(hold)
            await until(lambda: len(server.requests) == 1)
            await client.with_options(timeout=0.7).connections.get("con_1")


# Opening and closing


async def test_aclose_closes_idle_connections_and_ends_the_client() -> None:
    async with serve(reply) as server:
        client = ManagementClient("token", base_url=server.url)
        await client.connections.get("con_1")
        await client.aclose()
        await client.aclose()
        await until(lambda: server.open_connections == 0)
        with pytest.raises(RuntimeError, match="closed"):
            await client.connections.get("con_1")
        assert len(server.requests) == 1


async def test_a_call_under_way_outlives_aclose_but_its_connection_does_not() -> None:
    gate = Gate()

    async def handler(request: Request) -> Reply:
        await gate()
        return Reply(body={"data": CONNECTION})

    async with serve(handler) as server:
        client = ManagementClient("token", base_url=server.url, max_connections=1)
        names: list[str] = []

        async def call() -> None:
            names.append((await client.connections.get("con_1")).name)

        async def queued() -> None:
            with pytest.raises(RuntimeError, match="closed"):
                await client.connections.get("con_1")

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await gate.arrived.wait()
            group.start_soon(queued)
            await anyio.lowlevel.checkpoint()
            await client.aclose()
            gate.release()
        assert names == ["n"]
        await until(lambda: server.open_connections == 0)


async def test_opened_in_one_task_and_closed_in_another() -> None:
    async with serve(reply) as server:
        client = ManagementClient("token", base_url=server.url)

        async def open_() -> None:
            await client.__aenter__()
            await client.connections.get("con_1")

        async def close() -> None:
            await client.__aexit__(None, None, None)

        for step in (open_, close):
            async with anyio.create_task_group() as group:
                group.start_soon(step)
        await until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("run", [asyncio.run, lambda main: trio.run(lambda: main)])
def test_a_second_event_loop_is_refused(run: Any) -> None:
    client = ManagementClient("token", transport=Script(answer()))

    async def use(action: Any) -> None:
        await action()

    run(use(lambda: client.connections.get("con_1")))
    with pytest.raises(
        RuntimeError, match=r"one for each loop, such as inside the function that asyncio\.run"
    ) as caught:
        run(use(lambda: client.connections.get("con_1")))
    assert "<" not in str(caught.value)
    run(use(client.aclose))


@pytest.mark.parametrize("run", [asyncio.run, trio.run])
def test_a_client_whose_event_loop_is_over_can_be_closed(run: Any, anyio_backend: str) -> None:
    clients: list[ManagementClient] = []

    async def use(url: str) -> None:
        clients.append(ManagementClient("token", base_url=url))
        await clients[0].connections.get("con_1")

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(reply)) as server:
        for step in (partial(use, server.url), lambda: clients[0].aclose()):
            run(step) if run is trio.run else run(step())
        clients.clear()
        gc.collect()


def test_connections_are_closed_in_their_own_loop_only() -> None:
    async def use() -> None:
        async with serve(reply) as server, ManagementClient("token", base_url=server.url) as client:
            await client.connections.get("con_1")
            told = await anyio.to_thread.run_sync(close_elsewhere, client)
            assert "one for each loop" in told

            await client.connections.get("con_1")

    def close_elsewhere(client: ManagementClient) -> str:
        with pytest.raises(RuntimeError) as caught:
            asyncio.run(client.aclose())
        return str(caught.value)

    asyncio.run(use())


async def test_a_view_shares_the_connections_and_closes_nothing() -> None:
    async with serve(reply) as server, ManagementClient("token", base_url=server.url) as client:
        await client.connections.get("con_1")
        async with client.with_options(auth="other", headers={"X-Team": "a"}) as view:
            await view.connections.get("con_1")
        await client.connections.get("con_1")
        assert server.connections == 1
        assert [request.token for request in server.requests] == ["token", "other", "token"]
        assert [request.headers.get("x-team") for request in server.requests] == [None, "a", None]


@contextmanager
def unreachable() -> Iterator[str]:
    """The URL of a server whose backlog is full: who connects is not answered."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_a_connection_that_is_not_made_in_time_is_tried_again_whatever_the_method(clock: FakeClock) -> None:
    twice = RetryPolicy(attempts=2)
    with unreachable() as url:
        async with ManagementClient("token", base_url=url, timeout=0.2, retry=twice, _clock=clock) as client:
            with pytest.raises(RequestTimeoutError, match="no answer within") as caught:
                await client.request("POST", "/v1/x", body={})
    assert (caught.value.unsent, caught.value.attempts) == (True, 2)


async def test_a_request_that_was_sent_and_not_answered_in_time_is_not_unsent() -> None:
    async def handler(request: Request) -> Reply:
        await anyio.sleep_forever()

    async with serve(handler) as server, ManagementClient("token", base_url=server.url, timeout=0.2) as client:
        with pytest.raises(RequestTimeoutError) as caught:
            await client.request("POST", "/v1/x", body={})
    assert (caught.value.unsent, caught.value.attempts) == (False, 1)


async def test_a_context_that_would_agree_on_http_2_is_used_for_http_1(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    shared = ssl.create_default_context(cafile=str(made.path))
    shared.set_alpn_protocols(["h2", "http/1.1"])
    agreed: list[str | None] = []

    class Listening(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            agreed.append(self.selected_alpn_protocol())

    theirs = made.server("h2", "http/1.1")
    theirs.sslobject_class = Listening
    async with (
        serve(reply, theirs) as server,
        ManagementClient("token", base_url=server.url, ssl_context=shared) as client,
    ):
        assert (await client.connections.get("con_1")).id == "con_1"
    assert agreed == ["http/1.1"]


# Transports of the user's


async def test_a_route_that_needs_no_token_is_not_sent_the_one_of_a_client_of_the_users() -> None:
    script = Script(answer(200, {"data": {"version": 5}}))
    async with httpx.AsyncClient(transport=script, headers={"Authorization": "Basic theirs"}) as theirs:
        client = ManagementClient("token", http_client=theirs)
        await client.pipeline.send(client.call("GET", "/v1/x", token=False))
    assert "authorization" not in script.requests[0].headers


async def test_a_users_transport_is_used_and_never_closed() -> None:
    async def handler(request: httpx.Request) -> httpx.Response:
        return answer()

    mock = httpx.MockTransport(handler)
    async with ManagementClient("token", transport=mock) as client:
        assert (await client.connections.get("con_1")).name == "n"
    script = Script(answer(), httpx.ReadError("gone"))
    async with ManagementClient("token", transport=script, retry=ONCE) as client:
        await client.connections.get("con_1")
        with pytest.raises(NetworkError):
            await client.connections.get("con_1")
    assert not script.closed


async def test_a_users_client_runs_its_hooks_but_neither_its_auth_nor_its_redirects_nor_its_timeout() -> None:
    seen: list[str] = []

    async def sending(request: httpx.Request) -> None:
        seen.append("sending")

    async def answered(response: httpx.Response) -> None:
        seen.append("answered")

    async def handler(request: Request) -> Reply:
        if "moved" in request.path:
            return Reply(status=307, headers={"location": "/v1/connections/con_1"})
        return Reply(body={"data": CONNECTION})

    hooks: dict[str, list[Any]] = {"request": [sending], "response": [answered]}
    async with serve(handler) as server:
        theirs = httpx.AsyncClient(event_hooks=hooks, auth=("u", "p"), follow_redirects=True, timeout=1e-9)
        async with theirs:
            async with ManagementClient("token", base_url=server.url, http_client=theirs) as client:
                assert (await client.connections.get("con_1")).name == "n"
                with pytest.raises(Exception, match="307"):
                    await client.connections.get("moved")
            assert not theirs.is_closed
    assert seen == ["sending", "answered"] * 2
    assert [request.token for request in server.requests] == ["token", "token"]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ManagementClient("token", max_connections=0)
    with pytest.raises(ValueError, match="not both"):
        ManagementClient("token", transport=Script(answer()), http_client=httpx.AsyncClient())

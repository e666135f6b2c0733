"""A call cut short, at any point and in any way, costs its own connection and nothing else."""

import asyncio
import gc
import socket

import anyio
import anyio.lowlevel
import pytest

from prisma_mgmt import ManagementClient
from tests.kit.engines import anyio_backend as anyio_backend
from tests.kit.engines import needs_new_anyio
from tests.kit.rig import Gate, Reply, Request, serve, until
from tests.kit.script import CONNECTION

pytestmark = pytest.mark.anyio


async def reply(request: Request) -> Reply:
    return Reply(body={"data": CONNECTION})


@needs_new_anyio
async def test_after_300_of_1000_calls_are_cancelled_every_other_call_works() -> None:
    finished = 0
    held = Gate()

    async def handler(request: Request) -> Reply:
        if "held" in request.path:
            await held()
        return Reply(body={"data": CONNECTION})

    async def call(client: ManagementClient, number: int) -> None:
        nonlocal finished
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                if number % 10 < 3:
                    group.start_soon(cancel, scope, number)
                await client.connections.get("held" if number % 10 == 0 else f"con_{number}")
                finished += 1

    async def cancel(scope: anyio.CancelScope, number: int) -> None:
        for _ in range(number % 97):
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    async with serve(handler) as server, ManagementClient("token", base_url=server.url, max_connections=20) as client:
        async with anyio.create_task_group() as group:
            for number in range(1000):
                group.start_soon(call, client, number)
        assert 700 <= finished < 1000
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for _ in range(200):
                    group.start_soon(client.connections.get, "con_1")
        held.release()  # the server sees only now that those clients have gone
        await until(lambda: server.open_connections <= 20)


async def test_a_body_whose_sending_is_cut_short_leaves_nothing_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        async with ManagementClient("token", base_url=url) as client:
            with anyio.move_on_after(0.2):
                await client.request("POST", "/v1/x", body="x" * 20_000_000)
        gc.collect()  # a generator that was left would warn now


async def test_a_call_cancelled_at_any_checkpoint_gives_its_place_back() -> None:
    async with serve(reply) as server, ManagementClient("token", base_url=server.url, max_connections=1) as client:
        finished = steps = 0
        while finished < 3:  # beyond the last checkpoint of a call there is nothing left to cancel
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(_cancel_after, scope, steps)
                    await client.connections.get("con_1")
                    finished += 1
                    scope.cancel()
            with anyio.fail_after(5):
                await client.connections.get("con_1")
            steps += 1
        assert steps > finished  # the others were cut short
        await until(lambda: server.open_connections == 1)


async def _cancel_after(scope: anyio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_native_cancellation_at_any_step_of_the_loop_gives_the_place_back() -> None:
    async with serve(reply) as server, ManagementClient("token", base_url=server.url, max_connections=1) as client:
        finished = steps = 0
        while finished < 3:
            task = asyncio.ensure_future(client.connections.get("con_1"))
            queued = asyncio.ensure_future(client.connections.get("con_2"))
            for _ in range(steps):
                await asyncio.sleep(0)
            queued.cancel()
            task.cancel()
            task.cancel()
            done = await asyncio.gather(task, queued, return_exceptions=True)
            finished += not isinstance(done[1], asyncio.CancelledError)
            async with asyncio.timeout(5):
                await client.connections.get("con_1")
            steps += 1
        assert steps > 10
        await until(lambda: server.open_connections == 1)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncio_timeouts_and_task_groups_cancel_a_call_as_they_should() -> None:
    gate = Gate()

    async def handler(request: Request) -> Reply:
        if "held" in request.path:
            await gate()
        return Reply(body={"data": CONNECTION})

    async def fail() -> None:
        await until(lambda: len(server.requests) > before)
        raise KeyError

    async with serve(handler) as server, ManagementClient("token", base_url=server.url, max_connections=1) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.connections.get("held")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.connections.get("held"), 0.05)
        before = len(server.requests)
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                held = group.create_task(client.connections.get("held"))
                group.create_task(fail())
        assert held.cancelled()
        assert caught.group_contains(KeyError)
        await client.connections.get("con_1")
        gate.release()
        await until(lambda: server.open_connections == 1)

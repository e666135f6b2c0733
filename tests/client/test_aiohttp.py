"""Over aiohttp's connections, by a transport of the user's: a call, many, errors, cancellation, a log."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from httpx_aiohttp import AiohttpTransport

from prisma_mgmt import ManagementClient, NetworkError, NotFoundError, RequestTimeoutError, RetryPolicy
from prisma_mgmt.auth import OAuthClient, Tokens
from tests.kit.canaries import betrayed, canary
from tests.kit.rig import Drop, Gate, Handler, Reply, Request, Server, serve
from tests.kit.script import CONNECTION
from tests.kit.world import together

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

FOUND = Reply(body={"data": CONNECTION})
ONCE = RetryPolicy(attempts=1)


@asynccontextmanager
async def over_aiohttp(handler: Handler, **options: Any) -> AsyncIterator[tuple[ManagementClient, Server]]:
    async with (
        serve(handler) as server,
        AiohttpTransport() as transport,
        ManagementClient("token", base_url=server.url, transport=transport, **options) as client,
    ):
        yield client, server


async def test_many_calls_over_a_bounded_number_of_connections() -> None:
    async def reply(request: Request) -> Reply:
        assert request.token == "token"
        return FOUND if request.path.endswith("con_1") else Reply(404)

    async with over_aiohttp(reply, max_connections=5) as (client, server):
        found = await together(200, lambda: client.connections.get("con_1"))
        assert [one.name for one in found] == ["n"] * 200
        assert server.connections <= 5
        with pytest.raises(NotFoundError):
            await client.connections.get("none")


async def test_what_goes_wrong_on_the_way_is_a_network_error() -> None:
    async def reply(request: Request) -> Reply:
        if request.path.endswith("late"):
            await anyio.sleep_forever()
        raise Drop(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort" if request.path.endswith("cut") else b"")

    async with over_aiohttp(reply, retry=ONCE) as (client, _):
        for id_ in ("cut", "dropped"):
            with pytest.raises(NetworkError):
                await client.connections.get(id_)
        with pytest.raises(RequestTimeoutError):
            await client.with_options(timeout=0.05).connections.get("late")
        nowhere = client.with_options(base_url="http://127.0.0.1:9")
        with pytest.raises(NetworkError) as caught:
            await nowhere.connections.create(database_id="db_1", name="n")
        assert caught.value.unsent


async def test_a_cancelled_call_costs_its_own_connection_at_most() -> None:
    gate = Gate()

    async def reply(_: Request) -> Reply:
        await gate()
        return FOUND

    async with over_aiohttp(reply, max_connections=1) as (client, _):
        async with anyio.create_task_group() as group:
            group.start_soon(client.connections.get, "con_1")
            await gate.arrived.wait()
            group.cancel_scope.cancel()
        gate.release()
        assert (await client.connections.get("con_1")).name == "n"


async def test_a_call_that_is_given_up_shows_no_secret_of_what_it_sent() -> None:
    gate = Gate()

    async def reply(_: Request) -> Reply:
        await gate()
        return FOUND

    async def given_up(call: Callable[[], Awaitable[object]]) -> BaseException:
        try:
            async with asyncio.timeout(0.1):
                await call()
        except TimeoutError as error:
            return error
        raise AssertionError("it should have been given up")

    async with over_aiohttp(reply) as (client, server), AiohttpTransport() as transport:
        oauth = OAuthClient("client", "https://app.example/callback", auth_base_url=server.url, transport=transport)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: client.with_options(auth=canary(30)).connections.get("con_1"),
            lambda: client.environment_variables.create(project_id="p", key="K", value=canary(30), class_="preview"),
            lambda: oauth.refresh(Tokens("wksp_1", canary(30), canary(40))),
        ]
        for call in calls:
            assert betrayed(await given_up(call)) == []
        gate.release()


async def test_a_log() -> None:
    records = [
        {"type": "log", "text": "a", "byteStart": 0, "byteEnd": 1},
        {"type": "terminal", "kind": "end", "code": "done", "message": "m", "retryable": False, "cursor": None},
    ]

    async def lines() -> AsyncIterator[bytes]:
        for record in records:
            yield json.dumps(record).encode() + b"\n"

    async def reply(_: Request) -> Reply:
        return Reply(chunks=lines(), headers={"content-type": "application/x-ndjson"})

    async with over_aiohttp(reply) as (client, _):
        log = client.deployments.logs("dep_1")
        assert [record.text async for record in log] == ["a"]
        assert log.terminal is not None

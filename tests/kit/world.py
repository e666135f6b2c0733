"""A server, a session on it and a client of that session, for the session's tests."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import anyio
from attrs import define

from prisma_mgmt import ManagementClient, RetryPolicy
from prisma_mgmt.auth import OAuthSession, Tokens
from tests.kit.login import CountingStorage, Prisma, oauth_at, session_at
from tests.kit.rig import Gate, Server, serve


@define
class World:
    """A server, a session on it with one pair stored, and a client of that session."""

    prisma: Prisma
    server: Server
    storage: CountingStorage
    session: OAuthSession
    client: ManagementClient

    async def call(self) -> Any:
        return (await self.client.request("GET", "/v1/me")).body

    def another_client(self) -> ManagementClient:
        return ManagementClient(self.session, base_url=self.server.url)


@contextlib.asynccontextmanager
async def started(prisma: Prisma, **options: Any) -> AsyncGenerator[World, None]:
    with anyio.fail_after(30):
        async with serve(prisma.handle) as server:
            storage = CountingStorage(prisma.tokens())
            session = session_at(server.url, storage, **options)
            async with session, ManagementClient(session, base_url=server.url, retry=RetryPolicy(attempts=1)) as client:
                yield World(prisma, server, storage, session, client)


async def log_in(world: World, session: OAuthSession) -> Tokens:
    """Log in anew through a session, which may be another one than the world's own."""
    login = oauth_at(world.server.url).login_url()
    return await session.handle_callback(f"/callback?code=abc&state={login.state}", login)


async def together(count: int, call: Callable[[], Awaitable[Any]]) -> list[Any]:
    """The results of `count` calls at once; a failure is its exception."""
    results: list[Any] = []

    async def one() -> None:
        try:
            results.append(await call())
        except Exception as error:
            results.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    return results


@contextlib.asynccontextmanager
async def during_a_refresh(
    world: World, call: Callable[[], Awaitable[Any]] | None = None, *, calls: int = 1
) -> AsyncGenerator[list[Any], None]:
    """What is done inside comes while a refresh waits for its answer. Gives what the calls for it come to in the end.

    `call` is one of the API, with a token that has expired, unless another is given.
    """
    if call is None:
        world.prisma.expire()
    gate, results = Gate(), list[Any]()
    world.prisma.token_gate = gate

    async def wait() -> None:
        results.extend(await together(calls, call or world.call))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await gate.arrived.wait()
        yield results
        gate.release()


def cancelled_by_a_scope(call: Callable[[], Awaitable[Any]], gate: Gate) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def watch() -> None:
                    await gate.arrived.wait()
                    scope.cancel()

                group.start_soon(watch)
                await call()
        assert scope.cancelled_caught

    return run


async def rounds(count: int = 100) -> None:
    """Let the event loop go round, so that whatever can happen has happened."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()

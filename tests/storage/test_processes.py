"""Two processes with many users, and one whose event loop stalls: who spends a refresh token?"""

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process as Running
from anyio.streams.buffered import BufferedByteReceiveStream

from prisma_mgmt.auth import SharedTokenStorage
from tests.kit.login import Prisma
from tests.kit.rig import Gate, Server, serve
from tests.kit.servers import Process
from tests.storage.places import dsn_of, postgres_place, redis_place

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Renewing:
    """A running tests/storage/renewing.py."""

    def __init__(self, process: Running) -> None:
        assert process.stdout is not None
        assert process.stdin is not None
        self.process, self._said, self._told = process, BufferedByteReceiveStream(process.stdout), process.stdin

    async def line(self) -> Any:
        return (await self._said.receive_until(b"\n", 100_000)).decode().strip()

    async def go(self) -> None:
        await self._told.send(b"go\n")


@asynccontextmanager
async def renewing(server: Server, **place: Any) -> AsyncIterator[Renewing]:
    told = json.dumps({"auth_url": server.url, **place})
    command = [sys.executable, "-m", "tests.storage.renewing", told]
    async with await anyio.open_process(command, cwd=ROOT, stderr=None) as process:
        try:
            one = Renewing(process)
            assert await one.line() == "ready"
            yield one
        finally:
            with suppress(ProcessLookupError):  # it has ended by itself
                process.kill()


async def store(storage: SharedTokenStorage, prisma: Prisma) -> None:
    await storage.set_tokens(prisma.tokens())


async def test_many_users_of_two_processes_spend_each_refresh_token_once(
    postgres_process: Process, pooler: Process
) -> None:
    """All at once, over one connection of each process, behind a pooler; the login server takes longer than a lease."""
    users = [f"user:{number}" for number in range(100)]

    async def slow() -> None:
        await anyio.sleep(3.0)

    prisma = Prisma("strict")
    async with serve(prisma.handle) as server, postgres_place(postgres_process, through=pooler) as place:
        for user in users:
            await store(place.storage(key=user), prisma)
        prisma.expire()
        prisma.token_gate = slow  # type: ignore[assignment]
        url = dsn_of(pooler) + "?pgbouncer=true&connection_limit=1"
        given = {"dsn": url, "options": {"lease": 2.0}}
        async with AsyncExitStack() as stack:
            orders = (users, users[::-1])  # so that each begins where the other ends
            both = [await stack.enter_async_context(renewing(server, users=one, **given)) for one in orders]
            with anyio.fail_after(30):
                for one in both:
                    await one.go()
                results = [json.loads(await one.line()) for one in both]
        assert results == [["renewed"] * len(users)] * 2
        assert (prisma.refreshes, prisma.refused) == (len(users), 0)


async def test_a_process_that_stalls_for_five_seconds_keeps_its_lock(redis_process: Process) -> None:
    """As one that is being debugged, or does something slow in its event loop."""
    prisma = Prisma("strict", token_gate=Gate())
    async with serve(prisma.handle) as server, redis_place(redis_process) as place:
        await store(place.storage(key="ada"), prisma)
        given = {"users": ["ada"], "port": redis_process.port, "options": {}}
        async with renewing(server, **given) as stalled, renewing(server, **given) as other:
            prisma.expire()
            await stalled.go()
            await prisma.token_gate.arrived.wait()
            stalled.process.send_signal(signal.SIGSTOP)
            prisma.token_gate.release()
            await other.go()
            await anyio.sleep(5.0)  # the time for which it stalls
            stalled.process.send_signal(signal.SIGCONT)
            with anyio.fail_after(10):
                assert [await one.line() for one in (stalled, other)] == ['["renewed"]'] * 2
    assert (prisma.refreshes, prisma.refused) == (1, 0)

"""prisma_mgmt over aiohttp's connections."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from httpx_aiohttp import AiohttpTransport

from benchmarks.peers.calls import TOKEN, Calls, peer
from benchmarks.peers.prisma import calls_of
from prisma_mgmt import ManagementClient


@asynccontextmanager
async def connect(origin: str) -> AsyncIterator[Calls]:
    async with (
        AiohttpTransport() as transport,
        ManagementClient(TOKEN, base_url=origin, transport=transport) as prisma,
    ):
        yield calls_of(prisma)


subject = peer(connect)

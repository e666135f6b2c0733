"""prisma_mgmt over aiohttp's connections, by the route: what it parses it does not structure."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from httpx_aiohttp import AiohttpTransport

from benchmarks.peers.calls import TOKEN, Calls, another, peer
from prisma_mgmt import ManagementClient


@asynccontextmanager
async def connect(origin: str) -> AsyncIterator[Calls]:
    async with (
        AiohttpTransport() as transport,
        ManagementClient(TOKEN, base_url=origin, transport=transport) as prisma,
    ):

        async def one() -> object:
            found = await prisma.request("GET", "/v1/connections/{id}", path_params={"id": f"con_{another()}"})
            return found.body

        async def page() -> object:
            return (await prisma.request("GET", "/v1/connections", query={"limit": 100})).body

        yield Calls(one, page)


subject = peer(connect)

"""prisma_mgmt as it comes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.peers.calls import TOKEN, Calls, another, peer
from prisma_mgmt import ManagementClient


def calls_of(prisma: ManagementClient) -> Calls:
    connections = prisma.connections

    async def one() -> object:
        return await connections.get(f"con_{another()}")

    async def page() -> object:
        return (await connections.list(limit=100)).items

    return Calls(one, page)


@asynccontextmanager
async def connect(origin: str) -> AsyncIterator[Calls]:
    async with ManagementClient(TOKEN, base_url=origin) as prisma:
        yield calls_of(prisma)


subject = peer(connect)

"""aiohttp as it comes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from benchmarks.peers.calls import Calls, another, peer
from benchmarks.peers.httpx_default import HEADERS


@asynccontextmanager
async def connect(origin: str) -> AsyncIterator[Calls]:
    async with aiohttp.ClientSession(origin, headers=HEADERS, raise_for_status=True) as session:

        async def one() -> object:
            async with session.get(f"/v1/connections/con_{another()}") as response:
                return await response.json()

        async def page() -> object:
            async with session.get("/v1/connections", params={"limit": 100}) as response:
                return await response.json()

        yield Calls(one, page)


subject = peer(connect)

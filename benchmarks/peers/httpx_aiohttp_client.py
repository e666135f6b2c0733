"""httpx over aiohttp's connections."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from httpx_aiohttp import HttpxAiohttpClient

from benchmarks.peers.calls import Calls, peer
from benchmarks.peers.httpx_default import HEADERS, calls_of


@asynccontextmanager
async def connect(origin: str) -> AsyncIterator[Calls]:
    async with HttpxAiohttpClient(base_url=origin, headers=HEADERS) as client:
        yield calls_of(client)


subject = peer(connect)

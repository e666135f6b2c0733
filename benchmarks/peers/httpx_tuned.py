"""httpx with limits that suit many calls at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from benchmarks.peers.calls import Calls, peer
from benchmarks.peers.httpx_default import HEADERS, calls_of


@asynccontextmanager
async def connect(origin: str) -> AsyncIterator[Calls]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    timeout = httpx.Timeout(30.0, pool=None)
    async with httpx.AsyncClient(base_url=origin, headers=HEADERS, limits=limits, timeout=timeout) as client:
        yield calls_of(client)


subject = peer(connect)

"""httpx as it comes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from benchmarks.peers.calls import TOKEN, Calls, another, peer

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def calls_of(client: httpx.AsyncClient) -> Calls:
    async def one() -> object:
        return (await client.get(f"/v1/connections/con_{another()}")).raise_for_status().json()

    async def page() -> object:
        return (await client.get("/v1/connections", params={"limit": 100})).raise_for_status().json()

    return Calls(one, page)


@asynccontextmanager
async def connect(origin: str) -> AsyncIterator[Calls]:
    async with httpx.AsyncClient(base_url=origin, headers=HEADERS) as client:
        yield calls_of(client)


subject = peer(connect)

"""Cloudflare's SDK as it comes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cloudflare import AsyncCloudflare

from benchmarks.peers.calls import TOKEN, Calls, another, peer


@asynccontextmanager
async def connect(origin: str) -> AsyncIterator[Calls]:
    async with AsyncCloudflare(api_token=TOKEN, base_url=f"{origin}/cloudflare") as client:

        async def one() -> object:
            return await client.zones.get(zone_id=f"zone_{another()}")

        async def page() -> object:
            return (await client.zones.list(per_page=100)).result

        yield Calls(one, page)


subject = peer(connect)

"""OpenAI's SDK as it comes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from openai import AsyncOpenAI

from benchmarks.peers.calls import TOKEN, Calls, another, peer


@asynccontextmanager
async def connect(origin: str) -> AsyncIterator[Calls]:
    async with AsyncOpenAI(api_key=TOKEN, base_url=f"{origin}/openai") as client:

        async def one() -> object:
            return await client.models.retrieve(f"model-{another()}")

        async def page() -> object:
            return (await client.models.list()).data

        yield Calls(one, page)


subject = peer(connect)

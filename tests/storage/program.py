"""A program that keeps tokens by a URL, in two event loops: `python -m tests.storage.program <url>`.

Calls at once, a lock, a call that is cancelled: whatever they opened must be closed when it ends.
"""

import asyncio
import sys
from contextlib import suppress

from prisma_mgmt.auth import Tokens
from prisma_mgmt.auth.storage import PostgresTokenStorage


async def main(url: str) -> None:
    storage = PostgresTokenStorage(url, key="ada")
    await storage.create_table()
    await asyncio.gather(*(storage.set_tokens(Tokens("wksp_1", f"access-{number}")) for number in range(20)))
    async with storage.refresh_lock():
        await storage.get_tokens()
    with suppress(TimeoutError):
        async with asyncio.timeout(0.05), storage.refresh_lock():
            while True:
                await storage.get_tokens()


for _ in range(2):
    asyncio.run(main(sys.argv[1]))

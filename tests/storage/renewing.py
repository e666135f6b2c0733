"""A process that renews the tokens of many users at once: `python -m tests.storage.renewing <json>`.

It prints "ready" when it has read them all, waits for a line, and prints how it went for each user.
"""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import redis.asyncio

from prisma_mgmt.auth import OAuthClient, SessionManager, TokenStorage
from prisma_mgmt.auth.storage import PostgresTokenStorage, RedisTokenStorage


@asynccontextmanager
async def storages(place: dict[str, Any]) -> AsyncIterator[Callable[[str], TokenStorage]]:
    if "dsn" in place:
        yield lambda user: PostgresTokenStorage(place["dsn"], key=user, **place["options"])
    else:
        async with redis.asyncio.Redis(port=place["port"]) as client:
            yield lambda user: RedisTokenStorage(client, key=user, **place["options"])


async def main(place: dict[str, Any]) -> None:
    oauth = OAuthClient(str(os.getpid()), "https://app.example/callback", auth_base_url=place["auth_url"])
    async with storages(place) as storage_for, SessionManager(oauth, storage_for) as manager:
        sessions = [manager[user] for user in place["users"]]
        olds = [await session.access_token() for session in sessions]
        print("ready", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        results: list[str] = []

        async def renew(number: int) -> None:
            try:
                token = await sessions[number].renew(olds[number])
                results.append("renewed" if token not in (None, olds[number]) else "not renewed")
            except Exception as error:
                results.append(f"{type(error).__name__}: {error}")

        async with anyio.create_task_group() as group:
            for number in range(len(sessions)):
                group.start_soon(renew, number)
        print(json.dumps(results), flush=True)


if __name__ == "__main__":
    anyio.run(main, json.loads(sys.argv[1]))

"""One of several processes that share a session; run by soak.py, reports one JSON line.

python -m tests.processes.worker calls PLACE API AUTH SECONDS     calls the API until the time is over
python -m tests.processes.worker refreshes PLACE API AUTH         refreshes again and again until it is killed
"""

import json
import os
import sys
import time
from collections import Counter
from itertools import count

import anyio

from prisma_mgmt import AuthError, LoginRequiredError, ManagementClient, NetworkError, RetryPolicy
from prisma_mgmt.auth import OAuthClient, OAuthSession, SharedTokenStorage, Tokens
from prisma_mgmt.auth.storage import FileTokenStorage, PostgresTokenStorage, RedisTokenStorage

CLIENT_ID = "sandbox-app"
REDIRECT_URI = "http://127.0.0.1/callback"


def storage_at(place: str) -> SharedTokenStorage:
    """`file:PATH`, `redis:URL` or `postgres:DSN`, and `#KEY` for a user of one's own there."""
    kind, _, where = place.partition(":")
    where, _, key = where.partition("#")
    if kind == "file":
        return FileTokenStorage(f"{where}{key}")
    if kind == "postgres":
        return PostgresTokenStorage(where, key=f"soak{key}")
    from redis.asyncio import Redis

    return RedisTokenStorage(Redis.from_url(where), key=f"soak{key}")


class Announcing(OAuthClient):
    """Says on its standard output when a refresh's answer has arrived: what a kill after that loses is ours."""

    async def refresh(self, tokens: Tokens) -> Tokens:
        os.write(1, b"asked\n")
        fresh = await super().refresh(tokens)
        os.write(1, b"arrived\n")
        return fresh


async def calls(place: str, api: str, auth: str, seconds: str) -> None:
    counts: Counter[str] = Counter()
    session = OAuthSession(OAuthClient(CLIENT_ID, REDIRECT_URI, auth_base_url=auth), storage_at(place))
    async with session, ManagementClient(session, base_url=api, retry=RetryPolicy(attempts=1)) as prisma:
        until = time.monotonic() + float(seconds)

        async def keep_calling() -> None:
            while time.monotonic() < until:
                try:
                    await prisma.me.get()
                    counts["calls"] += 1
                except LoginRequiredError:
                    counts["lost"] += 1
                    return
                except (AuthError, NetworkError) as error:
                    counts[f"{type(error).__name__}: {error}"] += 1

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(keep_calling)
    print(json.dumps(counts))


async def refreshes(place: str, api: str, auth: str) -> None:
    oauth = Announcing(CLIENT_ID, REDIRECT_URI, auth_base_url=auth)
    later = count(step=10)  # seconds, or the session would not refresh so often
    session = OAuthSession(oauth, storage_at(place), snapshot_ttl=0, monotonic=lambda: float(next(later)))
    while True:
        token = await session.access_token()
        session.accepted(token)  # as the API would; or the session would not refresh a token that fresh
        await session.renew(token)
        os.write(1, b"stored\n")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    anyio.run({"calls": calls, "refreshes": refreshes}[command], *arguments)

"""A process of an application that shares a user's tokens with others: `python -m tests.session.worker <task> <json>`.

call: for every line on standard input, call the API with the session's token and print the status.
hold: take the refresh lock, say so, and keep it until killed.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import redis.asyncio

from prisma_mgmt.auth import OAuthClient, OAuthSession, SharedTokenStorage
from prisma_mgmt.auth.storage import FileTokenStorage, PostgresTokenStorage, RedisTokenStorage


@asynccontextmanager
async def storage_at(place: dict[str, Any]) -> AsyncIterator[SharedTokenStorage]:
    if place["kind"] == "file":
        yield FileTokenStorage(place["path"])
    elif place["kind"] == "postgres":
        yield PostgresTokenStorage(place["dsn"], key="ada")
    else:
        async with redis.asyncio.Redis(port=place["port"]) as client:
            yield RedisTokenStorage(client, key="prisma:ada", lease=place["lease"] / 1000)


async def call(place: dict[str, Any]) -> None:
    oauth = OAuthClient(place["client_id"], place["redirect_uri"], auth_base_url=place["auth_url"])
    async with (
        storage_at(place) as storage,
        OAuthSession(oauth, storage) as session,
        httpx.AsyncClient(auth=session.httpx_auth(origin=place["api_url"])) as client,
    ):
        print("ready", flush=True)
        while await anyio.to_thread.run_sync(sys.stdin.readline):
            answer = await client.get(f"{place['api_url']}/v1/workspaces")
            print(answer.status_code, flush=True)


async def hold(place: dict[str, Any]) -> None:
    async with storage_at(place) as storage, storage.refresh_lock():
        print("held", flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    task = {"call": call, "hold": hold}[sys.argv[1]]
    anyio.run(task, json.loads(sys.argv[2]))

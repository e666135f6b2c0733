"""Places on real servers, and storages for them as several processes would make them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import asyncpg
import redis.asyncio
from attrs import define
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from prisma_mgmt import AuthError
from prisma_mgmt.auth import TokenCipher, Tokens
from prisma_mgmt.auth.storage import PostgresTokenStorage, RedisTokenStorage
from prisma_mgmt.auth.storage.redis import lock_name
from tests.kit.servers import Process

TOKENS = Tokens("wksp_1", "canary-access", "canary-refresh", 1_800_000_000.0)
NEWER = Tokens("wksp_1", "canary-access-2", "canary-refresh-2")
CIPHER = TokenCipher([b"k" * 32])


@define
class Place:
    """A place on a server."""

    process: Process
    storage: Callable[..., Any]
    read: Callable[[], Any]  # what stands there, raw
    write: Callable[[Any], Any]
    steal: Callable[..., Any]  # give the lock to somebody else, or with ends=True to nobody
    refuse: Callable[[bool], Any]  # refuse new tokens from now on, or no longer; the lock can be released

    async def start(self) -> None:
        """Start the server again, and wait until a pooler has noticed."""
        self.process.start()
        with anyio.fail_after(15):
            while True:
                with suppress(OSError, AuthError, asyncpg.InterfaceError, redis.asyncio.RedisError):
                    await self.storage(key="nobody").get_tokens()
                    return
                await anyio.sleep(0.05)


def client(process: Process, **options: Any) -> Any:
    retry = Retry(NoBackoff(), 1)
    return redis.asyncio.Redis(port=process.port, **{"socket_timeout": 2, "retry": retry, **options})


@asynccontextmanager
async def redis_place(process: Process, **options: Any) -> AsyncIterator[Place]:
    async with client(process, **options) as one, client(process, **options) as other:
        clients = [one, other]

        def storage(**options: Any) -> RedisTokenStorage:
            clients.reverse()
            return RedisTokenStorage(clients[0], **{"key": "prisma:ada", **options})

        async def steal(*, ends: bool = False) -> None:
            name = lock_name("prisma:ada")
            assert await (one.delete(name) if ends else one.set(name, "somebody else", xx=True))

        async def refuse(refused: bool) -> None:
            await one.config_set("maxmemory", int(refused))  # bytes; 0 is no limit

        await one.flushall()
        read, write = partial(one.get, "prisma:ada"), partial(one.set, "prisma:ada")
        yield Place(process, storage, read, write, steal, refuse)


def dsn_of(process: Process) -> str:
    return f"postgresql://prisma@127.0.0.1:{process.port}/postgres"


@asynccontextmanager
async def postgres_place(
    process: Process, *, pool_size: int | None = 2, through: Process | None = None
) -> AsyncIterator[Place]:
    """`through` is a pooler; without a `pool_size` the storages are given a URL, as Prisma writes it."""
    dsn = dsn_of(through or process)
    url = f"{dsn}?schema=public&pgbouncer=true&connection_limit=3&pool_timeout=5&sslmode=prefer"
    async with (
        asyncpg.create_pool(dsn, min_size=0, max_size=pool_size or 1, statement_cache_size=0) as pool,
        asyncpg.create_pool(dsn_of(process), min_size=0, max_size=1) as looking,
    ):

        def storage(**options: Any) -> PostgresTokenStorage:
            return PostgresTokenStorage(pool if pool_size else url, **{"key": "ada", **options})

        async def steal(*, ends: bool = False) -> None:
            given = "UPDATE prisma_tokens_locks SET owner = 'other', ends_at = now() + interval '1 minute'"
            change = "DELETE FROM prisma_tokens_locks" if ends else given
            assert (await looking.execute(change)).endswith(" 1")

        async def refuse(refused: bool) -> None:
            rule = "ADD CONSTRAINT none CHECK (false) NOT VALID" if refused else "DROP CONSTRAINT none"
            await looking.execute(f"ALTER TABLE prisma_tokens {rule}")

        await looking.execute("DROP TABLE IF EXISTS prisma_tokens, prisma_tokens_locks")
        await storage().create_table()
        read = partial(looking.fetchval, "SELECT tokens FROM prisma_tokens")
        write = partial(looking.execute, "UPDATE prisma_tokens SET tokens = $1")
        try:
            yield Place(process, storage, read, write, steal, refuse)
        finally:
            pool.terminate()  # asyncpg before 0.32 waits for ever for a connection whose server was killed

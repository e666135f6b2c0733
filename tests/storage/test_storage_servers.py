"""Storages on real servers: Redis and PostgreSQL, their locks, and what becomes of tokens when a server is killed."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import asyncpg
import pytest
import redis.asyncio
from attrs import define
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from prisma_mgmt import AuthError
from prisma_mgmt.auth import SharedTokenStorage, TokenCipher, Tokens
from prisma_mgmt.auth.storage import PostgresTokenStorage, RedisTokenStorage
from prisma_mgmt.auth.storage import redis as redis_module
from prisma_mgmt.auth.storage.testing import check_storage
from tests.kit.login import Prisma, session_at
from tests.kit.rig import Gate, serve
from tests.kit.servers import Process, postgres_server, redis_server

pytestmark = pytest.mark.anyio

TOKENS = Tokens("wksp_1", "canary-access", "canary-refresh", 1_800_000_000.0)
NEWER = Tokens("wksp_1", "canary-access-2", "canary-refresh-2")
CIPHER = TokenCipher([b"k" * 32])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # as are both servers' clients


@pytest.fixture(scope="module")
def redis_process() -> Iterator[Process]:
    with redis_server() as process:
        yield process


@pytest.fixture(scope="module")
def postgres_process() -> Iterator[Process]:
    with postgres_server() as process:
        yield process


@define
class Place:
    """A place on a server, and storages for it as several processes would make them."""

    process: Process
    storage: Callable[..., Any]
    read: Callable[[], Any]  # what stands there, raw
    write: Callable[[str], Any]


@asynccontextmanager
async def redis_place(process: Process, *, decode: bool = False) -> AsyncIterator[Place]:
    def connected() -> Any:
        retry = Retry(NoBackoff(), 1)
        return redis.asyncio.Redis(port=process.port, decode_responses=decode, socket_timeout=2, retry=retry)

    async with connected() as one, connected() as other:
        clients = [one, other]

        def storage(**options: Any) -> RedisTokenStorage:
            clients.reverse()
            return RedisTokenStorage(clients[0], **{"key": "prisma:ada", **options})

        await one.flushall()
        yield Place(process, storage, lambda: one.get("prisma:ada"), lambda text: one.set("prisma:ada", text))


def dsn_of(process: Process) -> str:
    return f"postgresql://prisma@127.0.0.1:{process.port}/postgres"


@asynccontextmanager
async def postgres_place(process: Process, *, pool_size: int | None = 2) -> AsyncIterator[Place]:
    dsn = dsn_of(process)
    async with asyncpg.create_pool(dsn, min_size=0, max_size=pool_size or 1) as pool:

        def storage(**options: Any) -> PostgresTokenStorage:
            return PostgresTokenStorage(pool if pool_size else dsn, **{"key": "ada", **options})

        await pool.execute("DROP TABLE IF EXISTS prisma_tokens")
        await storage().create_table()
        yield Place(
            process,
            storage,
            lambda: pool.fetchval("SELECT tokens FROM prisma_tokens"),
            lambda text: pool.execute("UPDATE prisma_tokens SET tokens = $1", text),
        )


KINDS = ["redis", "redis, decoded", "postgres, a pool", "postgres, a dsn"]


@pytest.fixture(params=KINDS)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    name = request.param.split(",")[0]
    process = request.getfixturevalue(f"{name}_process")
    if name == "redis":
        context = redis_place(process, decode="decoded" in request.param)
    else:
        context = postgres_place(process, pool_size=2 if "pool" in request.param else None)
    with anyio.fail_after(40):
        async with context as place:
            yield place


@pytest.mark.parametrize("cipher", [None, CIPHER], ids=["plain", "sealed"])
async def test_it_keeps_the_contract(place: Place, cipher: TokenCipher | None) -> None:
    await check_storage(lambda: place.storage(cipher=cipher))
    assert isinstance(place.storage(), SharedTokenStorage)


async def test_what_stands_there_is_sealed_with_a_cipher(place: Place) -> None:
    await place.storage().set_tokens(TOKENS)
    assert "canary" in str(await place.read())
    await place.storage(cipher=CIPHER).set_tokens(TOKENS)
    assert "canary" not in str(await place.read())
    with pytest.raises(AuthError, match="give the storage its cipher"):
        await place.storage().get_tokens()
    with pytest.raises(AuthError, match="another key"):
        await place.storage(cipher=TokenCipher([b"x" * 32])).get_tokens()


async def test_sealed_tokens_are_bound_to_their_key(place: Place) -> None:
    await place.storage(cipher=CIPHER).set_tokens(TOKENS)
    sealed = await place.read()
    await place.storage(cipher=CIPHER).clear_tokens()
    bob = place.storage(cipher=CIPHER, key="bob")
    await bob.set_tokens(TOKENS)
    await place.storage(cipher=CIPHER).set_tokens(NEWER)
    assert await bob.get_tokens() == TOKENS
    await bob.clear_tokens()
    assert sealed


@pytest.mark.parametrize("text", ["", "canary", "[]", '{"accessToken": "canary"}', "v1.canary", "\x7f"])
async def test_what_holds_no_tokens_is_an_error_that_names_the_place(place: Place, text: str) -> None:
    await place.storage().set_tokens(TOKENS)
    await place.write(text)
    for call in (place.storage().get_tokens, lambda: place.storage().clear_tokens_if_current(TOKENS)):
        with pytest.raises(AuthError, match=r"(redis|postgres):.*ada holds no tokens") as caught:
            await call()
        assert "canary" not in str(caught.value)
    assert await place.read() in (text, text.encode())


async def test_users_have_places_of_their_own(place: Place) -> None:
    ada, bob = place.storage(key="ada"), place.storage(key="bob")
    await ada.set_tokens(TOKENS)
    await bob.set_tokens(NEWER)
    async with ada.refresh_lock(), bob.refresh_lock():
        assert await ada.get_tokens() == TOKENS
        await bob.set_tokens(NEWER)
        await ada.set_tokens(TOKENS)
    await bob.clear_tokens()
    assert await ada.get_tokens() == TOKENS
    await ada.clear_tokens()


async def test_a_lock_is_waited_for_with_an_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prisma_mgmt.auth.storage.locks.LONGEST_WAIT", 0.05)
    async with place.storage().refresh_lock():
        with pytest.raises(AuthError, match="another process has held the refresh lock"):
            async with place.storage().refresh_lock():
                pytest.fail("two holders")


async def test_sessions_of_several_processes_spend_the_refresh_token_once(place: Place) -> None:
    prisma = Prisma("strict")
    async with serve(prisma.handle) as server:
        sessions = [session_at(server.url, place.storage()) for _ in range(2)]
        await place.storage().set_tokens(prisma.tokens())
        for count in range(1, 4):
            prisma.expire()
            old = await sessions[0].access_token()
            renewed: set[str | None] = set()

            async def renew(session: Any, old: str = old, renewed: set[str | None] = renewed) -> None:
                renewed.add(token := await session.renew(old))
                session.accepted(token)

            async with anyio.create_task_group() as group:
                for session in sessions * 10:
                    group.start_soon(renew, session)
            assert renewed == prisma.live
            assert prisma.refreshes == count


async def test_a_server_killed_during_a_refresh_loses_no_session(place: Place) -> None:
    """The pair stays in memory and serves; when the server is back, it is stored."""
    prisma = Prisma("strict", token_gate=Gate())
    async with serve(prisma.handle) as server:
        storage = place.storage()
        await storage.set_tokens(prisma.tokens())
        session = session_at(server.url, storage, snapshot_ttl=0)
        old = await session.access_token()
        results: list[str | None] = []

        async def renew() -> None:
            results.append(await session.renew(old))

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(renew)
                await prisma.token_gate.arrived.wait()
                place.process.kill()
                prisma.token_gate.release()
            assert results == [await session.access_token()]
        finally:
            place.process.start()
        assert await session.access_token() == results[0]
        stored = await place.storage().get_tokens()
        assert stored is not None
        assert (stored.access_token, stored.refresh_token) == (results[0], "refresh-2")


# Redis


async def test_a_redis_lock_lasts_while_it_is_held_and_ends_by_itself(
    redis_process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_module, "_LEASE", 90)
    extended = anyio.Event()
    extend = redis_module.RedisTokenStorage._extend

    async def watched(storage: RedisTokenStorage, owner: str, done: anyio.Event) -> None:
        run = storage._redis.eval

        async def eval_(*arguments: Any) -> Any:
            result = await run(*arguments)
            if arguments[0] is redis_module._EXTEND_IF:
                assert result == 1
                extended.set()
            return result

        monkeypatch.setattr(storage._redis, "eval", eval_)
        await extend(storage, owner, done)

    monkeypatch.setattr(RedisTokenStorage, "_extend", watched)
    async with redis_place(redis_process) as place, place.storage().refresh_lock():
        with anyio.fail_after(10):
            await extended.wait()


async def test_whoever_lost_a_redis_lock_stores_nothing(redis_process: Process) -> None:
    async with redis_place(redis_process) as place:
        await place.storage().set_tokens(NEWER)
        async with place.storage().refresh_lock(), redis.asyncio.Redis(port=redis_process.port) as client:
            await client.set("{prisma:ada}:lock", "somebody else")  # the lease ran out while this process was stopped
            with pytest.raises(AuthError, match="lock of redis:prisma:ada was lost"):
                await place.storage().set_tokens(TOKENS)
        assert await place.storage().get_tokens() == NEWER


async def test_a_lost_lock_is_not_released_for_its_new_holder(redis_process: Process) -> None:
    async with redis_place(redis_process) as place:
        client = redis.asyncio.Redis(port=redis_process.port)
        async with client, place.storage().refresh_lock():
            await client.set("{prisma:ada}:lock", "somebody else")
        async with redis.asyncio.Redis(port=redis_process.port) as client:
            assert await client.get("{prisma:ada}:lock") == b"somebody else"


@pytest.mark.parametrize(("key", "lock"), [("prisma:ada", "{prisma:ada}:lock"), ("p:{ada}:t", "p:{ada}:t:lock")])
def test_the_lock_is_in_the_same_slot_of_a_cluster(key: str, lock: str) -> None:
    assert RedisTokenStorage(None, key=key)._lock == lock
    with pytest.raises(ValueError, match="empty"):
        RedisTokenStorage(None, key="")


# PostgreSQL


async def test_the_table_is_created_once_on_request(postgres_process: Process) -> None:
    async with postgres_place(postgres_process) as place:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(place.storage(table="other_tokens").create_table)
        storage = place.storage(table="public.other_tokens")
        await storage.set_tokens(TOKENS)
        assert await place.storage(table="other_tokens").get_tokens() == TOKENS


async def test_without_the_table_the_error_says_how_to_get_it(postgres_process: Process) -> None:
    async with postgres_place(postgres_process) as place:
        storage = place.storage(table="not_there")
        for call in (storage.get_tokens, storage.clear_tokens, lambda: storage.set_tokens(TOKENS)):
            with pytest.raises(AuthError, match=r"no table not_there; create_table\(\) creates it"):
                await call()


async def test_a_pool_of_one_connection_is_enough(postgres_process: Process) -> None:
    async with postgres_place(postgres_process, pool_size=1) as place:
        storage = place.storage()
        async with storage.refresh_lock():
            await storage.set_tokens(TOKENS)
            assert await storage.get_tokens() == TOKENS
            assert await storage.clear_tokens_if_current(TOKENS)


async def test_a_lock_whose_connection_is_gone_is_a_failed_write(postgres_process: Process) -> None:
    async with postgres_place(postgres_process) as place:
        storage = place.storage()
        await storage.set_tokens(NEWER)
        with pytest.raises(asyncpg.InterfaceError):
            async with storage.refresh_lock():
                other = await asyncpg.connect(dsn_of(postgres_process))
                await other.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
                await other.close()
                with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                    await storage.set_tokens(TOKENS)
        assert await place.storage().get_tokens() == NEWER


@pytest.mark.parametrize(
    "options", [{"key": ""}, {"key": "a\0b"}, {"table": ""}, {"table": "a.b.c"}, {"table": 'x"; DROP TABLE y'}]
)
def test_names_that_are_none(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must"):
        PostgresTokenStorage("postgresql://", **{"key": "ada", **options})


def test_a_dsn_does_not_show_itself() -> None:
    assert "canary" not in repr(PostgresTokenStorage("postgresql://ada:canary@db.example/", key="ada").__dict__)

"""Connections by a URL: kept while somebody uses it, closed when nobody does."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest

from prisma_mgmt.auth.storage import PostgresTokenStorage
from prisma_mgmt.auth.storage.postgres_connections import connected, used
from prisma_mgmt.auth.storage.postgres_url import address
from tests.kit.servers import Process, postgres_server
from tests.storage.places import TOKENS, dsn_of, postgres_place

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def open_now(looking: Any) -> list[int]:
    found = await looking.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'kept'")
    return [row["pid"] for row in found]


async def test_one_connection_serves_a_whole_refresh_and_is_closed_after_it(postgres_process: Process) -> None:
    async with postgres_place(postgres_process), asyncpg.create_pool(dsn_of(postgres_process)) as looking:
        storage = PostgresTokenStorage(dsn_of(postgres_process) + "?application_name=kept", key="ada")
        async with storage.refresh_lock():
            first = await open_now(looking)
            await storage.set_tokens(TOKENS)
            assert await storage.get_tokens() == TOKENS
            assert await open_now(looking) == first
            assert len(first) == 1
        with anyio.fail_after(5):
            while await open_now(looking):  # the server notices a moment later
                await anyio.sleep(0.01)


async def test_a_connection_that_has_been_idle_for_long_is_not_used_again(postgres_process: Process) -> None:
    """What lies between here and the server may have forgotten it."""
    place = address(dsn_of(postgres_process))
    async with used(place):
        async with connected(place) as first, connected(place) as second:
            assert first is not second
        async with connected(place) as again:
            assert again is first
        async with connected(place, idle=-1) as new:
            assert first.is_closed()
            assert second.is_closed()
            assert await new.fetchval("SELECT 1") == 1


async def test_connections_that_many_calls_at_once_needed_are_closed_though_one_call_goes_on_using_another(
    postgres_process: Process,
) -> None:
    place = address(dsn_of(postgres_process))
    async with used(place) as mine:
        async with connected(place), connected(place) as second:
            pass
        mine.idle = [(since - 60 if one is second else since, one) for since, one in mine.idle]
        mine.idle.sort()
        async with connected(place) as again:
            assert again is not second
            assert second.is_closed()


async def test_a_connection_that_the_server_closed_is_not_used_again(postgres_process: Process) -> None:
    async with postgres_place(postgres_process), asyncpg.create_pool(dsn_of(postgres_process)) as looking:
        storage = PostgresTokenStorage(dsn_of(postgres_process) + "?application_name=kept", key="ada")
        async with storage.refresh_lock():
            (gone,) = await open_now(looking)
            await looking.execute("SELECT pg_terminate_backend($1, 5000)", gone)
            await anyio.wait_all_tasks_blocked()
            await storage.set_tokens(TOKENS)
            assert gone not in await open_now(looking)


async def test_a_statement_that_is_given_up_leaves_nothing_that_waits_at_the_server(postgres_process: Process) -> None:
    storage = PostgresTokenStorage(dsn_of(postgres_process) + "?application_name=kept", key="ada")
    async with (
        postgres_place(postgres_process),
        asyncpg.create_pool(dsn_of(postgres_process)) as looking,
        looking.acquire() as holder,
        holder.transaction(),
    ):
        await holder.execute("LOCK TABLE prisma_tokens IN ACCESS EXCLUSIVE MODE")
        async with anyio.create_task_group() as group:
            group.start_soon(storage.get_tokens)
            with anyio.fail_after(20):
                while not await looking.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        with anyio.fail_after(5):
            while await open_now(looking):  # the server notices a moment later
                await anyio.sleep(0.01)


async def test_a_call_that_failed_leaves_no_connection_behind(postgres_process: Process) -> None:
    async with postgres_place(postgres_process), asyncpg.create_pool(dsn_of(postgres_process)) as looking:
        url = dsn_of(postgres_process) + "?application_name=kept"
        keeper = PostgresTokenStorage(url, key="ada")
        async with keeper.refresh_lock():
            before = await open_now(looking)
            with pytest.raises(Exception, match="no table nowhere"):
                await PostgresTokenStorage(url, key="ada", table="nowhere").get_tokens()
            await keeper.set_tokens(TOKENS)
            assert len(await open_now(looking)) <= 1
            assert before


async def test_a_replica_among_the_servers_of_a_url_is_not_used(postgres_process: Process) -> None:
    """It may give an older pair, whose refresh token is spent, even under the refresh lock."""
    with postgres_server() as replica:
        connection = await asyncpg.connect(dsn_of(replica))
        await connection.execute("ALTER ROLE prisma SET default_transaction_read_only = on")
        await connection.close()
        async with postgres_place(postgres_process) as place:
            hosts = f"127.0.0.1:{replica.port},127.0.0.1:{postgres_process.port}"
            for url in (f"postgresql://prisma@{hosts}/postgres", f"postgresql://prisma@/postgres?host={hosts}"):
                storage = PostgresTokenStorage(url, key="ada")
                await place.storage().set_tokens(TOKENS)
                assert await storage.get_tokens() == TOKENS
                async with storage.refresh_lock():
                    await storage.clear_tokens()


def test_a_program_that_ends_leaves_no_connection_open(postgres_process: Process) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.storage.program", dsn_of(postgres_process)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr.decode()) == (0, "")

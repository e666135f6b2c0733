"""PostgreSQL: what the storage accepts, its tables, and what it holds of a pool."""

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import anyio
import asyncpg
import pytest

from prisma_mgmt import AuthError
from prisma_mgmt.auth import OAuthSession, Tokens
from prisma_mgmt.auth.storage import PostgresTokenStorage
from prisma_mgmt.auth.storage.postgres_url import address
from tests.kit.canaries import CANARY, betrayed, by_the_standard_library, canary, leaks
from tests.kit.login import Prisma, session_at
from tests.kit.rig import Gate, serve
from tests.kit.servers import Process, free_port
from tests.storage.places import TOKENS, dsn_of, postgres_place

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_tables_are_created_once_on_request(postgres_process: Process) -> None:
    async with postgres_place(postgres_process) as place:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(place.storage(table="other_tokens").create_table)
        storage = place.storage(table="public.other_tokens")
        await storage.set_tokens(TOKENS)
        assert await place.storage(table="other_tokens").get_tokens() == TOKENS


async def test_the_schema_of_a_url_is_where_the_tables_are(postgres_process: Process) -> None:
    async with postgres_place(postgres_process) as place, asyncpg.create_pool(dsn_of(postgres_process)) as pool:
        await pool.execute('DROP SCHEMA IF EXISTS "my ""app""" CASCADE')
        storage = PostgresTokenStorage(dsn_of(postgres_process) + '?schema=my "app"', key="ada")
        with pytest.raises(AuthError, match="there is no table prisma_tokens"):
            await storage.get_tokens()
        await storage.create_table()
        await storage.set_tokens(TOKENS)
        async with storage.refresh_lock():
            assert await place.storage().get_tokens() is None
        assert await pool.fetchval('SELECT key FROM "my ""app""".prisma_tokens') == "ada"


async def test_a_user_who_may_create_no_schema_needs_only_one_that_is_there(postgres_process: Process) -> None:
    async with asyncpg.create_pool(dsn_of(postgres_process)) as pool:
        await pool.execute("DROP SCHEMA IF EXISTS shop CASCADE; DROP ROLE IF EXISTS ada; CREATE ROLE ada LOGIN")
        url = dsn_of(postgres_process).replace("prisma@", "ada@")
        storage = PostgresTokenStorage(url + "?schema=shop", key="ada")
        with pytest.raises(AuthError, match="SQLSTATE 42501"):
            await storage.create_table()
        with pytest.raises(AuthError, match=r"no schema for the table shop\.mine: create it before"):
            await PostgresTokenStorage(url, key="ada", table="shop.mine").create_table()
        await pool.execute("CREATE SCHEMA shop AUTHORIZATION ada")
        await storage.create_table()
        await storage.set_tokens(TOKENS)
        assert await storage.get_tokens() == TOKENS
        await pool.execute("DROP SCHEMA shop CASCADE; DROP ROLE ada")


async def test_a_user_who_may_create_nothing_needs_only_tables_that_are_there(postgres_process: Process) -> None:
    """As the user of an application, whose migrations another one runs."""
    async with postgres_place(postgres_process) as place, asyncpg.create_pool(dsn_of(postgres_process)) as pool:
        await pool.execute("DROP ROLE IF EXISTS app; CREATE ROLE app LOGIN; GRANT ALL ON prisma_tokens TO app")
        for schema in ("", "?schema=public"):
            url = dsn_of(postgres_process).replace("prisma@", "app@") + schema
            storage = PostgresTokenStorage(url, key="ada")
            await storage.create_table()
            await storage.set_tokens(TOKENS)
            with pytest.raises(AuthError, match=r"SQLSTATE 42501, permission denied for table prisma_tokens_locks$"):
                async with storage.refresh_lock():
                    pytest.fail("held")
            with pytest.raises(AuthError, match=r"SQLSTATE 42501, permission denied for schema public$"):
                await PostgresTokenStorage(url, key="ada", table="another").create_table()
        await place.storage().clear_tokens()
        await pool.execute("DROP OWNED BY app; DROP ROLE app")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("CREATE TABLE own (key text, tokens text, stored_at timestamptz)", r"SQLSTATE 42P10, .* ON CONFLICT "),
        ("CREATE TABLE own (key text PRIMARY KEY, tokens text)", "SQLSTATE 42703, column .stored_at."),
    ],
)
async def test_tables_of_ones_own_that_lack_something_are_told_what(
    postgres_process: Process, statement: str, told: str
) -> None:
    async with asyncpg.create_pool(dsn_of(postgres_process)) as pool:
        await pool.execute("DROP TABLE IF EXISTS own")
        await pool.execute(statement)
        with pytest.raises(AuthError, match=told):
            await PostgresTokenStorage(pool, key="ada", table="own").set_tokens(TOKENS)
        await pool.execute("DROP TABLE own")


async def test_locks_whose_times_depend_on_the_time_zone_of_a_session_are_refused(postgres_process: Process) -> None:
    """As in tables of one's own: two sessions in two zones would both hold a lock."""
    async with asyncpg.create_pool(dsn_of(postgres_process)) as pool:
        await pool.execute("DROP TABLE IF EXISTS own_locks")
        await pool.execute("CREATE TABLE own_locks (key text PRIMARY KEY, owner text, ends_at timestamp)")
        with pytest.raises(AuthError, match=r"SQLSTATE 42883, .*timestamp without time zone"):
            async with PostgresTokenStorage(pool, key="ada", table="own").refresh_lock():
                pytest.fail("held")
        await pool.execute("DROP TABLE own_locks")


async def test_a_server_that_takes_no_writes_is_told_so(postgres_process: Process) -> None:
    """As a replica is one."""
    async with postgres_place(postgres_process):
        url = dsn_of(postgres_process) + "?default_transaction_read_only=on"
        with pytest.raises(AuthError, match=r"SQLSTATE 25006, cannot execute [A-Z]+ in a read-only transaction"):
            async with PostgresTokenStorage(url, key="ada").refresh_lock():
                pytest.fail("held")


def test_another_event_loop_than_asyncios_is_told_so(postgres_process: Process) -> None:
    async def use() -> None:
        with pytest.raises(AuthError, match="for asyncio"):
            await PostgresTokenStorage(dsn_of(postgres_process), key="ada").get_tokens()

    anyio.run(use, backend="trio")


def test_a_pool_of_another_event_loop_is_told_so(postgres_process: Process) -> None:
    async def opened() -> Any:
        return await asyncpg.create_pool(dsn_of(postgres_process), min_size=1, max_size=1)

    with asyncio.Runner() as one, asyncio.Runner() as another:
        pool = one.run(opened())
        with pytest.raises(AuthError, match="belongs to another event loop: make one in each"):
            another.run(PostgresTokenStorage(pool, key="ada").get_tokens())
        pool.terminate()
        one.run(asyncio.sleep(0))


async def test_without_the_tables_the_error_says_how_to_get_them(postgres_process: Process) -> None:
    async with postgres_place(postgres_process) as place, asyncpg.create_pool(dsn_of(postgres_process)) as pool:
        storage = place.storage(table="not_there")

        async def lock() -> None:
            async with storage.refresh_lock():
                pytest.fail("held")

        for call in (storage.get_tokens, storage.clear_tokens, lambda: storage.set_tokens(TOKENS), lock):
            with pytest.raises(AuthError, match=r"no table not_there.*create_table\(\) creates both"):
                await call()
        await pool.execute(
            "CREATE TABLE IF NOT EXISTS older (key text PRIMARY KEY, tokens text, stored_at timestamptz)"
        )
        storage = place.storage(table="older")
        with pytest.raises(AuthError, match="or none older_locks"):
            await lock()


async def test_what_a_pooler_says_of_a_url_is_told(pooler: Process) -> None:
    storage = PostgresTokenStorage(f"{dsn_of(pooler)}?statement_timeout=1000", key="ada")
    with pytest.raises(AuthError, match=r"SQLSTATE 08P01, unsupported startup parameter: statement_timeout"):
        await storage.get_tokens()


@pytest.mark.parametrize("rule", ["tenant text NOT NULL", "CHECK (length(tokens) < 20)"])
async def test_a_row_that_the_server_refuses_shows_no_token(postgres_process: Process, rule: str) -> None:
    """Its error quotes the row. The tables may be of the application's own migrations."""
    async with asyncpg.create_pool(dsn_of(postgres_process)) as pool:
        await pool.execute("DROP TABLE IF EXISTS own")
        await pool.execute(f"CREATE TABLE own (key text PRIMARY KEY, tokens text, stored_at timestamptz, {rule})")
        for connection in (pool, dsn_of(postgres_process)):
            with pytest.raises(AuthError, match=r"ViolationError, SQLSTATE 23\d+, (tenant|own_tokens_check)") as caught:
                await PostgresTokenStorage(connection, key="ada", table="own").set_tokens(TOKENS)
            assert leaks(caught.value) == []
            told = by_the_standard_library(caught.value)
            assert "Failing row" not in told
            assert TOKENS.access_token not in told


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
async def test_strict_transactions_cost_nobody_the_lock(postgres_process: Process, isolation: str) -> None:
    settings = {"default_transaction_isolation": isolation}
    async with (
        postgres_place(postgres_process),
        asyncpg.create_pool(dsn_of(postgres_process), max_size=24, server_settings=settings) as pool,
    ):
        inside = done = 0

        async def take() -> None:
            nonlocal inside, done
            async with PostgresTokenStorage(pool, key="ada").refresh_lock():
                inside += 1
                assert inside == 1
                await anyio.sleep(0)
                inside -= 1
                done += 1

        async with anyio.create_task_group() as group:
            for _ in range(24):
                group.start_soon(take)
        assert done == 24


async def test_no_refresh_holds_a_connection_over_the_network(postgres_process: Process) -> None:
    """A pool of one, many users at a login server that does not answer: whoever has a good token is served."""
    prisma = Prisma("strict", token_gate=Gate())
    async with serve(prisma.handle) as server, postgres_place(postgres_process, pool_size=1) as place:
        sessions = []
        for number in range(4):
            storage = place.storage(key=f"user:{number}", lease=1.2)
            await storage.set_tokens(prisma.tokens())
            sessions.append(session_at(server.url, storage, snapshot_ttl=0))
        prisma.expire()
        good = place.storage(key="good")
        await good.set_tokens(Tokens("wksp_1", "good", "refresh"))
        olds = [await session.access_token() for session in sessions]
        renewed: list[str | None] = []

        async def renew(number: int) -> None:
            renewed.append(await sessions[number].renew(olds[number]))

        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(renew, number)
            with anyio.fail_after(40):
                while prisma.refreshes < 4:  # all of them hold their locks, and wait for the login server
                    await anyio.sleep(0.01)
                for _ in range(5):
                    assert await session_at(server.url, good).access_token() == "good"
                with pytest.raises(AuthError, match="has held the refresh lock"):  # it is kept for all that time
                    async with place.storage(key="user:0", patience=1.8).refresh_lock():
                        pytest.fail("two holders")
            prisma.token_gate.release()
        assert set(renewed) == prisma.live
        assert prisma.refreshes == 4


async def test_handlers_that_hold_all_of_a_pool_while_they_wait_for_a_refresh_cost_no_login(
    postgres_process: Process,
) -> None:
    """Each waits for the refresh, which waits for a connection of theirs; meanwhile another process wants the lock."""
    prisma = Prisma("strict", token_gate=Gate())
    url = dsn_of(postgres_process)
    async with (
        serve(prisma.handle) as server,
        postgres_place(postgres_process) as place,
        asyncpg.create_pool(url, min_size=0, max_size=3) as pool,
    ):
        tokens = prisma.tokens()
        await place.storage().set_tokens(tokens)
        prisma.expire()
        mine = session_at(server.url, PostgresTokenStorage(pool, key="ada"))
        other = session_at(server.url, PostgresTokenStorage(url, key="ada"))
        renewed: list[str | None] = []

        async def renew(session: OAuthSession) -> None:
            renewed.append(await session.renew(tokens.access_token))

        async def handle() -> None:
            async with pool.acquire():
                await renew(mine)

        async with anyio.create_task_group() as group:
            group.start_soon(renew, mine)
            await prisma.token_gate.arrived.wait()
            for _ in range(3):
                group.start_soon(handle)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(renew, other)
            prisma.token_gate.release()
        assert set(renewed) == prisma.live
        assert prisma.refreshes == 1


async def test_a_pool_that_has_no_connection_free_or_was_closed_is_told_so(postgres_process: Process) -> None:
    async with asyncpg.create_pool(dsn_of(postgres_process), min_size=0, max_size=1) as pool:
        storage = PostgresTokenStorage(pool, key="ada", lease=0.1)
        async with pool.acquire():
            with pytest.raises(AuthError, match=r"no connection free within 0\.1 s .*: give the storage a URL"):
                await storage.get_tokens()
    for other in (pool, asyncpg.create_pool(dsn_of(postgres_process), min_size=0)):
        with pytest.raises(AuthError, match="is not open: await it first, and close sessions and managers before it"):
            await PostgresTokenStorage(other, key="ada").get_tokens()


async def test_many_users_share_a_url_whatever_the_server_has(postgres_process: Process) -> None:
    """The server has 100 connections, of which it keeps a few; a URL may allow one."""
    async with postgres_place(postgres_process), asyncpg.create_pool(dsn_of(postgres_process)) as looking:
        most = 0

        async def use(number: int) -> None:
            nonlocal most
            url = dsn_of(postgres_process) + "?connection_limit=1&application_name=ours"
            storage = PostgresTokenStorage(url, key=f"user:{number}")
            await storage.set_tokens(TOKENS)
            count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ours'"
            most = max(most, await looking.fetchval(count))
            assert await storage.get_tokens() == TOKENS

        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(use, number)
        assert 1 <= most <= 2, "one, and one that is just leaving"


async def test_a_pool_with_prepared_statements_behind_a_pooler_is_told_so(pooler: Process) -> None:
    """Statements that other clients of the pooler's connections have prepared, or that another connection has."""
    async with AsyncExitStack() as stack:
        pools = [
            await stack.enter_async_context(asyncpg.create_pool(dsn_of(pooler), min_size=4, max_size=4))
            for _ in range(2)
        ]
        errors: list[Exception] = []

        async def use(pool: Any, number: int) -> None:
            storage = PostgresTokenStorage(pool, key=f"user:{number}")
            try:
                for _ in range(20):
                    await storage.get_tokens()
                    async with storage.refresh_lock():
                        await storage.set_tokens(TOKENS)
            except Exception as error:
                errors.append(error)

        await PostgresTokenStorage(dsn_of(pooler), key="ada").create_table()
        async with anyio.create_task_group() as group:
            for number in range(16):
                group.start_soon(use, pools[number % 2], number)
        assert errors
        assert {type(error) for error in errors} == {AuthError}
        assert "statement_cache_size=0" in str(errors[0])


# What is accepted

GOOD = {
    "postgres://ada:canary@db.example/shop": "postgresql://ada:canary@db.example/shop",
    "postgresql+asyncpg://ada:canary@db.example/shop": "postgresql://ada:canary@db.example/shop",
    "  postgresql://db.example/shop\n": "postgresql://db.example/shop",
    "postgresql://": "postgresql://",
    "postgresql:///shop?host=/var/run/postgresql": "postgresql:///shop?host=%2Fvar%2Frun%2Fpostgresql",
    "postgresql://a:1,b:2/shop": "postgresql://a:1,b:2/shop",
    "postgresql://[::1]:5432/shop": "postgresql://[::1]:5432/shop",
    "postgresql://ada:p%40ss@db/shop?schema=public": "postgresql://ada:p%40ss@db/shop",
    "postgresql://db/shop?pgbouncer=true&connection_limit=1&pool_timeout=0": "postgresql://db/shop",
    "postgresql://db/shop?sslmode=require&channel_binding=require": "postgresql://db/shop?sslmode=require",
    "postgresql://db/shop?sslmode=no-verify&sslaccept=accept_invalid_certs": "postgresql://db/shop?sslmode=require",
    "postgresql://db/shop?ssl=true&application_name=my app": "postgresql://db/shop?application_name=my%20app&sslmode=require",
    "postgresql://ada:pas@s@db/shop": "postgresql://ada:pas%40s@db/shop",
    "postgresql://ada:p%25:s@db/shop?user=ada@db": "postgresql://ada:p%25%3As@db/shop?user=ada%40db",
    "postgresql://ada:x@localhost/shop?host=/cloudsql/shop": "postgresql://ada:x@/shop?host=%2Fcloudsql%2Fshop",
    "postgresql://localhost:5433/shop?host=/run/pg": "postgresql:///shop?host=%2Frun%2Fpg&port=5433",
    "postgresql://localhost:5433/shop?host=/run/pg&port=1": "postgresql:///shop?host=%2Frun%2Fpg&port=1",
    "postgresql://db/shop?sslmode=require&sslcert=ca.pem": "postgresql://db/shop?sslmode=require&sslrootcert=ca.pem",
    "postgresql://db/shop?sslcert=a.pem&sslkey=a.key": "postgresql://db/shop?sslcert=a.pem&sslkey=a.key",
    "postgresql://db/shop?supa=base-pooler.x&hostaddr=::1&api_key=k&app.tenant=7": "postgresql://db/shop?app.tenant=7",
}


@pytest.mark.parametrize(("given", "used"), GOOD.items(), ids=GOOD)
def test_a_url_is_accepted_as_other_programs_write_it(given: str, used: str) -> None:
    assert address(given).dsn == used
    storage = PostgresTokenStorage(given, key="ada")
    assert "canary" not in repr(storage.__dict__)


@pytest.mark.parametrize(("limit", "size"), [("1", 1), ("10", 10), ("0", 1), ("", 5), ("canary", 5), ("9" * 9, 100)])
def test_a_url_may_say_how_many_connections_it_allows(limit: str, size: int) -> None:
    assert address(f"postgresql://db/?connection_limit={limit}&schema=app").size == size
    assert address(f"postgresql://db/?connection_limit={limit}&schema=app").schema == "app"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("prisma+postgres://accelerate.prisma-data.net/?api_key=canary", "the database's direct URL"),
        ("prisma://accelerate.prisma-data.net/?api_key=canary", "the database's direct URL"),
        ("mysql://ada:canary@db/shop", "must be an asyncpg.Pool or a URL such as postgresql://"),
        ("host=db password=canary", "must be an asyncpg.Pool or a URL such as postgresql://"),
        ("canary", "must be an asyncpg.Pool or a URL such as postgresql://"),
        ("", "must be an asyncpg.Pool or a URL such as postgresql://"),
        ("postgresql://ada:can/ary@db/shop", "quote what is special"),
        ("postgresql://ada:canary#@db/shop", "quote what is special"),
        ("postgresql://ada:12#canary@db/shop", "quote what is special"),
        ("postgresql://ada:12?canary@db/shop", "quote what is special"),
        ("postgresql://ada:12@canary/34@db/shop", "quote what is special"),
        ("postgresql://ada:12/canary@db/shop", "quote what is special"),
        ("postgresql://[ada:canary@db/shop", "quote what is special"),
        ("postgresql://ada:canary@db:port/shop", "quote what is special"),
        ("postgresql://ada:canary@db/shop?sslmode=canary", "sslmode must be one of"),
        ("postgresql://ada:canary@db/shop?sslaccept=strict", "sslmode=verify-full"),
        ("postgresql://ada:canary@db/shop?sslidentity=canary.p12", "sslcert and sslkey"),
    ],
)
def test_a_url_that_is_none_for_us_is_refused_where_it_is_given(url: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted) as caught:
        PostgresTokenStorage(url, key="ada")
    assert leaks(caught.value) == []


class AsyncEngine:
    def connect(self) -> None: ...
    def begin(self) -> None: ...


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (AsyncEngine(), "test_postgres.AsyncEngine"),
        (asyncpg.Pool, "asyncpg.pool.Pool"),
        (SimpleNamespace(getconn=print, connection=print), "types.SimpleNamespace"),
        (b"postgresql://ada:canary@db", "builtins.bytes"),
        (None, "builtins.NoneType"),
    ],
    ids=["an engine", "a class", "a psycopg pool", "bytes", "none"],
)
def test_anything_else_is_refused_where_it_is_given(bad: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f"pool_or_dsn must be an asyncpg.Pool or a URL .*, not .*{kind}$"):
        PostgresTokenStorage(bad, key="ada")


async def test_a_connection_in_place_of_a_pool_is_refused(postgres_process: Process) -> None:
    connection = await asyncpg.connect(dsn_of(postgres_process))
    with pytest.raises(TypeError, match=r"must be an asyncpg\.Pool"):
        PostgresTokenStorage(connection, key="ada")
    await connection.close()


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"key": ""}, ValueError, "key"),
        ({"key": "a\0b"}, ValueError, "key"),
        ({"key": None}, TypeError, "key"),
        ({"table": ""}, ValueError, "table"),
        ({"table": "a.b.c"}, ValueError, "table"),
        ({"table": "t" * 58}, ValueError, "table"),
        ({"table": 'x"; DROP TABLE y'}, ValueError, "table"),
        ({"table": None}, TypeError, "table"),
        ({"cipher": b"k" * 32}, TypeError, "cipher"),
        ({"lease": "5"}, TypeError, "lease"),
    ],
)
def test_a_wrong_option_is_an_error_that_names_it(options: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=f"^{named} must"):
        PostgresTokenStorage("postgresql://", **{"key": "ada", **options})


async def test_a_server_that_is_away_shows_no_password() -> None:
    storage = PostgresTokenStorage(f"postgresql://ada:{'canary'}@127.0.0.1:{free_port()}/shop", key="ada")
    with pytest.raises(OSError, match="Connect call failed") as caught:
        await storage.get_tokens()
    below = [one for one in by_the_standard_library(caught.value).split('  File "') if "test_postgres.py" not in one]
    assert CANARY not in "".join(below)


async def test_a_pool_whose_server_is_away_shows_no_password() -> None:
    url = f"postgresql://ada:{canary(40)}@127.0.0.1:{free_port()}/shop"
    async with asyncpg.create_pool(url, min_size=0) as pool:
        del url
        with pytest.raises(OSError, match="Connect call failed") as caught:
            await PostgresTokenStorage(pool, key="ada").get_tokens()
    assert betrayed(caught.value) == []

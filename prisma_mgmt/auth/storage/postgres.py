"""PostgresTokenStorage: tokens in a row of a PostgreSQL table."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import Any

from prisma_mgmt.auth.closing import Unpickled
from prisma_mgmt.auth.storage.arguments import checked_name
from prisma_mgmt.auth.storage.form import Cipher, Form
from prisma_mgmt.auth.storage.locks import LEASE, LONGEST_WAIT, LeaseLock
from prisma_mgmt.auth.storage.postgres_connections import connected, used
from prisma_mgmt.auth.storage.postgres_url import AT_ONCE, address, checked_pool
from prisma_mgmt.auth.storage.rooms import place, share, turn
from prisma_mgmt.auth.storage.served import ServedStorage
from prisma_mgmt.auth.tokens import Tokens
from prisma_mgmt.errors import AuthError
from prisma_mgmt.masks import Secret, bare, masked, strip

_TABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_NAME = 63  # bytes that PostgreSQL keeps of a name
_LOCKS = "_locks"
_NO_TABLE, _NO_SCHEMA = "42P01", "3F000"  # SQLSTATE of what is undefined
_STATEMENT_IS_GONE = ("26000", "42P05")  # … of a prepared statement that is not there, or there already
_OF_NO_ROW = ("08", "25", "28", "3D", "42", "53", "55", "57")  # classes of SQLSTATE whose words quote no row: the
# connection, a transaction that only reads, the user, the database, names and rights, the machine, locks, and orders
_TRIES = 10
_FREE = 5.0  # seconds until a connection of a pool is free, or made


class PostgresTokenStorage(ServedStorage, Unpickled):
    """Keeps tokens in a row of a PostgreSQL table, for all processes that use it.

    pool_or_dsn: a URL, or an `asyncpg.Pool`. A URL may have the settings that Prisma writes into one: `schema`,
        `connection_limit`, `pgbouncer` and the like. In the database of a Prisma project give `schema` another value
        than the project has, such as `?schema=prisma_auth`: `prisma db push` drops tables that it does not know.
        A pool should serve nothing else: a refresh cannot wait until your handlers let go of its connections. Close it
        after all clients, sessions and managers that use it.
    key: names the user's tokens.
    table: the name of the table. `create_table()` makes it, and beside it one of the same name with `_locks`.
    lease: seconds after which the lock of a process is free again, if the process has died or its event loop has stood
        still for so long; 7 by default. A living process extends its lock seven times in a lease.
    patience: seconds to wait for the lock; 25 by default.

    A connection of a pool is held for one statement at a time, and never over a refresh. At most half of a pool is
    used, or five connections. With a URL at most five are made, or as many as its `connection_limit` says. They are
    closed when no statement and no refresh needs them. A pooler such as pgbouncer may stand before the server. If it
    pools transactions, give an asyncpg pool `statement_cache_size=0`.
    """

    def __init__(
        self,
        pool_or_dsn: Any,
        *,
        key: str,
        table: str = "prisma_tokens",
        cipher: Cipher | None = None,
        lease: float = LEASE,
        patience: float = LONGEST_WAIT,
    ) -> None:
        with bare:
            self._address = address(pool_or_dsn) if isinstance(pool_or_dsn, str) else None
            self._pool: Any = None if self._address else checked_pool(pool_or_dsn)
            self._key = checked_name(key, "key")
            self._name = checked_name(table, "table")
            self._table, self._locks = _tables(table, self._address.schema if self._address else None)
            self._form = Form(f"postgres:{table}:{key}", cipher)
            size = self._address.size if self._address else share(getattr(self._pool, "get_max_size", int)(), AT_ONCE)
            self._room = self._address or id(self._pool), size
            calls = (partial(self._changed, one) for one in _lock_statements(self._locks, lease))
            self._lock = LeaseLock(self._form.place, lease, patience, lambda: turn(*self._room), *calls)
            self._free = min(_FREE, lease)

    async def create_table(self) -> None:
        """Create the tables, and the schema that a URL names, if there are none."""
        columns = "key text PRIMARY KEY, tokens text NOT NULL, stored_at timestamptz NOT NULL DEFAULT now()"
        lock_columns = "key text PRIMARY KEY, owner text NOT NULL, ends_at timestamptz NOT NULL"
        named = self._address.schema if self._address and "." not in self._name else None
        look = "SELECT ARRAY[to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL, to_regnamespace($3) IS NULL]"
        async with self._connection() as connection:
            both, none = await connection.fetchval(look, self._table, self._locks, _quoted(named or "public"))
            if both:
                return  # PostgreSQL would ask for the right to create them all the same
            # … and for the right to create a schema, though it is there
            schema = f"CREATE SCHEMA IF NOT EXISTS {_quoted(named)};" if named and none else ""
            await connection.execute(  # one text is one transaction
                "SELECT pg_advisory_xact_lock(7737);"  # two at once would clash
                f"{schema}CREATE TABLE IF NOT EXISTS {self._table} ({columns});"
                f"CREATE TABLE IF NOT EXISTS {self._locks} ({lock_columns})"
            )

    async def set_tokens(self, tokens: Tokens) -> None:
        update = "(key) DO UPDATE SET tokens = excluded.tokens, stored_at = now()"
        insert = f"INSERT INTO {self._table} (key, tokens) VALUES ($1, $2) ON CONFLICT {update}"  # noqa: S608  # a checked name
        await self._changed(insert, self._form.write(tokens))

    async def clear_tokens(self) -> None:
        await self._changed(f"DELETE FROM {self._table} WHERE key = $1")  # noqa: S608  # a checked name

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncGenerator[None]:
        """Held by one process at a time, and by nobody soon after its process died."""
        async with used(self._address) if self._address else nullcontext(), self._lock.held():
            yield

    async def _changed(self, statement: str, *values: Any) -> bool:
        """Return True if a statement has changed a row. Its $1 is the key, and `values` come after it.

        It is tried again if it had to give way to another one at the same time.
        """
        for _ in range(_TRIES):
            with suppress(_GaveWayError):
                async with self._connection() as connection:
                    return str(await connection.execute(statement, self._key, *values)).endswith(" 1")
        raise AuthError(f"PostgreSQL undid a statement {_TRIES} times: too many others write {self._name}")

    async def _text(self) -> Secret | None:
        async with self._connection() as connection:
            select = f"SELECT tokens FROM {self._table} WHERE key = $1"  # noqa: S608  # a checked name
            found: Secret | None = masked(await connection.fetchval(select, self._key))
        return found

    async def _replaced(self, seen: Secret, text: Secret | None) -> bool:
        if text is None:
            return await self._changed(f"DELETE FROM {self._table} WHERE key = $1 AND tokens = $2", seen)  # noqa: S608  # a checked name
        update = f"UPDATE {self._table} SET tokens = $3, stored_at = now() WHERE key = $1 AND tokens = $2"  # noqa: S608  # a checked name
        return await self._changed(update, seen, text)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        try:
            async with connected(self._address) if self._address else self._of_pool() as connection:
                yield connection
        except BaseException as error:  # of any driver: what tells is its SQLSTATE
            strip(error)  # the frames of asyncpg show the password of a pool
            state = getattr(error, "sqlstate", None)
            if not isinstance(state, str):
                raise
            problem = self._told(error, state)
            vars(error).clear()  # what it says may quote the row, and so the tokens
            error.args = (problem,)
            raise (_GaveWayError if state.startswith("40") else AuthError)(problem) from error

    def _told(self, error: Any, state: str) -> str:
        if state == _NO_SCHEMA:
            return f"there is no schema for the table {self._name}: create it before create_table()"
        if state == _NO_TABLE:
            return f"there is no table {self._name}, or none {self._name}{_LOCKS}; create_table() creates both"
        if state in _STATEMENT_IS_GONE:
            told = "a pooler that hands out transactions stands before PostgreSQL"
            return f"{told}: create the asyncpg pool with statement_cache_size=0"
        about = getattr(error, "constraint_name", None) or getattr(error, "column_name", None)
        about = about or (str(error) if state[:2] in _OF_NO_ROW else "")
        return f"PostgreSQL refused: {type(error).__name__}, SQLSTATE {state}" + (f", {about}" if about else "")

    @asynccontextmanager
    async def _of_pool(self) -> AsyncGenerator[Any]:
        async with place(*self._room):
            try:
                connection = await self._pool.acquire(timeout=self._free)
            except TimeoutError as error:
                told = f"the pool of a token storage had no connection free within {self._free:g} s"
                raise AuthError(f"{told} (others have them, or it is silent): give the storage a URL") from error
            try:
                yield connection
            finally:
                await self._pool.release(connection)


class _GaveWayError(AuthError):
    """A statement had to give way to another at the same time, as where transactions are serializable."""


def _lock_statements(table: str, lease: float) -> tuple[str, str, str]:
    """What takes the lock of $1 for $2, what extends it, by the server's own clock, and what ends it."""
    ends = f"clock_timestamp() + make_interval(secs => {lease})"
    # in arrays, a column of another type is an error: without its time zone, a time is another one for each session
    free = "ARRAY[held.ends_at] <= ARRAY[clock_timestamp()] OR held.owner = excluded.owner"
    update = f"UPDATE SET owner = excluded.owner, ends_at = excluded.ends_at WHERE {free}"
    insert = f"INSERT INTO {table} AS held (key, owner, ends_at) VALUES ($1, $2, {ends})"  # noqa: S608  # a checked name
    extend = f"UPDATE {table} SET ends_at = {ends} WHERE key = $1 AND owner = $2"  # noqa: S608  # a checked name
    return f"{insert} ON CONFLICT (key) DO {update}", extend, f"DELETE FROM {table} WHERE key = $1 AND owner = $2"  # noqa: S608  # a checked name


def _tables(table: str, schema: str | None) -> tuple[str, str]:
    """Quote the names of the two tables, of tokens and of locks. They are in `schema` if `table` names none."""
    if not _TABLE.fullmatch(table) or any(len(part) + len(_LOCKS) > _LONGEST_NAME for part in table.split(".")):
        raise ValueError("table must be a plain name of at most 57 characters, or such a name after schema and dot")
    own, _, name = table.rpartition(".")
    return _quoted(own or schema, name), _quoted(own or schema, f"{name}{_LOCKS}")


def _quoted(*names: str | None) -> str:
    """Quote a name and those before it, of which some may be None."""
    return ".".join('"' + name.replace('"', '""').replace("\0", "") + '"' for name in names if name)

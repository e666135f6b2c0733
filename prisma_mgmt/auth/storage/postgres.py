"""Tokens in a PostgreSQL table."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib import import_module
from typing import Any

import anyio
from attrs import frozen

from prisma_mgmt.auth.closing import Unpickled
from prisma_mgmt.auth.storage.dsn import address, checked_pool
from prisma_mgmt.auth.storage.form import Cipher, Form
from prisma_mgmt.auth.storage.locks import LEASE, LONGEST_WAIT, checked_lease
from prisma_mgmt.auth.storage.options import checked_text
from prisma_mgmt.auth.storage.rooms import room
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.errors import AuthError
from prisma_mgmt.masks import Secret, bare, strip

_TABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_NAME = 63  # bytes that PostgreSQL keeps of a name
_LOCKS = "_locks"
_NO_TABLE = ("42P01", "3F000")  # SQLSTATE of an undefined table, and of an undefined schema
_STATEMENT_IS_GONE = ("26000", "42P05")  # … of a prepared statement that is not there, or there already
_TRIES = 10
_END = "clock_timestamp() + make_interval(secs => $3)"  # of a lease
_CONNECTING, _CLOSING = 5.0, 2.0  # seconds


class PostgresTokenStorage(Unpickled):
    """Keeps tokens in a row of a PostgreSQL table, for all processes that use it.

    pool_or_dsn: an `asyncpg.Pool`, whose closing is the caller's, or a URL to connect with for each use. What Prisma
        writes into one is understood: `schema`, `connection_limit`, `pgbouncer` and the like.
    key: names the user's tokens.
    table: call `create_table()` once to have it created, and beside it one of the same name with `_locks`.
    lease: seconds after which the lock of a process that died is free again, and so is that of one whose event loop
        stalls for so long.
    patience: seconds to wait for the lock.

    A connection is held for one statement at a time, and never over a refresh, so that a pooler may stand between here
    and the server. If that hands out transactions, give an asyncpg pool `statement_cache_size=0`.
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
            self._pool = None if self._address else checked_pool(pool_or_dsn)
            self._key = checked_text(key, "key")
            self._name = checked_text(table, "table")
            self._table, self._locks = _tables(table, self._address.schema if self._address else None)
            self._form = Form(f"postgres:{table}:{key}", cipher)
            self._lease = checked_lease(self._form.place, lease, patience)
            self._seen: Secret | None = None  # the text last read, to compare with in one step

    async def create_table(self) -> None:
        """Create the tables, and the schema that a URL names, if there are none."""
        columns = "key text PRIMARY KEY, tokens text NOT NULL, stored_at timestamptz NOT NULL DEFAULT now()"
        lock_columns = "key text PRIMARY KEY, owner text NOT NULL, ends_at timestamptz NOT NULL"
        named = self._address and self._address.schema
        schema = f"CREATE SCHEMA IF NOT EXISTS {_quoted(named)};" if named and "." not in self._name else ""
        async with self._connection() as connection:
            await connection.execute(  # one text is one transaction
                "SELECT pg_advisory_xact_lock(7737);"  # two at once would clash
                f"{schema}"
                f"CREATE TABLE IF NOT EXISTS {self._table} ({columns});"
                f"CREATE TABLE IF NOT EXISTS {self._locks} ({lock_columns})"
            )

    async def get_tokens(self) -> Tokens | None:
        found = await self._text()
        return None if found is None else self._form.read(found)

    async def set_tokens(self, tokens: Tokens) -> None:
        update = "(key) DO UPDATE SET tokens = excluded.tokens, stored_at = now()"
        insert = f"INSERT INTO {self._table} (key, tokens) VALUES ($1, $2) ON CONFLICT {update}"  # noqa: S608  # a checked name
        await self._changed(insert, self._form.write(tokens))

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        text = self._form.write(tokens)
        if self._seen is not None and await self._swap(self._seen, text, current):
            return True
        seen = await self._text()  # the text read last may be another of the same tokens
        return seen is not None and await self._swap(seen, text, current)

    async def _swap(self, seen: Secret, text: Secret, current: Tokens) -> bool:
        """Store `text` in place of `seen`, if that is `current`."""
        if not same(self._form.read(seen), current):
            return False
        update = f"UPDATE {self._table} SET tokens = $3, stored_at = now() WHERE key = $1 AND tokens = $2"  # noqa: S608  # a checked name
        return await self._changed(update, seen, text)

    async def clear_tokens(self) -> None:
        await self._changed(f"DELETE FROM {self._table} WHERE key = $1")  # noqa: S608  # a checked name

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        found = await self._text()
        if found is None or not same(self._form.read(found), tokens):
            return False
        return await self._changed(f"DELETE FROM {self._table} WHERE key = $1 AND tokens = $2", found)  # noqa: S608  # a checked name

    def refresh_lock(self) -> AbstractAsyncContextManager[None]:
        """Held by one process at a time, and by nobody soon after its process died."""
        return self._lease.held(_Leases(self._changed, self._locks, self._lease.seconds))

    async def _changed(self, statement: str, *values: Any) -> bool:
        """Return True if a statement has changed a row. Its $1 is the key, and `values` come after it.

        It is tried again if it had to give way to another one at the same time.
        """
        for _ in range(_TRIES):
            with suppress(_GaveWayError):
                async with self._connection() as connection:
                    return str(await connection.execute(statement, self._key, *values)).endswith(" 1")
        raise AuthError(f"PostgreSQL had a statement give way to others {_TRIES} times: too many write {self._name}")

    async def _text(self) -> Secret | None:
        async with self._connection() as connection:
            found = await connection.fetchval(f"SELECT tokens FROM {self._table} WHERE key = $1", self._key)  # noqa: S608  # a checked name
        self._seen = None if found is None else Secret(found)
        return self._seen

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        try:
            async with self._pool.acquire() if self._pool else self._own_connection() as connection:
                yield connection
        except Exception as error:  # of any driver: what tells is its SQLSTATE
            strip(error)  # the frames of asyncpg show the password of a pool
            state = getattr(error, "sqlstate", None)
            if not isinstance(state, str):
                raise
            problem = self._told(error, state)
            vars(error).clear()  # what it says may quote the row, and so the tokens
            error.args = (problem,)
            raise (_GaveWayError if state.startswith("40") else AuthError)(problem) from error

    def _told(self, error: Any, state: str) -> str:
        if state in _NO_TABLE:
            return f"there is no table {self._name}, or none {self._name}{_LOCKS}; create_table() creates both"
        if state in _STATEMENT_IS_GONE:
            told = "a pooler that hands out transactions stands before PostgreSQL"
            return f"{told}: create the asyncpg pool with statement_cache_size=0"
        about = getattr(error, "constraint_name", None) or getattr(error, "column_name", None)
        return f"PostgreSQL refused: {type(error).__name__}, SQLSTATE {state}" + (f", {about}" if about else "")

    @asynccontextmanager
    async def _own_connection(self) -> AsyncGenerator[Any]:
        assert self._address is not None
        try:
            asyncpg: Any = import_module("asyncpg")
        except ImportError:
            raise ImportError("PostgresTokenStorage needs asyncpg: install prisma-mgmt[postgres]") from None
        async with room(self._address.dsn, self._address.size):
            # asyncpg takes no subclass of str, and leaves an error behind if it is cancelled while it connects;
            # a pooler may stand there
            connection: Any = None
            with bare, anyio.CancelScope(shield=True):
                connection = await asyncpg.connect(str(self._address.dsn), timeout=_CONNECTING, statement_cache_size=0)
            try:
                yield connection
            finally:
                with anyio.CancelScope(shield=True), suppress(OSError):  # what it was for is done
                    await connection.close(timeout=_CLOSING)


class _GaveWayError(AuthError):
    """A statement had to give way to another at the same time, as where transactions are serializable."""


@frozen
class _Leases:
    """The lock, as a row with its owner and its end by the server's clock."""

    changed: Callable[..., Awaitable[bool]]
    table: str
    seconds: float

    async def take(self, owner: str) -> bool:
        free = "held.ends_at <= clock_timestamp() OR held.owner = excluded.owner"
        update = f"UPDATE SET owner = excluded.owner, ends_at = excluded.ends_at WHERE {free}"
        insert = f"INSERT INTO {self.table} AS held (key, owner, ends_at) VALUES ($1, $2, {_END})"  # noqa: S608  # a checked name
        return await self.changed(f"{insert} ON CONFLICT (key) DO {update}", owner, self.seconds)

    async def extend(self, owner: str) -> bool:
        update = f"UPDATE {self.table} SET ends_at = {_END} WHERE key = $1 AND owner = $2"  # noqa: S608  # a checked name
        return await self.changed(update, owner, self.seconds)

    async def release(self, owner: str) -> None:
        await self.changed(f"DELETE FROM {self.table} WHERE key = $1 AND owner = $2", owner)  # noqa: S608  # a checked name


def _tables(table: str, schema: str | None) -> tuple[str, str]:
    """Quote the names of the two tables, of tokens and of locks. They are in `schema` if `table` names none."""
    if not _TABLE.fullmatch(table) or any(len(part) + len(_LOCKS) > _LONGEST_NAME for part in table.split(".")):
        raise ValueError("table must be a plain name of at most 57 characters, with its schema before a dot or without")
    own, _, name = table.rpartition(".")
    where = own or schema
    before = f"{_quoted(where)}." if where else ""
    return f'{before}"{name}"', f'{before}"{name}{_LOCKS}"'


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""').replace("\0", "") + '"'

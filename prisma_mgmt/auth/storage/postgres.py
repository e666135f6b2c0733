"""Tokens in a PostgreSQL table."""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from hashlib import sha256
from importlib import import_module
from types import MappingProxyType
from typing import Any

import anyio

from prisma_mgmt.auth.storage.form import Cipher, Form
from prisma_mgmt.auth.storage.locks import until
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.errors import AuthError
from prisma_mgmt.masks import Secret

_TABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]*")
_UNDEFINED_TABLE = "42P01"
_CLOSING = 2.0  # seconds

_held: ContextVar[Mapping[int, Any]] = ContextVar("held", default=MappingProxyType({}))  # locks -> connections


class PostgresTokenStorage:
    """Keeps tokens in a row of a PostgreSQL table, for all processes that use it.

    pool_or_dsn: an `asyncpg.Pool`, whose closing is the caller's, or a DSN to connect with for each use.
    key: names the user's tokens.
    table: call `create_table()` once to have it created.

    The refresh lock is an advisory lock on a connection of its own, and ends with that connection: a pooler between
    here and the server has to give sessions, not transactions.
    """

    def __init__(
        self, pool_or_dsn: Any, *, key: str, table: str = "prisma_tokens", cipher: Cipher | None = None
    ) -> None:
        if not key or "\0" in key:
            raise ValueError("key must not be empty, nor hold a zero byte")
        if not _TABLE.fullmatch(table):
            raise ValueError("table must be a plain name, with its schema before a dot or without")
        self._pool = Secret(pool_or_dsn) if isinstance(pool_or_dsn, str) else pool_or_dsn
        self._key = key
        self._name = table
        self._table = ".".join(f'"{part}"' for part in table.split("."))
        self._form = Form(f"postgres:{table}:{key}", cipher)
        self._seen: Secret | None = None  # the text last read, to compare with in one step
        self._lock = int.from_bytes(sha256(self._form.place.encode()).digest()[:8], "big", signed=True)

    async def create_table(self) -> None:
        """Create the table if there is none."""
        columns = "key text PRIMARY KEY, tokens text NOT NULL, stored_at timestamptz NOT NULL DEFAULT now()"
        async with self._connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(7737)")  # two at once would clash
            await connection.execute(f"CREATE TABLE IF NOT EXISTS {self._table} ({columns})")

    async def get_tokens(self) -> Tokens | None:
        async with self._connection() as connection:
            found = await self._text(connection)
        return None if found is None else self._form.read(found)

    async def set_tokens(self, tokens: Tokens) -> None:
        text = self._form.write(tokens)
        values = "(key, tokens) VALUES ($1, $2)"
        update = "(key) DO UPDATE SET tokens = excluded.tokens, stored_at = now()"
        async with self._connection() as connection:
            await connection.execute(
                f"INSERT INTO {self._table} {values} ON CONFLICT {update}",  # a checked name
                self._key,
                text,
            )

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        text = self._form.write(tokens)
        async with self._connection() as connection:
            if self._seen is not None and await self._swap(connection, self._seen, text, current):
                return True
            seen = await self._text(connection)  # the text read last may be another of the same tokens
            return seen is not None and await self._swap(connection, seen, text, current)

    async def _swap(self, connection: Any, seen: Secret, text: Secret, current: Tokens) -> bool:
        """Store `text` in place of `seen`, if that is `current`."""
        if not same(self._form.read(seen), current):
            return False
        update = f"UPDATE {self._table} SET tokens = $3, stored_at = now() WHERE key = $1 AND tokens = $2"  # noqa: S608  # a checked name
        return bool(await connection.execute(update, self._key, seen, text) == "UPDATE 1")

    async def clear_tokens(self) -> None:
        async with self._connection() as connection:
            await connection.execute(f"DELETE FROM {self._table} WHERE key = $1", self._key)  # noqa: S608  # a checked name

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        async with self._connection() as connection:
            found = await self._text(connection)
            if found is None or not same(self._form.read(found), tokens):
                return False
            delete = f"DELETE FROM {self._table} WHERE key = $1 AND tokens = $2"  # noqa: S608  # a checked name
            return bool(await connection.execute(delete, self._key, found) == "DELETE 1")

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncGenerator[None]:
        """Held by one process at a time.

        What its holder asks meanwhile goes over the lock's own connection, so that a lost lock is a failed write.
        """
        async with self._new_connection() as connection:

            async def attempt() -> bool | None:
                return await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._lock) or None

            await until(attempt, self._form.place)
            before = _held.get()
            _held.set({**before, self._lock: connection})
            try:
                yield
            finally:
                _held.set(before)
                with anyio.CancelScope(shield=True):
                    await connection.execute("SELECT pg_advisory_unlock($1)", self._lock)

    async def _text(self, connection: Any) -> Secret | None:
        found = await connection.fetchval(f"SELECT tokens FROM {self._table} WHERE key = $1", self._key)  # noqa: S608  # a checked name
        self._seen = None if found is None else Secret(found)
        return self._seen

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        held = _held.get().get(self._lock)
        try:
            if held is not None:
                yield held
            else:
                async with self._new_connection() as connection:
                    yield connection
        except Exception as error:
            if getattr(error, "sqlstate", None) != _UNDEFINED_TABLE:
                raise
            raise AuthError(f"there is no table {self._name}; create_table() creates it") from error

    @asynccontextmanager
    async def _new_connection(self) -> AsyncGenerator[Any]:
        if not isinstance(self._pool, str):
            async with self._pool.acquire() as connection:
                yield connection
            return
        connection = await _connect(self._pool)
        try:
            yield connection
        finally:
            with anyio.CancelScope(shield=True):
                await connection.close(timeout=_CLOSING)


async def _connect(dsn: str) -> Any:
    try:
        asyncpg: Any = import_module("asyncpg")
    except ImportError:
        raise ImportError("PostgresTokenStorage needs asyncpg: install prisma-mgmt[postgres]") from None
    return await asyncpg.connect(dsn)

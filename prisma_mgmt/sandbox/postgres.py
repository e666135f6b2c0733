"""A PostgreSQL behind the sandbox: its databases are real ones, and its connections are roles that open them."""

import asyncio
import secrets
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import asyncpg

from prisma_mgmt.sandbox import cluster
from prisma_mgmt.sandbox.backing import Address

T = TypeVar("T")
PATIENCE = 60.0  # seconds for one change


class PostgresBacking:
    """What the world does to databases and connections, done in a PostgreSQL server as well.

    One role without a login owns every database of this sandbox. Each connection is a login that may enter its own
    database only and acts there as the owner, so that all connections of a database share what they make.
    """

    def __init__(self, dsn: str) -> None:
        """Open a server by the DSN of a role that may make databases and roles, or "auto" for one of our own.

        Raises OSError for a server that cannot be opened.
        """
        self._dsn = cluster.dsn() if dsn == "auto" else dsn
        self._owner = f"sandbox_{secrets.token_hex(8)}"
        self._users: dict[str, Address] = {}  # by connection
        self._worker = _Worker()
        try:
            self._worker.run(self._open())
        except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._worker.stop()
            raise OSError(f"cannot open the PostgreSQL behind the sandbox: {error}") from None

    def create(self, database_id: str) -> None:
        """Make an empty database."""
        self._worker.run(self._create(database_id))

    def copy(self, source_id: str, target_id: str) -> None:
        """Replace what a database holds by what another one holds; that ends the sessions in both."""
        if source_id != target_id:
            self._worker.run(self._copy(source_id, target_id))

    def drop(self, database_id: str) -> None:
        """Drop a database, and with it the users of its connections."""
        self._worker.run(self._drop(database_id))

    def size(self, database_id: str) -> int:
        """How many bytes a database takes."""
        return self._worker.run(self._size(database_id))

    def grant(self, database_id: str, connection_id: str) -> Address:
        """Make the user of a new connection."""
        return self._worker.run(self._grant(self._new_user(database_id, connection_id)))

    def rotate(self, database_id: str, connection_id: str) -> Address:
        """Give a connection's user another name and password; the old ones open nothing any more."""
        old = self._users[connection_id]
        return self._worker.run(self._rename(old, self._new_user(database_id, connection_id)))

    def revoke(self, database_id: str, connection_id: str) -> None:  # noqa: ARG002  # the world's signature
        """Drop the user of a connection, and end its sessions; what it made stays."""
        self._worker.run(self._revoke(self._users.pop(connection_id)))

    def _new_user(self, database_id: str, connection_id: str) -> Address:
        user, password = f"user_{secrets.token_hex(8)}", secrets.token_urlsafe(24)
        self._users[connection_id] = Address(*self._where, user, password, database_id)
        return self._users[connection_id]

    def clear(self) -> None:
        """Drop everything that was made."""
        self._worker.run(self._clear())

    def close(self) -> None:
        """Drop everything that was made and leave the server; our own goes when this process ends."""
        try:
            self._worker.run(self._close())
        finally:
            self._worker.stop()

    # What runs in the worker's thread

    async def _open(self) -> None:
        self._where = _where(self._dsn)
        self._admin = await asyncpg.connect(self._dsn, timeout=10)
        owner = _name(self._owner)
        await self._execute(f"CREATE ROLE {owner} NOLOGIN CREATEDB", f"GRANT {owner} TO CURRENT_USER")

    async def _execute(self, *statements: str) -> None:
        for statement in statements:
            await self._admin.execute(statement)

    async def _create(self, database: str, *, template: str | None = None) -> None:
        copied = f" TEMPLATE {_name(template)}" if template is not None else ""
        await self._execute(
            f"CREATE DATABASE {_name(database)} OWNER {_name(self._owner)}{copied}",
            f"REVOKE CONNECT ON DATABASE {_name(database)} FROM PUBLIC",
        )

    async def _copy(self, source: str, target: str) -> None:
        await self._execute(
            f"DROP DATABASE {_name(target)} WITH (FORCE)",
            f"ALTER DATABASE {_name(source)} ALLOW_CONNECTIONS false",  # it is copied as files: nobody may be in it
        )
        try:
            await self._end_sessions("datname", source)
            await self._create(target, template=source)
        finally:
            await self._execute(f"ALTER DATABASE {_name(source)} ALLOW_CONNECTIONS true")
        for one in self._users.values():
            if one.database == target:
                await self._let_in(one)

    async def _drop(self, database: str) -> None:
        await self._execute(f"DROP DATABASE IF EXISTS {_name(database)} WITH (FORCE)")
        for connection_id, one in list(self._users.items()):
            if one.database == database:
                await self._execute(f"DROP ROLE IF EXISTS {_name(one.user)}")
                del self._users[connection_id]

    async def _size(self, database: str) -> int:
        return int(await self._admin.fetchval("SELECT pg_database_size($1::text::name)", database))

    async def _grant(self, one: Address) -> Address:
        options = f"LOGIN NOINHERIT PASSWORD {_text(one.password)} IN ROLE {_name(self._owner)}"
        await self._execute(
            f"CREATE ROLE {_name(one.user)} {options}", f"ALTER ROLE {_name(one.user)} SET role = {_text(self._owner)}"
        )
        await self._let_in(one)
        return one

    async def _let_in(self, one: Address) -> None:
        await self._execute(f"GRANT CONNECT ON DATABASE {_name(one.database)} TO {_name(one.user)}")

    async def _rename(self, old: Address, new: Address) -> Address:
        rename = f"ALTER ROLE {_name(old.user)} RENAME TO {_name(new.user)}"
        await self._execute(rename, f"ALTER ROLE {_name(new.user)} PASSWORD {_text(new.password)}")
        return new

    async def _revoke(self, one: Address) -> None:
        await self._end_sessions("usename", one.user)
        inside = await asyncpg.connect(self._dsn, database=one.database, timeout=10)
        try:
            await inside.execute(f"REASSIGN OWNED BY {_name(one.user)} TO {_name(self._owner)}")
            await inside.execute(f"DROP OWNED BY {_name(one.user)}")
        finally:
            await inside.close()
        await self._execute(f"DROP ROLE {_name(one.user)}")

    async def _end_sessions(self, column: str, value: str) -> None:
        query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {column} = $1"  # noqa: S608  # our own
        await self._admin.execute(query, value)

    async def _clear(self) -> None:
        """Drop every database of the owner's, also those that users made, such as a migration's shadow database."""
        query = "SELECT datname FROM pg_database JOIN pg_roles ON datdba = pg_roles.oid WHERE rolname = $1"
        for row in await self._admin.fetch(query, self._owner):
            await self._drop(row["datname"])

    async def _close(self) -> None:
        try:
            await self._clear()
            await self._execute(f"DROP ROLE {_name(self._owner)}")
        finally:
            await self._admin.close()


class _Worker:
    """An event loop in a thread: the world waits for what it does, on any loop or on none."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="prisma-sandbox-postgres", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _where(dsn: str) -> tuple[str, int]:
    """The host and the port of a server."""
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    host = parts.hostname or query.get("host", "localhost")
    if host.startswith("/"):
        raise ValueError("a URL names a host, so the DSN must do so too, and no folder of a socket")
    return host, parts.port or int(query.get("port", 5432))


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

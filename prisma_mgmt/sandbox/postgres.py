"""A PostgreSQL behind the sandbox: its databases are real ones, and its connections are roles that open them."""

import secrets
from contextlib import ExitStack
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import asyncpg
from anyio.from_thread import start_blocking_portal

from prisma_mgmt.sandbox import cluster
from prisma_mgmt.sandbox.backing import Address, Backing


class PostgresBacking(Backing):
    """What the world does to databases and connections, done in a PostgreSQL server as well.

    One role without a login owns every database of this sandbox. Each connection is a login that may enter its own
    database only and acts there as the owner, so that all connections of a database share what they make. The names of
    databases and roles are ours, and need no quotes.
    """

    def __init__(self, dsn: str) -> None:
        """Open a server by the DSN of a role that may make databases and roles, or "auto" for one of our own.

        Raises OSError for a server that cannot be opened.
        """
        self._dsn = cluster.dsn() if dsn == "auto" else dsn
        self._owner = f"sandbox_{secrets.token_hex(8)}"
        self._users: dict[str, Address] = {}  # by connection
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())  # the world waits, on any loop or on none
            try:
                self._where = _where(self._dsn)
                self._admin = self._connect()
                stack.callback(self._portal.call, self._admin.close)
                self._execute(f"CREATE ROLE {self._owner} NOLOGIN CREATEDB", f"GRANT {self._owner} TO CURRENT_USER")
            except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise OSError(f"cannot open the PostgreSQL behind the sandbox: {error}") from None
            self._left = stack.pop_all()

    def create(self, database_id: str, *, template: str = "template1") -> None:
        self._execute(
            f"CREATE DATABASE {database_id} OWNER {self._owner} TEMPLATE {template}",
            f"REVOKE CONNECT ON DATABASE {database_id} FROM PUBLIC",
        )

    def drop(self, database_id: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {database_id} WITH (FORCE)")

    def copy(self, source_id: str, target_id: str) -> None:
        """Replace what the target holds by what the source holds; that ends the sessions in both."""
        if source_id == target_id:
            return
        self._execute(
            f"DROP DATABASE {target_id} WITH (FORCE)",
            f"ALTER DATABASE {source_id} ALLOW_CONNECTIONS false",  # it is copied as files: nobody may be in it
        )
        try:
            self._end_sessions("datname", source_id)
            self.create(target_id, template=source_id)
        finally:
            self._execute(f"ALTER DATABASE {source_id} ALLOW_CONNECTIONS true")
        for one in self._users.values():
            if one.database == target_id:
                self._let_in(one)

    def size(self, database_id: str) -> int:
        (row,) = self._fetch("SELECT pg_database_size($1::text::name) AS bytes", database_id)
        return int(row["bytes"])

    def grant(self, database_id: str, connection_id: str) -> Address:
        """Make the login of a new connection."""
        new = self._new_user(database_id, connection_id)
        self._execute(
            f"CREATE ROLE {new.username} LOGIN NOINHERIT PASSWORD '{new.password}' IN ROLE {self._owner}",
            f"ALTER ROLE {new.username} SET role = {self._owner}",
        )
        self._let_in(new)
        return new

    def rotate(self, database_id: str, connection_id: str) -> Address:
        """Give a connection's login another name and password; the old ones open nothing any more."""
        old, new = self._users[connection_id], self._new_user(database_id, connection_id)
        self._execute(f"ALTER ROLE {old.username} RENAME TO {new.username}")
        self._execute(f"ALTER ROLE {new.username} PASSWORD '{new.password}'")
        return new

    def revoke(self, database_id: str, connection_id: str) -> None:
        """Drop the login of a connection, and end its sessions; what it made stays."""
        user = self._users.pop(connection_id).username
        self._end_sessions("usename", user)
        inside = self._connect(database=database_id)
        try:
            mine = f"REASSIGN OWNED BY {user} TO {self._owner}; DROP OWNED BY {user}"
            self._portal.call(inside.execute, mine)
        finally:
            self._portal.call(inside.close)
        self._execute(f"DROP ROLE {user}")

    def clear(self) -> None:
        """Drop every database of the owner's, also those that users made, such as a migration's shadow database."""
        query = "SELECT quote_ident(datname) AS name FROM pg_database WHERE pg_get_userbyid(datdba) = $1"
        for row in self._fetch(query, self._owner):
            self.drop(row["name"])
        self._execute(*(f"DROP ROLE {one.username}" for one in self._users.values()))
        self._users.clear()

    def close(self) -> None:
        """Drop everything that was made and leave the server; our own goes when this process ends."""
        with self._left:
            self.clear()
            self._execute(f"DROP ROLE {self._owner}")

    def _connect(self, **options: str) -> Any:
        return self._portal.call(partial(asyncpg.connect, self._dsn, timeout=10, command_timeout=60, **options))

    def _new_user(self, database_id: str, connection_id: str) -> Address:
        user, password = f"user_{secrets.token_hex(8)}", secrets.token_urlsafe(24)
        self._users[connection_id] = Address(*self._where, user, password, database_id)
        return self._users[connection_id]

    def _let_in(self, one: Address) -> None:
        self._execute(f"GRANT CONNECT ON DATABASE {one.database} TO {one.username}")

    def _end_sessions(self, column: str, value: str) -> None:
        self._fetch(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {column} = $1", value)  # noqa: S608  # our own

    def _execute(self, *statements: str) -> None:
        for statement in statements:
            self._portal.call(self._admin.execute, statement)

    def _fetch(self, query: str, value: str) -> list[Any]:
        found: list[Any] = self._portal.call(self._admin.fetch, query, value)
        return found


def _where(dsn: str) -> tuple[str, int]:
    """The host and the port of a server."""
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    host = parts.hostname or query.get("host", "localhost")
    if host.startswith("/"):
        raise ValueError("a URL names a host, so the DSN must do so too, and no folder of a socket")
    return host, parts.port or int(query.get("port", 5432))

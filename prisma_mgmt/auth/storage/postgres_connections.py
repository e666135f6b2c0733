"""Connections to PostgreSQL by a URL: an event loop shares them, and they are open while somebody there uses them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import Any
from urllib.parse import unquote

import anyio
from anyio.lowlevel import RunVar
from attrs import define, field

from prisma_mgmt.auth.storage.postgres_url import Address
from prisma_mgmt.auth.storage.rooms import place
from prisma_mgmt.masks import bare

_CONNECTING, _CLOSING = 5.0, 2.0  # seconds


@define(eq=False)
class _Open:
    """How many use an address, and the connections to it that nobody uses at the moment."""

    users: int = 0
    idle: list[Any] = field(factory=list)


_open: RunVar[dict[Address, _Open]] = RunVar("prisma_mgmt.auth.connections")


@asynccontextmanager
async def used(address: Address) -> AsyncGenerator[_Open]:
    """Connections to `address` stay open during this. The last one to leave closes them, so that a loop may end."""
    here = _open.get(dict[Address, _Open]())
    _open.set(here)
    mine = here.setdefault(address, _Open())
    mine.users += 1
    try:
        yield mine
    finally:
        mine.users -= 1
        if not mine.users:
            del here[address]
            with anyio.move_on_after(_CLOSING, shield=True), suppress(Exception):  # what they were for is done
                for one in mine.idle:
                    await one.close()
            for one in mine.idle:  # which nothing is done to if it is closed
                one.terminate()


@asynccontextmanager
async def connected(address: Address) -> AsyncGenerator[Any]:
    """A connection to `address` for one statement."""
    async with used(address) as mine, place(address, address.size):
        mine.idle = [one for one in mine.idle if not one.is_closed()]
        connection = mine.idle.pop() if mine.idle else await _connect(address)
        try:
            yield connection
        except BaseException:
            try:  # the server has to end what was given up, or it would keep the connection; close() may wait for ever
                with anyio.move_on_after(_CLOSING, shield=True), suppress(Exception):
                    await connection.execute("")
            finally:
                connection.terminate()
            raise
        mine.idle.append(connection)


async def _connect(address: Address) -> Any:
    try:
        asyncpg: Any = import_module("asyncpg")
    except ImportError:
        raise ImportError("PostgresTokenStorage needs asyncpg: install prisma-mgmt[postgres]") from None
    asyncio.get_running_loop()  # in another kind of loop asyncpg would make one, and leave it open
    # asyncpg takes no subclass of str, and leaves an error behind if it is cancelled while it connects; a pooler may
    # stand there; of several servers, a replica may give older tokens
    kind = "read-write" if "," in unquote(address.dsn) else None
    with bare, anyio.CancelScope(shield=True):
        return await asyncpg.connect(
            str(address.dsn), timeout=_CONNECTING, statement_cache_size=0, target_session_attrs=kind
        )

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

_CONNECTING, _CLOSING, _IDLE = 5.0, 2.0, 30.0  # seconds


@define(eq=False)
class _Open:
    """How many use an address, and the connections to it that nobody uses at the moment, and since when."""

    users: int = 0
    idle: list[tuple[float, Any]] = field(factory=list)


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
            try:
                with anyio.move_on_after(_CLOSING, shield=True), suppress(Exception):  # what they were for is done
                    for _, one in mine.idle:
                        await one.close()
            finally:
                for _, one in mine.idle:
                    one.terminate()  # which does nothing to one that is closed


@asynccontextmanager
async def connected(address: Address, *, idle: float = _IDLE) -> AsyncGenerator[Any]:
    """A connection to `address` for one statement: none that has been idle for longer than so many seconds."""
    async with used(address) as mine, place(address, address.size):
        for since, one in list(mine.idle):
            if anyio.current_time() >= since + idle or one.is_closed():
                mine.idle.remove((since, one))
                one.terminate()  # what lies between here and the server may have forgotten it
        connection = mine.idle.pop()[1] if mine.idle else await _connect(address)
        try:
            yield connection
        except BaseException:
            try:  # the server has to end what was given up, or it would keep the connection; close() may wait for ever
                with anyio.move_on_after(_CLOSING, shield=True), suppress(Exception):
                    await connection.execute("")
            finally:
                connection.terminate()
            raise
        mine.idle.append((anyio.current_time(), connection))


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

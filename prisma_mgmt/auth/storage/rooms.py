"""Limits how many calls to one server run at once in an event loop, and says who goes first."""

import re
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar
from weakref import WeakValueDictionary

import anyio
from anyio.lowlevel import RunVar

from prisma_mgmt.errors import AuthError

holding: ContextVar[object] = ContextVar("holding", default=None)  # the lock that the running code holds, or asks for

_rooms: RunVar[WeakValueDictionary[tuple[Hashable, int], anyio.Semaphore]] = RunVar("prisma_mgmt.auth.rooms")


@asynccontextmanager
async def place(of: Hashable, size: int) -> AsyncGenerator[None]:
    """One of `size` places for calls in this event loop. Whoever holds a lock goes before all who hold none.

    Hundreds may wait for theirs, and ask again and again. A lock that is held must be extended in time all the same.
    """
    try:
        async with nullcontext() if holding.get() is not None else turn(of, size), room(of, size):
            yield
    except Exception as error:  # of any client
        if "no running event loop" in str(error):  # as asyncio says in trio's
            told = "the clients of Redis and PostgreSQL are for asyncio, and for no other event loop"
        # as asyncio says of what another loop has made; asyncpg says of its own what follows from that
        elif re.search("different (event )?loop|loop is closed", f"{error} {error.__context__}"):
            told = "the client or the pool of a token storage belongs to another event loop: make one in each"
        elif re.match("pool is (clos|not init)", str(error)):  # as asyncpg says
            told = "the pool of a token storage is not open: await it first, and close sessions and managers before it"
        else:
            raise
        raise AuthError(told) from error


def turn(of: Hashable, size: int) -> anyio.Semaphore:
    """Where all wait who hold no lock: they have one place less than there are, if there are several."""
    return room((of, "without a lock"), max(1, size - 1))


def room(of: Hashable, size: int) -> anyio.Semaphore:
    """Room for `size` calls at once in this event loop, the same for all who ask for the same.

    It lives for as long as anybody is in it or waits for it. They keep alive what they use, such as a client, so `of`
    may be its id.
    """
    rooms = _rooms.get(WeakValueDictionary[tuple[Hashable, int], anyio.Semaphore]())
    _rooms.set(rooms)
    return rooms.setdefault((of, size), anyio.Semaphore(size))


def share(most: object, usual: int) -> int:
    """How many calls to make at once where `most` can be made, if that is known, so that others can make as many."""
    return min(usual, max(1, most // 2)) if isinstance(most, int) and most else usual

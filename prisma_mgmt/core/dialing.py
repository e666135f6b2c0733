"""A TCP connection to whichever address of a host answers first (RFC 8305), without a socket left behind.

asyncio has this too, but there a caller that is cancelled at the wrong moment leaves a socket open.
"""

import asyncio
import socket
from itertools import chain, zip_longest
from typing import Any

_HEAD_START = 0.25  # seconds that an address has before the next one is tried beside it


async def dial(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """A connected socket. Raises OSError."""
    tries: list[asyncio.Task[socket.socket]] = []
    won: asyncio.Task[socket.socket] | None = None
    try:
        for address in _interleaved(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)):
            tries.append(loop.create_task(_try(loop, *address)))
            if (won := await _first(tries, _HEAD_START)) is not None:
                return won.result()
        while (won := await _first(tries, None)) is None:
            if all(one.done() for one in tries):
                raise _failure(tries)
        return won.result()
    finally:
        for one in tries:
            if one is not won:
                one.cancel()
                one.add_done_callback(_close)


def _interleaved(found: list[Any]) -> list[tuple[Any, ...]]:
    """The addresses, those of one family in turn with those of the other, beginning with the resolver's first."""
    first = [one for one in found if one[0] == found[0][0]]
    others = [one for one in found if one[0] != found[0][0]]
    return [(one[0], one[4]) for one in chain.from_iterable(zip_longest(first, others)) if one is not None]


async def _try(loop: asyncio.AbstractEventLoop, family: int, address: Any) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        await loop.sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


async def _first(tries: list[asyncio.Task[socket.socket]], timeout: float | None) -> asyncio.Task[socket.socket] | None:
    """The first try that has succeeded, once one more has ended or the time is over."""
    pending = [one for one in tries if not one.done()]
    if pending:
        await asyncio.wait(pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    return next((one for one in tries if one.done() and one.exception() is None), None)


def _failure(tries: list[asyncio.Task[socket.socket]]) -> BaseException:
    """What the first try has met."""
    failures = [error for one in tries if (error := one.exception()) is not None]
    return failures[0]


def _close(ended: asyncio.Task[socket.socket]) -> None:
    """Close the socket of a try that has come too late."""
    if not ended.cancelled() and ended.exception() is None:
        ended.result().close()

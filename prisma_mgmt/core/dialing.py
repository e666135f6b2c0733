"""A TCP connection to whichever address of a host answers first (RFC 8305), without a socket left behind.

asyncio has this too, but there a caller that is cancelled at the wrong moment leaves a socket open.
"""

import asyncio
import socket
from itertools import chain, zip_longest
from typing import Any

import anyio

_HEAD_START = 0.25  # seconds that an address has before the next one is tried beside it


async def dial(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """A connected socket. Raises OSError, of the first address if none answers."""
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failures = [] if found else [OSError(f"{host} has no address")]
    won: list[socket.socket] = []

    async def attempt(address: tuple[Any, ...], over: anyio.Event) -> None:
        try:
            won.append(await _connected(loop, *address))
            group.cancel_scope.cancel()
        except OSError as error:
            failures.append(error)
        finally:
            over.set()

    try:
        async with anyio.create_task_group() as group:
            for address in _interleaved(found):
                over = anyio.Event()
                group.start_soon(attempt, address, over)
                with anyio.move_on_after(_HEAD_START):
                    await over.wait()
    except BaseException:
        _close(won)
        raise
    if not won:
        raise failures[0]
    _close(won[1:])
    return won[0]


def _interleaved(found: list[Any]) -> list[tuple[Any, ...]]:
    """The addresses, those of one family in turn with those of the other, beginning with the resolver's first."""
    first = [one for one in found if one[0] == found[0][0]]  # whose family is the first one's
    others = [one for one in found if one[0] != found[0][0]]
    return [(one[0], one[4]) for one in chain.from_iterable(zip_longest(first, others)) if one is not None]


async def _connected(loop: asyncio.AbstractEventLoop, family: int, address: Any) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        await loop.sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


def _close(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()

"""A TCP connection to whichever address of a host answers first (RFC 8305), without a socket left behind.

asyncio has this too, but there a caller that is cancelled at the wrong moment leaves a socket open.
"""

import asyncio
import socket
from itertools import chain, zip_longest
from typing import Any

_HEAD_START = 0.25  # seconds that an address has before the next one is tried beside it


async def dial(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """A connected socket. Raises OSError, of the first address if none answers."""
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failures: list[BaseException] = [] if found else [OSError(f"{host} has no address")]
    addresses = _interleaved(found)
    attempts: set[asyncio.Task[socket.socket]] = set()
    try:
        while addresses or attempts:
            if addresses:
                attempts.add(loop.create_task(_connected(loop, *addresses.pop(0))))
            head_start = _HEAD_START if addresses else None
            over, others = await asyncio.wait(attempts, timeout=head_start, return_when=asyncio.FIRST_COMPLETED)
            for attempt in over:
                failure = attempt.exception()
                if failure is None:
                    attempts.remove(attempt)
                    return attempt.result()
                failures.append(failure)
            attempts = others
        raise failures[0]
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_close)


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


def _close(attempt: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that nobody waits for any more."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()

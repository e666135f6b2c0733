"""A TCP connection to whichever address of a host answers first (RFC 8305), without a socket left behind.

asyncio can race addresses too, but there a caller that is cancelled at the wrong moment leaves a socket open.
"""

import asyncio
import socket

from aiohappyeyeballs import start_connection  # pyright: ignore[reportUnknownVariableType]  # it says `tuple` of an address

_HEAD_START = 0.25  # seconds that an address has before the next one is tried beside it


async def dial(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """A connected socket. Raises OSError if no address answers.

    The race has a task of its own: a cancellation that meets it while it ends is lost in it, and here the caller knows.
    """
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise OSError(f"{host} has no address")
    race = loop.create_task(start_connection(found, happy_eyeballs_delay=_HEAD_START, loop=loop))
    try:
        await asyncio.wait([race])
    except BaseException:
        race.cancel()
        race.add_done_callback(_close)
        raise
    return race.result()


def _close(race: asyncio.Task[socket.socket]) -> None:
    """Close the socket that nobody waits for any more."""
    if not race.cancelled() and race.exception() is None:
        race.result().close()

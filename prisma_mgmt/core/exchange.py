"""Sends one request over the connection that a call has from the pool, and gives its answer, whole or still to come."""

import anyio

from prisma_mgmt.core.bodies import body_of, read_whole
from prisma_mgmt.core.call import Answer, Outcome
from prisma_mgmt.core.connection import Readable, Reply
from prisma_mgmt.core.headers import request_id
from prisma_mgmt.core.pool import Place
from prisma_mgmt.errors import NetworkError, RequestTimeoutError
from prisma_mgmt.faults import network_error


async def exchange(place: Place, timeout: float | None, opens: bool) -> Outcome:
    """Send the request of a place once, and give the answer: whole, or of a log that it `opens` only the head.

    A fault of the network is returned, and so is a RequestTimeoutError after `timeout` seconds. Raises OutdatedError if
    the token was replaced meanwhile, DecodeError for a body that is too long, and what no second try can mend.
    """
    try:
        with anyio.move_on_after(timeout):
            request, connection = place.request, place.connection
            if connection is None or place.late or not connection.reusable:
                connection = await place.connect()
                request.check()
            place.reply = reply = await connection.send(request)
            body, content = None, b""
            if opens and (200 <= reply.status < 300 or reply.status == 101):
                body = _Open(place, reply)
                place.open = True
            else:
                content = await read_whole(reply, place.pool.limits.answer)
            return Answer(reply.status, reply.headers, content, open=body, engine=connection.engine)
        return _fault(RequestTimeoutError(f"no answer within {timeout} s"), place)
    except Exception as error:  # not all that goes wrong below has a name
        if isinstance(error, NetworkError) and place.connection is None:
            raise
        return _fault(error, place)


class _Open:
    """The body of a log, which keeps the connection of its place; after a 101 it is the bare connection."""

    def __init__(self, place: Place, reply: Reply) -> None:
        self._place = place
        self._network = reply.network if reply.status == 101 else None
        if reply.status == 101 and self._network is None:
            raise RuntimeError("this transport cannot follow a log: it gives no `network_stream`, as httpx's own does")
        self._body: Readable = self._network or body_of(reply)

    async def read(self) -> bytes:
        """What comes next, b"" at the end. Raises NetworkError."""
        try:
            return await self._body.read()
        except Exception as error:  # as in `exchange`
            failed = _fault(error, self._place)
        raise failed  # out here, so that what went wrong is not its context

    async def write(self, data: bytes) -> None:
        """Send after a 101. Raises what the socket raises."""
        assert self._network is not None  # it is open
        await self._network.write(data)

    async def aclose(self) -> None:
        """Let go of the connection; once is enough."""
        await self._place.give_back()


def _fault(error: Exception, place: Place) -> NetworkError:
    """What an error of sending or reading amounts to; it says of what answer. Raises one that is not the network's."""
    place.broken = True
    request, connection, reply = place.request, place.connection, place.reply
    found = error if isinstance(error, NetworkError) else None
    if found is None:
        ours = connection is None or connection.ours
        found = network_error(error, method=request.method, url=request.url, ours=ours)
    if found is None:
        raise error
    if reply is None:
        found.unsent = found.unsent or connection is None or not connection.made
    else:
        found.status, found.request_id = reply.status, request_id(reply.headers)
    return found

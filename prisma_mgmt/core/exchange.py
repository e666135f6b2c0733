"""Sends one request over the connection that a call has from the pool, and gives its answer, whole or still to come."""

import anyio

from prisma_mgmt.core.bodies import body_of, read_whole
from prisma_mgmt.core.call import Answer, Outcome
from prisma_mgmt.core.connection import Readable, Reply
from prisma_mgmt.core.pool import Place
from prisma_mgmt.errors import NetworkError, RequestTimeoutError


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
            if opens and (200 <= reply.status < 300 or reply.status == 101):
                place.body = _network(reply) if reply.status == 101 else body_of(reply)
                return Answer(reply.status, reply.headers, b"", open=place, engine=connection.engine)
            content = await read_whole(reply, place.pool.limits.answer)
            return Answer(reply.status, reply.headers, content, engine=connection.engine)
        return place.fault(RequestTimeoutError(f"no answer within {timeout} s"))
    except Exception as error:  # not all that goes wrong below has a name
        if isinstance(error, NetworkError) and place.connection is None:
            raise
        return place.fault(error)


def _network(reply: Reply) -> Readable:
    """What to read after a 101; RuntimeError if the transport does not tell."""
    if reply.network is None:
        raise RuntimeError("this transport cannot follow a log: it gives no `network_stream`, as httpx's own does")
    return reply.network

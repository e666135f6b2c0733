"""One exchange: a request over the connection of a place, and its answer, whole or with its body still to come."""

import anyio

from prisma_mgmt.core.bodies import Readable, body_of, read_whole
from prisma_mgmt.core.call import Answer, Outcome
from prisma_mgmt.core.connection import Connection, Reply, Request
from prisma_mgmt.core.headers import request_id
from prisma_mgmt.core.pool import Place
from prisma_mgmt.errors import NetworkError, RequestTimeoutError
from prisma_mgmt.faults import network_error


async def exchange(place: Place, request: Request, timeout: float | None, opens: bool) -> Outcome:
    """Send once. The answer, whole, or with its body still `open` if it is a success and that is wished for.

    A fault of the network is returned, and so is a RequestTimeoutError after `timeout` seconds. Raises OutdatedError if
    the token was replaced meanwhile, DecodeError for a body that is too long, and what no second try can mend.
    """
    reply: Reply | None = None
    try:
        with anyio.move_on_after(timeout):
            connection = place.connection
            if connection is None or place.late or not connection.reusable:
                connection = await place.connect()
                request.check()
            reply = await connection.send(request)
            if opens and (200 <= reply.status < 300 or reply.status == 101):
                place.open = body = _Open(place, request, reply)
                return Answer(reply.status, reply.headers, b"", open=body, engine=connection.engine)
            content = await read_whole(reply, place.longest)
            return Answer(reply.status, reply.headers, content, engine=connection.engine)
        late = RequestTimeoutError(f"no answer within {timeout} s", unsent=_is_unsent(place.connection))
        return _about(late, reply)
    except Exception as error:  # not all that goes wrong below has a name
        place.broken = True
        if isinstance(error, NetworkError) and place.connection is None:
            raise
        return _fault(error, request, place.connection, reply)
    finally:
        if reply is not None and not reply.done and place.open is None:
            with anyio.CancelScope(shield=True):
                await reply.aclose()


class _Open:
    """The body of a log, which keeps the connection of its place; after a 101 it is the bare connection."""

    def __init__(self, place: Place, request: Request, reply: Reply) -> None:
        self._place = place
        self._request = request
        self._reply = reply
        self._body: Readable = body_of(reply)
        if reply.status == 101:
            if reply.network is None:
                told = "this transport cannot follow a log: it gives no `network_stream`, as httpx's own does"
                raise RuntimeError(told)
            self._body = reply.network

    async def read(self) -> bytes:
        """What comes next, b"" at the end. Raises NetworkError."""
        try:
            return await self._body.read()
        except Exception as error:  # as in `exchange`
            self._place.broken = True
            failed = _fault(error, self._request, self._place.connection, self._reply)
        raise failed  # out here, so that what went wrong is not its context

    async def write(self, data: bytes) -> None:
        """Send after a 101. Raises what the socket raises."""
        assert self._reply.network is not None  # it is open
        await self._reply.network.write(data)

    async def aclose(self) -> None:
        """Let go of the connection; once is enough."""
        try:
            if not self._reply.done:
                with anyio.CancelScope(shield=True):
                    await self._reply.aclose()
        finally:
            await self._place.give_back()


def _is_unsent(connection: Connection | None) -> bool:
    """If nothing of a request can have been sent over it."""
    return connection is None or not connection.made


def _fault(error: Exception, request: Request, connection: Connection | None, reply: Reply | None) -> NetworkError:
    """What an error of sending or reading amounts to. Raises one that is not the network's."""
    if isinstance(error, NetworkError):
        return _about(error, reply)
    ours = connection is None or connection.ours
    found = network_error(error, method=request.method, url=request.url, ours=ours)
    if found is None:
        raise error
    found.unsent = found.unsent or _is_unsent(connection)
    return _about(found, reply)


def _about(error: NetworkError, reply: Reply | None) -> NetworkError:
    """`error`, which says of what answer it is about."""
    if reply is not None:
        error.status, error.request_id = reply.status, request_id(reply.headers)
    return error

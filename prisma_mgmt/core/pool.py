"""The pool: a bounded number of places, first come first served, and a stack of idle connections.

httpx's own pool costs more the more calls wait in it, and keeps the slot of a cancelled one. Here a call takes the
connection that was used last, and one that was cut short is closed and forgotten.
"""

import gc
import warnings
from types import TracebackType

import anyio

from prisma_mgmt.core.bodies import Readable, body_of, read_whole
from prisma_mgmt.core.call import Answer
from prisma_mgmt.core.clock import Clock, Patience
from prisma_mgmt.core.connection import Connection, Engine, Origin, Reply, Request, request_id
from prisma_mgmt.errors import NetworkError, RequestTimeoutError
from prisma_mgmt.faults import network_error
from prisma_mgmt.loops import LoopGuard


class Place:
    """One place in the pool, from `async with pool.place()` to its end, and the connection that is used in it.

    The place is given back when the block is left. The connection goes back to the pool, if it is still usable, or is
    closed; but if the block is left normally while the body of a log is still to come, the connection stays with the
    log, whose `aclose` ends it. So however many logs are open, no other call waits for them.
    """

    __slots__ = ("_body", "_broken", "_connection", "_pool", "_reply", "_request", "_slots")

    def __init__(self, pool: "Pool", slots: "anyio.Semaphore") -> None:  # anyio imports what is named
        self._pool = pool
        self._slots = slots
        self._connection: Connection | None = None
        self._request: Request | None = None
        self._reply: Reply | None = None
        self._body: Readable | None = None  # of an answer that stays open
        self._broken = False  # if something went wrong, nobody is asked again over this connection

    async def __aenter__(self) -> "Place":
        try:
            self._slots.acquire_nowait()  # it is given away only if nobody waits
        except anyio.WouldBlock:
            await self._slots.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._broken = self._broken or error is not None
        try:
            if self._connection is not None and (error is not None or self._body is None):
                await self.aclose()
        finally:
            self._slots.release()

    async def exchange(self, request: Request, timeout: float | None, *, opens: bool = False) -> Answer | NetworkError:
        """Send once. The answer, whole, or with its body still `open` if it is a success and that is wished for.

        A fault of the network is returned, and so is a RequestTimeoutError after `timeout` seconds.
        Raises OutdatedError if the token was replaced meanwhile.
        """
        self._request = request
        try:
            with anyio.move_on_after(timeout):
                self._connection = connection = await self._pool.connected(request)
                request.check()
                self._reply = reply = await connection.send(request)
                if opens and (200 <= reply.status < 300 or reply.status == 101):
                    self._body = _opened(reply)
                    return Answer(reply.status, reply.headers, b"", open=self, engine=connection.engine)
                content = await read_whole(reply, self._pool.patience.answer)
                return Answer(reply.status, reply.headers, content, engine=connection.engine)
            return self._failed(RequestTimeoutError(f"no answer within {timeout} s", unsent=self._unsent))
        except Exception as error:  # not all that goes wrong below has a name
            if isinstance(error, NetworkError) and self._connection is None:
                raise
            return self._fault(error)

    @property
    def _unsent(self) -> bool:
        """If nothing of the request can have been sent."""
        return self._connection is None or not self._connection.made

    def _fault(self, error: Exception) -> NetworkError:
        """What an error of sending or reading amounts to. Raises one that is not the network's."""
        if isinstance(error, NetworkError):
            return self._failed(error)
        assert self._request is not None  # it is on its way
        ours = self._connection is None or self._connection.ours
        found = network_error(error, method=self._request.method, url=self._request.url, ours=ours)
        if found is None:
            raise error
        found.unsent = found.unsent or self._unsent
        return self._failed(found)

    def _failed(self, error: NetworkError) -> NetworkError:
        """`error`, which says of what answer it is about."""
        self._broken = True
        if self._reply is not None:
            error.status, error.request_id = self._reply.status, request_id(self._reply.headers)
        return error

    async def read(self) -> bytes:
        """What comes next of an open body, b"" at its end. Raises NetworkError."""
        assert self._body is not None  # it is open
        try:
            return await self._body.read()
        except Exception as error:  # as in `exchange`
            failed = self._fault(error)
        raise failed  # out here, so that what went wrong is not its context

    async def write(self, data: bytes) -> None:
        """Send after a 101. Raises what the socket raises."""
        assert self._reply is not None  # it is open
        assert self._reply.network is not None
        await self._reply.network.write(data)

    async def aclose(self) -> None:
        """Give the connection back to the pool, or close it if that is all it is good for; once is enough."""
        spent, self._connection = self._connection, None
        if spent is None:
            return
        assert self._request is not None  # it was sent over it
        try:
            if self._reply is not None and not self._reply.done:
                with anyio.CancelScope(shield=True):
                    await self._reply.aclose()
        finally:
            if spent.ours:
                await self._pool.give_back(spent, self._request.origin, broken=self._broken)


def _opened(reply: Reply) -> Readable:
    """What is read of an answer that stays open: its body, or the bare connection after a 101."""
    if reply.status != 101:
        return body_of(reply)
    if reply.network is None:
        raise RuntimeError("this transport cannot follow a log: it gives no `network_stream`, as httpx's own does")
    return reply.network


class Pool:
    """Gives out places, and keeps the connections that wait for their next call."""

    def __init__(self, engine: Engine, clock: Clock, patience: Patience, *, places: int) -> None:
        self.patience: Patience = patience
        self.loop: LoopGuard = LoopGuard("client")
        self._engine = engine
        self._clock = clock
        self._places = places
        self._slots: anyio.Semaphore | None = None
        self._idle: list[tuple[float, Origin, Connection]] = []  # since when; the last used comes last
        self._closed = False

    def place(self) -> Place:
        """Give a place; `async with` waits for it. Raises RuntimeError in another event loop."""
        self.loop.check()
        if self._slots is None:
            self._slots = anyio.Semaphore(self._places, fast_acquire=True)
        return Place(self, self._slots)

    async def connected(self, request: Request) -> Connection:
        """The connection that was used last, or a new one. Raises RuntimeError if the client is closed."""
        if self._closed:
            raise RuntimeError("the client is closed")
        upgrade = request.fields.upgrade
        while not upgrade and (found := self._last_used(request.origin)) is not None:
            since, connection = found
            too_long = since + self.patience.idle < self._clock.monotonic()
            if not too_long and connection.reusable:
                return connection
            await connection.aclose()  # perhaps the server closed it meanwhile, or said something that nobody asked
            if too_long:  # the others have waited longer still; each call closes one of them
                break
        return await self._engine.connect(request.origin, upgrade=upgrade)

    def _last_used(self, origin: Origin) -> tuple[float, Connection] | None:
        for i in range(len(self._idle) - 1, -1, -1):  # the last one, unless views have other origins
            if self._idle[i][1] == origin:
                since, _, connection = self._idle.pop(i)
                return since, connection
        return None

    async def give_back(self, connection: Connection, origin: Origin, *, broken: bool) -> None:
        """Keep a connection for the next call, or close it if it is of no more use.

        One that is kept may take the room of one that calls to other origins left, or that has waited too long. To
        close one at a time keeps the number of idle ones in bounds.
        """
        spent: Connection | None = connection
        if not (broken or self._closed) and connection.reusable:
            now = self._clock.monotonic()
            self._idle.append((now, origin, connection))
            surplus = len(self._idle) > self._places or self._idle[0][0] + self.patience.idle < now
            spent = self._idle.pop(0)[2] if surplus else None
        if spent is not None:
            with anyio.CancelScope(shield=True):
                await spent.aclose()

    async def aclose(self) -> None:
        """Close every connection, those in use when their calls end; a transport of the user's stays open.

        Raises RuntimeError in an event loop other than theirs, unless that one is over: then nothing can be closed any
        more, and they are let go.
        """
        over = self.loop.over()
        if not over:
            self.loop.check()
        self._closed = True
        if over:
            with warnings.catch_warnings():  # which would blame whoever closes the client
                warnings.simplefilter("ignore", ResourceWarning)
                self._idle.clear()
                gc.collect()  # closes their sockets: no event loop can do it any more
        while self._idle:
            with anyio.CancelScope(shield=True):
                await self._idle.pop()[2].aclose()

"""The pool: a bounded number of places, first come first served, and a stack of idle connections.

httpx's own pool costs more the more calls wait in it, and keeps the slot of a cancelled one. Here a call takes the
connection that was used last, and one that was cut short is closed and forgotten.
"""

import gc
import warnings
from types import TracebackType

import anyio
from attrs import define, field

from prisma_mgmt.core.clock import Clock
from prisma_mgmt.core.connection import Connection, Engine, Origin, Readable, Reply, Request
from prisma_mgmt.core.headers import request_id
from prisma_mgmt.core.limits import Limits
from prisma_mgmt.errors import NetworkError
from prisma_mgmt.faults import network_error
from prisma_mgmt.loops import LoopGuard, closed


@define(eq=False)
class Place:
    """One place in the pool, from `async with Place(pool, request)` to its end, and the connection that is used in it.

    Entering waits for it, and raises RuntimeError in an event loop other than the pool's. The place is given back when
    the block is left. The connection goes back to the pool, if it would go on, or is closed. But if the block is left
    normally and there is a `body`, that of a log, the connection stays with whoever reads that, until they call
    `aclose`. So however many logs are open, no other call waits for them.
    """

    pool: "Pool"
    request: Request
    connection: Connection | None = None
    late: bool = False  # the connection has waited too long for its next call
    broken: bool = False  # something went wrong: nobody is asked again over this connection
    reply: Reply | None = None
    body: Readable | None = None  # of the reply, or what comes after a 101: it is read later, and keeps the connection

    async def __aenter__(self) -> "Place":
        pool = self.pool
        pool.loop.check()
        if pool.slots is None:
            pool.slots = anyio.Semaphore(pool.places, fast_acquire=True)
        try:
            pool.slots.acquire_nowait()  # it is given away only if nobody waits
        except anyio.WouldBlock:
            await pool.slots.acquire()
        for i in range(len(pool.idle) - 1, -1, -1):  # the last one, unless views have other origins
            since, origin, connection = pool.idle[i]
            if origin.url == self.request.origin.url and not self.request.fields.upgrade:
                del pool.idle[i]
                self.connection, self.late = connection, since + pool.limits.idle < pool.clock.monotonic()
                break
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is not None or self.body is None:
                await self.aclose()
        finally:
            assert self.pool.slots is not None  # it was acquired
            self.pool.slots.release()

    async def connect(self) -> Connection:
        """Make a connection, and close the one that was taken: it is late, or the server has closed it.

        The others have waited longer, and are probably closed as well. Raises RuntimeError if the client is closed.
        """
        pool, request, spent = self.pool, self.request, self.connection
        if pool.closed:
            raise RuntimeError("the client is closed")
        self.connection, self.late = None, False
        if spent is not None:
            await spent.aclose()
        self.connection = await pool.engine.connect(request.origin, upgrade=request.fields.upgrade)
        return self.connection

    async def read(self) -> bytes:
        """What comes next of the `body`, b"" at the end. Raises NetworkError."""
        assert self.body is not None  # it is open
        try:
            return await self.body.read()
        except Exception as error:  # not all that goes wrong below has a name
            failed = self.fault(error)
        raise failed  # out here, so that what went wrong is not its context

    async def write(self, data: bytes) -> None:
        """Send after a 101. Raises what the socket raises."""
        assert self.reply is not None  # it has come
        assert self.reply.network is not None  # it is the body
        await self.reply.network.write(data)

    def fault(self, error: Exception) -> NetworkError:
        """What an error of sending or reading amounts to; it says of what answer. Raises one not of the network."""
        self.broken = True
        request, connection, reply = self.request, self.connection, self.reply
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

    async def aclose(self) -> None:
        """Let go of the answer, and leave the connection to the next call or close it; once is enough.

        One that is left may take the room of one that calls to other origins left, or that has waited too long. To
        close one at a time keeps the number of idle ones in bounds.
        """
        pool, reply, spent = self.pool, self.reply, self.connection
        self.connection = None
        if spent is None:
            return
        try:
            if reply is not None and not reply.done:
                with anyio.CancelScope(shield=True):
                    await reply.aclose()
        finally:
            surplus: Connection | None = spent
            if spent.idle and not (self.late or self.broken or pool.closed):
                now = pool.clock.monotonic()
                pool.idle.append((now, self.request.origin, spent))
                too_many = len(pool.idle) > pool.places or pool.idle[0][0] + pool.limits.idle < now
                surplus = pool.idle.pop(0)[2] if too_many else None
            if surplus is not None:
                with anyio.CancelScope(shield=True):
                    await surplus.aclose()


@define(eq=False)
class Pool:
    """What all places share: how many there are, and the connections that wait for their next call."""

    engine: Engine
    clock: Clock
    limits: Limits
    places: int
    loop: LoopGuard = field(factory=lambda: LoopGuard("client"))
    slots: anyio.Semaphore | None = None  # made in the event loop that it serves
    idle: list[tuple[float, Origin, Connection]] = field(factory=list)  # since when; the last used comes last
    closed: bool = False

    async def aclose(self) -> None:
        """Close every connection, those in use when their calls end; a transport of the user's stays open.

        Raises RuntimeError in an event loop other than theirs, unless that one is over: then nothing can be closed any
        more, and they are let go.
        """
        over = closed(self.loop.served)
        if not over:
            self.loop.check()
        self.closed = True
        if over:
            with warnings.catch_warnings():  # which would blame whoever closes the client
                warnings.simplefilter("ignore", ResourceWarning)
                self.idle.clear()
                gc.collect()  # closes their sockets: no event loop can do it any more
        while self.idle:
            with anyio.CancelScope(shield=True):
                await self.idle.pop()[2].aclose()

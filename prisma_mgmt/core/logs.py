"""Logs: newline-delimited JSON, one record a line, ended by a terminal record, and taken up again if they are cut."""

import warnings
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

import anyio
from attrs import define, field

from prisma_mgmt.core.answers import decode_error
from prisma_mgmt.core.call import Answer, Body, Call
from prisma_mgmt.core.client import BaseClient, Query
from prisma_mgmt.core.codec import Mismatch, NoJSON, parse, structure_record
from prisma_mgmt.core.limits import Limits
from prisma_mgmt.errors import DecodeError, NetworkError, PrismaError, RequestTimeoutError, StreamError
from prisma_mgmt.masks import bare

if TYPE_CHECKING:
    from prisma_mgmt.core.live import Handshake
else:  # it needs an extra, and yet the annotations can be evaluated
    Handshake = Any

R = TypeVar("R")
T = TypeVar("T")

_HEADERS = {"Accept": "application/x-ndjson", "Accept-Encoding": "identity"}  # what is packed may come late
_START: Query = {"tail": None, "from_start": None}  # where to begin; if there is a cursor, it says so


@define(eq=False)
class Lines:
    """Cuts what comes into lines. A line that comes in many pieces is copied once, when it is whole."""

    rest: bytearray = field(factory=bytearray, repr=False)  # of a line whose end is still to come

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are whole by now and not blank; b"" ends the last one."""
        self.rest += piece
        if piece and b"\n" not in piece:
            return []
        *lines, rest = bytes(self.rest).split(b"\n")
        if not piece:
            lines.append(rest)
            rest = b""
        self.rest[:] = rest
        return [line for line in lines if line.strip()]


@define(eq=False)
class Segment:
    """A log from one opening to its end or its cut."""

    call: Call
    answer: Answer
    _body: Body
    _limits: Limits
    ended: bool = False  # the last line that it gave has no end
    _lines: deque[bytes] = field(factory=deque, repr=False)
    _cutter: Lines = field(factory=Lines)

    async def line(self) -> bytes:
        """The next line that is not blank, the last one with or without its newline. Raises NetworkError at a cut."""
        while not self._lines:
            piece = await self._piece()
            self.ended = not piece
            self._lines.extend(self._cutter.feed(piece))
            if not self._lines and len(self._cutter.rest) > self._limits.line:
                raise self.answer.error(DecodeError, f"a line of the log is longer than {self._limits.line:,} bytes")
            if self.ended and not self._lines:
                raise self.cut()
        return self._lines.popleft()

    async def _piece(self) -> bytes:
        try:
            with anyio.move_on_after(self._limits.silence):
                return await self._body.read()
        except PrismaError as error:
            raise self.call.named(error) from error.__cause__
        raise self.answer.error(RequestTimeoutError, f"the log was silent for {self._limits.silence:g} s")

    def cut(self) -> NetworkError:
        return self.answer.error(NetworkError, "the log was cut off before its terminal record")

    async def aclose(self) -> None:
        self._lines.clear()
        await self._body.aclose()


@define(eq=False, repr=False)
class LogStream(Generic[R, T]):
    """A log as it comes: `async for` gives its records; the terminal record ends it and stays as `.terminal`.

    Nothing is sent before the first record is asked for. A stream that is left early should be closed, by `async with`
    or by `aclose()`. A log that the network cuts is taken up again after its last record (`.cursor`), as often in a row
    as the retry policy has attempts, and one that is cut before its first record begins again. If the records do not
    say where they are, the cut is a NetworkError. A log that is followed is taken up in the same way after a terminal
    record that is `retryable`, with which the API ends each segment. A record of a kind that this version does not know
    is a dict. Raises StreamError for a log that ends with an error record.
    """

    _client: BaseClient
    _path: str
    _query: Query = field(repr=False)  # which rich would show, whatever __repr__ says
    _record: type[R]
    _terminal: type[T]
    _handshake: Handshake | None  # of the WebSocket that it comes over
    terminal: T | None = field(default=None, init=False)
    cursor: str | None = field(default=None, init=False)
    _segment: Segment | None = field(default=None, init=False)
    _resumable: bool = field(default=True, init=False)  # from the start, or from the cursor
    _busy: bool = field(default=False, init=False)

    def __aiter__(self) -> "LogStream[R, T]":
        return self

    async def __anext__(self) -> R:
        if self._busy:
            raise RuntimeError("another task is reading this log")
        self._busy = True
        try:
            with bare:
                return await self._next()
        finally:
            self._busy = False

    async def _next(self) -> R:
        cuts = 0  # in a row
        while self.terminal is None:
            segment = self._segment = self._segment or await self._open()
            began = self._client.pipeline.clock.monotonic()
            try:
                found = self._structured(await segment.line(), segment)
            except NetworkError as error:
                resumable = self._resumable and self._segment is segment  # not closed meanwhile
                await self.aclose()
                cuts = await self._again(segment.call, error, cuts, began) if resumable else 0
                if not cuts:
                    raise
                continue
            except BaseException:
                await self.aclose()
                raise
            if isinstance(found, self._terminal):
                await self.aclose()
                cuts = await self._at_the_end(segment, found, cuts, began)
                continue
            if cuts:
                self._client.pipeline.budget.give()
            self.cursor = _cursor(found) or self.cursor
            self._resumable = self.cursor is not None
            return found  # type: ignore[no-any-return]  # a record: the only other thing that _structured gives
        raise StopAsyncIteration

    async def _open(self) -> Segment:
        client, handshake = self._client, self._handshake
        query = {**self._query, **_START, "cursor": self.cursor} if self.cursor else self._query
        upgrade = None if handshake is None else handshake.headers
        call = client.call("GET", self._path, query=query, headers=_HEADERS, opens=True, upgrade=upgrade)
        answer = await client.pipeline.send(call)
        assert answer.open is not None  # the call asked for it
        try:
            body = answer.open if handshake is None else handshake.messages(answer)
        except BaseException:
            await answer.open.aclose()
            raise
        return Segment(call, answer, body, client.pipeline.pool.limits)

    async def _at_the_end(self, segment: Segment, end: Any, cuts: int, began: float) -> int:
        """Wait until a followed log may be taken up after a terminal record; 0 if that record is the end."""
        cursor = end.cursor or self.cursor
        followed = self._handshake is not None or self._query.get("follow")
        if followed and end.retryable and cursor:
            self.cursor = cursor
            over = segment.call.named(NetworkError("this segment of the log is over"))
            if cuts := await self._again(segment.call, over, cuts, began):
                return cuts
        self.terminal = end
        if end.kind == "error":
            told = StreamError(end.message, code=end.code, retryable=end.retryable, cursor=end.cursor)
            raise segment.call.named(told)
        return 0

    async def _again(self, call: Call, error: NetworkError, cuts: int, began: float) -> int:
        """Wait until the log may be taken up again; the cuts in a row, this one among them, or 0 for no more."""
        now = self._client.pipeline.clock.monotonic()
        if cuts and now - began > self._client.pipeline.pool.limits.segment:
            self._client.pipeline.budget.give()
            cuts = 0
        call.until = now + call.options.retry.deadline
        return cuts + 1 if await self._client.pipeline.pause(call, error, cuts + 1) else 0

    def _structured(self, line: bytes, segment: Segment) -> Any:
        """The record in a line; DecodeError if there is none, or NetworkError if the line has no end."""
        try:
            return structure_record(parse(line), self._record, self._terminal)
        except Mismatch as misfit:
            cut = segment.ended and isinstance(misfit, NoJSON) and line.startswith(b"{")  # else it is no record at all
            raise segment.cut() if cut else decode_error(misfit, segment.answer) from None

    async def aclose(self) -> None:
        """Close the connection. Iterating again goes on after `.cursor`, or starts anew if there is none."""
        segment, self._segment = self._segment, None
        if segment is not None:
            await segment.aclose()

    async def __aenter__(self) -> "LogStream[R, T]":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "open" if self._segment else "ended" if self.terminal is not None else "closed"
        return f"<LogStream of {self._record.__name__}, {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LogStream has a connection and cannot be copied or pickled")

    def __del__(self) -> None:
        if self._segment is not None:  # no call waits for it; its socket is closed with it
            told = "a log was left open: use it as `async with`, or call aclose()"
            warnings.warn(told, ResourceWarning, stacklevel=2)


def handshake(client: BaseClient) -> Handshake:
    """What a log that comes over a WebSocket needs. Raises ImportError if it is not there."""
    try:
        from prisma_mgmt.core.live import Handshake
    except ImportError:
        raise ImportError("following a log needs websockets: install prisma-mgmt[live]") from None
    return Handshake(client.pipeline.pool.limits)


def _cursor(record: Any) -> str | None:
    """Where to go on after a record: its cursor, or the byte of the log that it ends with."""
    if record.__class__ is dict:
        cursor, end = record.get("cursor"), record.get("byteEnd")
    else:
        cursor, end = getattr(record, "cursor", None), getattr(record, "byte_end", None)
    if cursor and isinstance(cursor, str):
        return cursor
    return str(end) if end.__class__ is int else None

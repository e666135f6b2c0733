"""Logs: newline-delimited JSON, one record a line, ended by a terminal record."""

from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, TypeAlias, TypeVar

from prisma_mgmt.core.codec import Mismatch, parse, structure, structure_record
from prisma_mgmt.core.pipeline import Call, Pipeline
from prisma_mgmt.core.wire import Answer, Body, checked
from prisma_mgmt.errors import DecodeError, NetworkError, StreamError

R = TypeVar("R")
T = TypeVar("T")
Query: TypeAlias = Mapping[str, Any]

LONGEST = 4_000_000  # bytes of a line
_LIVED = 60.0  # seconds; a segment that lasts longer has not failed
_START: Query = {"tail": None, "from_start": None}  # where to begin, which a cursor says


class LogStream(Generic[R, T]):
    """A log as it comes: `async for` gives its records; the terminal record ends it and stays as `.terminal`.

    Nothing is sent before the first record is asked for. A stream that is left early should be closed: use it as
    `async with`, or call `aclose()`. A log that the network cuts is taken up again after the last record's cursor
    (`.cursor`), as often in a row as the retry policy has attempts; where the records carry no cursor, that is a
    NetworkError. A log that is followed live is taken up in the same way after each of its segments, which the API ends
    with a terminal record that is `retryable`. Raises StreamError for a log that ends with an error record.
    """

    def __init__(
        self, pipeline: Pipeline, call: Callable[[Query], Call], query: Query, record: type[R], terminal: type[T]
    ) -> None:
        self.terminal: T | None = None
        self.cursor: str | None = None
        self._pipeline = pipeline
        self._call = call
        self._query = query
        self._record = record
        self._terminal = terminal
        self._opened: tuple[Call, Answer] | None = None
        self._lines: Iterator[bytes] = iter(())
        self._rest = bytearray()  # of a line whose end is still to come

    def __aiter__(self) -> "LogStream[R, T]":
        return self

    async def __anext__(self) -> R:
        cuts = 0  # in a row
        while self.terminal is None:
            if self._opened is None:
                call = self._call({**self._query, **_START, "cursor": self.cursor} if self.cursor else self._query)
                self._opened = call, await self._pipeline.send(call)
            opened = call, answer = self._opened
            began = self._pipeline.clock.monotonic()
            try:
                line = await self._line(call, answer)
            except NetworkError as error:
                resumable = self.cursor is not None and self._opened is opened  # not closed meanwhile
                await self.aclose()
                cuts = await self._again(call, error, cuts, began) if resumable else 0
                if not cuts:
                    raise
            except BaseException:
                await self.aclose()
                raise
            else:
                found = self._structured(line)
                if not isinstance(found, Mismatch | self._terminal):
                    if cuts:
                        self._pipeline.budget.give(retried=True)
                    self.cursor = found.get("cursor") if isinstance(found, dict) else getattr(found, "cursor", None)
                    return found  # type: ignore[no-any-return]  # a record: the only other thing that _structured gives
                await self.aclose()
                end = checked(found, answer)
                if answer.status == 101 and end.retryable and end.cursor:
                    self.cursor = end.cursor
                    cuts = await self._again(call, NetworkError("the live segment is over"), cuts, began)
                else:
                    cuts = 0
                if not cuts:
                    self._end(end)
        raise StopAsyncIteration

    async def _again(self, call: Call, error: NetworkError, cuts: int, began: float) -> int:
        """Wait until the log may be taken up again; the cuts in a row, this one among them, or 0 for no more."""
        now = self._pipeline.clock.monotonic()
        if cuts and now - began > _LIVED:
            self._pipeline.budget.give(retried=True)
            cuts = 0
        return cuts + 1 if await self._pipeline.pause(call, error, cuts + 1, now) else 0

    async def _line(self, call: Call, answer: Answer) -> Body:
        """The next line that is not blank, the last one with or without its newline."""
        assert answer.stream is not None  # the call asked for one
        while True:
            for line in self._lines:
                if line.strip():
                    return Body(line)
            if len(self._rest) > LONGEST:
                raise DecodeError(
                    f"a line of the log is longer than {LONGEST:,} bytes",
                    status=answer.status,
                    request_id=answer.request_id,
                )
            if not self._feed(await answer.stream.read()):
                raise NetworkError(
                    "the log was cut off before its terminal record",
                    method=call.method,
                    url=call.url,
                    status=answer.status,
                    request_id=answer.request_id,
                )

    def _feed(self, chunk: bytes) -> bool:
        """Take in what was read; False at the end. Not in `_line`, where a traceback would show it."""
        self._rest += chunk
        if chunk and b"\n" not in chunk:  # or a line that comes in many chunks would be copied with each of them
            return True
        *lines, rest = bytes(self._rest).split(b"\n") if chunk else (bytes(self._rest), b"")
        self._lines, self._rest = iter(lines), bytearray(rest)
        return bool(chunk or lines[0])

    def _structured(self, line: Body) -> Any:
        """The record in a line; a Mismatch is returned, not raised, for the line may hold a secret."""
        try:
            value = parse(bytes(line))  # orjson takes no subclass
        except (ValueError, RecursionError):
            return Mismatch("expected JSON on every line")
        try:
            if value.__class__ is dict and value.get("type") == "terminal":
                return structure(value, self._terminal)
            return structure_record(value, self._record)
        except Mismatch as mismatch:
            return mismatch.with_traceback(None)

    def _end(self, terminal: Any) -> None:
        self.terminal = terminal
        if terminal.kind == "error":
            raise StreamError(
                terminal.message, code=terminal.code, retryable=terminal.retryable, cursor=terminal.cursor
            )

    async def aclose(self) -> None:
        """Close the connection. Iterating again goes on after `.cursor`, or starts anew where there is none."""
        opened, self._opened = self._opened, None
        self._lines, self._rest = iter(()), bytearray()
        if opened is not None and opened[1].stream is not None:
            await opened[1].stream.aclose()

    async def __aenter__(self) -> "LogStream[R, T]":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

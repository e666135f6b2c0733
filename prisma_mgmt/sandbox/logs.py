"""Logs: newline-delimited JSON over HTTP, one message a record over a WebSocket, and a terminal record at the end."""

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import anyio

from prisma_mgmt.sandbox.state import Values, World

PAUSE = 0.05  # seconds between two looks at a log that is followed
SEGMENT = 600.0  # seconds after which the end of a segment is told, and its reader comes again


@dataclass(frozen=True, slots=True)
class Log:
    """A log to be read from a place on; all of it is asked under the world's lock."""

    records: Sequence[Values]  # grows
    place: int
    over: Callable[[], bool]
    end: Callable[[Values | None], Values]  # the terminal record, by the last record that was read
    follow: bool = False


async def read(world: World, log: Log, *, follow: bool = False) -> AsyncIterator[str]:
    """The lines of a log; one that is followed goes on until the log is over or the segment has lasted long enough."""
    place, deadline = log.place, time.monotonic() + SEGMENT
    while True:
        with world.lock:
            over = log.over() or not (follow or log.follow) or time.monotonic() > deadline
            lines = list(log.records[place:])
            last = log.records[place + len(lines) - 1] if place + len(lines) > log.place else None
            end = {"type": "terminal", **log.end(last)} if over else None
        place += len(lines)
        for record in [*lines, *([end] if end else ())]:
            yield json.dumps(record, ensure_ascii=False)
        if end:
            return
        await anyio.sleep(PAUSE)

"""Logs: newline-delimited JSON over HTTP, one message a record over a WebSocket, and a terminal record at the end."""

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import anyio

from prisma_mgmt.sandbox.state import Values, World
from prisma_mgmt.sandbox.wire import ApiError, read_cursor, write_cursor

PAUSE = 0.05  # seconds between two looks at a log that is followed
SEGMENT = 600.0  # seconds after which the end of a segment is told, and its reader comes again


@dataclass(frozen=True, slots=True)
class Log:
    """A log to be read from a place on; each of its records names the place after it, by a cursor or its last byte."""

    records: Sequence[Values]  # grows
    place: int
    cursor: str | None  # of that place
    ended: Callable[[], str | None]  # how it ended, None as long as it goes on; asked under the world's lock
    follow: bool = False


def asked_place(query: Values) -> int:
    """The place that the cursor of a query names; the beginning without one."""
    place = read_cursor(query["cursor"]) if "cursor" in query else 0
    if place is None:
        raise ApiError(404, "cursor is not one that this API gave out.")
    return place


async def read(world: World, log: Log, *, follow: bool = False) -> AsyncIterator[str]:
    """The lines of a log; one that is followed goes on until the log ends or the segment has lasted long enough."""
    place, cursor, deadline = log.place, log.cursor, time.monotonic() + SEGMENT
    while True:
        with world.lock:
            ended, records = log.ended(), list(log.records[place:])
        for record in records:
            yield json.dumps(record, ensure_ascii=False)
            cursor = record.get("cursor") or write_cursor(record["byteEnd"])
        place += len(records)
        if ended or not (follow or log.follow) or time.monotonic() > deadline:
            yield json.dumps(_end(ended, cursor))
            return
        await anyio.sleep(PAUSE)


def _end(ended: str | None, cursor: str | None) -> Values:
    code, message = (ended, f"The log has ended: {ended}.") if ended else ("segment-end", "There may be more to come.")
    end = {"kind": "end", "code": code, "message": message, "retryable": not ended}
    return {"type": "terminal", **end, "cursor": cursor}

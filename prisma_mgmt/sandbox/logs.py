"""Logs: newline-delimited JSON over HTTP, one message a record over a WebSocket, and a terminal record at the end."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import anyio

from prisma_mgmt.sandbox.engine import Call, Resource
from prisma_mgmt.sandbox.state import Thing, Values, World
from prisma_mgmt.sandbox.wire import ApiError, read_cursor, write_cursor

PAUSE = 0.05  # seconds between two looks at a log that is followed
SEGMENT = 600.0  # seconds after which the end of a segment is told, and its reader comes again
TAIL = 100
ENDED = {"succeeded", "failed", "cancelled", "stopped"}


@dataclass(frozen=True, slots=True)
class Log:
    """The log of a build or a deployment, to be read from a place on; a cursor names a place."""

    of: Thing
    place: int
    follow: bool

    @property
    def records(self) -> Sequence[Values]:
        found: list[Values] = self.of.hidden["log"]
        return found

    @property
    def ended(self) -> str | None:
        """How it ended; None as long as it goes on."""
        state = self.of.values.get("state") or self.of.values["status"]
        return state if state in ENDED else None


class Logged(Resource):
    """What builds and deployments have in common."""

    def logs(self, call: Call) -> Log:
        query, follow = call.query, call.query.get("follow", False)
        if "cursor" in query:
            place = read_cursor(query["cursor"])
            if place is None:
                raise ApiError(404, "cursor is not one that this API gave out.")
            return Log(call.it, place, follow)
        whole = query.get("from_start") or "tail" not in call.operation.parameters("query")["properties"]
        return Log(call.it, 0 if whole else max(0, len(call.it.hidden["log"]) - query.get("tail", TAIL)), follow)


async def read(world: World, log: Log, *, follow: bool = False) -> AsyncIterator[str]:
    """The lines of a log; one that is followed goes on until the log ends or the segment has lasted long enough."""
    place, deadline = log.place, time.monotonic() + SEGMENT
    while True:
        with world:
            ended, records = log.ended, log.records[place:]
        for record in records:
            yield json.dumps(record, ensure_ascii=False)
        place += len(records)
        if ended or not (follow or log.follow) or time.monotonic() > deadline:
            yield json.dumps(_end(ended, place))
            return
        await anyio.sleep(PAUSE)


def _end(ended: str | None, place: int) -> Values:
    code, message = (ended, f"The log has ended: {ended}.") if ended else ("segment-end", "There may be more to come.")
    end = {"kind": "end", "code": code, "message": message, "retryable": not ended}
    return {"type": "terminal", **end, "cursor": write_cursor(place)}

"""Builds, and the logs that they and deployments keep.

A build is reported by whoever runs it; one that is left alone goes on by itself, until it has succeeded. A log is
newline-delimited JSON over HTTP, one message a record over a WebSocket, with a terminal record at the end.
"""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from prisma_mgmt.sandbox.description import plural
from prisma_mgmt.sandbox.engine import Call, Resource
from prisma_mgmt.sandbox.state import Thing, Values, World, timestamp
from prisma_mgmt.sandbox.wire import ApiError, read_cursor, until_left, write_cursor

ONCE = ("projectId", "branchId", "deployedUrl", "applicationTopologyContentHash")
STEPS = (  # what comes when, in seconds after the report, to a build that is left alone
    (0.0, "pending", "queued", "Queued"),
    (2.0, "running", "build", "Building"),
    (6.0, "running", "deploy", "Deploying"),
    (10.0, "succeeded", "deploy", "Done"),
)
STRENGTH = ("acted_on", "created", "deleted")
KINDS = {"service_key": "service-tokens", "config_variable": "environment-variables"}
PAUSE = 0.05  # seconds between two looks at a log that is followed
TAIL = 100
ENDED = {"succeeded", "failed", "cancelled", "stopped"}


class Log(StreamingResponse):
    """The lines of a log as an answer: over HTTP as they are, over a WebSocket as a message each."""

    media_type = "application/x-ndjson"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await super().__call__(scope, receive, send)
            return
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_left, receive, tasks.cancel_scope.cancel)
            with suppress(WebSocketDisconnect):
                async for line in self.body_iterator:
                    await socket.send_text(str(line).removesuffix("\n"))
                await socket.close()
            tasks.cancel_scope.cancel()


class Logged(Resource):
    """What builds and deployments have in common."""

    def logs(self, call: Call) -> Log:
        query, place = call.query, 0
        if "cursor" in query:
            place = read_cursor(query["cursor"], 404)
        elif "tail" in call.operation.parameters["query"]["properties"] and not query.get("from_start"):
            place = max(0, len(call.it.hidden["log"]) - query.get("tail", TAIL))
        return Log(read(call.world, call.it, place, follow=call.live or query.get("follow", False)))


class Builds(Logged, kind="builds"):
    def create(self, call: Call) -> Thing:
        """Take a report; the same run reported again is the same build."""
        run = call.fields.get("runIdentity")
        known = call.world.first("builds", call.workspace, runIdentity=run) if run is not None else None
        return known or call.create("builds", call.workspace)

    def made(self, call: Call, thing: Thing) -> None:
        thing.hidden.update(log=[], resources={})
        for seconds, state, phase, text in STEPS:
            call.world.plan(thing.made_at + seconds, thing, partial(_enter, thing, state, phase, text))
        call.world.catch_up()

    def changed(self, call: Call, thing: Thing, changes: Values) -> None:
        for key in ONCE:
            if changes.get(key) is not None and thing.values.get(key) not in {None, changes[key]}:
                raise ApiError(409, f"{key} is set already, to {thing.values[key]!r}.")
        state, phase = (changes.pop(key, thing.values[key]) for key in ("state", "phase"))
        if thing.values["state"] in ENDED and state != thing.values["state"]:
            raise ApiError(409, f"The build has {thing.values['state']}.")
        call.world.cancel(thing)  # its reporter drives it from now on
        words = f"{state} in {changes['failingStep']}" if "failingStep" in changes else state
        _enter(thing, state, phase, changes.get("errorMessage", words.capitalize()), call.world.clock())

    def report_resource(self, call: Call) -> None:
        type, id = call.path["resourceType"], call.path["resourceId"]
        call.find(KINDS.get(type, plural(type)), id)
        new = {"resourceType": type, "resourceId": id, "action": call.fields["action"], "createdAt": call.world.now()}
        known = call.it.hidden["resources"].setdefault((type, id), new)
        known["action"] = max(known["action"], new["action"], key=STRENGTH.index)

    def show(self, call: Call, thing: Thing) -> Values:
        """Name the linked repository that the build's run belongs to, and what was reported of it."""
        number = thing.values.get("runIdentity", {}).get("repositoryId")
        linked = call.world.every("source-repositories", thing.parent)
        repository = next((it.id for it in linked if str(it.values["repoId"]) == number), None)
        return {"gitRepoId": repository, "resources": list(thing.hidden["resources"].values())}


def _enter(build: Thing, state: str, phase: str, text: str, at: float) -> None:
    values, log = build.values, build.hidden["log"]
    values.update(state=state, phase=phase)
    if state != "pending":
        values.setdefault("startedAt", timestamp(at))
    if state in ENDED:
        values.setdefault("finishedAt", timestamp(at))
    level = "error" if state == "failed" else "info"
    head = {"type": "log", "level": level, "source": "runner", "step": phase}
    log.append({**head, "text": text, "cursor": write_cursor(len(log) + 1)})


# Logs


async def read(world: World, of: Thing, place: int, *, follow: bool) -> AsyncIterator[str]:
    """The lines of a log; one that is followed goes on until the log ends."""
    while True:
        with world:
            state = of.values.get("state") or of.values["status"]
            ended, records = state if state in ENDED else None, of.hidden["log"][place:]
        for record in records:
            yield json.dumps(record, ensure_ascii=False) + "\n"
        place += len(records)
        if ended or not follow:
            yield json.dumps(_end(ended, place)) + "\n"
            return
        await anyio.sleep(PAUSE)


def _end(ended: str | None, place: int) -> Values:
    code, message = (ended, f"The log has ended: {ended}.") if ended else ("segment-end", "There may be more to come.")
    end = {"kind": "end", "code": code, "message": message, "retryable": not ended}
    return {"type": "terminal", **end, "cursor": write_cursor(place)}

"""Deployments: new, starting, running, stopping, stopped; their code is uploaded to a URL, and they keep a log."""

import secrets
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from prisma_mgmt.sandbox.engine import MOMENT, Call, Resource, answers, resource
from prisma_mgmt.sandbox.logs import Log, asked_place
from prisma_mgmt.sandbox.state import Thing, Values, World, new_id, timestamp
from prisma_mgmt.sandbox.views import Sight
from prisma_mgmt.sandbox.wire import ApiError, missing, read_chunks, write_cursor

BUSY = {"starting", "running", "stopping"}
MAX_ARCHIVE = 512 * 1024 * 1024
TAIL = 100


@resource("deployments")
class Deployments(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        service, reuses = thing.holder, thing.values.pop("skipCodeUpload", False)
        promoted = service.hidden["promoted"]
        if service.values["branchId"] is None:
            raise call.refuse("The service is on no branch.")
        if reuses and promoted is None:
            raise call.refuse("Nothing is promoted whose code could be reused.", hint="Leave skipCodeUpload out.")
        variables = call.world.inside(service.above("projects"), "environment-variables")
        branch = service.values["branchId"]
        names = sorted(it.values["key"] for it in variables if it.values["branchId"] in {None, branch})
        thing.values.update(foundryVersionId=new_id("ver"), envVars=dict.fromkeys(names, "[redacted]"))
        thing.hidden.update(code=reuses, signature=None if reuses else secrets.token_urlsafe(24), state="new", log=[])
        _log(thing, thing.made_at, "Created")

    def leaving(self, call: Call, thing: Thing, asked: bool) -> None:
        if state(thing) in BUSY:
            raise ApiError(409, f"{thing.id} is {state(thing)}.", hint="Stop it and wait until it has stopped.")

    def gone(self, call: Call, thing: Thing) -> None:
        if thing.holder.hidden["promoted"] is thing:
            thing.holder.hidden["promoted"] = None

    def settle(self, world: World, thing: Thing) -> None:
        if thing.hidden["state"] in {"starting", "stopping"} and world.clock() >= thing.hidden["done_at"]:
            running = thing.hidden["state"] == "starting"
            thing.hidden["state"] = "running" if running else "stopped"
            _log(thing, thing.hidden["done_at"], "Running, and listening for requests" if running else "Stopped")

    def show(self, sight: Sight, thing: Thing) -> Values:
        signature = thing.hidden["signature"] if sight.secrets else None
        return {
            "status": state(thing),
            "previewDomain": preview(thing) if state(thing) in BUSY else None,
            "uploadUrl": signature and f"{sight.base}/uploads/{thing.id}?signature={signature}",
        }


def state(deployment: Thing) -> str:
    return str(deployment.hidden["state"])


def preview(deployment: Thing) -> str:
    return f"{deployment.id.removeprefix('dep_')}.preview.prisma-sandbox.invalid"


def start(world: World, deployment: Thing, *, at_once: bool = False) -> None:
    now = world.clock()
    deployment.hidden.update(state="starting", done_at=now if at_once else now + MOMENT)
    _log(deployment, now, "Starting")
    Deployments().settle(world, deployment)


@answers("management:deployments.start")
def begin(call: Call) -> Values:
    if state(call.it) in BUSY:
        raise ApiError(409, f"The deployment is {state(call.it)} already.")
    if not call.it.hidden["code"]:
        raise ApiError(409, "The deployment has no code.", hint="Upload its archive to the uploadUrl it came with.")
    start(call.world, call.it)
    return {"previewDomain": preview(call.it)}


@answers("management:deployments.stop")
def stop(call: Call) -> None:
    if state(call.it) not in {"starting", "running"}:
        raise ApiError(409, f"The deployment is {state(call.it)}.")
    now = call.world.clock()
    call.it.hidden.update(state="stopping", done_at=now + MOMENT)
    _log(call.it, now, "Stopping")


async def upload(world: World, request: Request, deployment_id: str) -> Response:
    """Take a deployment's archive; who has the signed URL needs no token. Only its size is kept."""
    with world.lock:
        deployment = world.things("deployments").get(deployment_id)
        signature = parse_qs(request.url.query).get("signature", [""])[0]
        if deployment is None or deployment.hidden["signature"] is None:
            raise missing(deployment_id)
        if not secrets.compare_digest(signature.encode(), deployment.hidden["signature"].encode()):
            raise ApiError(403, "The signature is missing or wrong.")
        if state(deployment) != "new":
            raise ApiError(409, f"The deployment is {state(deployment)}.")
    size = await read_chunks(request, MAX_ARCHIVE, len)
    if not size:
        raise ApiError(400, "The archive is empty.")
    with world.lock:
        deployment.hidden["code"] = True
        _log(deployment, world.clock(), f"Code uploaded: {size} bytes")
    return Response()


# The log


def _log(deployment: Thing, at: float, text: str) -> None:
    records, line = deployment.hidden["log"], f"{timestamp(at)} {text}\n"
    start = records[-1]["byteEnd"] if records else 0
    end = start + len(line.encode())
    records.append({"type": "log", "text": line, "byteStart": start, "byteEnd": end})


@answers("management:deployments.logs")
def logs(call: Call) -> Log:
    deployment, query = call.it, call.query
    records: list[Values] = deployment.hidden["log"]
    first, place = len(records) - query.get("tail", TAIL), asked_place(query)
    if "cursor" in query or query.get("from_start"):
        first = sum(one["byteEnd"] <= place for one in records)

    def ended() -> str | None:
        Deployments().settle(call.world, deployment)
        gone = deployment.id not in call.world.things("deployments")
        return "stopped" if gone or state(deployment) == "stopped" else None

    return Log(records, max(first, 0), write_cursor(place), ended)

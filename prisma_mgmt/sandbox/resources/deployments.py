"""Deployments: new, starting, running, stopping, stopped; their code is uploaded to a URL, and they keep a log."""

import secrets
from typing import ClassVar

from starlette.requests import Request
from starlette.responses import Response

from prisma_mgmt.sandbox.engine import MOMENT, Call, Resource, answers, resource
from prisma_mgmt.sandbox.state import Thing, Values, World, new_id, timestamp
from prisma_mgmt.sandbox.views import Sight
from prisma_mgmt.sandbox.wire import ApiError, missing, read_chunks

BUSY = {"starting", "running", "stopping"}
MAX_ARCHIVE = 512 * 1024 * 1024
TOLD = {"running": "Running, and listening for requests"}  # in the log; other states as they are called


@resource("deployments")
class Deployments(Resource):
    defaults: ClassVar[Values] = {"skipCodeUpload": False, "status": "new"}
    told_once = frozenset({"uploadUrl"})

    def prepare(self, call: Call, thing: Thing) -> None:
        service = thing.holder
        if service.values["branchId"] is None:
            raise call.refuse("The service is on no branch.")
        if thing.values["skipCodeUpload"] and service.hidden["promoted"] is None:
            raise call.refuse("Nothing is promoted whose code could be reused.", hint="Leave skipCodeUpload out.")

    def made(self, call: Call, thing: Thing) -> None:
        variables = call.world.inside(thing.above("projects"), "environment-variables")
        branch, reuses = thing.holder.values["branchId"], thing.values["skipCodeUpload"]
        names = sorted(it.values["key"] for it in variables if it.values["branchId"] in {None, branch})
        signature = None if reuses else secrets.token_urlsafe(24)
        url = signature and f"{call.base}/uploads/{thing.id}?signature={signature}"
        thing.values.update(foundryVersionId=new_id("ver"), envVars=dict.fromkeys(names, "[redacted]"), uploadUrl=url)
        thing.hidden.update(code=reuses, signature=signature, log=[])
        _log(thing, thing.made_at, "Created")

    def leaving(self, call: Call, thing: Thing, asked: bool) -> None:
        if status(thing) in BUSY:
            raise ApiError(409, f"{thing.id} is {status(thing)}.", hint="Stop it and wait until it has stopped.")

    def gone(self, call: Call, thing: Thing) -> None:
        thing.values["status"] = "stopped"  # for whoever still follows its log
        if thing.holder.hidden["promoted"] is thing:
            thing.holder.hidden["promoted"] = None

    def show(self, sight: Sight, thing: Thing) -> Values:
        return {"previewDomain": preview(thing) if status(thing) in BUSY else None}


def status(deployment: Thing) -> str:
    return str(deployment.values["status"])


def preview(deployment: Thing) -> str:
    return f"{deployment.id.removeprefix('dep_')}.preview.prisma-sandbox.invalid"


def enter(deployment: Thing, status: str, at: float) -> None:
    deployment.values["status"] = status
    _log(deployment, at, TOLD.get(status, status.capitalize()))


def _move(world: World, deployment: Thing, first: str, then: str) -> None:
    """Enter a state, and another one after a moment."""
    enter(deployment, first, world.clock())
    world.plan(world.clock() + MOMENT, deployment, lambda at: enter(deployment, then, at))


@answers("management:deployments.start")
def start(call: Call) -> Values:
    if status(call.it) in BUSY:
        raise ApiError(409, f"The deployment is {status(call.it)} already.")
    if not call.it.hidden["code"]:
        raise ApiError(409, "The deployment has no code.", hint="Upload its archive to the uploadUrl it came with.")
    _move(call.world, call.it, "starting", "running")
    return {"previewDomain": preview(call.it)}


@answers("management:deployments.stop")
def stop(call: Call) -> None:
    if status(call.it) not in {"starting", "running"}:
        raise ApiError(409, f"The deployment is {status(call.it)}.")
    call.world.cancel(call.it)
    _move(call.world, call.it, "stopping", "stopped")


async def upload(world: World, request: Request, deployment_id: str) -> Response:
    """Take a deployment's archive; who has the signed URL needs no token. Only its size is kept."""
    with world:
        deployment = world.things("deployments").get(deployment_id)
        if deployment is None or deployment.hidden["signature"] is None:
            raise missing(deployment_id)
        signature = request.query_params.get("signature", "")
        if not secrets.compare_digest(signature.encode(), deployment.hidden["signature"].encode()):
            raise ApiError(403, "The signature is missing or wrong.")
        if status(deployment) != "new":
            raise ApiError(409, f"The deployment is {status(deployment)}.")
    size = await read_chunks(request, MAX_ARCHIVE, len)
    if not size:
        raise ApiError(400, "The archive is empty.")
    with world:
        deployment.hidden["code"] = True
        _log(deployment, world.clock(), f"Code uploaded: {size} bytes")
    return Response()


def _log(deployment: Thing, at: float, text: str) -> None:
    records, line = deployment.hidden["log"], f"{timestamp(at)} {text}\n"
    start = records[-1]["byteEnd"] if records else 0
    records.append({"type": "log", "text": line, "byteStart": start, "byteEnd": start + len(line.encode())})

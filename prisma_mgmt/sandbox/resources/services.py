"""Services, their deployments and their domains.

A deployment is new, starting, running, stopping, stopped; its code is uploaded to a URL, and it keeps a log. A domain
is pending until its records were asked for once, verified from then on, and active within a moment. A host name under
`.invalid` never gets that far: its check fails.
"""

import re
import secrets
from typing import ClassVar

from starlette.requests import Request
from starlette.responses import Response

from prisma_mgmt.sandbox.engine import MOMENT, Call, Resource, demand
from prisma_mgmt.sandbox.resources.account import DEFAULT_REGION
from prisma_mgmt.sandbox.resources.builds import Logged
from prisma_mgmt.sandbox.resources.projects import Placed
from prisma_mgmt.sandbox.state import Thing, Values, World, new_id, timestamp
from prisma_mgmt.sandbox.wire import ApiError, missing, need, read_chunks

BUSY = {"starting", "running", "stopping"}
MAX_ARCHIVE = 512 * 1024 * 1024
TOLD = {"running": "Running, and listening for requests"}  # in the log; other states as they are called
QUOTA = 3
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOSTNAME = re.compile(rf"({LABEL}\.)+(?![0-9]+\Z){LABEL}", re.ASCII)  # an address is none
CERTIFICATE = 90 * 86_400  # seconds


class Services(Placed, kind="services"):
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("name", "branchId"), *Placed.unique)

    def prepare(self, call: Call, thing: Thing) -> None:
        super().prepare(call, thing)
        region = thing.values.setdefault("region", thing.holder.values.get("region", DEFAULT_REGION))
        thing.values["appEndpointDomain"] = f"{thing.id.removeprefix('app_')}.{region}.prisma-sandbox.invalid"
        thing.hidden["promoted"] = None

    def conflict(self, call: Call, other: Thing, key: str) -> ApiError:
        branch = call.world.things("branches").get(other.values["branchId"])
        names = {"name": other.name, "logicalId": other.values.get("logicalId")}
        names["branchGitName"] = "" if branch is None else branch.values["gitName"]
        told = f"The branch has a service with that {key}: {other.id}."
        return ApiError(409, told, "app:already_exists", existingAppId=other.id, conflict=key, **names)

    def show(self, call: Call, thing: Thing) -> Values:
        deployments = call.world.every("deployments", thing)
        return {"latestDeploymentId": deployments[-1].id if deployments else None}

    def promote(self, call: Call) -> Values:
        """Put a deployment in service; a rollback starts it first if it has been stopped."""
        service, fields, now = call.it, call.fields, call.world.clock()
        wanted = {fields[key] for key in ("deploymentId", "versionId") if key in fields}
        need(wanted, call.refuse("deploymentId is required."))
        inside = call.world.every("deployments", service)
        meant = next((it for it in inside if wanted & {it.id, it.values["foundryVersionId"]}), None)
        found = need(meant, missing(" or ".join(sorted(wanted))))
        if call.operation.template.endswith("rollback") and found.values["status"] in {"new", "stopped"}:
            need(found.hidden["code"], ApiError(404, f"The code of {found.id} is gone."))
            for each in ("starting", "running"):
                enter(found, each, now)
        demand(found, "running", hint="Start it and wait until it runs.")
        service.hidden["promoted"] = found
        moved = len(call.world.every("domains", service))
        return {"appEndpointDomain": service.values["appEndpointDomain"], "reassignedDomains": moved}

    rollback = promote

    def create_domain(self, call: Call) -> Thing:
        service, hostname = call.it, call.fields["hostname"].lower().rstrip(".")
        sound = len(hostname) <= 253 and HOSTNAME.fullmatch(hostname)
        need(sound, ApiError(400, "hostname is not the name of a host."))
        taken = call.world.first("domains", hostname=hostname)
        if taken is not None and taken.parent is service:
            call.status = 200
            return taken
        need(taken is None, ApiError(409, f"{hostname} is taken by another service."))
        need(service.hidden["promoted"], call.refuse("Nothing is promoted yet.", hint="Promote a deployment first."))
        if len(call.world.every("domains", service)) >= QUOTA:
            raise ApiError(429, f"A service has {QUOTA} domains at most.", code="customDomainQuotaReached")
        return call.create("domains", service, {"hostname": hostname})


# Deployments


class Deployments(Logged, kind="deployments"):
    defaults: ClassVar[Values] = {"status": "new"}

    def prepare(self, call: Call, thing: Thing) -> None:
        service, reuses = thing.holder, thing.values.get("skipCodeUpload", False)
        need(service.values["branchId"], call.refuse("The service is on no branch."))
        if reuses and service.hidden["promoted"] is None:
            raise call.refuse("Nothing is promoted whose code could be reused.", hint="Leave skipCodeUpload out.")
        variables = call.world.every("environment-variables", thing.up("projects"))
        seen = (it for it in variables if it.values.get("branchId") in {None, service.values["branchId"]})
        names = sorted(it.values["key"] for it in seen)
        signature = secrets.token_urlsafe(24)
        url = None if reuses else f"{call.base}/uploads/{thing.id}?signature={signature}"
        thing.values.update(foundryVersionId=new_id("ver"), envVars=dict.fromkeys(names, "[redacted]"), uploadUrl=url)
        thing.hidden.update(code=reuses, signature=signature, log=[])
        _log(thing, thing.made_at, "Created")

    def start(self, call: Call) -> Thing:
        demand(call.it, "new", "stopped")
        hint = "Upload its archive to the uploadUrl it came with."
        need(call.it.hidden["code"], ApiError(409, "The deployment has no code.", hint=hint))
        _move(call.world, call.it, "starting", "running")
        return call.it

    def stop(self, call: Call) -> None:
        demand(call.it, "starting", "running")
        call.world.cancel(call.it)
        _move(call.world, call.it, "stopping", "stopped")

    def leaving(self, call: Call, thing: Thing, asked: bool) -> None:
        demand(thing, "new", "stopped", hint="Stop it and wait until it has stopped.")

    def gone(self, call: Call, thing: Thing) -> None:
        thing.values["status"] = "stopped"  # for whoever still follows its log
        if thing.holder.hidden["promoted"] is thing:
            thing.holder.hidden["promoted"] = None


def enter(deployment: Thing, status: str, at: float) -> None:
    domain = f"{deployment.id.removeprefix('dep_')}.preview.prisma-sandbox.invalid"
    deployment.values.update(status=status, previewDomain=domain if status in BUSY else None)
    _log(deployment, at, TOLD.get(status, status.capitalize()))


def _move(world: World, deployment: Thing, first: str, then: str) -> None:
    """Enter a state, and another one after a moment."""
    enter(deployment, first, world.clock())
    world.plan(world.clock() + MOMENT, deployment, lambda at: enter(deployment, then, at))


async def upload(world: World, request: Request) -> Response:
    """Take a deployment's archive; who has the signed URL needs no token. Only its size is kept."""
    with world:
        id = request.path_params["deploymentId"]
        deployment = need(world.things("deployments").get(id), missing(id))
        signed = request.query_params.get("signature") == deployment.hidden["signature"]
        need(signed, ApiError(403, "The signature is missing or wrong."))
        demand(deployment, "new")
    size = sum([len(chunk) async for chunk in read_chunks(request, MAX_ARCHIVE)])
    need(size, ApiError(400, "The archive is empty."))
    with world:
        deployment.hidden["code"] = True
        _log(deployment, world.clock(), f"Code uploaded: {size} bytes")
    return Response()


def _log(deployment: Thing, at: float, text: str) -> None:
    records, line = deployment.hidden["log"], f"{timestamp(at)} {text}\n"
    start = records[-1]["byteEnd"] if records else 0
    records.append({"type": "log", "text": line, "byteStart": start, "byteEnd": start + len(line.encode())})


# Domains


class Domains(Resource, kind="domains"):
    def made(self, call: Call, thing: Thing) -> None:
        service = thing.holder
        target = f"{service.values['region']}.cname.prisma-sandbox.invalid"
        record = {"type": "CNAME", "name": thing.values["hostname"], "value": target, "ttl": 300}
        thing.values.update(computeServiceId=service.id, dnsRecords=[record], status="pending_dns")

    def show(self, call: Call, thing: Thing) -> Values:
        """Tell of a domain with its records; when it is first asked for, it still is pending in the answer."""
        status = thing.values["status"]
        if status == "pending_dns" and call.operation.method == "GET":
            call.world.plan(call.world.clock(), thing, lambda at: _verify(call.world, thing, at))
        return {"foundryStatus": status}

    def retry(self, call: Call) -> Thing:
        demand(call.it, "failed", "pending_dns")
        call.world.cancel(call.it)
        _verify(call.world, call.it, call.world.clock())
        return call.it


def _verify(world: World, domain: Thing, at: float) -> None:
    values = domain.values
    if values["hostname"].endswith(".invalid"):
        values.update(status="failed", failureReason="The CNAME record was not found.", failureCategory="dns")
        return
    values["status"] = "provisioning_tls"
    expires_at = timestamp(at + CERTIFICATE)
    world.plan(at + MOMENT, domain, lambda _: values.update(status="active", certExpiresAt=expires_at))

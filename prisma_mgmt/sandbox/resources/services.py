"""Services: which deployment is in service, and under which name."""

from prisma_mgmt.sandbox.engine import Call, answers, resource
from prisma_mgmt.sandbox.resources.account import DEFAULT_REGION, region
from prisma_mgmt.sandbox.resources.branches import Placed
from prisma_mgmt.sandbox.resources.deployments import enter, status
from prisma_mgmt.sandbox.state import Thing, Values
from prisma_mgmt.sandbox.views import Sight
from prisma_mgmt.sandbox.wire import ApiError, missing


@resource("services")
class Services(Placed):
    unique = (("name", "branchId"), *Placed.unique)

    def prepare(self, call: Call, thing: Thing) -> None:
        super().prepare(call, thing)
        thing.values.setdefault("region", thing.above("projects").values["region"] or DEFAULT_REGION)
        thing.hidden["promoted"] = None

    def conflict(self, call: Call, other: Thing, key: str) -> ApiError:
        branch = call.world.things("branches").get(other.values["branchId"])
        names = {"name": other.name, "logicalId": other.values["logicalId"]}
        names["branchGitName"] = "" if branch is None else branch.values["gitName"]
        told = f"The branch has a service with that {key}: {other.id}."
        return ApiError(409, told, "app:already_exists", existingAppId=other.id, conflict=key, **names)

    def show(self, sight: Sight, thing: Thing) -> Values:
        deployments = sight.world.inside(thing, "deployments")
        return {
            "region": region(thing.values["region"]),
            "latestDeploymentId": deployments[-1].id if deployments else None,
            "appEndpointDomain": endpoint(thing),
        }


def endpoint(service: Thing) -> str:
    return f"{service.id.removeprefix('app_')}.{service.values['region']}.prisma-sandbox.invalid"


@answers("management:services.promote", "management:services.rollback")
def promote(call: Call) -> Values:
    """Put a deployment in service; a rollback starts it first if it has been stopped."""
    service, fields, now = call.it, call.fields, call.world.clock()
    wanted = {fields[key] for key in ("deploymentId", "versionId") if key in fields}
    if not wanted:
        raise call.refuse("deploymentId is required.")
    inside = call.every("deployments", service)
    found = next((it for it in inside if wanted & {it.id, it.values["foundryVersionId"]}), None)
    if found is None:
        raise missing(wanted.pop())
    if call.operation.template.endswith("rollback") and status(found) in {"new", "stopped"}:
        if not found.hidden["code"]:
            raise ApiError(404, f"The code of {found.id} is gone.")
        for each in ("starting", "running"):
            enter(found, each, now)
    if status(found) != "running":
        raise ApiError(409, f"{found.id} is {status(found)}, not running.", hint="Start it and wait until it runs.")
    service.hidden["promoted"] = found
    return {"appEndpointDomain": endpoint(service), "reassignedDomains": len(call.every("domains", service))}

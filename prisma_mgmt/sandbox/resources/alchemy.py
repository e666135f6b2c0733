"""The state that Alchemy keeps of a branch: read and written under a lease on a stage, held, lost or expired."""

from typing import Any, ClassVar
from urllib.parse import unquote

from prisma_mgmt.sandbox.engine import Call, Resource, answers
from prisma_mgmt.sandbox.schema import is_object
from prisma_mgmt.sandbox.state import Thing, Values, timestamp
from prisma_mgmt.sandbox.wire import ApiError

LIFETIME, SHORTEST, LONGEST = 60, 30, 300  # seconds
REPLACED = {"replaced", "replacing"}
HEADER = "alchemy-state-lease-id"


class Leases(Resource, kind="lease"):
    """The leases on the stages of a branch; one that has expired is gone."""

    defaults: ClassVar[Values] = {"ttlSeconds": LIFETIME, "holderDescription": "someone who gave no description"}
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("stage", "stack"),)

    def prepare(self, call: Call, thing: Thing) -> None:
        _extend(call, thing, thing.values["ttlSeconds"])
        thing.values["leaseId"] = thing.id

    def conflict(self, call: Call, other: Thing, key: str) -> ApiError:
        it = other.values
        told = f"{it['holderDescription']} holds the lease on {it['stack']}/{it['stage']} until {it['expiresAt']}."
        return ApiError(409, told)


def _extend(call: Call, lease: Thing, seconds: int) -> None:
    """Let a lease live for some time from now on."""
    if not SHORTEST <= seconds <= LONGEST:
        raise call.refuse(f"ttlSeconds must be from {SHORTEST} to {LONGEST}.")
    end = call.world.clock() + seconds
    lease.values["expiresAt"] = timestamp(end)
    call.world.cancel(lease)
    call.world.plan(end, lease, lambda _: call.world.remove(lease))


def _held(call: Call, status: int = 409, /, **on: str) -> Thing:
    """The lease of this request, which is refused if it has none on this stack or stage."""
    lease = call.world.first("lease", call.it, leaseId=call.headers.get(HEADER), **on)
    if lease is None:
        where = "/".join(on.values()) or "any stage"
        raise ApiError(status, f"{HEADER} is no live lease on {where}.", hint="Acquire the lease first.")
    return lease


@answers("management:state.renew_lease")
def renew(call: Call) -> Thing:
    lease = _held(call, 404)
    _extend(call, lease, call.fields.get("ttlSeconds", LIFETIME))
    return lease


@answers("management:state.release_lease")
def release(call: Call) -> None:
    call.world.remove(_held(call, 404))


@answers("management:state.version")
def version(_call: Call) -> Values:
    return {"version": 1}


@answers("management:state.list_stacks")
def list_stacks(call: Call) -> list[str]:
    return sorted({it.values["stack"] for it in call.world.every("stages", call.it)})


@answers("management:state.delete_stack")
def delete_stack(call: Call) -> None:
    stack, stage = call.path["stack"], {key: value for key, value in call.query.items() if key == "stage"}
    lease = _held(call, stack=stack, **stage)
    others = [it for it in call.world.every("lease", call.it, stack=stack) if it is not lease]
    if not stage and others:
        raise ApiError(409, f"Another stage has a live lease: {others[0].values['stage']}.")
    for it in call.world.every("stages", call.it, stack=stack, **stage):
        call.world.remove(it)


@answers("management:state.list_stages")
def list_stages(call: Call) -> list[str]:
    stack = call.path["stack"]
    _held(call, stack=stack)
    return sorted(it.values["stage"] for it in call.world.every("stages", call.it, stack=stack))


# What is stored of the stage that the path names, for the holder of its lease alone


def _stage(call: Call, *, write: bool = False) -> Values:
    where = {key: call.path[key] for key in ("stack", "stage")}
    _held(call, **where)
    nothing = call.world.new("stages", call.it, {**where, "resources": {}, "output": None})
    known = call.world.first("stages", call.it, **where) or (call.world.put(nothing) if write else nothing)
    return known.values


def _slot(call: Call, *, write: bool = False) -> tuple[Values, str]:
    """Where the resource or the output is that the path names; a resource's name is quoted twice on the wire."""
    stage = _stage(call, write=write)
    return (stage["resources"], unquote(call.path["fqn"])) if "fqn" in call.path else (stage, "output")


@answers("management:state.get_resource", "management:state.get_output")
def get(call: Call) -> Any:
    values, key = _slot(call)
    return values.get(key)


@answers("management:state.set_resource", "management:state.set_output")
def put(call: Call) -> Any:
    values, key = _slot(call, write=True)
    values[key] = call.body
    return call.body


@answers("management:state.delete_resource")
def delete(call: Call) -> None:
    values, key = _slot(call)
    values.pop(key, None)


@answers("management:state.list_resources")
def list_resources(call: Call) -> list[str]:
    return sorted(_stage(call)["resources"])


@answers("management:state.list_replaced_resources")
def list_replaced_resources(call: Call) -> list[Any]:
    states = (state for _, state in sorted(_stage(call)["resources"].items()))
    return [state for state in states if is_object(state) and state.get("status") in REPLACED]

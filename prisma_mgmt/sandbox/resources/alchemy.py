"""The state that Alchemy keeps of a branch: read and written under a lease on a stage, held, lost or expired."""

from typing import Any, ClassVar
from urllib.parse import unquote

from prisma_mgmt.sandbox.description import is_object
from prisma_mgmt.sandbox.engine import Call, Resource
from prisma_mgmt.sandbox.state import Thing, Values, timestamp
from prisma_mgmt.sandbox.wire import ApiError, need

LIFETIME, SHORTEST, LONGEST = 60, 30, 300  # seconds
HEADER = "alchemy-state-lease-id"


class State(Resource, kind="lease", word="state"):
    """The leases on the stages of a branch, one that has expired is gone; and what is stored for their holders."""

    defaults: ClassVar[Values] = {"ttlSeconds": LIFETIME, "holderDescription": "someone who gave no description"}
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("stage", "stack"),)

    def prepare(self, call: Call, thing: Thing) -> None:
        _extend(call, thing, thing.values["ttlSeconds"])
        thing.values["leaseId"] = thing.id

    def conflict(self, call: Call, other: Thing, key: str) -> ApiError:
        it = other.values
        told = f"{it['holderDescription']} holds the lease on {it['stack']}/{it['stage']} until {it['expiresAt']}."
        return ApiError(409, told)

    def renew_lease(self, call: Call) -> Thing:
        lease = _held(call, 404)
        _extend(call, lease, call.fields.get("ttlSeconds", LIFETIME))
        return lease

    def release_lease(self, call: Call) -> None:
        call.world.remove(_held(call, 404))

    def version(self, call: Call) -> Values:
        return {"version": 1}

    def list_stacks(self, call: Call) -> list[str]:
        return sorted({it.values["stack"] for it in call.world.every("states", call.it)})

    def delete_stack(self, call: Call) -> None:
        stack, stage = call.path["stack"], {key: value for key, value in call.query.items() if key == "stage"}
        lease = _held(call, stack=stack, **stage)
        others = [it for it in call.world.every("lease", call.it, stack=stack) if it is not lease]
        if not stage and others:
            raise ApiError(409, f"Another stage has a live lease: {others[0].values['stage']}.")
        for it in call.world.every("states", call.it, stack=stack, **stage):
            call.world.remove(it)

    def list_stages(self, call: Call) -> list[str]:
        stack = call.path["stack"]
        _held(call, stack=stack)
        return sorted({it.values["stage"] for it in call.world.every("states", call.it, stack=stack)})

    def list_resources(self, call: Call) -> list[str]:
        return list(_resources(call))

    def list_replaced_resources(self, call: Call) -> list[Any]:
        states = _resources(call).values()
        return [state for state in states if is_object(state) and state.get("status") in {"replaced", "replacing"}]

    def get_resource(self, call: Call) -> Any:
        known = call.world.first("states", call.it, **_entry(call))
        return known and known.values["state"]

    def set_resource(self, call: Call) -> Any:
        call.world.ensure("states", call.it, _entry(call)).values["state"] = call.body
        return call.body

    def delete_resource(self, call: Call) -> None:
        for it in call.world.every("states", call.it, **_entry(call)):
            call.world.remove(it)

    get_output = get_resource
    set_output = set_resource


def _extend(call: Call, lease: Thing, seconds: int) -> None:
    """Let a lease live for some time from now on."""
    need(SHORTEST <= seconds <= LONGEST, call.refuse(f"ttlSeconds must be from {SHORTEST} to {LONGEST}."))
    end = call.world.clock() + seconds
    lease.values["expiresAt"] = timestamp(end)
    call.world.cancel(lease)
    call.world.plan(end, lease, lambda _: call.world.remove(lease))


def _held(call: Call, status: int = 409, /, **on: str) -> Thing:
    """The lease of this request, which is refused if it has none on this stack or stage."""
    lease, where = call.world.first("lease", call.it, leaseId=call.headers.get(HEADER), **on), "/".join(on.values())
    told = f"{HEADER} is no live lease on {where or 'any stage'}."
    return need(lease, ApiError(status, told, hint="Acquire the lease first."))


def _stage(call: Call) -> Values:
    """The stage that the path names, for the holder of its lease alone."""
    where = {key: call.path[key] for key in ("stack", "stage")}
    _held(call, **where)
    return where


def _entry(call: Call) -> Values:
    """The resource that the path names, or the output, which has no name; a name is quoted twice on the wire."""
    return {**_stage(call), "fqn": unquote(call.path["fqn"]) if "fqn" in call.path else None}


def _resources(call: Call) -> Values:
    """The states of the resources of a stage, by name."""
    found = (it.values for it in call.world.every("states", call.it, **_stage(call)))
    return dict(sorted((it["fqn"], it["state"]) for it in found if it["fqn"] is not None))

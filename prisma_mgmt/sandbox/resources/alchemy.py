"""The state that Alchemy keeps of a branch: read and written under a lease on a stage, held, lost or expired."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from prisma_mgmt.sandbox.engine import Call, answers
from prisma_mgmt.sandbox.schema import is_object
from prisma_mgmt.sandbox.state import Values, timestamp
from prisma_mgmt.sandbox.views import MISSING
from prisma_mgmt.sandbox.wire import ApiError

LIFETIME, SHORTEST, LONGEST = 60, 30, 300  # seconds
REPLACED = {"replaced", "replacing"}
HEADER = "alchemy-state-lease-id"
Stage = tuple[str, str]


@dataclass(slots=True)
class Lease:
    id: str
    holder: str
    expires_at: float


def _state(call: Call) -> dict[Stage, Values]:
    """What is stored, by stack and stage."""
    found: dict[Stage, Values] = call.it.hidden.setdefault("state", {})
    return found


def _live(call: Call) -> dict[Stage, Lease]:
    leases: dict[Stage, Lease] = call.it.hidden.setdefault("leases", {})
    for stage in [stage for stage, lease in leases.items() if lease.expires_at <= call.world.clock()]:
        del leases[stage]
    return leases


def _held(call: Call) -> Iterator[Stage]:
    """The stage whose lease this request holds, if it holds one."""
    return (stage for stage, lease in _live(call).items() if lease.id == call.headers.get(HEADER))


def _stage(call: Call, *, write: bool = False) -> Values:
    """What is stored of the stage that the path names, for the holder of its lease alone."""
    stage = call.path["stack"], call.path["stage"]
    if stage not in _held(call):
        raise ApiError(409, f"{HEADER} is no live lease on {stage[0]}/{stage[1]}.", hint="Acquire the lease first.")
    nothing: Values = {"resources": {}, "output": None}
    return _state(call).setdefault(stage, nothing) if write else _state(call).get(stage, nothing)


def _lifetime(call: Call) -> int:
    seconds: int = call.fields.get("ttlSeconds", LIFETIME)
    if not SHORTEST <= seconds <= LONGEST:
        raise call.refuse(f"ttlSeconds must be from {SHORTEST} to {LONGEST}.")
    return seconds


def _lease(lease: Lease) -> Values:
    return {"leaseId": lease.id, "expiresAt": timestamp(lease.expires_at)}


@answers("management:state.version")
def version(_call: Call) -> Values:
    return {"version": 1}


@answers("management:state.acquire_lease")
def acquire(call: Call) -> Values:
    fields, lifetime = call.fields, _lifetime(call)
    leases, stage = _live(call), (fields["stack"], fields["stage"])
    if stage in leases:
        until = timestamp(leases[stage].expires_at)
        raise ApiError(409, f"{leases[stage].holder} holds the lease on {stage[0]}/{stage[1]} until {until}.")
    holder = fields.get("holderDescription", "someone who gave no description")
    leases[stage] = Lease(secrets.token_urlsafe(18), holder, call.world.clock() + lifetime)
    return _lease(leases[stage])


def _own(call: Call) -> Stage:
    stage = next(_held(call), None)
    if stage is None:
        raise ApiError(404, "The lease is missing, replaced or expired.")
    return stage


@answers("management:state.renew_lease")
def renew(call: Call) -> Values:
    lease = _live(call)[_own(call)]
    lease.expires_at = call.world.clock() + _lifetime(call)
    return _lease(lease)


@answers("management:state.release_lease")
def release(call: Call) -> None:
    del _live(call)[_own(call)]


@answers("management:state.list_stacks")
def list_stacks(call: Call) -> list[str]:
    return sorted({stack for stack, _ in _state(call)})


@answers("management:state.delete_stack")
def delete_stack(call: Call) -> None:
    stack, only = call.path["stack"], call.query.get("stage")
    held = {stage for name, stage in _held(call) if name == stack}
    others = {stage for name, stage in _live(call) if name == stack} - held
    if not held or (only is not None and only not in held):
        raise ApiError(409, f"{HEADER} is no live lease on what is to be deleted.")
    if only is None and others:
        raise ApiError(409, f"Another stage has a live lease: {min(others)}.")
    for stage in [one for one in _state(call) if one[0] == stack and only in {None, one[1]}]:
        del _state(call)[stage]


@answers("management:state.list_stages")
def list_stages(call: Call) -> list[str]:
    stack = call.path["stack"]
    if stack not in {name for name, _ in _held(call)}:
        raise ApiError(409, f"{HEADER} is no live lease on a stage of {stack}.")
    return sorted(stage for name, stage in _state(call) if name == stack)


def _fqn(call: Call) -> str:
    return unquote(call.path["fqn"])  # it is quoted twice on the wire


def _value(call: Call) -> Any:
    return None if call.body is MISSING else call.body


@answers("management:state.list_resources")
def list_resources(call: Call) -> list[str]:
    return sorted(_stage(call)["resources"])


@answers("management:state.list_replaced_resources")
def list_replaced_resources(call: Call) -> list[Any]:
    states = (state for _, state in sorted(_stage(call)["resources"].items()))
    return [state for state in states if is_object(state) and state.get("status") in REPLACED]


@answers("management:state.get_resource")
def get_resource(call: Call) -> Any:
    return _stage(call)["resources"].get(_fqn(call))


@answers("management:state.set_resource")
def set_resource(call: Call) -> Any:
    _stage(call, write=True)["resources"][_fqn(call)] = _value(call)
    return _value(call)


@answers("management:state.delete_resource")
def delete_resource(call: Call) -> None:
    _stage(call)["resources"].pop(_fqn(call), None)


@answers("management:state.get_output")
def get_output(call: Call) -> Any:
    return _stage(call)["output"]


@answers("management:state.set_output")
def set_output(call: Call) -> Any:
    _stage(call, write=True)["output"] = _value(call)
    return _value(call)

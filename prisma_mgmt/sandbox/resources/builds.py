"""Builds: reported by whoever runs them; one that is left alone goes on by itself, until it has succeeded."""

from functools import partial

from prisma_mgmt.sandbox.description import plural
from prisma_mgmt.sandbox.engine import Call, Resource, answers
from prisma_mgmt.sandbox.logs import ENDED
from prisma_mgmt.sandbox.state import Thing, Values, World, timestamp
from prisma_mgmt.sandbox.views import Sight
from prisma_mgmt.sandbox.wire import ApiError, write_cursor

ONCE = ("projectId", "branchId", "deployedUrl", "applicationTopologyContentHash")
STEPS = (  # what comes when, in seconds after the report, to a build that is left alone
    (0.0, "pending", "queued", "Queued"),
    (2.0, "running", "build", "Building"),
    (6.0, "running", "deploy", "Deploying"),
    (10.0, "succeeded", "deploy", "Done"),
)
STRENGTH = ("acted_on", "created", "deleted")
KINDS = {"service_key": "service-tokens", "config_variable": "environment-variables"}


class Builds(Resource, kind="builds"):
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

    def show(self, sight: Sight, thing: Thing) -> Values:
        return {"gitRepoId": _repository(sight.world, thing), "resources": list(thing.hidden["resources"].values())}


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


def _repository(world: World, build: Thing) -> str | None:
    """The linked repository that a build's run belongs to."""
    number = build.values.get("runIdentity", {}).get("repositoryId")
    linked = world.every("source-repositories", build.parent)
    return next((it.id for it in linked if str(it.values["repoId"]) == number), None)


@answers("management:builds.create")
def create(call: Call) -> Thing:
    """Take a report; the same run reported again is the same build."""
    run = call.fields.get("runIdentity")
    known = call.world.first("builds", call.workspace, runIdentity=run) if run is not None else None
    return known or call.create("builds", call.workspace)


@answers("management:builds.report_resource")
def report_resource(call: Call) -> None:
    type, id = call.path["resourceType"], call.path["resourceId"]
    call.find(KINDS.get(type, plural(type)), id)
    resources, action = call.it.hidden["resources"], call.fields["action"]
    known = resources.get((type, id))
    if known is None or STRENGTH.index(known["action"]) < STRENGTH.index(action):
        created_at = known["createdAt"] if known else call.world.now()
        resources[type, id] = {"resourceType": type, "resourceId": id, "action": action, "createdAt": created_at}

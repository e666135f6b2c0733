"""Builds: reported by whoever runs them; one that is left alone goes on by itself, until it has succeeded."""

from prisma_mgmt.sandbox.engine import Call, Resource, answers, resource
from prisma_mgmt.sandbox.logs import Log, asked_place
from prisma_mgmt.sandbox.state import Thing, Values, World, timestamp
from prisma_mgmt.sandbox.views import Sight
from prisma_mgmt.sandbox.wire import ApiError, write_cursor

ENDED = {"succeeded", "failed", "cancelled"}
ONCE = ("projectId", "branchId", "deployedUrl", "applicationTopologyContentHash")
STEPS = (  # what comes when, in seconds after the report, to a build that is left alone
    (0.0, "pending", "queued", "Queued"),
    (2.0, "running", "build", "Building"),
    (6.0, "running", "deploy", "Deploying"),
    (10.0, "succeeded", "deploy", "Done"),
)
STRENGTH = ("acted_on", "created", "deleted")
KINDS = {"app": "services", "service_key": "service-tokens", "config_variable": "environment-variables"}


@resource("builds")
class Builds(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        thing.hidden.update(steps=list(STEPS), log=[], resources={})
        self.settle(call.world, thing)

    def settle(self, world: World, thing: Thing) -> None:
        steps = thing.hidden["steps"]
        while steps and world.clock() >= thing.made_at + steps[0][0]:
            seconds, state, phase, text = steps.pop(0)
            thing.values["phase"] = phase
            _enter(thing, state, thing.made_at + seconds, text)

    def changed(self, call: Call, thing: Thing, changes: Values) -> None:
        for key in ONCE:
            if changes.get(key) is not None and thing.values.get(key) not in {None, changes[key]}:
                raise ApiError(409, f"{key} is set already, to {thing.values[key]!r}.")
        state = changes.pop("state", thing.values["state"])
        if thing.values["state"] in ENDED and state != thing.values["state"]:
            raise ApiError(409, f"The build has {thing.values['state']}.")
        thing.hidden["steps"].clear()  # its reporter drives it from now on
        thing.values.update(changes)
        words = f"{state}{' in ' + thing.values['failingStep'] if 'failingStep' in changes else ''}"
        _enter(thing, state, call.world.clock(), changes.get("errorMessage", words.capitalize()))

    def show(self, sight: Sight, thing: Thing) -> Values:
        return {"gitRepoId": _repository(sight.world, thing), "resources": list(thing.hidden["resources"].values())}


def _enter(build: Thing, state: str, at: float, text: str) -> None:
    values, log = build.values, build.hidden["log"]
    values["state"] = state
    if state != "pending" and not values.get("startedAt"):
        values["startedAt"] = timestamp(at)
    if state in ENDED and not values.get("finishedAt"):
        values["finishedAt"] = timestamp(at)
    level = "error" if state == "failed" else "info"
    head = {"type": "log", "level": level, "source": "runner", "step": values.get("phase") or "queued"}
    log.append({**head, "text": text, "cursor": write_cursor(len(log) + 1)})


def _repository(world: World, build: Thing) -> str | None:
    """The linked repository that a build's run belongs to."""
    number = build.values.get("runIdentity", {}).get("repositoryId")
    linked = world.things("source-repositories").values()
    ours = (it for it in linked if it.workspace_id == build.workspace_id)
    return next((it.id for it in ours if str(it.values["repoId"]) == number), None)


@answers("management:builds.create")
def create(call: Call) -> Thing:
    """Take a report; the same run reported again is the same build."""
    run = call.fields.get("runIdentity")
    known = (it for it in call.every("builds") if run is not None and it.values.get("runIdentity") == run)
    return next(known, None) or call.create("builds", call.workspace)


@answers("management:builds.report_resource")
def report_resource(call: Call) -> None:
    type, id = call.path["resourceType"], call.path["resourceId"]
    kind = KINDS.get(type, f"{type}es" if type == "branch" else f"{type}s")
    call.find(kind, id)
    resources, action = call.it.hidden["resources"], call.fields["action"]
    known = resources.get((type, id))
    if known is None or STRENGTH.index(known["action"]) < STRENGTH.index(action):
        created_at = known["createdAt"] if known else call.world.now()
        resources[type, id] = {"resourceType": type, "resourceId": id, "action": action, "createdAt": created_at}


@answers("management:builds.logs")
def logs(call: Call) -> Log:
    build, query = call.it, call.query

    def ended() -> str | None:
        Builds().settle(call.world, build)
        return build.values["state"] if build.values["state"] in ENDED else None

    return Log(build.hidden["log"], asked_place(query), query.get("cursor"), ended, query.get("follow", False))

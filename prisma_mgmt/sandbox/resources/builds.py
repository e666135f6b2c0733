"""Builds: reported by whoever runs them; one that is left alone goes on by itself, until it has succeeded."""

from functools import partial

from prisma_mgmt.sandbox.description import plural
from prisma_mgmt.sandbox.engine import Call
from prisma_mgmt.sandbox.logs import ENDED, Logged
from prisma_mgmt.sandbox.state import Thing, Values, timestamp
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

"""Projects, their branches, what it is to stand on one, the buckets and variables that do, and a branch's graph."""

import hashlib
import json
import re
import secrets
from graphlib import CycleError, TopologicalSorter
from typing import Any, ClassVar

from prisma_mgmt.sandbox.engine import Call, Resource
from prisma_mgmt.sandbox.resources.account import hint
from prisma_mgmt.sandbox.state import Thing, Values, World, new_id
from prisma_mgmt.sandbox.wire import ApiError, missing, need

KEY = re.compile("[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
NO_GIT_NAME = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|^[/.-]|[/.]$|\.lock$|^@?$|/\.")


class Projects(Resource, kind="projects"):
    defaults: ClassVar[Values] = {"name": "My project"}
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("logicalId",),)

    def made(self, call: Call, thing: Thing) -> None:
        call.create("branches", thing, {"gitName": "main"})
        wanted = call.operation.description.api != "data_platform"  # which has environments instead
        if thing.values.get("createDatabase", wanted):
            call.create("databases", thing, {"name": f"{thing.name} database", "isDefault": True, "region": "inherit"})

    def show(self, call: Call, thing: Thing) -> Values:
        database = call.world.first("databases", thing) if call.secrets else None
        # The database is shown without the project that it is in.
        return {"defaultRegion": thing.values.get("region"), "database": database and call.facts(database)}

    def transfer(self, call: Call) -> None:
        recipient = call.tokens.bearer(call.fields["recipientAccessToken"])
        workspace = need(recipient, missing("The workspace of recipientAccessToken")).up("workspaces")
        need(workspace is not call.it.parent, ApiError(409, "The project is in that workspace already."))
        self.check_free(call, call.it, call.it.values, workspace)
        call.it.parent = workspace
        call.it.values.pop("workspaceId", None)  # which its creation may have named


class Branches(Resource, kind="branches"):
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("gitName",),)

    def list(self, call: Call) -> Any:
        both = {"gitName", "gitNameContains"} <= set(call.query)
        need(not both, call.refuse("gitName and gitNameContains cannot go together."))
        return call.listed()

    def prepare(self, call: Call, thing: Thing) -> None:
        wrong = NO_GIT_NAME.search(thing.values["gitName"])
        need(not wrong, call.refuse("gitName is not a name that git takes for a branch."))

    def made(self, call: Call, thing: Thing) -> None:
        first = call.world.every("branches", thing.parent) == [thing]
        thing.values["role"] = "production" if first else "preview"
        if thing.values.setdefault("isDefault", first) or first:
            self._make_default(call.world, thing)

    def changed(self, call: Call, thing: Thing, changes: Values) -> None:
        need(changes.get("isDefault"), call.refuse("isDefault can only be set to true."))
        self._make_default(call.world, thing)

    def leaving(self, call: Call, thing: Thing, asked: bool) -> None:
        if not asked:
            return
        if thing.values["isDefault"] or thing.values["role"] == "production":
            raise ApiError(422, "The default branch and the production branch cannot be deleted.")
        kinds = ("services", "databases", "buckets")
        left = [it for kind in kinds for it in call.world.every(kind, branchId=thing.id)]
        if left:
            raise ApiError(409, f"Something lives on this branch: {left[0].id}.", hint="Move or delete it first.")

    def _make_default(self, world: World, branch: Thing) -> None:
        for one in world.every("branches", branch.parent):
            one.values["isDefault"] = one is branch


class Placed(Resource):
    """What services, databases and buckets have in common: each stands on a branch, and may have a logical id there."""

    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("logicalId", "branchId"),)

    def prepare(self, call: Call, thing: Thing) -> None:
        values, default = thing.values, call.world.first("branches", thing.parent, isDefault=True)
        both = values.get("branchGitName") and (values.get("branchId") or values.get("logicalId"))
        need(not both, call.refuse("branchGitName cannot go together with branchId or logicalId."))
        self._place(call, thing, values, default.id if default else None)

    def changed(self, call: Call, thing: Thing, changes: Values) -> None:
        moves = {"branchId", "branchGitName"} & set(changes)
        need(None not in {changes[key] for key in moves}, call.refuse("A branch cannot be null here."))
        if len(moves) > 1 or (moves and "logicalId" in changes):
            raise call.refuse("branchId, branchGitName and logicalId cannot go together: move first.")
        self._place(call, thing, changes, thing.values["branchId"])

    def _place(self, call: Call, thing: Thing, values: Values, otherwise: str | None) -> None:
        """Find the branch that is asked for by its id or its git name, and make it if need be."""
        project, git_name = thing.holder, values.pop("branchGitName", None)
        if git_name is not None:
            known = call.world.first("branches", project, gitName=git_name)
            values["branchId"] = (known or call.create("branches", project, {"gitName": git_name})).id
        elif values.setdefault("branchId", otherwise) is not None:
            call.find("branches", values["branchId"], inside=project)

    def matches(self, call: Call, thing: Thing, key: str, wanted: Any) -> bool:
        branch_id = thing.values["branchId"]
        if key == "branchId" and wanted == "unassigned":
            return branch_id is None
        if key == "branchGitName":
            return branch_id is not None and call.world.things("branches")[branch_id].values["gitName"] == wanted
        return super().matches(call, thing, key, wanted)


class Buckets(Placed, kind="buckets"):
    defaults: ClassVar[Values] = {"providerName": "sandbox", "status": "ready"}

    def made(self, call: Call, thing: Thing) -> None:
        thing.values.setdefault("name", f"bucket-{secrets.token_hex(4)}")

    def update(self, call: Call) -> Thing:
        need(call.fields, call.refuse("There is nothing to change."))
        return call.change(call.it)


class Keys(Resource, kind="keys"):
    """The keys of a bucket."""

    def made(self, call: Call, thing: Thing) -> None:
        secret = secrets.token_urlsafe(30)
        where = {"endpoint": "https://buckets.prisma-sandbox.invalid", "bucketName": thing.holder.name}
        thing.values.update(secretAccessKey=secret, valueHint=hint(secret), accessKeyId=new_id("AK"), **where)


class EnvironmentVariables(Resource, kind="environment-variables"):
    """One value for each key of a scope, to be written and never read."""

    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("key", "class", "branchId"),)

    def prepare(self, call: Call, thing: Thing) -> None:
        values = thing.values
        if not KEY.fullmatch(values["key"]):
            raise call.refuse("key is no name for an environment variable.", hint="Use letters, digits and _.")
        if values.get("branchId") is not None:
            thing.parent = call.find("branches", values["branchId"], inside=thing.parent)
            need(values["class"] == "preview", call.refuse("branchId goes with the class preview only."))
        self.changed(call, thing, values)

    def changed(self, call: Call, thing: Thing, changes: Values) -> None:
        changes["valueKid"] = new_id("kid")


# The graph of a branch


class Topology(Resource, kind="topology"):
    def replace(self, call: Call) -> Thing:
        graph = {key: sorted(call.fields[key], key=_text) for key in ("nodes", "ports", "edges")}
        _check(call, graph)
        content_hash = call.fields.get("contentHash", hashlib.sha256(_text(graph).encode()).hexdigest())
        call.it.values.update(**graph, contentHash=content_hash, writtenAt=call.world.now())
        return call.it  # its values tell the graph


def _check(call: Call, graph: dict[str, list[Values]]) -> None:
    nodes = {one["logicalId"]: one["parentLogicalId"] for one in graph["nodes"]}
    ports = {_port(one) for one in graph["ports"]}
    if len(nodes) < len(graph["nodes"]) or len(ports) < len(graph["ports"]):
        raise call.refuse("A node or a port is there twice.")
    for node, parent in nodes.items():
        need(parent is None or parent in nodes, call.refuse(f"nodes: {parent!r} is no node above {node!r}."))
    try:
        TopologicalSorter({node: [parent] for node, parent in nodes.items()}).prepare()
    except CycleError as error:
        raise call.refuse(f"nodes: {error.args[1][0]!r} is above itself.") from None
    for port in graph["ports"]:
        need(port["logicalId"] in nodes, call.refuse(f"ports: {port['logicalId']!r} is no node."))
    for end in (edge[key] for edge in graph["edges"] for key in ("from", "to")):
        need(_port(end) in ports, call.refuse(f"edges: {end['name']!r} of {end['logicalId']!r} is no port."))


def _port(one: Values) -> tuple[str, str, str]:
    return one["logicalId"], one["direction"], one["name"]


def _text(one: object) -> str:
    return json.dumps(one, sort_keys=True)

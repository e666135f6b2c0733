"""Branches: the first of a project is its default and its production. What stands on them, and their graphs."""

import re
from typing import Any, ClassVar

from prisma_mgmt.sandbox.engine import Call, Resource, answers, resource
from prisma_mgmt.sandbox.state import Thing, Values, World
from prisma_mgmt.sandbox.wire import ApiError

NO_GIT_NAME = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|^[/.-]|[/.]$|\.lock$|^@?$|/\.")


@resource("branches")
class Branches(Resource):
    defaults: ClassVar[Values] = {"isDefault": False}
    unique = (("gitName",),)

    def prepare(self, call: Call, thing: Thing) -> None:
        if NO_GIT_NAME.search(thing.values["gitName"]):
            raise call.refuse("gitName is not a name that git takes for a branch.")

    def made(self, call: Call, thing: Thing) -> None:
        first = call.world.inside(thing.holder, "branches") == [thing]
        thing.values["role"] = "production" if first else "preview"
        if first or thing.values["isDefault"]:
            self._make_default(call.world, thing)

    def changed(self, call: Call, thing: Thing, changes: Values) -> None:
        if changes.get("isDefault") is not True:
            raise call.refuse("isDefault can only be set to true.")
        self._make_default(call.world, thing)

    def leaving(self, call: Call, thing: Thing, asked: bool) -> None:
        if not asked:
            return
        if thing.values["isDefault"] or thing.values["role"] == "production":
            raise ApiError(422, "The default branch and the production branch cannot be deleted.")
        left = [it for kind in ("services", "databases", "buckets") for it in self._on(call.world, thing, kind)]
        if left:
            raise ApiError(409, f"Something lives on this branch: {left[0].id}.", hint="Move or delete it first.")

    def gone(self, call: Call, thing: Thing) -> None:
        for variable in self._on(call.world, thing, "environment-variables"):
            call.world.remove(variable)

    def _on(self, world: World, branch: Thing, kind: str) -> list[Thing]:
        return [it for it in world.things(kind).values() if it.values.get("branchId") == branch.id]

    def _make_default(self, world: World, branch: Thing) -> None:
        for one in world.inside(branch.holder, "branches"):
            one.values["isDefault"] = one is branch


@answers("management:branches.list")
def list_branches(call: Call) -> list[Thing]:
    if {"gitName", "gitNameContains"} <= set(call.query):
        raise call.refuse("gitName and gitNameContains cannot go together.")
    return call.listed()


class Placed(Resource):
    """What services, databases and buckets have in common: each stands on a branch, and may have a logical id there."""

    defaults: ClassVar[Values] = {"logicalId": None}
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("logicalId", "branchId"),)

    def prepare(self, call: Call, thing: Thing) -> None:
        values, branches = thing.values, call.world.inside(thing.above("projects"), "branches")
        given = {key for key in ("branchId", "logicalId") if values.get(key) is not None}
        if values.get("branchGitName") is not None and given:
            raise call.refuse("branchGitName cannot go together with branchId or logicalId.")
        self._place(call, thing, values, next((it.id for it in branches if it.values["isDefault"]), None))

    def changed(self, call: Call, thing: Thing, changes: Values) -> None:
        moves = {"branchId", "branchGitName"} & set(changes)
        if any(changes[key] is None for key in moves):
            raise call.refuse("A branch cannot be null here.")
        if len(moves) > 1 or (moves and "logicalId" in changes):
            raise call.refuse("branchId, branchGitName and logicalId cannot go together: move first.")
        self._place(call, thing, changes, thing.values["branchId"])

    def _place(self, call: Call, thing: Thing, values: Values, otherwise: str | None) -> None:
        """Find the branch that is asked for by its id or its git name, and make it if need be."""
        project, git_name = thing.above("projects"), values.pop("branchGitName", None)
        if git_name is not None:
            known = (it for it in call.world.inside(project, "branches") if it.values["gitName"] == git_name)
            values["branchId"] = (next(known, None) or call.create("branches", project, {"gitName": git_name})).id
        elif values.setdefault("branchId", otherwise) is not None:
            call.find("branches", values["branchId"], inside=project)

    def matches(self, world: World, thing: Thing, key: str, wanted: Any) -> bool:
        branch_id = thing.values["branchId"]
        if key == "branchId" and wanted == "unassigned":
            return branch_id is None
        if key == "branchGitName":
            return branch_id is not None and world.things("branches")[branch_id].values["gitName"] == wanted
        return super().matches(world, thing, key, wanted)

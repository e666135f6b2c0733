"""What services, databases and buckets have in common: each stands on a branch, and may have a logical id there."""

from typing import Any

from prisma_mgmt.sandbox.engine import Call, Resource
from prisma_mgmt.sandbox.resources.branches import branch_named, default_branch
from prisma_mgmt.sandbox.state import Thing, Values, World
from prisma_mgmt.sandbox.wire import ApiError


class Placed(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        values, project = thing.values, thing.above("projects")
        given = {key for key in ("branchId", "logicalId") if values.get(key) is not None}
        if values.get("branchGitName") is not None and given:
            raise call.refuse("branchGitName cannot go together with branchId or logicalId.")
        values.setdefault("logicalId", None)
        self._place(call, thing, values, default_branch(call.world, project))
        self.check_free(call, thing, values)

    def changed(self, call: Call, thing: Thing, changes: Values) -> None:
        moves = {"branchId", "branchGitName"} & set(changes)
        if any(changes[key] is None for key in moves):
            raise call.refuse("A branch cannot be null here.")
        if len(moves) > 1 or (moves and "logicalId" in changes):
            raise call.refuse("branchId, branchGitName and logicalId cannot go together: move first.")
        self._place(call, thing, changes, thing.values["branchId"])
        self.check_free(call, thing, {**thing.values, **changes})

    def _place(self, call: Call, thing: Thing, values: Values, otherwise: str | None) -> None:
        """Find the branch that is asked for by its id or its git name, and make it if need be."""
        project, git_name = thing.above("projects"), values.pop("branchGitName", None)
        if git_name is not None:
            values["branchId"] = branch_named(call, project, git_name).id
        elif values.setdefault("branchId", otherwise) is not None:
            call.find("branches", values["branchId"], inside=project)

    def check_free(self, call: Call, thing: Thing, values: Values) -> None:
        """Refuse a logical id that something else on the branch has."""
        for other in self.beside(call.world, thing, values["branchId"]):
            if values["logicalId"] is not None and other.values["logicalId"] == values["logicalId"]:
                raise self.conflict(call, other, "logicalId")

    def beside(self, world: World, thing: Thing, branch_id: str | None) -> list[Thing]:
        things = world.inside(thing.above("projects"), thing.kind)
        return [it for it in things if it is not thing and it.values.get("branchId") == branch_id]

    def conflict(self, call: Call, other: Thing, key: str) -> ApiError:
        return ApiError(409, f"{key} {other.values[key]!r} is taken on this branch by {other.id}.", id=other.id)

    def matches(self, world: World, thing: Thing, key: str, wanted: Any) -> bool:
        branch_id = thing.values["branchId"]
        if key == "branchId" and wanted == "unassigned":
            return branch_id is None
        if key == "branchGitName":
            branch = world.things("branches").get(branch_id)
            return branch is not None and branch.values["gitName"] == wanted
        return super().matches(world, thing, key, wanted)

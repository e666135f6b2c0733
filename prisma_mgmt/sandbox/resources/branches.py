"""Branches: the first of a project is its default and its production."""

import re

from prisma_mgmt.sandbox.engine import Call, Resource, answers, resource
from prisma_mgmt.sandbox.state import Thing, Values, World
from prisma_mgmt.sandbox.wire import ApiError

NO_GIT_NAME = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|^[/.-]|[/.]$|\.lock$|^@?$|/\.")


@resource("branches")
class Branches(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        values = thing.values
        others = [it for it in call.world.inside(thing.holder, "branches") if it is not thing]
        if NO_GIT_NAME.search(values["gitName"]):
            raise call.refuse("gitName is not a name that git takes for a branch.")
        taken = next((it for it in others if it.values["gitName"] == values["gitName"]), None)
        if taken is not None:
            raise ApiError(409, f"The project has a branch of that name: {taken.id}.", id=taken.id)
        values["role"] = "preview" if others else "production"
        values["isDefault"] = not others or values.get("isDefault", False)
        if values["isDefault"]:
            _make_default(thing, others)

    def changed(self, call: Call, thing: Thing, changes: Values) -> None:
        if changes.get("isDefault") is not True:
            raise call.refuse("isDefault can only be set to true.")
        _make_default(thing, call.world.inside(thing.holder, "branches"))

    def leaving(self, call: Call, thing: Thing, asked: bool) -> None:
        if not asked:
            return
        if thing.values["isDefault"] or thing.values["role"] == "production":
            raise ApiError(422, "The default branch and the production branch cannot be deleted.")
        left = [it for kind in ("services", "databases", "buckets") for it in _on(call.world, thing, kind)]
        if left:
            raise ApiError(409, f"Something lives on this branch: {left[0].id}.", hint="Move or delete it first.")

    def gone(self, call: Call, thing: Thing) -> None:
        for variable in _on(call.world, thing, "environment-variables"):
            call.world.remove(variable)


def _on(world: World, branch: Thing, kind: str) -> list[Thing]:
    return [it for it in world.things(kind).values() if it.values.get("branchId") == branch.id]


def _make_default(branch: Thing, others: list[Thing]) -> None:
    for other in others:
        other.values["isDefault"] = other is branch
    branch.values["isDefault"] = True


def default_branch(world: World, project: Thing) -> str | None:
    return next((it.id for it in world.inside(project, "branches") if it.values["isDefault"]), None)


def branch_named(call: Call, project: Thing, git_name: str) -> Thing:
    """The branch of a git name; it is made if the project has none."""
    found = (it for it in call.world.inside(project, "branches") if it.values["gitName"] == git_name)
    return next(found, None) or call.create("branches", project, {"gitName": git_name})


@answers("management:branches.list")
def list_branches(call: Call) -> list[Thing]:
    if {"gitName", "gitNameContains"} <= set(call.query):
        raise call.refuse("gitName and gitNameContains cannot go together.")
    return call.listed()

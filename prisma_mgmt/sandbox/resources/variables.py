"""Environment variables: one value for each key of a scope, to be written and never read."""

import re

from prisma_mgmt.sandbox.engine import Call, Resource, resource
from prisma_mgmt.sandbox.state import Thing, Values, new_id
from prisma_mgmt.sandbox.wire import ApiError

KEY = re.compile("[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
SCOPE = ("class", "branchId", "key")


@resource("environment-variables")
class EnvironmentVariables(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        project, values = thing.holder, thing.values
        if not KEY.fullmatch(values["key"]):
            raise call.refuse("key is no name for an environment variable.", hint="Use letters, digits and _.")
        if values.setdefault("branchId", None) is not None:
            call.find("branches", values["branchId"], inside=project)
            if values["class"] != "preview":
                raise call.refuse("branchId goes with the class preview only.")
        for other in call.world.inside(project, "environment-variables"):
            if other is not thing and all(other.values[one] == values[one] for one in SCOPE):
                raise ApiError(409, f"The scope has that key already: {other.id}.", hint="Update it.", id=other.id)
        self.changed(call, thing, values)

    def changed(self, call: Call, thing: Thing, changes: Values) -> None:
        thing.hidden["value"] = changes.pop("value")
        thing.values["valueKid"] = new_id("kid")

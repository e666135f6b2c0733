"""What is little more than stored: buckets and the keys that open them, variables, and the keys of environments."""

import re
import secrets
from typing import ClassVar

from prisma_mgmt.sandbox.engine import Call, Resource
from prisma_mgmt.sandbox.resources.account import hint
from prisma_mgmt.sandbox.resources.projects import Placed
from prisma_mgmt.sandbox.state import Thing, Values, new_id

KEY = re.compile("[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Buckets(Placed, kind="buckets"):
    defaults: ClassVar[Values] = {"providerName": "sandbox", "status": "ready"}

    def made(self, call: Call, thing: Thing) -> None:
        thing.values.setdefault("name", f"bucket-{secrets.token_hex(4)}")

    def update(self, call: Call) -> Thing:
        if not call.fields:
            raise call.refuse("There is nothing to change.")
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
            call.find("branches", values["branchId"], inside=thing.holder)
            if values["class"] != "preview":
                raise call.refuse("branchId goes with the class preview only.")
        self.changed(call, thing, values)

    def changed(self, call: Call, thing: Thing, changes: Values) -> None:
        changes["valueKid"] = new_id("kid")


class ApiKeys(Resource, kind="apikeys"):
    """The keys of the Data Platform API's environments."""

    def made(self, call: Call, thing: Thing) -> None:
        key = f"key_{secrets.token_urlsafe(24)}"
        thing.values.update(apiKey=key, hint=hint(key))

"""How things are shown: an answer's schema says which fields there are, the world says what stands in them."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prisma_mgmt.sandbox.description import plural
from prisma_mgmt.sandbox.schema import Schema, Schemas, is_list, is_object
from prisma_mgmt.sandbox.state import Thing, Values, World, new_id, timestamp

MISSING: Any = object()


@dataclass(frozen=True)
class Sight:
    """Shows values in the shape that a schema asks for, so that every answer fits its description.

    What nobody has said is made up; secrets are in it only if they have just been made (`secrets`).
    """

    world: World
    api: str
    schemas: Schemas
    base: str  # the URL that the caller reached this API by
    facts: Callable[["Sight", Thing], Values]  # what there is to say of a thing
    secrets: bool = False

    def show(self, schema: Schema, value: Any, name: str = "") -> Any:
        schema = self.schemas.resolve(schema)
        members = self.schemas.members(schema)
        if members:
            if value is MISSING or isinstance(value, Thing):
                return self.show(members[0], value, name)
            return self.show(next((one for one in members if self._suits(one, value)), members[0]), value, name)
        if isinstance(value, Thing):
            return self._object(schema, self._finder(value))
        if is_object(value) and "properties" in schema:
            return self._object(schema, lambda key: value.get(key, MISSING))
        if is_list(value) and "items" in schema:
            return [self.show(schema["items"], item) for item in value]
        if value is not MISSING and self.schemas.fits(schema, value):
            return value
        return self._example(schema, name)

    def _suits(self, schema: Schema, value: Any) -> bool:
        """Tell if a member of a choice is the one for a value that may have fields to spare."""
        schema = self.schemas.resolve(schema)
        if is_object(value) and schema.get("type") == "object":
            constants = {key: one["const"] for key, one in schema.get("properties", {}).items() if "const" in one}
            return all(value.get(key) == constant for key, constant in constants.items())
        return self.schemas.fits(schema, value)

    def _object(self, schema: Schema, find: Callable[[str], Any]) -> Values:
        shown: Values = {}
        required = schema.get("required", ())
        for key, inner in schema.get("properties", {}).items():
            found = find(key)
            untold = found is MISSING or (found is None and not self.schemas.fits(inner, None))
            untold = untold or (not self.secrets and self.schemas.tells_secret(inner))
            if key in required or not untold:
                shown[key] = self.show(inner, found, key)
        return shown

    def _finder(self, thing: Thing) -> Callable[[str], Any]:
        facts = self.facts(self, thing)

        def find(key: str) -> Any:
            if key in facts:
                return facts[key]
            holder = thing.up(plural(key.removesuffix("Id")))
            if holder is not None and holder is not thing:
                return holder.id if key.endswith("Id") else holder
            return self.world.every(key, thing) if self.world.things(key) else MISSING

        return find

    def _example(self, schema: Schema, name: str) -> Any:
        """Make up a value for a schema."""
        kinds = schema.get("type", "null")
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        if "enum" in schema:
            return schema["enum"][0]
        if "null" in kinds:
            return None
        if kinds == "object":
            return self._object(schema, lambda _: MISSING)
        made: Values = {"array": [], "boolean": False, "integer": 0, "number": 0}
        return self._text(schema.get("format", name)) if kinds == "string" else made.get(kinds)

    def _text(self, format: str) -> str:
        now, secret = self.world.now(), f"sk_{secrets.token_urlsafe(24)}"
        made = {"date-time": now, "date": now[:10], "uri": self.base, "password": secret, "id": new_id("id")}
        return {**made, "email": "someone@sandbox.invalid"}.get(format, format)


def head(sight: Sight, thing: Thing) -> Values:
    """What the APIs tell of everything: its id, its address, its age."""
    return {
        "id": thing.values.get("id", thing.id),
        "url": f"{sight.base}/v1/{thing.kind}/{thing.id}",
        "name": thing.name,
        "createdAt": timestamp(thing.made_at),
        "updatedAt": timestamp(thing.changed_at),
    }

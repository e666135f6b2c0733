"""Small documents that hold every construct the generator knows, and what makes code of them."""

import json
from pathlib import Path
from typing import Any

from tools.apigen.__main__ import formatted
from tools.apigen.names import Names
from tools.apigen.normalise import normalise
from tools.apigen.package import Package

ROOT = Path(__file__).parents[2]
TABLE: Any = {
    "integers": "^(port|limit)$|Days$",
    "secrets": ["connectionString", "password", "alchemy-state-lease-id", "things.create.note"],
    "parameters": {"alchemy-state-lease-id": "lease_id"},
    "management": {"replaced": {"things": "objects"}},
}
NAMES = Names(TABLE, "management")


def document(name: str) -> Any:
    return json.loads(Path(__file__).with_name("documents").joinpath(f"{name}.json").read_text("utf-8"))


def committed(api: str) -> Any:
    return json.loads((ROOT / "prisma_mgmt" / "spec" / f"{api}.json").read_text("utf-8"))


def inlined(doc: Any) -> Any:
    """A document as Prisma publishes it: every schema where it is used, none with a name."""

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(one) for one in value]
        if not isinstance(value, dict):
            return value
        name = value.get("$ref", "").rpartition("/")[2]
        target = filled(doc["components"]["schemas"][name]) if name else {}
        return {**target, **{key: filled(one) for key, one in value.items() if key != "$ref"}}

    return {key: filled(value) for key, value in doc.items() if key != "components"}


def generated(description: Any) -> dict[str, str]:
    return formatted(Package(description, "management", "ThingsClient").files())


def code(doc: Any, names: Names = NAMES) -> dict[str, str]:
    return generated(normalise(doc, names).description)


def answering(schema: Any) -> Any:
    """A document with one operation, which answers `schema`."""
    content = {"application/json": {"schema": schema}}
    operation = {"responses": {"200": {"description": "", "content": content}}}
    return {
        "info": {"title": "X", "version": "1"},
        "servers": [{"url": "https://x"}],
        "paths": {"/v1/x": {"get": operation}},
    }

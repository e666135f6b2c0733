"""The descriptions of the three APIs, normalised OpenAPI 3.1: `management`, `postgres`, `data_platform`."""

import json
from importlib.resources import files
from typing import Any


def load(api: str) -> dict[str, Any]:
    """The description of an API."""
    description: dict[str, Any] = json.loads((files(__name__) / f"{api}.json").read_text("utf-8"))
    return description

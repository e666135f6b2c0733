"""Schemas of a description as Python types."""

import json
import re
from typing import Any

from tools.apigen.merge import NULL, Schema, split_null

_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


def refs(schema: Any) -> list[str]:
    """The names that a schema, or anything that holds schemas, refers to, in order."""
    return re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(schema))


def python_type(schema: Schema, *, given: bool = False) -> str:
    """The annotation of a value that we read; of one that a caller gives, where `given`."""
    rest, nullable = split_null(schema)
    text = _bare(rest, given)
    return f"{text} | None" if nullable and text != "JSON" else text


def _bare(schema: Schema, given: bool) -> str:
    if "$ref" in schema:
        return refs(schema)[0]
    if "oneOf" in schema:
        return " | ".join(refs(schema)) + ("" if given else " | dict[str, JSON]")  # a member unknown as yet
    if "anyOf" in schema:  # strings, some of them with a meaning of their own
        return f"Literal[{', '.join(json.dumps(one['const']) for one in schema['anyOf'] if 'const' in one)}] | str"
    kind = schema.get("type")
    if kind == "array":
        return f"{'Sequence' if given else 'list'}[{python_type(schema['items'], given=given)}]"
    if kind == "object":
        return f"{'Mapping' if given else 'dict'}[str, {python_type(schema['additionalProperties'], given=given)}]"
    if kind == "string" and schema.get("format") == "date-time":
        return "datetime"
    if kind == "string" and schema.get("format") == "password":
        return "str" if given else "Secret"
    return "None" if schema == NULL else _SCALARS[kind] if kind else "JSON"

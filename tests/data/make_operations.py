"""Boil the published API descriptions down to operations.json, the table that test_conformance.py holds the clients to.

Run by hand when the descriptions change, with the folder they are in. It shares nothing with tools/apigen on purpose.

    python tests/data/make_operations.py ../shared/api
"""

import json
import sys
from pathlib import Path
from typing import Any

SOURCES = {
    "ManagementClient": "management-v1.facts.json",
    "PostgresClient": "postgres-2025.openapi.json",
    "DataPlatformClient": "data-platform.openapi.json",
}


class Table:
    """Schemas in a notation of our own, equal ones stored once: see `boil`."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.shapes: list[Any] = []

    def resolve(self, value: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in value:
            found: Any = self.document
            for step in value["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            value = found
        return value

    def boil(self, schema: dict[str, Any]) -> Any:
        """A scalar by name; {list}, {dict}, {enum}, {union}, {null: what else}; {shape: index} for an object."""
        schema = self.resolve(schema)
        if "allOf" in schema:
            schema = self.merged(schema)
        kind = schema.get("type")
        if isinstance(kind, list) and "null" in kind and len(kind) > 1:
            rest = [one for one in kind if one != "null"]
            return {"null": self.boil({**schema, "type": rest[0]})}
        if "oneOf" in schema or "anyOf" in schema:
            members = schema.get("oneOf") or schema["anyOf"]
            plain = [self.boil(one) for one in members if self.resolve(one).get("type") != "null"]
            union = plain[0] if len(plain) == 1 else {"union": plain}
            return {"null": union} if len(plain) < len(members) else union
        if "const" in schema:
            return {"enum": [schema["const"]]}
        if "enum" in schema:
            return {"enum": [one for one in schema["enum"] if one is not None]}
        if kind == "array":
            return {"list": self.boil(schema.get("items", {}))}
        if kind == "object" and "properties" in schema:
            return self.shape(schema)
        if kind == "object":
            values = schema.get("additionalProperties")
            return {"dict": self.boil(values if isinstance(values, dict) else {})}
        if kind == "string":
            return "date-time" if schema.get("format") == "date-time" else "string"
        return kind or "any"

    def merged(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The object that an allOf of objects describes."""
        parts = [self.resolve(one) for one in [{**schema, "allOf": []}, *schema["allOf"]]]
        parts = [self.merged(one) if one.get("allOf") else one for one in parts]
        properties = {key: value for part in parts for key, value in part.get("properties", {}).items()}
        return {
            "type": "object",
            "properties": properties,
            "required": [key for part in parts for key in part.get("required", [])],
        }

    def shape(self, schema: dict[str, Any]) -> Any:
        shape = {
            "fields": {key: self.boil(value) for key, value in schema["properties"].items()},
            "required": sorted(schema.get("required", [])),
            "deprecated": sorted(key for key, value in schema["properties"].items() if value.get("deprecated")),
        }
        if shape not in self.shapes:
            self.shapes.append(shape)
        return {"shape": self.shapes.index(shape)}

    def operation(self, method: str, path: str, shared: list[Any], operation: dict[str, Any]) -> dict[str, Any]:
        parameters = [self.resolve(one) for one in [*shared, *operation.get("parameters", [])]]
        row: dict[str, Any] = {"method": method.upper(), "path": path}
        for place in ("path", "query", "header"):
            row[f"{place}_params"] = {
                one["name"]: {"schema": self.boil(one["schema"]), "required": one.get("required", False)}
                for one in parameters
                if one["in"] == place
            }
        body = self.resolve(operation.get("requestBody", {})).get("content", {}).get("application/json")
        row["body"] = None if body is None else self.boil(body["schema"])
        row["answers"] = [self.answer(status, answer) for status, answer in operation["responses"].items()]
        row["answers"] = [answer for answer in row["answers"] if answer]
        return row

    def answer(self, status: str, answer: dict[str, Any]) -> dict[str, Any] | None:
        if not status.startswith("2"):
            return None
        content = self.resolve(answer).get("content") or {"": None}
        kind, media = next(iter(content.items()))
        return {"status": int(status), "type": kind, "schema": None if media is None else self.boil(media["schema"])}


def main(folder: Path) -> None:
    apis: dict[str, Any] = {}
    for name, file in SOURCES.items():
        document = json.loads((folder / file).read_text(encoding="utf-8"))
        table = Table(document)
        operations = [
            table.operation(method, path, item.get("parameters", []), operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if method in ("get", "put", "post", "delete", "patch")
        ]
        apis[name] = {"base": document["servers"][0]["url"], "operations": operations, "shapes": table.shapes}
    out = Path(__file__).with_name("operations.json")
    lines = (
        json.dumps(apis, separators=(",", ":")).replace('{"method"', '\n{"method"').replace('{"fields"', '\n{"fields"')
    )
    out.write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

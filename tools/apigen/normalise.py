"""A raw OpenAPI 3.1 document, everything inlined, as a description: named schemas, plain names, our own words.

The words (summaries, notes) are those of the committed description, by method and path and by model and field; what is
new gets a default. Names come from names.toml, from a `$ref`, from an equal shape that has a name, or by default.
"""

import json
from collections.abc import Iterator

from attrs import evolve

from tools.apigen.merge import Schema
from tools.apigen.names import DocumentError, Names, clash, default_model, default_summary, identifier, pascal, singular
from tools.apigen.shapes import Place, Shapes, escape, plain

METHODS = ("get", "post", "put", "patch", "delete")
JSON_BODY, LINES = "application/json", "application/x-ndjson"


def operations(document: Schema) -> Iterator[tuple[str, str, Schema]]:
    """Path, method and operation, by path, then in the usual order of methods."""
    for path, item in sorted(document.get("paths", {}).items()):
        yield from ((path, method, item[method]) for method in METHODS if method in item)


def normalise(document: Schema, names: Names, committed: Schema | None = None) -> Schema:
    """The description of a document."""
    committed = committed or {}
    shapes = Shapes(document, names)
    found = {f"{method.upper()} {path}": (path, method, raw) for path, method, raw in operations(document)}
    known = names.operations.keys() | {f"{method.upper()} {path}" for path, method, _ in operations(committed)}
    made = {route: _operation(shapes, *found[route]) for route in found if route in known}
    shapes.known = set(shapes.schemas)
    made |= {route: _operation(shapes, *found[route]) for route in found if route not in known}
    twice = clash(operation["operationId"] for operation in made.values())
    if twice:
        raise DocumentError("#/paths", f"two routes are named {twice}; name one of them in names.toml")
    shapes.settle()
    paths: Schema = {}
    for route, (path, method, _) in found.items():
        paths.setdefault(path, {})[method] = made[route]
    servers = committed.get("servers") or [{"url": server["url"]} for server in document.get("servers", ())[:1]]
    if not servers:
        raise DocumentError("#/servers", "no server among them")
    tags = {one: one.replace("_", " ").capitalize() + "." for one in sorted({one["tags"][0] for one in made.values()})}
    description = {
        "openapi": "3.1.0",
        "info": {**{key: document["info"][key] for key in ("title", "version")}, **committed.get("info", {})},
        "servers": servers,
        "tags": [{"name": tag, "description": words} for tag, words in tags.items()],
        "paths": paths,
        "components": {"schemas": dict(sorted(shapes.schemas.items()))},
    }
    _word(description, committed)
    return description


def _word(description: Schema, committed: Schema) -> None:
    """Give a description the words of the committed one."""
    for path, method, operation in operations(description):
        old = committed.get("paths", {}).get(path, {}).get(method, {})
        operation.update({key: old[key] for key in ("summary", "description") if key in old})
    tags = {tag["name"]: tag for tag in committed.get("tags", ())}
    description["tags"] = [tags.get(tag["name"], tag) for tag in description["tags"]]
    schemas = committed.get("components", {}).get("schemas", {})
    for name, schema in description["components"]["schemas"].items():
        pairs = [(schema, schemas.get(name, {}))]
        old = pairs[0][1].get("properties", {})
        pairs += [(value, old.get(key, {})) for key, value in schema.get("properties", {}).items()]
        for new, known in pairs:
            new.update({"description": known["description"]} if "description" in known else {})


def _operation(shapes: Shapes, path: str, method: str, raw: Schema) -> Schema:
    resource, name, model = shapes.names.operation(f"{method.upper()} {path}")
    place = Place(f"#/paths/{escape(path)}/{method}", f"{resource}.{name}", pascal(singular(resource)))
    plain([part.strip("{}") for part in path.strip("/").split("/")], place)
    made: Schema = {"operationId": place.owner, "tags": [resource], "summary": default_summary(resource, name)}
    made.update({key: True for key in ("deprecated", "x-experimental") if raw.get(key)})
    if raw.get("deprecated") and resource in shapes.names.replaced:
        made["x-replaced-by"] = f"{shapes.names.replaced[resource]}.{name}"
    parameters = [*shapes.document["paths"][path].get("parameters", ()), *raw.get("parameters", ())]
    made["parameters"] = [
        _parameter(shapes, path, one, place.at("parameters", str(i))) for i, one in enumerate(parameters)
    ]
    words = [one.get("x-keyword") or identifier(one["name"]) for one in made["parameters"]]
    if "requestBody" in raw:
        schema = _body(shapes, raw["requestBody"], place.at("requestBody"))
        made["requestBody"] = {"required": bool(schema.get("required")), "content": {JSON_BODY: {"schema": schema}}}
        words += map(identifier, schema.get("properties", {}))
    if clash(words):
        raise place.error(f"the keyword {clash(words)} comes twice")
    thing = default_model(resource, name)
    thing = pascal(singular(resource)) + thing if thing in shapes.known else thing
    answer = evolve(place, prefix=model or thing, name=model)
    made["responses"] = _responses(shapes, raw["responses"], answer.at("responses"))
    errors = [int(status) for status in raw["responses"] if status.isdecimal() and int(status) >= 400]
    made["x-errors"] = sorted(errors or raw.get("x-errors", ()))
    return made


def _parameter(shapes: Shapes, path: str, raw: Schema, place: Place) -> Schema:
    raw = shapes.target(raw, place)
    if raw["in"] not in ("path", "query", "header"):
        raise place.error(f"a parameter in the {raw['in']}")
    plain([raw["name"]], place)
    schema = shapes.schema(raw["schema"], place.at("schema", field=raw["name"]))
    made = {"name": raw["name"], "in": raw["in"], "required": bool(raw.get("required")), "schema": schema}
    word = shapes.names.keyword(raw["name"], path)
    return {**made, "x-keyword": word} if word else made


def _content(raw: Schema, place: Place, *kinds: str) -> tuple[str, Schema, Place]:
    """The type and the schema of a body or an answer, and where the schema stands."""
    content = raw["content"]
    kind = next(iter(content), "")
    if len(content) != 1 or kind not in kinds:
        raise place.error(f"content of type {', '.join(content)}")
    return kind, content[kind]["schema"], place.at("content", kind, "schema")


def _body(shapes: Shapes, raw: Schema, place: Place) -> Schema:
    _, schema, place = _content(raw, place, JSON_BODY)
    schema, _ = shapes.resolved(schema, place)
    if schema and "properties" not in schema:
        raise place.error("a body that is no object")
    return shapes.fields(schema, place) if schema else {}


def _responses(shapes: Shapes, raw: Schema, place: Place) -> Schema:
    """The successes; where there are several they have to be alike."""
    made: Schema = {}
    for status in (status for status in raw if status.startswith("2")):
        answer = shapes.target(raw[status], place.at(status))
        made[status] = {"description": ""}
        if "content" in answer:
            kind, schema, inside = _content(answer, place.at(status), JSON_BODY, LINES)
            made[status]["content"] = {kind: {"schema": _answer(shapes, schema, inside)}}
    if len({json.dumps(answer) for answer in made.values()}) != 1:
        raise place.error("successes that differ" if made else "no success among them")
    return made


def _answer(shapes: Shapes, raw: Schema, place: Place) -> Schema:
    """An answer: the thing itself, or in an envelope with `data`."""
    whole, _ = shapes.resolved(raw, place)
    thing = evolve(place, owner=place.prefix, answers=True)
    if "data" not in whole.get("properties", {}):
        return shapes.schema(raw, thing)
    rest = {key: value for key, value in whole["properties"].items() if key != "data"}
    data = shapes.schema(whole["properties"]["data"], thing.at("properties", "data"))
    made = shapes.fields({**whole, "properties": rest}, evolve(place, name=None))
    return {**made, "properties": {"data": data, **made["properties"]}}

"""One operation as a method of its resource class."""

import re
import textwrap

from tools.apigen.homes import answer_schema
from tools.apigen.merge import Schema, split_null
from tools.apigen.names import identifier
from tools.apigen.types import python_type, refs

_WIDTH = 116
_READS = ("_get", "_list", "_delete", "_pages", "_single_page", "_stream")  # they take a query by position


def method_lines(path: str, http: str, operation: Schema, schemas: dict[str, Schema]) -> list[str]:
    """The method, at the indent of a class."""
    verb, result, model = _verb(http, operation, schemas)
    waits = not result.startswith(("Pager", "LogStream"))
    name = operation["operationId"].partition(".")[2]
    lines = [f"{'async ' * waits}def {name}({', '.join(['self', *_keywords(path, operation)])}) -> {result}:"]
    if "deprecated" in operation:
        instead = (
            f"Use {operation['x-replaced-by']} instead" if "x-replaced-by" in operation else "Nothing takes its place"
        )
        lines.insert(0, f'@deprecated("{instead}.")')
    route = f"{http.upper()} {path}" + (" (experimental)" if "x-experimental" in operation else "")
    if len(route) > _WIDTH - 4:
        cut = route.rindex("/", 0, _WIDTH - 24)
        route = f"{route[:cut]}\n    {route[cut:]}"
    notes = [*textwrap.wrap(operation["description"], 110), ""] if "description" in operation else []
    doc = [f'"""{operation["summary"]}', "", *notes, *route.split("\n"), '"""']
    lines += ["    " + line if line else "" for line in [*doc, *_call(path, http, operation, verb, model, waits)]]
    return ["    " + line if line else "" for line in lines]


def _verb(http: str, operation: Schema, schemas: dict[str, Schema]) -> tuple[str, str, str]:
    """The verb of the core, what the method gives, and the models that the verb takes."""
    schema = answer_schema(operation)
    if schema is None:
        return ("_delete" if http == "delete" and "requestBody" not in operation else "_send"), "None", ""
    if next(iter(next(iter(operation["responses"].values()))["content"])).endswith("ndjson"):
        models = ", ".join(python_type(member) for member in schema["oneOf"])
        return "_stream", f"LogStream[{models}]", models
    keys = schema.get("properties", {})
    inner = keys.get("data", schema)
    result = python_type(inner.get("items", inner))
    model = "object" if result == "JSON" else result  # JSON is Any, which is no type[...]
    if inner.get("type") != "array":
        return f"_{http}", result, model
    if "pagination" not in keys:
        return "_list", f"tuple[{result}, ...]", model
    walks = "nextCursor" in schemas[refs(keys["pagination"])[0]]["properties"]
    return ("_pages" if walks else "_single_page"), f"Pager[{result}]", model


def parameters(operation: Schema, where: str) -> dict[str, Schema]:
    """The parameters in the path, the query or the headers, by keyword."""
    found = [one for one in operation["parameters"] if one["in"] == where]
    return {one.get("x-keyword") or identifier(one["name"]): one for one in found}


def body_schema(operation: Schema) -> Schema | None:
    """The schema of an operation's body; None where it takes none."""
    if "requestBody" not in operation:
        return None
    schema: Schema = next(iter(operation["requestBody"]["content"].values()))["schema"]
    return schema


def _ids(path: str, operation: Schema) -> list[str]:
    """The keywords of the ids in a path, in its order."""
    words = {one["name"]: word for word, one in parameters(operation, "path").items()}
    return [words[name] for name in re.findall(r"{(.*?)}", path)]


def _keywords(path: str, operation: Schema) -> list[str]:
    ids = [f"{word}: str" for word in _ids(path, operation)]
    needed: list[str] = []
    optional: list[str] = []
    for word, one in {**parameters(operation, "header"), **parameters(operation, "query")}.items():
        text = f"{word}: {python_type(split_null(one['schema'])[0], given=True)}"
        (needed if one["required"] else optional).append(text if one["required"] else f"{text} | None = None")
    schema = body_schema(operation)
    needed += ["value: JSON"] if schema == {} else []
    for key, value in (schema or {}).get("properties", {}).items():
        rest, nullable = split_null(value)
        text, null = f"{identifier(key)}: {python_type(rest, given=True)}", " | None" * nullable
        required = key in (schema or {})["required"]
        (needed if required else optional).append(text + null if required else f"{text} | Unset{null} = UNSET")
    return [*ids, *(["*"] if needed or optional else []), *needed, *optional]


def _call(path: str, http: str, operation: Schema, verb: str, model: str, waits: bool) -> list[str]:
    """The statements that make the call; what does not fit on its line gets one of its own, longest first."""
    schema, body = answer_schema(operation), body_schema(operation)
    fields = {key: identifier(key) for key in (body or {}).get("properties", {})}
    parts = {"route": _path(path, operation), "body": "value" if body == {} else _dict(fields)}
    for where in ("query", "header"):
        parts[where] = _dict({one["name"]: word for word, one in parameters(operation, where).items()})
    bare = verb in ("_get", "_list", "_post", "_put", "_patch") and "data" not in (schema or {}).get("properties", {})

    def call() -> str:
        query = f"query={parts['query']}" if parts["query"] and verb not in _READS else parts["query"]
        header = f"headers={parts['header']}" if parts["header"] else ""
        first = f'"{http.upper()}"' if verb == "_send" else model
        given = [first, parts["route"], parts["body"], query, header, "bare=True" * bare]
        return f"{'return ' * bool(model)}{'await ' * waits}self.{verb}({', '.join(part for part in given if part)})"

    lines = _masks(operation)
    while len(call()) > _WIDTH:
        long = [name for name in ("route", "body", "query") if parts[name][-1:] in ("}", ")")]
        if not long:
            break
        name = max(long, key=lambda one: len(parts[one]))
        lines.append(f"{name} = {parts[name]}")
        parts[name] = name
    return [*lines, call()]


def _masks(operation: Schema) -> list[str]:
    """A statement for each secret that a caller gives, after which no traceback of ours shows it."""
    given = {word: (one["schema"], one["required"]) for word, one in parameters(operation, "header").items()}
    body = body_schema(operation) or {}
    given |= {identifier(key): (one, key in body["required"]) for key, one in body.get("properties", {}).items()}
    lines: list[str] = []
    for word, (schema, required) in given.items():
        rest, nullable = split_null(schema)
        if rest.get("format") == "password":
            lines.append(f"{word} = {'' if required and not nullable else f'{word} and '}Secret({word})")
    return lines


def _dict(words: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{key}": {word}' for key, word in words.items()) + "}" if words else ""


def _path(path: str, operation: Schema) -> str:
    ids = _ids(path, operation)
    return f'path("{re.sub(r"{.*?}", "{}", path)}", {", ".join(ids)})' if ids else f'"{path}"'

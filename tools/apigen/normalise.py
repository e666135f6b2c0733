"""An OpenAPI 3.1 document, everything inlined or by reference, as a description: objects and enumerations named once.

What the committed description names keeps its name, place by place; so do its words (summaries, notes). A new shape is
called what names.toml says, else after its `$ref` or its place, and never shares the model of another shape: if a
name is taken, the next one serves. An operation that is not understood is left out, and the reason told.
"""

import json
import re
from collections.abc import Iterator

from attrs import evolve, frozen

from tools.apigen.calls import Call, named
from tools.apigen.description import METHODS, Schema, is_object
from tools.apigen.document import OURS, Document, DocumentError, Place
from tools.apigen.names import KEYWORDS, Names, identifier, pascal, sentence, template
from tools.apigen.operation import Maker
from tools.apigen.schemas import Schemas


@frozen
class Result:
    """A description, and what is to be told about how it came to be: a line for each."""

    description: Schema
    refused: list[str]
    unnamed: list[str]


def normalise(document: Schema, names: Names, committed: Schema | None = None) -> Result:
    """The description of a document; DocumentError if there is nothing in it that is understood."""
    old, refused, source = _aligned(committed or {}, document), list[str](), Document(document)
    servers = _servers(document, old)
    calls = named(source, names, old, refused)
    schemas = Schemas(source, names, old, {pascal(call.resource) for call in calls})
    done = _operations(calls, Maker(source, names, schemas, servers[0]["url"]), refused)
    if not done:
        raise DocumentError(refused[0] if refused else "#/paths: no operations")
    words = {tag["name"]: tag["description"] for tag in old.get("tags", ())}
    tags = sorted({call.resource for call in done.values()})
    info = document.get("info", {})
    Place("#/info").check_type(info, dict, "an object is needed here")
    description: Schema = {
        "openapi": "3.1.0",
        OURS: "Normalised by tools/apigen; the words are its maintainers' own.",
        "info": {**{key: str(info.get(key, "")) for key in ("title", "version")}, **old.get("info", {})},
        "servers": servers,
        "tags": [{"name": tag, "description": words.get(tag, sentence(tag))} for tag in tags],
        "paths": {call.path: {} for call in done.values()},
        "components": {"schemas": schemas.settled()},
    }
    for call in done.values():
        description["paths"][call.path][call.http] = call.raw
    _keep_words(description, old)
    return Result(description, refused, list(_unnamed(done, schemas)))


def _operations(calls: list[Call], maker: Maker, refused: list[str]) -> dict[str, Call]:
    """The operations that are understood, by route, in the order of a description; `raw` is what it holds of them."""
    found: list[Call] = []
    for call in calls:
        undo = maker.schemas.saved()
        try:
            found.append(evolve(call, raw=maker.operation(call)))
            continue
        except DocumentError as error:
            problem = str(error)
        except RecursionError:
            problem = f"{call.raw['x-at']}: refers to itself"
        except (LookupError, TypeError, ValueError, AttributeError) as error:  # a list where an object belongs
            problem = f"{call.raw['x-at']}: not as OpenAPI 3.1 has it ({error!r})"
        undo()
        refused.append(f"{problem}; {call.route} is left out")
    return {call.route: call for call in sorted(found, key=lambda call: (call.path, METHODS.index(call.http)))}


def _servers(document: Schema, old: Schema) -> list[Schema]:
    """The server that the client talks to, which no document changes, and those that the document names besides."""
    servers = document.get("servers", [])
    Place("#/servers").check_type(servers, list, "a list is needed here")
    found = [str(one["url"]) for one in servers if is_object(one) and "url" in one]
    base = next((one["url"] for one in old.get("servers", ())), None) or next(iter(found), "")
    Place("#/servers").check(re.match(r"https?://\w", base), "no server among them that a client could call")
    kept = {"url": base} if base in found or not found else {"url": base, "x-gone": True}
    return [kept, *({"url": url} for url in dict.fromkeys(found) if url != base)]


def _aligned(old: Schema, document: Schema) -> Schema:
    """The committed description with the path parameters called what the document calls them, their keywords kept."""
    paths: Schema = document.get("paths", {}) if is_object(document.get("paths", {})) else {}
    new: dict[str, str] = {template(path): path for path in paths}
    items: Schema = {}
    for path, item in json.loads(json.dumps(old.get("paths", {}))).items():
        now = path if path in paths else new.get(template(path)) or str(path)
        renamed = dict(zip(re.findall(r"{(.*?)}", path), re.findall(r"{(.*?)}", now), strict=True))
        for one in [one for operation in item.values() for one in operation["parameters"]]:
            if one["in"] == "path" and renamed[one["name"]] != one["name"]:
                one.setdefault("x-word", identifier(one["name"], KEYWORDS))
                one["name"] = renamed[one["name"]]
        items.setdefault(now, {}).update(item)
    return {**old, "paths": items}


def _keep_words(new: Schema, old: Schema) -> None:
    """Give a description the words that the committed one has in the same places."""
    for key, value in old.items():
        if key == "x-raises" or (key in ("summary", "description") and isinstance(value, str)):
            if "deprecated" in new or not str(value).startswith("deprecated"):
                new[key] = value
        elif all(is_object(one.get(key)) for one in (old, new)):
            _keep_words(new[key], value)


def _unnamed(calls: dict[str, Call], schemas: Schemas) -> Iterator[str]:
    """What got a name by default for the first time, and how it gets another."""
    for call in calls.values():
        if not call.known:
            yield f'"{call.route}" = "{call.name}" by default; another name goes into names.toml'
    for name, (kind, owner, key) in sorted(schemas.origin.items()):
        if key not in ("", "pagination") and name in schemas.made and name not in schemas.committed:
            yield f'{kind}: "{owner}.{key}" = "{name}" by default; another name goes into names.toml'

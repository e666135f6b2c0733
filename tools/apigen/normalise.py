"""An OpenAPI 3.1 document, everything inlined or by reference, as a description: objects and enumerations named once.

What the committed description names keeps its name, spot by spot; so do its words (summaries, notes). A new shape is
called what names.toml says, else after its `$ref` or its spot, and never shares the model of another shape: if a
name is taken, the next one serves. An operation that is not understood is left out, and the reason told.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager

from attrs import evolve, frozen

from tools.apigen.description import LINES, METHODS, Operation, by_template
from tools.apigen.document import OURS, DocumentError, Node, check
from tools.apigen.names import Names, default_operations, sentence, template
from tools.apigen.naming import Shapes, described
from tools.apigen.operation import read
from tools.apigen.schemas import Schema, is_list, is_object, reach, refs

_SERVER = re.compile(r"(https://|http://(localhost|127\.0\.0\.1)\b)[^\s{}?#@<>`\"\\]+")  # one that a client could call
_ORDERED = ("properties", "required", "enum", "oneOf")  # what comes of merging may come in any order
_RANKS = {verb: i for i, verb in enumerate(("get", "list", "update", "replace", "create", "check", "delete"))}


@frozen
class Result:
    """A description, and what is to be told about how it came to be: a line for each."""

    description: Schema
    refused: list[str]
    unnamed: list[str]


def normalise(document: Schema, names: Names, committed: Schema | None = None) -> Result:
    """The description of a document; DocumentError if there is nothing in it that is understood."""
    old, refused = committed or {}, dict[str, str]()
    top = Node(names, document, {"info": {}, "paths": {}, "servers": [], **document}, "#")
    servers = _servers(top.at("servers"), old)
    calls = _named(_read(top.at("paths").target(), old, servers[0]["url"], refused), refused)
    shapes, done = Shapes(names, old, {call.resource for call in calls}), list[Operation]()
    for call in calls:
        with _left_out(call.pointer, call.route, refused):
            done.append(evolve(call, raw=described(call, shapes)))
    if not done:
        raise DocumentError(next(iter(refused.values()), "#/paths: no operations"))
    calls = sorted(done, key=lambda call: (call.path, METHODS.index(call.http)))
    paths = Schema()
    for call in calls:
        paths.setdefault(call.path, {})[call.http] = call.raw
    schemas = {name: shapes.made[name] for name in sorted(reach(refs(paths), shapes.made))}
    info = top.at("info").target().value
    info = {key: " ".join(str(info.get(key, "")).split()) for key in ("title", "version")}
    description: Schema = {
        "openapi": "3.1.0",
        OURS: "Normalised by tools/apigen; the words are its maintainers' own.",
        "info": info | old.get("info", {}),
        "servers": servers,
        "tags": [{"name": tag, "description": sentence(tag)} for tag in sorted({call.resource for call in calls})],
        "paths": paths,
        "components": {"schemas": schemas},
    }
    _keep_words(_by_place(description), _by_place(old))
    unnamed = [(f'"{call.route}"', call.name) for call in calls if not call.known]
    unnamed += [(origin, name) for name, origin in sorted(shapes.origin.items()) if name in schemas]
    told = [f'{what} = "{name}" by default; another name goes into names.toml' for what, name in unnamed]
    return Result(description, [*refused.values()], told)


@contextmanager
def _left_out(pointer: str, route: str, refused: dict[str, str]) -> Generator[None]:
    """Tell what is not understood, and go on without it."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        odd = "refers to itself" if isinstance(error, RecursionError) else f"not as OpenAPI 3.1 has it ({error!r})"
        problem = error if isinstance(error, DocumentError) else f"{pointer}: {odd}"
        refused[route] = f"{problem}; {route} is left out"


def _read(paths: Node, old: Schema, base: str, refused: dict[str, str]) -> list[Operation]:
    """Every operation that is understood, with the name that it has already."""
    found, committed = dict[str, Operation](), {key: one.name for key, one in by_template(old).items()}
    for path in sorted(path for path in paths.value if not path.startswith("x-")):  # extensions
        with _left_out(paths.at(path).pointer, path, refused):
            item = paths.at(path).target()
            for http in [key for key in (*METHODS, "options", "trace") if key in item.value]:
                route = f"{http.upper()} {path}"
                name, model = paths.names.operation(route)
                name = name or committed.get(template(route), "")
                with _left_out(item.at(http).pointer, route, refused):
                    item.at(http).check(template(route) not in found, "a second route of this form")
                    one = read(path, http, item, base)
                    found[template(route)] = evolve(one, name=name, known=bool(name), model=model)
    return [*found.values()]


def _named(calls: list[Operation], refused: dict[str, str]) -> list[Operation]:
    """All with a name that no other has, in the order in which they are to be described."""
    made = dict[str, Operation]()
    for call in sorted(calls, key=lambda call: not call.known):
        with _left_out(call.pointer, call.route, refused):
            if not call.known:
                many, log = (call.data or {}).get("type") == "array", call.answer[0] == LINES
                options = [".".join(one) for one in default_operations(call.http, call.path, many, log=log)]
                call = evolve(call, name=next((one for one in options if one not in made), options[0]))
            sound = all(map(str.isidentifier, call.name.partition(".")[::2]))
            check(sound, call.pointer, f"names.toml says {call.name!r}, which is no method of a resource")
            check(call.name not in made, call.pointer, f"two routes are named {call.name}; name this one in names.toml")
            made[call.name] = call
    # Those that are known come first and leave the names of their models to nobody; a plain `get` names the others.
    return sorted(made.values(), key=lambda one: (not one.known, _RANKS.get(one.method.partition("_")[0], len(_RANKS))))


def _servers(node: Node, old: Schema) -> list[Schema]:
    """The server that the client talks to, which no document changes, and those that the document names besides."""
    node.check(is_list(node.value), "a list is needed here")
    found = {str(one["url"]): one for one in node.value if is_object(one) and "url" in one}
    base = next(iter([*(one["url"] for one in old.get("servers", ())), *filter(_SERVER.fullmatch, found)]), "")
    node.check(base, "no server among them that a client could call")
    gone = {"x-gone": True} if found and "x-gone" in found.get(base, {"x-gone": True}) else {}
    return [{"url": base, **gone}, *({"url": url} for url in found if url != base)]


def _by_place(description: Schema) -> Schema:
    """A description in which another finds what it has itself, however the parameters of its paths are named."""
    paths = {template(path): item for path, item in description.get("paths", {}).items()}
    return {**description, "paths": paths, "tags": {tag["name"]: tag for tag in description.get("tags", ())}}


def _keep_words(new: Schema, old: Schema) -> None:
    """Give a description the words of the committed one in the same places, and its order of fields and values."""
    for key, value in old.items():
        if key == "x-raises" or (key in ("summary", "description") and isinstance(value, str)):
            if "deprecated" in new or not str(value).startswith("deprecated"):
                new[key] = value
        elif all(is_object(one.get(key)) for one in (old, new)):
            _keep_words(new[key], value)
        if key in _ORDERED and (is_list(value) or is_object(value)) and isinstance(new.get(key), type(value)):
            found = [*(one for one in value if one in new[key]), *(one for one in new[key] if one not in value)]
            new[key] = found if is_list(value) else {one: new[key][one] for one in found}

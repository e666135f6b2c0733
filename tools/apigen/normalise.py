"""An OpenAPI 3.1 document, everything inlined or by reference, as a description: objects and enumerations named once.

What the committed description names keeps its name, place by place; so do its words (summaries, notes). A new shape is
called what names.toml says, else after its `$ref` or its place, and never shares the model of another shape: where a
name is taken, the next one serves. An operation that is not understood is left out, and the reason told.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from attrs import evolve, field, frozen

from tools.apigen.description import METHODS, Schema, by_template, operations
from tools.apigen.document import OURS, Document, DocumentError, Place
from tools.apigen.marks import marks, own_summary
from tools.apigen.names import (
    KEYWORDS,
    VERBS,
    Names,
    default_models,
    default_operations,
    default_summary,
    identifier,
    pascal,
    sentence,
    singular,
    template,
)
from tools.apigen.schemas import JSON, LINES, Schemas

_ORDER = ("operationId", "tags", "summary", "", "parameters", "requestBody", "responses", "x-errors")


@frozen
class Result:
    """A description, and what is to be told about how it came to be: a line for each."""

    description: Schema
    refused: list[str]
    unnamed: list[str]


@frozen
class Call:
    """An operation of a document, and what it is called."""

    path: str
    http: str
    raw: Schema
    name: str
    model: str | None  # by names.toml
    known: bool  # to the committed description or to names.toml
    old: Schema = field(factory=dict[str, Any])

    @property
    def route(self) -> str:
        return f"{self.http.upper()} {self.path}"

    @property
    def resource(self) -> str:
        return self.name.partition(".")[0]

    @property
    def method(self) -> str:
        return self.name.partition(".")[2]

    @property
    def rank(self) -> tuple[bool, int]:
        """Known operations come first and leave the names of their models to nobody; a plain `get` names the others."""
        order = ("get", "list", "update", "replace", "create", "check", "delete")
        verb = self.method.partition("_")[0]
        return not self.known, order.index(verb) if verb in VERBS else len(order)


def normalise(document: Schema, names: Names, committed: Schema | None = None) -> Result:
    """The description of a document; DocumentError if there is nothing in it that is understood."""
    old, made = _aligned(committed or {}, document), _Description(document, names)
    servers = _servers(document, old)
    made.base = servers[0]["url"]
    calls = sorted(made.named(old), key=lambda call: call.rank)
    made.schemas = Schemas(made.document, names, old, {pascal(call.resource) for call in calls})
    done = {(call.path, call.http): operation for call in calls if (operation := made.operation(call))}
    first = made.refused[0] if made.refused else "#/paths: no operations"
    if not done:
        raise DocumentError(first)
    words = {tag["name"]: tag["description"] for tag in old.get("tags", ())}
    tags = sorted({one["tags"][0] for one in done.values()})
    description: Schema = {
        "openapi": "3.1.0",
        OURS: "Normalised by tools/apigen; the words are its maintainers' own.",
        "info": {
            **{key: str(document.get("info", {}).get(key, "")) for key in ("title", "version")},
            **old.get("info", {}),
        },
        "servers": servers,
        "tags": [{"name": tag, "description": words.get(tag, sentence(tag))} for tag in tags],
        "paths": {path: {} for path, _ in sorted(done)},
        "components": {"schemas": made.schemas.settled()},
    }
    for (path, http), operation in sorted(done.items(), key=lambda one: (one[0][0], METHODS.index(one[0][1]))):
        description["paths"][path][http] = operation
    _keep_words(description, old)
    return Result(
        description, made.refused, list(made.unnamed([one for one in calls if (one.path, one.http) in done], old))
    )


def _servers(document: Schema, old: Schema) -> list[Schema]:
    """The server that the client talks to, which no document changes, and those that the document names besides."""
    found = [str(one["url"]) for one in document.get("servers", ()) if isinstance(one, dict) and "url" in one]
    base = next((one["url"] for one in old.get("servers", ())), None) or next(iter(found), "")
    Place("#/servers").check(re.match(r"https?://\w", base), "no server among them that a client could call")
    kept = {"url": base} if base in found or not found else {"url": base, "x-gone": True}
    return [kept, *({"url": url} for url in dict.fromkeys(found) if url != base)]


def _aligned(old: Schema, document: Schema) -> Schema:
    """The committed description with the path parameters called what the document calls them, their keywords kept."""
    paths = document.get("paths", {}) if isinstance(document.get("paths", {}), dict) else {}
    new = {template(path): path for path in paths}
    items: Schema = {}
    for path, item in json.loads(json.dumps(old.get("paths", {}))).items():
        now = path if path in paths else new.get(template(path), path)
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
        elif all(isinstance(one.get(key), dict) for one in (old, new)):
            _keep_words(new[key], value)


class _Description:
    """The operations of a document, one by one."""

    schemas: Schemas
    base: str

    def __init__(self, document: Schema, names: Names) -> None:
        self.document, self.names = Document(document), names
        self.refused: list[str] = []

    def named(self, old: Schema) -> list[Call]:
        """Every operation that can be read, with a name of its own: listed, committed, or by default."""
        committed, taken, calls = by_template(old), set[str](), list[Call]()
        found: list[tuple[str, str, Schema]] = []
        for path, http, raw in self.document.operations():
            if isinstance(raw, DocumentError):
                self.refused.append(f"{raw}; {http.upper()} {path} is left out")
            else:
                found.append((path, http, raw))
        fresh: list[tuple[str, str, Schema]] = []
        for path, http, raw in found:
            before, listed = (
                committed.get(template(f"{http.upper()} {path}")),
                self.names.operation(f"{http.upper()} {path}"),
            )
            name, model = listed or (before.name if before else None, None)
            if name is None:
                fresh.append((path, http, raw))
            else:
                before_ = before.raw if before else {}
                self._add(calls, taken, Call(path, http, raw, name, model, known=True, old=before_))
        for path, http, raw in fresh:
            many, log = self._kind(raw)
            options = [".".join(one) for one in default_operations(http, path, many, log=log)]
            name = next((one for one in options if one not in taken), options[0])
            self._add(calls, taken, Call(path, http, raw, name, None, known=False))
        return calls

    def _add(self, calls: list[Call], taken: set[str], call: Call) -> None:
        if call.name in taken:
            line = f"two routes are named {call.name}; name this one in names.toml; {call.route} is left out"
            self.refused.append(f"{call.raw['x-at']}: {line}")
        else:
            taken.add(call.name)
            calls.append(call)

    def _kind(self, raw: Schema) -> tuple[bool, bool]:
        """Whether an operation answers a list, and whether a log."""
        try:
            answers = {status: one for status, one in raw["responses"].items() if re.match(r"2|101", status)}
            content = self.document.target(answers[max(answers)], Place("#"))[0].get("content", {})
            schema = self.document.target(content[JSON]["schema"], Place("#"))[0] if JSON in content else {}
            data = self.document.target(schema.get("properties", {}).get("data", schema), Place("#"))[0]
        except (DocumentError, LookupError, TypeError, AttributeError):  # the reason is told when it is normalised
            return False, False
        return data.get("type") == "array", LINES in content

    def operation(self, call: Call) -> Schema | None:
        """An operation of the description; None for one that is not understood, which is told."""
        place = Place(
            call.raw["x-at"],
            call.name,
            pascal(singular(call.resource)),
            base=next(default_models(call.resource, call.method, False)),
        )
        undo = self.schemas.saved()
        try:
            return self._operation(call, place)
        except DocumentError as error:
            problem = str(error)
        except RecursionError:
            problem = f"{place.pointer}: refers to itself"
        except (LookupError, TypeError, AttributeError) as error:  # an object where a list belongs, and the like
            problem = f"{place.pointer}: not as OpenAPI 3.1 has it ({error!r})"
        undo()
        self.refused.append(f"{problem}; {call.route} is left out")
        return None

    def _operation(self, call: Call, place: Place) -> Schema:
        raw, old = call.raw, call.old
        for part in call.path.strip("/").split("/"):
            place.check(
                re.fullmatch(r"([\w.:~@-]|{[^{}/]+})+", part, re.ASCII),
                f"{json.dumps(part)} is no plain step of a path",
            )
        servers = [one["url"] for one in raw["servers"]]
        place.at("servers").check(
            set(servers) <= {self.base}, f"another server ({', '.join(servers)}); tokens go to one only"
        )
        place.check(
            all(map(str.isidentifier, (call.resource, call.method))),
            "no name can be made of its path; name it in names.toml",
        )
        made: Schema = {"operationId": place.owner, "tags": [call.resource]}
        made["summary"] = own_summary(raw) or default_summary(call.resource, call.method)
        made |= self._marks(raw)
        if "deprecated" in made and call.resource in self.names.replaced:
            made["x-replaced-by"] = f"{self.names.replaced[call.resource]}.{call.method}"
        if self._needs_no_token(raw) or self.names.needs_no_token(call.route):
            made["security"] = []
        answers = raw["responses"]
        made["responses"] = self._answers(call, answers, place.at("responses"))
        made["parameters"] = [
            one
            for raw, at in raw["parameters"]
            if (one := self._parameter(call, raw, evolve(at, owner=place.owner, prefix=place.prefix, given=True)))
        ]
        if "requestBody" in raw:
            before = old.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema", {})
            body = self._body(raw["requestBody"], place.at("requestBody", given=True, old=before))
            made["requestBody"] = {"required": bool(body.get("required")), "content": {JSON: {"schema": body}}}
        log = LINES in next(iter(made["responses"].values())).get("content", {})
        bare = not any(one["in"] == "header" for one in made["parameters"]) and "security" not in made
        place.check(bare or not log, "a log with headers, or without a token, which no reader of logs could send")
        self._keywords(call, made, place)
        errors = {int(status) for status in answers if status.isdecimal() and int(status) >= 400}
        made["x-errors"] = sorted((errors or set(raw.get("x-errors", ()))) | set(self.names.extra_errors(call.route)))
        return {key: made[key] for key in sorted(made, key=lambda key: _ORDER.index(key) if key in _ORDER else 3)}

    def _needs_no_token(self, raw: Schema) -> bool:
        return raw.get("security", self.document.raw.get("security")) in ([], [{}])

    def _marks(self, raw: Schema) -> Schema:
        return marks(raw, words_too=self.document.is_foreign)

    def _parameter(self, call: Call, raw: Schema, place: Place) -> Schema | None:
        name, where = str(raw["name"]), str(raw["in"])
        if where == "header" and name.lower() in ("accept", "content-type", "authorization"):
            return None  # OpenAPI has it that these are none
        place.check(where in ("path", "query", "header"), f"a parameter in the {where}")
        place.check("schema" in raw, "a parameter without a schema")
        held = (one for one in call.old.get("parameters", ()) if (one["name"], one["in"]) == (name, where))
        old: Schema = next(held, {})
        schema = self.schemas.schema(
            raw["schema"], place.at("schema", field=name, text=True, old=old.get("schema", {}))
        )
        many = schema.get("type") == "array" and schema["items"].get("type") != "array" and where == "query"
        place.check(
            many
            or (schema.get("type") not in ("array", "object") and not {"$ref", "oneOf"} & schema.keys())
            or self.schemas.is_enum(schema),
            f"an object or a list in the {where} that no client could write in one way",
        )
        style = raw.get("style", "form") if where == "query" else "form"
        place.check(not many or style == "form", f"a list in the style {style}")
        made = {"name": name, "in": where, "required": bool(raw.get("required") or where == "path"), "schema": schema}
        if many and raw.get("explode") is False:
            made["explode"] = False
        if where == "path" and name in self.names.twice:
            made["x-twice"] = True
        word = old.get("x-word") or self.names.keyword(name, call.path)
        if word != identifier(name, KEYWORDS):
            made["x-word"] = word
        return made | self._marks(raw)

    def _body(self, raw: Schema, place: Place) -> Schema:
        """An object whose fields become keywords, or whatever else is given as one value."""
        raw, place = self.document.target(raw, place)
        _, schema, inside = self._content(raw, place, JSON)
        resolved, at = self.schemas.resolved(schema, inside)
        if (
            not resolved.get("properties")
            or resolved.get("type", "object") != "object"
            or {"oneOf", "anyOf"} & resolved.keys()
        ):
            return self.schemas.schema(schema, evolve(inside, names=(f"{place.prefix}Input",)))
        made = self.schemas.fields(resolved, at)
        further = resolved.get("additionalProperties", False)
        if further is not False:
            made["additionalProperties"] = self.schemas.schema(further, at.at("additionalProperties", old={}))
        return made

    def _content(self, raw: Schema, place: Place, *kinds: str) -> tuple[str, Schema, Place]:
        """The type and the schema of a body or an answer, and where the schema stands."""
        found = {kind.partition(";")[0].strip().lower(): kind for kind in raw["content"]}
        kind = next((kind for kind in kinds if kind in found), "")
        place.at("content").check(kind, f"no {' or '.join(kinds)}, but {', '.join(raw['content'])}")
        content = raw["content"][found[kind]]
        return kind, content.get("schema", {}), place.at("content", found[kind], "schema")

    def _answers(self, call: Call, raw: Schema, place: Place) -> Schema:
        """The successes, in an envelope with `data` or without, all alike; and the switch of a log to a WebSocket."""
        made: Schema = {}
        answered: Schema = next(iter(call.old.get("responses", {}).values()), {})
        before: Schema = answered.get("content", {})
        for status in sorted(status for status in raw if re.fullmatch(r"2(\d\d|XX)", status, re.IGNORECASE)):
            made[status] = self._answer(call, raw[status], place.at(status), before)
        live = "101" in raw
        if live and (not made or any(LINES in one.get("content", {}) for one in made.values())):
            made["101"] = {"description": ""}
            if len(made) == 1:
                made["101"] = self._answer(call, raw["101"], place.at("101"), before)
                place.at("101").check(
                    LINES in made["101"].get("content", {}), f"a WebSocket whose records no {LINES} describes"
                )
        place.check(made, "no success among them")
        successes = {json.dumps(answer) for status, answer in made.items() if status != "101"}
        place.check(len(successes) <= 1, "successes that differ; one answer is what a method can give")
        return made

    def _answer(self, call: Call, raw: Schema, place: Place, old: Schema) -> Schema:
        raw, place = self.document.target(raw, place)
        made: Schema = {"description": ""}
        if not raw.get("content"):
            return made
        kind, schema, inside = self._content(raw, place, JSON, LINES)
        opens = self.schemas.opens(schema, inside)
        names = list(default_models(call.resource, call.method, opens))
        prefix = call.model or names[0]
        beside = {"data", "pagination"} < self.schemas.resolved(schema, inside)[0].get("properties", {}).keys()
        if beside and not call.known:  # what stands beside `data` becomes fields of its model, so it must be a new one
            names = [name for name in names if name not in self.schemas.made] or names
        inside = evolve(
            inside, owner=prefix, prefix=prefix, name=call.model, names=names, old=old.get(kind, {}).get("schema", {})
        )
        whole, at = self.schemas.resolved(schema, inside)
        fields = dict(whole.get("properties", {}))
        data = self.document.target(fields.get("data", {}), at.at("properties", "data"))[0]
        if "data" not in fields or (len(fields) > 1 and self.schemas.is_scalar(data)):
            made["content"] = {kind: {"schema": self.schemas.schema(schema, inside)}}
            return made
        envelope = self.schemas.fields(
            {**whole, "properties": {**fields, "data": {}}},
            evolve(at, owner=call.name, name=None, names=()),
        )
        envelope["properties"]["data"] = self.schemas.schema(
            fields["data"], at.at("properties", "data", old=(at.old or {}).get("properties", {}).get("data", {}))
        )
        self._check_envelope(envelope, at)
        made["content"] = {kind: {"schema": envelope}}
        return made

    def _check_envelope(self, envelope: Schema, place: Place) -> None:
        """That the core can take it apart."""
        data, beside = envelope["properties"]["data"], envelope["properties"].keys() - {"data"}
        at = place.at("properties", "data")
        listed = data.get("type") == "array"
        at.check(data.get("type") != ["array", "null"], "a list that may be null")
        at.check(
            not beside or listed or "$ref" in data,
            f"beside {', '.join(sorted(beside))} only a list or an object can stand",
        )
        paging = self.schemas.made.get(
            envelope["properties"].get("pagination", {}).get("$ref", "").rpartition("/")[2], {}
        )
        place.at("properties", "pagination").check(
            not listed or "pagination" not in beside or "hasMore" in paging.get("properties", ()),
            "pages without `hasMore`; nothing tells whether the list goes on",
        )

    def _keywords(self, call: Call, made: Schema, place: Place) -> None:
        """Give a keyword that comes twice, or is no name, another one."""
        ids = re.findall(r"{(.*?)}", call.path)
        found = [one["name"] for one in made["parameters"] if one["in"] == "path"]
        place.check(sorted(ids) == sorted(found), "the ids in the path are not its parameters")
        arguments = next(operations({"paths": {call.path: {call.http: made}}})).arguments
        taken = {one.word for one in arguments if one.where == "live"}
        for one in [one for one in arguments if one.where != "live"]:
            word = one.word if one.word not in taken else f"{one.word.rstrip('_')}_{one.where}"
            place.check(word.isidentifier() and word not in taken, f"no keyword can be made of {json.dumps(one.key)}")
            taken.add(word)
            if word != one.word:
                one.raw["x-word"] = word

    def unnamed(self, calls: list[Call], old: Schema) -> Iterator[str]:
        """What got a name by default for the first time, and how it gets another."""
        for call in calls:
            if not call.known:
                yield f'"{call.route}" = "{call.name}" by default; another name goes into names.toml'
        known = old.get("components", {}).get("schemas", {})
        for name, (kind, owner, key) in sorted(self.schemas.origin.items()):
            if name not in known and key and name in self.schemas.made:
                yield f'{kind}: "{owner}.{key}" = "{name}" by default; another name goes into names.toml'

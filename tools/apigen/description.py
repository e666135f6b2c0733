"""What a description says: its operations, and the parts of these and of its models."""

import re
from collections.abc import Iterator

from attrs import frozen

from tools.apigen.names import FIELDS, KEYWORDS, identifier, template
from tools.apigen.schemas import Schema, split_null

JSON, LINES = "application/json", "application/x-ndjson"
METHODS = ("get", "post", "put", "patch", "delete", "head")
PARAMETERS = {"path": "simple", "header": "simple", "query": "form"}  # and the style in which clients write them
_PLACES = (*PARAMETERS, "body", "live")
# Of the errors that docs/operations.md does not tell of any call: 404 is of any call that has ids in its path.
_ERRORS = {404: "NotFoundError", 409: "ConflictError"}
_WORDS = {"*": "extra", "": "value"}  # for what has no name on the wire


@frozen
class Part:
    """A keyword of a method, or a field of a model or of an answer: a schema, and what is said of it."""

    owner: str  # the route, its parameters without their names; or the model
    where: str  # path, header, query, body, live, answer; empty in a model
    key: str  # on the wire; empty for a body or an answer as a whole, `*` for further fields of a body
    schema: Schema
    required: bool
    raw: Schema  # what has the marks and the word
    position: int = -1  # in the path

    @property
    def bare(self) -> Schema:
        return split_null(self.schema)[0]

    @property
    def nullable(self) -> bool:
        return split_null(self.schema)[1]

    @property
    def spot(self) -> str:
        """What tells it from every other part, however the parameters of its path are named."""
        return f"{self.owner} {self.where}.{self.key if self.position < 0 else self.position}"

    @property
    def word(self) -> str:
        """Its name in Python."""
        taken = KEYWORDS if self.where in _PLACES else FIELDS
        return str(self.raw.get("x-word") or _WORDS.get(self.key) or identifier(self.key, taken))


def fields(owner: str, where: str, schema: Schema) -> list[Part]:
    required = schema.get("required", ())
    return [Part(owner, where, key, one, key in required, one) for key, one in schema.get("properties", {}).items()]


@frozen
class Operation:
    """An operation, and what it is called."""

    path: str
    http: str
    raw: Schema
    name: str = ""
    known: bool = True  # to the committed description or to names.toml
    model: str | None = None  # of its answer, by names.toml
    pointer: str = ""  # in the document

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
    def body(self) -> Schema | None:
        """The schema of the request's body."""
        found: Schema | None = self.raw["requestBody"]["content"][JSON]["schema"] if "requestBody" in self.raw else None
        return found

    @property
    def answer(self) -> tuple[str, Schema | None]:
        """The type of what a success holds, and its schema; nothing if it has no body."""
        content: Schema = next(iter(self.raw["responses"].values())).get("content", {})
        return next(((kind, one["schema"]) for kind, one in content.items()), ("", None))

    @property
    def envelope(self) -> Schema:
        """The fields of an answer `{"data": …}`, which gets no name; none of any other."""
        schema = self.answer[1] or {}
        return {} if "x-at" in schema else dict(schema.get("properties", {}))

    @property
    def data(self) -> Schema | None:
        """What is answered, without its envelope."""
        return self.envelope["data"] if self.envelope else self.answer[1]

    @property
    def arguments(self) -> list[Part]:
        """Ids as the path has them, then headers, query, body; at last, `follow` if a WebSocket carries the log too."""
        found: list[Part] = []
        ids, route, body = re.findall(r"{(.*?)}", self.path), template(self.route), self.body
        for one in self.raw["parameters"]:
            position = ids.index(one["name"]) if one["in"] == "path" else -1
            found.append(Part(route, one["in"], one["name"], one["schema"], one["required"], one, position))
        if body is not None and body.get("type") == "object" and "properties" in body:
            found += fields(route, "body", body)
            if "additionalProperties" in body:
                found.append(Part(route, "body", "*", body["additionalProperties"], False, body))
        elif body is not None:
            found.append(Part(route, "body", "", body, True, self.raw["requestBody"]))
        if "101" in self.raw["responses"] and len(self.raw["responses"]) > 1:
            found.append(Part(route, "live", "follow", {"type": "boolean"}, False, {}))
        return sorted(found, key=lambda one: (_PLACES.index(one.where), one.position))

    def at(self, place: str) -> list[Part]:
        return [part for part in self.arguments if part.where == place]

    @property
    def answered(self) -> list[Part]:
        """The fields of the envelope, or the answer as a whole."""
        route, schema = template(self.route), self.answer[1]
        if self.envelope or schema is None:
            return fields(route, "answer", schema or {})
        return [Part(route, "answer", "", schema, True, schema)]

    @property
    def raises(self) -> list[str]:
        """The errors that an answer stands for, but for those that any call or any id may meet; and their reasons."""
        known: dict[str, str] = self.raw.get("x-raises", {})
        if not known and "x-raises" in self.raw:
            return []  # the words say it all
        usual = {404} if self.at("path") else set[int]()
        found = [name for status, name in _ERRORS.items() if status in {*self.raw["x-errors"]} - usual]
        plain = ", ".join(name for name in found if name not in known)
        return [*filter(None, [plain]), *(f"{name}: {reason}" for name, reason in known.items())]


def operations(document: Schema) -> Iterator[Operation]:
    """By path, then in the usual order of methods."""
    for path, item in sorted(document.get("paths", {}).items()):
        for http in (http for http in METHODS if http in item):
            yield Operation(path, http, item[http], str(item[http]["operationId"]))


def by_template(document: Schema) -> dict[str, Operation]:
    return {template(one.route): one for one in operations(document)}


def parts(document: Schema) -> Iterator[Part]:
    """All keywords, and all fields of answers and of models."""
    for one in operations(document):
        yield from [*one.arguments, *one.answered]
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        yield from fields(name, "", schema)

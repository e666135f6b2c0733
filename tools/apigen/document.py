"""An OpenAPI document as it came: read within bounds, its references followed, its operations with what is theirs."""

import json
import re
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from tools.apigen.description import METHODS, Schema, is_object

OURS = "x-apigen"  # marks a description, whose words are ours
LIMIT = 20_000_000  # bytes, of a document of twenty times the size of today's


class DocumentError(ValueError):
    """Something in a document that the generator does not understand, after its JSON pointer."""


@frozen
class Place:
    """Where a schema stands: its pointer, the model or method it belongs to, its field there."""

    pointer: str
    owner: str = ""
    prefix: str = ""  # what default names begin with
    base: str = ""  # the thing that the operation is about, whose parts look alike in all of its models
    field: str = ""
    name: str | None = None  # what names.toml calls the object or the items here
    member: str | None = None  # the constant `type` of a member of a union
    given: bool = False  # by the caller, in a request
    text: bool = False  # it travels in a path, a query or a header
    names: Sequence[str] = ()  # the defaults for an answer as a whole
    old: Any = None  # what the committed description has here

    def at(self, *steps: object, **changes: Any) -> "Place":
        escaped = [str(step).replace("~", "~0").replace("/", "~1") for step in steps]
        return evolve(self, pointer="/".join([self.pointer, *escaped]), **changes)

    def check(self, sound: object, message: str) -> None:
        if not sound:
            raise DocumentError(f"{self.pointer}: {message}")

    def check_type(self, value: object, kind: type, message: str) -> None:
        self.check(isinstance(value, kind), message)


def read(source: str) -> Schema:
    """The document at a path or a URL; ValueError or OSError for what is none."""
    url = source if source.startswith(("https://", "http://", "file://")) else Path(source).absolute().as_uri()
    with urllib.request.urlopen(url, timeout=60) as answer:
        text = answer.read(LIMIT + 1)
    if len(text) > LIMIT:
        raise ValueError(f"more than {LIMIT // 1_000_000} MB")
    try:
        document = json.loads(text)
        json.dumps(document, ensure_ascii=False).encode()  # halves of surrogate pairs cannot be written
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None
    if not is_object(document):
        raise DocumentError(f"#: an object is needed, not {type(document).__name__}")
    version = str(document.get("openapi", document.get("swagger", "3.1")))
    if not re.match(r"3\.[12]($|\.)", version):
        raise DocumentError(f"#/openapi: version {version} is not understood; convert the document to 3.1")
    return document


class Document:
    """A document whose references can be followed."""

    def __init__(self, raw: Schema) -> None:
        self.raw = raw
        self.is_foreign = OURS not in raw

    def target(self, raw: Schema, place: Place) -> tuple[Schema, Place]:
        """What a local reference points at, and where that stands; what stands beside the reference counts too."""
        seen: list[str] = []
        while is_object(raw) and "$ref" in raw:
            at = raw["$ref"]
            place.check(
                isinstance(at, str) and at.startswith("#/"), f"a reference to {at!r}; only those inside the document"
            )
            place.check(at not in seen, f"{at} refers to itself")
            seen.append(at)
            found: Any = self.raw
            for step in at.removeprefix("#/").split("/"):
                step = step.replace("~1", "/").replace("~0", "~")
                found = found.get(step) if is_object(found) else None
            place.check(is_object(found), f"nothing at {at}")
            beside = {key: value for key, value in raw.items() if key not in ("$ref", "summary", "description")}
            raw, place = {**found, **beside}, evolve(place, pointer=at)
        place.check_type(raw, dict, "an object is needed here")
        return raw, place

    def operations(self) -> Iterator[tuple[str, str, Schema | DocumentError]]:
        """The path, the method and the operation of each, with the parameters and servers of its path item."""
        paths = self.raw.get("paths", {})
        Place("#/paths").check_type(paths, dict, "an object is needed here")
        for path in sorted(paths):
            try:
                item, place = self.target(paths[path], Place("#/paths").at(path))
            except DocumentError as error:
                yield path, "", error
                continue
            for http in [key for key in (*METHODS, "options", "trace") if key in item]:
                try:
                    yield path, http, self._operation(item, http, place)
                except DocumentError as error:
                    yield path, http, error

    def _operation(self, item: Schema, http: str, place: Place) -> Schema:
        at = place.at(http)
        at.check(http in METHODS, f"a client has no use for {http.upper()}")
        at.check_type(item[http], dict, "an object is needed here")
        whole = {"servers": item.get("servers", []), "x-at": at.pointer, **item[http]}
        parameters: dict[tuple[str, str], tuple[Schema, Place]] = {}
        for owner, inside in ((item, place), (item[http], at)):
            given = owner.get("parameters", [])
            inside.at("parameters").check_type(given, list, "a list is needed here")
            for i, one in enumerate(given):
                raw, where = self.target(one, inside.at("parameters", i))
                where.check({"name", "in"} <= raw.keys(), "a parameter without name or place")
                parameters[str(raw["name"]), str(raw["in"])] = (raw, where)
        return {**whole, "parameters": list(parameters.values())}

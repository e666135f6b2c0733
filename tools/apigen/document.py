"""An OpenAPI document as it came: read within bounds, its references followed, what is wrong told with a pointer."""

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from tools.apigen.names import Names
from tools.apigen.schemas import Schema, is_object, without

OURS = "x-apigen"  # marks a description, whose words are ours
LIMIT = 20_000_000  # bytes, of a document of twenty times the size of today's


class DocumentError(ValueError):
    """Something in a document that the generator does not understand, after its JSON pointer."""


@frozen
class Node:
    """A value in a document, and where it stands."""

    names: Names
    root: Schema  # the document
    value: Any
    pointer: str
    field: str = ""  # whose value it is
    given: bool = False  # by the caller, in a request
    body: bool = False  # as a whole
    text: bool = False  # it travels in a path, a query or a header
    within: tuple[str, ...] = ()  # the places that refer to it, in turn

    def at(self, *steps: Any, **changes: Any) -> "Node":
        value, pointer = self.value, self.pointer
        for step in steps:
            escaped = str(step).replace("~", "~0").replace("/", "~1")
            value, pointer = value[step], f"{pointer}/{escaped}"
        return evolve(self, value=value, pointer=pointer, body=False, **changes)

    def check(self, sound: object, message: str) -> None:
        check(sound, self.pointer, message)

    def target(self, *seen: str) -> "Node":
        """The object that is here, or that a local reference points at; what stands beside the reference counts too."""
        self.check(is_object(self.value), "an object is needed here")
        if "$ref" not in self.value:
            return self
        pointer: Any = self.value["$ref"]
        found: Any = self.root
        local = isinstance(pointer, str) and pointer.startswith("#/")
        self.check(local, f"a reference to {pointer!r}; only those inside the document")
        self.check(pointer not in seen, f"{pointer} refers to itself")
        for step in pointer.removeprefix("#/").split("/"):
            found = found.get(step.replace("~1", "/").replace("~0", "~"))
            self.check(is_object(found), f"nothing at {pointer}")
        beside = without(self.value, "$ref", "summary", "description")
        return evolve(self, value={**found, **beside}, pointer=pointer).target(*seen, pointer)


def check(sound: object, pointer: str, message: str) -> None:
    if not sound:
        raise DocumentError(f"{pointer}: {message}")


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
    check(is_object(document), "#", f"an object is needed, not {type(document).__name__}")
    version = str(document.get("openapi", document.get("swagger", "3.1")))
    sound = re.match(r"3\.[12]($|\.)", version)
    check(sound, "#/openapi", f"version {version} is not understood; convert the document to 3.1")
    return dict(document)

"""An OpenAPI document as it came: read within bounds, and what is wrong told with a pointer.

A node follows references, and knows what is said of a thing in passing: that it is deprecated or experimental, and in a
few words what it is.
"""

import json
import re
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from attrs import evolve, frozen

from tools.apigen.names import Names
from tools.apigen.schemas import MARKS, Schema, is_object, without

OURS = "x-apigen"  # marks a description, whose words are ours
LIMIT = 20_000_000  # bytes, of a document of twenty times the size of today's
_STAGES = ("x-stability", "x-stability-level", "x-status", "x-lifecycle", "x-maturity", "x-stage", "x-release-status")
_SELF = "this|it|endpoint|operation|route|method|parameter|field|property|header"
_WORDS = {"deprecated": "deprecated|sunset|obsolete", "x-experimental": "experimental|alpha|beta|preview|unstable"}


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
    place: str = "answer"  # or the caller gives it: "parameter", which travels as text, or "body"
    within: tuple[str, ...] = ()  # what the references to it pointed at, in turn

    def at(self, *steps: Any, **changes: Any) -> "Node":
        value, pointer = self.value, self.pointer
        for step in steps:
            escaped = str(step).replace("~", "~0").replace("/", "~1")
            value, pointer = value[step], f"{pointer}/{escaped}"
        return evolve(self, value=value, pointer=pointer, **changes)

    def check(self, sound: object, message: str) -> None:
        check(sound, self.pointer, message)

    def target(self, *seen: str) -> "Node":
        """The object that is here, or that a local reference points at; what stands beside the reference counts too."""
        self.check(is_object(self.value), "an object is needed here")
        if "$ref" not in self.value:
            return self
        pointer: Any = self.value["$ref"]
        found: Any = self.root
        self.check(str(pointer).startswith("#/"), f"a reference to {pointer!r}; only those inside the document")
        self.check(pointer not in seen, f"{pointer} refers to itself")
        for step in unquote(pointer).removeprefix("#/").split("/"):
            found = found.get(step.replace("~1", "/").replace("~0", "~"))
            self.check(is_object(found), f"nothing at {pointer}")
        beside = without(self.value, "$ref", "summary", "description")
        followed = evolve(self, value={**found, **beside}, pointer=pointer, within=(*self.within, pointer))
        return followed.target(*seen, pointer)

    def marks(self) -> Schema:
        """`deprecated` and `x-experimental`, as a keyword, as an extension, or in words that are the API's own."""
        return {mark: True for mark in MARKS if self._is_marked(mark)}

    def _is_marked(self, mark: str) -> bool:
        raw, words, word = self.value, _WORDS[mark], MARKS[mark]
        flags = [raw[key] for key in (word, *(f"x-{one}" for one in words.split("|"))) if key in raw]
        is_flagged = any(flag not in (False, None, "false") for flag in flags)
        if is_flagged or any(re.fullmatch(words, str(raw[key]), re.IGNORECASE) for key in _STAGES if key in raw):
            return True
        text = "\n".join(raw[key] for key in ("summary", "description") if isinstance(raw.get(key), str))
        said = rf"(?im)^\W*({word})\b(?![ -]\w+ing\b)|[(\[*]\W*({word})\W*[)\]*]|\b({_SELF}) (is|are) ({word})\b"
        return OURS not in self.root and not flags and re.search(said, text) is not None

    def summary(self) -> Schema:
        """The document's summary as a sentence, if it is worth having: two words of text at least, a line at most."""
        text = self.value.get("summary")
        if not isinstance(text, str):
            return {}
        text = re.sub(r"(?i)\W*[(\[*]\W*(deprecated|experimental|alpha|beta|preview)\W*[)\]*]\W*", " ", text)
        text = re.sub(r"(?i)^\s*(deprecated|experimental)\s*[:.!-]+", "", text)
        text = " ".join(text.split()).rstrip(".")
        sound = text.isprintable() and " " in text and len(text) <= 100 and not re.search(r'["\\`{}/]', text)
        return {"summary": f"{text[0].upper()}{text[1:]}."} if sound else {}


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

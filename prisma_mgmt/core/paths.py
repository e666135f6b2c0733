"""Builds the path and the query of a request: ids are checked and quoted, values written by encoding.py. Pure."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast
from urllib.parse import quote

from prisma_mgmt.checks import checked_kind, checked_mapping
from prisma_mgmt.core.encoding import plain
from prisma_mgmt.core.kinds import UNSET, Unset

T = TypeVar("T")
_PLAIN = re.compile(r"[0-9A-Za-z_-]+")


class Filled(str):
    """A path whose template is known, for those who observe."""

    __slots__ = ("template",)
    template: str


def path(template: str, *ids: str) -> Filled:
    """`template` with each `{}` filled by an id, quoted as one path segment.

    Raises ValueError for an id that is empty, "." or "..", or holds control characters; TypeError for one that is no
    string.
    """
    filled = Filled(template.format(*[_segment(one, template) for one in ids]))
    filled.template = template
    return filled


def fill(template: str, values: Mapping[str, str] | None) -> Filled:
    """`template` with its `{name}` parts filled from `values`, each as one path segment."""
    values = checked_mapping(values, "path_params")
    checked_kind(template, str, "the path", "a string")
    if not template.startswith("/") or template.startswith("//"):
        raise ValueError(f"the path must start with a single slash, not {template!r}: requests stay at the base URL")
    plain = re.sub(r"\{\w+\}", "{}", template)
    if re.search(r"[^\x21-\x7e]|[?#\\\"<>`]|\{(?!\})|(?<!\{)\}|/(\.|%2e){1,2}(/|$)", plain, re.IGNORECASE):
        raise ValueError(f"the path {template!r} must be plain segments; a query goes into query=")
    names = re.findall(r"\{(\w*)\}", template)
    if set(names) != set(values):
        raise ValueError(f"the path {template!r} needs path_params for {names}, got {sorted(values)}")
    filled = path(plain, *(values[name] for name in names))
    filled.template = template
    return filled


def route(path: str) -> str:
    """The template of a path, its parts by name; the path itself if it has none."""
    return getattr(path, "template", path).replace("{}", "{id}")


def _segment(value: str, template: str = "the path") -> str:
    if value.__class__ is not str:
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
            raise TypeError(f"an id must be a string, such as project.id, not {type(value).__name__} (in {template})")
        value = str.__str__(value)  # of an Enum's member its value, not its name
    if _PLAIN.fullmatch(value):  # as ids are
        return value
    if value in ("", ".", ".."):
        raise ValueError(f"{value!r} is no id (in {template})")
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in value):
        raise ValueError(f"the id {value!r} holds control characters")
    return _quoted(value, f"the id {value!r}")


def quoted(text: str) -> str:
    """`text` as one path segment, for the routes whose ids go out quoted twice: `path` quotes it once more."""
    return _segment(text)


def choice(name: str, value: T) -> T:
    """`value`, a word of an enumeration that is open to more; TypeError if it is neither a string nor left out."""
    if not isinstance(value, str | Unset | None):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    return value


def query_string(query: Mapping[str, Any] | None) -> str:
    """`?a=b&…` of the values that are set; nothing if there are none. A list repeats its key."""
    pairs: list[str] = []
    for name, value in checked_mapping(query, "query").items():
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
            raise TypeError(f"the keys of a query are strings, not {type(name).__name__}")
        many = cast("Any", value) if isinstance(value, list | tuple) else [] if value is None else [value]
        pairs += [_pair(name, one) for one in many if one is not UNSET]
    return "?" + "&".join(pairs) if pairs else ""


def _pair(name: str, value: Any) -> str:
    what = f"the query value of {name}"
    try:
        sent = value if value.__class__ is str else plain(value, secrets=True, at=name)
    except TypeError:  # which speaks of JSON
        sent = None
    if isinstance(sent, bool):
        sent = "true" if sent else "false"
    if not isinstance(sent, str | int | float):
        raise TypeError(f"{what} must be a string, number, boolean or date, not {type(value).__name__}")
    return f"{_quoted(name, 'a key of the query')}={_quoted(str(sent), what)}"


def _quoted(text: str, what: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds half of a surrogate pair") from None

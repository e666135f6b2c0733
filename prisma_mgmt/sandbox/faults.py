"""Faults on request: answers that fail, come late or are cut off, so that users can test how their code bears them."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Literal, get_args

from prisma_mgmt.sandbox.arguments import LONGEST, check, is_number, is_text, is_whole

Kind = Literal["fail", "delay", "cut"]


@dataclass(slots=True, eq=False)
class Fault:
    """A fault that was asked for: `left` is how often it will still happen, `met` how often it did."""

    route: str
    kind: Kind
    times: int = 1
    status: int = 503
    retry_after: float | None = None
    code: str | None = None
    seconds: float = 0.0
    left: int = field(init=False)
    met: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        check(self.kind in get_args(Kind), "kind is fail, delay or cut", self.kind)
        check(is_whole(self.times, 1, 10**9), "times is a whole number from 1", self.times)
        check(is_whole(self.status, 400, 599), "status is from 400 to 599", self.status)
        check(is_number(self.seconds, 0, LONGEST), "seconds is a number from 0", self.seconds)
        soon = self.retry_after is None or is_number(self.retry_after, 0, LONGEST)
        check(soon, "retry_after is a number from 0", self.retry_after)
        check(self.code is None or is_text(self.code), "code is text", self.code)
        good = is_text(self.route) and re.fullmatch(r"\*|(GET|POST|PUT|PATCH|DELETE) /.*", self.route) is not None
        check(good, 'route must be "*", or a method and a path such as "GET /v1/projects"', self.route)
        self.left = self.times

    def describe(self) -> dict[str, object]:
        """The fault as the control routes show and accept it."""
        shown = {**asdict(self), "retryAfter": self.retry_after, "retry_after": None}
        return {key: value for key, value in shown.items() if value is not None}


def meet(faults: Sequence[Fault], method: str, *paths: str | None) -> list[Fault]:
    """The faults that happen to a request now: at most one delay, then one failure or cut.

    Its paths are those that a fault may name it by: as sent and as templates, with and without the API's prefix.
    """
    names = {"*", *(_bare(f"{method} {path}") for path in paths if path is not None)}
    due = [one for one in faults if one.left and _bare(one.route) in names]
    delay = [one for one in due if one.kind == "delay"][:1]
    met = delay + [one for one in due if one.kind != "delay"][:1]
    for one in met:
        one.left -= 1
        one.met += 1
    return met


def nearest(route: str, routes: Sequence[str]) -> str | None:
    """The route that somebody may have meant; None if none is like it."""
    bare = {_bare(one): one for one in reversed(routes)}  # the first of those that are alike
    close = get_close_matches(_bare(route), bare, n=1)
    return bare[close[0]] if close else None


def _bare(route: str) -> str:
    """A route without the names of its parameters and without `/v1`, which two of the APIs leave out."""
    return re.sub(r"\{[^{}/]*\}", "{}", route).replace("/v1/", "/", 1)

"""What a client or a view is set to, checked, and the Request (URL, Host, token) that is made of it and a call."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from prisma_mgmt._version import __version__
from prisma_mgmt.checks import TOKEN, checked_mapping, checked_origin, checked_seconds, checked_token, secret
from prisma_mgmt.core.connection import Origin, Request
from prisma_mgmt.core.headers import Fields
from prisma_mgmt.core.kinds import UNSET
from prisma_mgmt.core.retry import RetryPolicy, checked_retry
from prisma_mgmt.core.sources import NOBODY, Auth, checked_auth
from prisma_mgmt.masks import Secret, SecretBytes

if TYPE_CHECKING:
    from prisma_mgmt.core.events import Hook, Observer
else:  # they are imported only if somebody observes, and yet the annotations can be evaluated
    Hook = Observer = Any

DEFAULT_RETRY = RetryPolicy()
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": f"prisma_mgmt/{__version__}"}


@define(eq=False)
class Options:
    """The options of a view. They are replaced, and never changed but for what they remember of `request`."""

    base_url: str
    headers: Mapping[str, str] = field(default=_HEADERS, repr=False)
    timeout: float | None = None
    retry: RetryPolicy = DEFAULT_RETRY
    auth: Auth = NOBODY
    observer: Observer | None = None
    allow_http: bool = False
    origin: Origin = field(init=False, repr=False)
    prefix: str = field(init=False, repr=False)  # of every path
    _usual: Callable[[str | None, bool], Fields] = field(init=False, repr=False)  # made once for each token

    def __attrs_post_init__(self) -> None:
        self.origin = Origin.of(self.base_url)
        self.prefix = "/".join(["", *self.base_url.split("/")[3:]])
        self._usual = lru_cache(maxsize=2)(partial(_fields, self.headers, self.origin))

    def changed(self, **given: Any) -> "Options":
        """These options with what is given in their place, unless it is UNSET; headers are added to those here.

        Raises TypeError or ValueError for a wrong one.
        """
        checks: dict[str, Callable[[Any], Any]] = {
            "auth": checked_auth,
            "base_url": partial(checked_origin, name="base_url", allow_http=self.allow_http),
            "headers": lambda headers: {**self.headers, **checked_headers(headers)},
            "observer": _observer,
            "retry": checked_retry,
            "timeout": _checked_timeout,
        }
        return evolve(self, **{name: checks[name](value) for name, value in given.items() if value is not UNSET})

    def request(
        self, method: str, path: str, token: str | None, headers: Mapping[str, str] | None, body: SecretBytes | None
    ) -> Request:
        """The request to a path, which ends with the query. Raises TypeError or ValueError for what is no token.

        Its headers are those of the view, unless the call has `headers` of its own.
        """
        has_body = body is not None
        fields = self._usual(token, has_body) if headers is None else _fields(headers, self.origin, token, has_body)
        return Request(method, self.origin, self.prefix + path, fields, body)


def _fields(headers: Mapping[str, str], origin: Origin, token: str | None, has_body: bool) -> Fields:
    """The headers that are sent to `origin`."""
    sent = dict(headers)
    sent.setdefault("Host", origin.netloc)
    if token is not None:
        sent["Authorization"] = Secret(f"Bearer {checked_token(token, 'the token of the credentials')}")
    if has_body:
        sent.setdefault("Content-Type", "application/json")
    return Fields(sent.items())


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The headers under their usual names, their values masked; TypeError or ValueError for what cannot be sent."""
    checked: dict[str, str] = {}
    for name, value in checked_mapping(headers, "headers").items():
        if not isinstance(name, str) or not TOKEN.fullmatch(name):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
            raise ValueError(f"{name!r} is no header name")
        value = Secret(secret(value, f"the value of the header {name}").strip())
        if name.lower() in ("content-length", "transfer-encoding"):
            raise ValueError(f"the header {name} comes with the body, and cannot be given")
        if not re.fullmatch(r"[\t\x20-\x7e]*", value):
            raise ValueError(f"the header {name} holds characters that no header can carry")
        checked[name.title()] = value
    if checked.get("Accept-Encoding", "gzip").lower() not in ("gzip", "identity"):
        raise ValueError("Accept-Encoding must be gzip or identity: nothing else is unpacked")
    return checked


def _observer(on_event: Hook | None) -> Observer | None:
    if on_event is None:
        return None
    from prisma_mgmt.core.events import Observer

    return Observer(on_event)


def _checked_timeout(timeout: float | None) -> float | None:
    if timeout is not None and not checked_seconds(timeout, "timeout") > 0:
        raise ValueError(f"timeout must be a positive number of seconds or None, not {timeout!r}")
    return timeout

"""What the sandbox was asked, with secrets masked: for tests to look at, and for the log on the terminal."""

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode

from prisma_mgmt.sandbox.description import is_list, is_object
from prisma_mgmt.sandbox.state import timestamp
from prisma_mgmt.sandbox.wire import FORM, ApiError, parse_json

LONGEST_BODY = 64 * 1024  # bytes that are kept of a body
MASK = "***"

_SECRET = re.compile(
    r"token(?!_type)|secret|passw|verifier|credential|connection[_-]?string|api[_-]?key|assertion|signature|cookie"
    r"|authorization|\A(code|value|pass|jwt|state)\Z",
    re.IGNORECASE,
)
_IN_TEXT = re.compile(r"(?<=://)[^\s/@]+@|\beyJ[\w-]+\.[\w-]+\.[\w-]*")  # who a URL logs in as, and JSON Web Tokens


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request, with its secrets masked.

    api: management, postgres, data_platform or login.
    path, query, headers, body: as they were sent; a form and a JSON body as a dict, another one as None.
    route: the path with its parameters by name, such as /v1/projects/{id}; None if there is no such route.
    status: what was answered; None if a fault cut the connection.
    seconds: how long the answer took.
    fault: fail, delay or cut, if one was met.
    """

    at: float
    api: str
    method: str
    path: str
    route: str | None
    query: dict[str, str | list[str]]
    headers: dict[str, str]
    body: object = None
    status: int | None = None
    seconds: float = 0.0
    fault: str | None = None

    def describe(self) -> dict[str, object]:
        """The request as JSON."""
        return {**asdict(self), "at": timestamp(self.at)}

    def line(self) -> str:
        """The request as one line of a log."""
        at = datetime.fromtimestamp(self.at).astimezone().strftime("%H:%M:%S")
        query = unquote_plus(urlencode(self.query, doseq=True))
        asked = f"{self.path}?{query}" if query else self.path
        target = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in asked)  # commands no terminal
        status = "cut" if self.status is None else str(self.status)
        fault = f"  ({self.fault} on request)" if self.fault else ""
        return f"{at}  {status:>3}  {self.method:<6} {target}  {self.seconds * 1000:.0f} ms{fault}"


def masked(value: Any, key: str = "") -> Any:
    """The value without its secrets: what its key names as one, tokens and passwords inside texts."""
    if is_object(value):
        return {name: masked(one, name) for name, one in value.items()}
    if is_list(value):
        return [masked(one, key) for one in value]
    if _SECRET.search(key) and value not in (None, "", True, False):
        return MASK
    return _IN_TEXT.sub(MASK, value) if isinstance(value, str) else value


def masked_query(query: str) -> dict[str, str | list[str]]:
    """Parameters by name: a text, or a list if one came more than once."""
    told = masked(parse_qs(query, keep_blank_values=True))
    return {key: values[0] if len(values) == 1 else values for key, values in told.items()}


def masked_body(kind: str, body: bytes) -> object:
    """A JSON body or a form; None for any other, and for one that cannot be read."""
    try:
        if kind == FORM:
            return masked_query(body.decode())
        return masked(parse_json(body)) if kind.endswith("json") else None
    except (ValueError, ApiError):
        return None

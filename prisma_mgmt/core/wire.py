"""What goes over the wire, as pure functions: paths, queries and bodies out; envelopes and errors in."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from attrs import define, field

from prisma_mgmt.core.codec import JSON, UNSET, Mismatch, Unset, hook_of, parse
from prisma_mgmt.core.encoding import dump, iso
from prisma_mgmt.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    DecodeError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnprocessableEntityError,
)

if TYPE_CHECKING:
    from prisma_mgmt.core.transport import Stream

T = TypeVar("T")
_FOREVER = 1e9  # seconds
_PLAIN = re.compile(r"[0-9A-Za-z_-]+")

_ERRORS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: PayloadTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


class Filled(str):
    """A path whose template is known, for those who observe."""

    __slots__ = ("template",)
    template: str


def path(template: str, *ids: str) -> Filled:
    """`template` with each `{}` filled by an id, quoted as one path segment.

    Raises ValueError for an id that is empty, "." or "..", or holds control characters; TypeError for one that is no
    string.
    """
    filled = Filled(template.format(*map(_segment, ids)))
    filled.template = template
    return filled


def quoted(text: str) -> str:
    """`text` percent-encoded as one path segment, for a route that wants it so within a path; checked as an id is."""
    return _segment(text)


def fill(template: str, values: Mapping[str, str]) -> Filled:
    """`template` with its `{name}` parts filled from `values`, each as one path segment."""
    if not template.startswith("/") or template.startswith("//"):
        raise ValueError(f"the path must start with a single slash, not {template!r}: requests stay at the base URL")
    plain = re.sub(r"\{\w+\}", "{}", template)
    if re.search(r"[^\x21-\x7e]|[?#\\]|\{(?!\})|(?<!\{)\}|/(\.|%2e){1,2}(/|$)", plain, re.IGNORECASE):
        raise ValueError(f"the path {template!r} must be plain segments; a query goes into query=")
    names = re.findall(r"\{(\w*)\}", template)
    if set(names) != set(values):
        raise ValueError(f"the path {template!r} needs path_params for {names}, got {sorted(values)}")
    filled = path(plain, *(values[name] for name in names))
    filled.template = template
    return filled


def route(path: str) -> str:
    """The template of a path, its parts by name; the path itself where it has none."""
    return getattr(path, "template", path).replace("{}", "{id}")


def _segment(value: str) -> str:
    if value.__class__ is not str:
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
            raise TypeError(f"an id must be a string, not {type(value).__name__}")
        value = str.__str__(value)  # of an Enum's member its value, not its name
    if _PLAIN.fullmatch(value):  # as ids are
        return value
    if value in ("", ".", ".."):
        raise ValueError(f"{value!r} is no id")
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in value):
        raise ValueError(f"the id {value!r} holds control characters")
    return quote(value, safe="")


def choice(name: str, value: T) -> T:
    """`value`, a word of an enumeration that is open to more; TypeError where it is neither a string nor left out."""
    if not isinstance(value, str | Unset | None):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    return value


def query_string(query: Mapping[str, Any] | None) -> str:
    """`?a=b&…` of the values that are set; nothing where there are none."""
    pairs = [
        (key, _query_value(one))
        for key, value in (query or {}).items()
        if value is not None
        for one in (value if isinstance(value, list | tuple) else (value,))
    ]
    return "?" + urlencode(pairs, quote_via=quote) if pairs else ""


def _query_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, str):
        return str.__str__(value)  # of an Enum's member its value, not its name
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a query value must be a finite number")
        return float.__repr__(value)
    raise TypeError(f"a query value must be a string, number, boolean or datetime, not {type(value).__name__}")


class Body(bytes):
    """Bytes that do not show themselves in a repr: a request's body may hold a secret."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


def encode(body: Any) -> Body | None:
    """The bytes of a JSON body; None for UNSET, which is no body at all."""
    return None if body is UNSET else Body(dump(body))


@define
class Answer:
    """What came back, before anybody has read it."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)  # may hold a secret
    stream: "Stream | None" = None

    @property
    def request_id(self) -> str | None:
        """The id to quote to Prisma's support."""
        return self.headers.get("x-request-id")


# An answer may hold a secret, so nothing below raises while it has the parsed payload in a local, where a traceback
# would show it: a misfit is returned, and raised where only the answer is in sight.


def read(answer: Answer, model: type[T], bare: bool = False) -> T:
    """The body as a `model`, out of its envelope `{"data": …}` unless `bare`; DecodeError where it does not fit."""
    result: T = checked(_fit(answer, model, bare), answer)
    return result


def read_list(answer: Answer, model: type[T], bare: bool = False) -> tuple[T, ...]:
    """The body as `model`s."""
    return tuple(checked(_fit(answer, list[model], bare), answer))  # type: ignore[valid-type]  # a value


def read_json(answer: Answer) -> JSON:
    """The parsed body, None for an empty one; DecodeError where it is no JSON."""
    return checked(parsed(answer), answer) if answer.content else None


def checked(result: Any, answer: Answer) -> Any:
    """`result`; DecodeError where it is a Mismatch."""
    if result.__class__ is Mismatch:
        raise DecodeError(
            f"{result.path or 'the answer'}: {result.problem} (status {answer.status})",
            status=answer.status,
            request_id=answer.request_id,
            path=result.path,
        )
    return result


def parsed(answer: Answer) -> JSON | Mismatch:
    """What the body holds."""
    try:
        return parse(answer.content)
    except (ValueError, RecursionError):
        kind = answer.headers.get("content-type") or "no content type"
        return Mismatch(f"expected JSON, got {len(answer.content)} bytes ({kind})")


def _fit(answer: Answer, model: Any, bare: bool) -> Any:
    payload = parsed(answer)
    if payload.__class__ is Mismatch:
        return payload
    try:
        return hook_of(model)(payload if bare else unwrapped(payload), model)
    except Mismatch as mismatch:
        return (mismatch if bare else mismatch.under("data")).with_traceback(None)


def unwrapped(payload: JSON) -> JSON:
    """What the envelope holds; what stands beside an object in it counts as fields of that object."""
    if payload.__class__ is not dict or "data" not in payload:
        raise Mismatch("missing")
    data = payload["data"]
    if len(payload) == 1 or data.__class__ is not dict:
        return data
    return {**payload, **data}


def api_error(method: str, url: str, answer: Answer, now: float) -> APIError:
    """The error that an answer stands for; `now` is the Unix time that a Retry-After date is measured from."""
    status, headers = answer.status, answer.headers
    body = _error_body(answer)
    flat: dict[str, Any] = body if body.__class__ is dict else {}
    problem: dict[str, Any] = flat.get("error", flat)
    if problem.__class__ is not dict:  # OAuth's flat form: {"error": "…", "error_description": "…"}
        problem = {"code": problem, "message": flat.get("errorDescription") or flat.get("error_description")}
    kind = _ERRORS.get(status) or (ServerError if status >= 500 else APIError)
    error = kind(
        _text(problem.get("message")) or _described(status, headers),
        status=status,
        code=_text(problem.get("code")),
        hint=_text(problem.get("hint")),
        details=problem.get("details"),
        request_id=answer.request_id,
        method=method,
        url=url,
        headers=headers,
        body=body,
    )
    if isinstance(error, RateLimitError):
        error.retry_after = retry_after(headers, now)
    return error


def _error_body(answer: Answer) -> JSON:
    """The body of an error: parsed, or as text where it is no JSON."""
    found = parsed(answer) if answer.content else None
    return answer.content.decode("utf-8", "replace") if isinstance(found, Mismatch) else found


def _described(status: int, headers: Mapping[str, str]) -> str:
    if 300 <= status < 400:
        return "a redirect, which is not followed with a token"
    return f"an error without a message ({headers.get('content-type') or 'no content type'})"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The wait in seconds that Retry-After asks for (RFC 9110 §10.2.3), from seconds or a date; None for nonsense.

    A date is measured from the answer's own Date where it has one, else from `now` (Unix seconds).
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return min(float(value), _FOREVER)
    until = _timestamp(value)
    if until is None:
        return None
    sent = _timestamp(headers.get("date", ""))
    return max(0.0, until - (now if sent is None else sent))


def _timestamp(value: str) -> float | None:
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None

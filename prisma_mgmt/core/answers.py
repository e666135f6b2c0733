"""What an answer says, as pure functions: envelopes, models, and errors."""

import re
from html import unescape
from typing import Any, TypeVar

from prisma_mgmt.core.call import Answer
from prisma_mgmt.core.codec import Mismatch, decode, parse
from prisma_mgmt.core.kinds import JSON
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
from prisma_mgmt.waits import retry_after

T = TypeVar("T")
_BOM = b"\xef\xbb\xbf"
_JSON_TYPE = re.compile(r"[\w.+-]+/([\w.-]+\+)?json\b", re.IGNORECASE)
_FIRST_WORDS = 100  # characters of an error that is text

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


def read(answer: Answer, model: type[T], bare: bool = False) -> T:
    """The body as a `model`, out of its envelope `{"data": …}` unless `bare`; DecodeError if it does not fit."""
    try:
        return decode(answer.content, model, None if bare else unwrapped)
    except (ValueError, RecursionError) as error:
        misfit = error if isinstance(error, Mismatch) else None
    if misfit is None:
        raise decode_error(_no_json(answer), answer)
    raise decode_error(misfit if bare else misfit.under("data"), answer)


def read_json(answer: Answer) -> JSON:
    """The parsed body, None for an empty one; DecodeError if it is no JSON."""
    return checked(parsed(answer), answer) if answer.content else None


def read_any(answer: Answer) -> Any:
    """The body by its content type: JSON parsed, text as str, anything else as bytes; None for an empty one.

    A body without a content type is parsed if it is JSON.
    """
    kind = answer.headers.get("content-type", "")
    if _JSON_TYPE.match(kind) or not answer.content:
        return read_json(answer)
    if kind.lower().startswith("text/"):
        return _text_of(answer)
    found = answer.content if kind else parsed(answer)
    return answer.content if isinstance(found, Mismatch) else found


def checked(result: Any, answer: Answer) -> Any:
    """`result`; DecodeError if it is a Mismatch."""
    if result.__class__ is Mismatch:
        raise decode_error(result, answer)
    return result


def decode_error(misfit: Mismatch, answer: Answer) -> DecodeError:
    error = answer.error(DecodeError, f"{misfit.path or 'the answer'}: {misfit.problem} (status {answer.status})")
    error.path = misfit.path
    return error


def parsed(answer: Answer, exact: bool = True) -> JSON | Mismatch:
    """What the body holds; whole numbers past 64 bits are floats unless it is to be `exact`."""
    try:
        return parse(answer.content, exact)
    except (ValueError, RecursionError):
        return _no_json(answer)


def _no_json(answer: Answer) -> Mismatch:
    kind = answer.headers.get("content-type") or "no content type"
    return Mismatch(f"expected JSON, got {len(answer.content)} bytes ({kind})")


def unwrapped(payload: JSON) -> JSON:
    """What the envelope holds; what stands beside an object in it counts as fields of that object."""
    if payload.__class__ is not dict or "data" not in payload:
        raise Mismatch("missing")
    data = payload["data"]
    if len(payload) == 1 or data.__class__ is not dict:
        return data
    return {**payload, **data}


def api_error(answer: Answer, now: float) -> APIError:
    """The error that an answer stands for; `now` is the Unix time that a Retry-After date is measured from."""
    status, headers = answer.status, answer.headers
    body = _error_body(answer)
    flat: dict[str, Any] = body if body.__class__ is dict else {}
    problem: dict[str, Any] = flat.get("error", flat)
    if problem.__class__ is not dict:  # OAuth's flat form: {"error": "…", "error_description": "…"}
        problem = {"code": problem, "message": flat.get("errorDescription") or flat.get("error_description")}
    kind = _ERRORS.get(status) or (ServerError if status >= 500 else APIError)
    error = kind(
        _text(problem.get("message")) or _described(answer, body),
        status=status,
        code=_text(problem.get("code")),
        hint=_text(problem.get("hint")),
        details=_details(status, problem),
        request_id=answer.request_id,
        headers=headers,
        body=body,
    )
    error.retry_after = retry_after(headers, now)
    if answer.call is not None:
        answer.call.named(error)
        if isinstance(error, AuthenticationError):
            error.token_from = answer.call.token_from
    return error


def _error_body(answer: Answer) -> JSON:
    """The body of an error: parsed, or as text if it is no JSON."""
    found = parsed(answer) if answer.content else None
    return _text_of(answer) if isinstance(found, Mismatch) else found


def _details(status: int, problem: dict[str, Any]) -> Any:
    """What the API gives as details; of a conflict also what stands beside its message, such as `existingAppId`."""
    if status != 409 or "details" in problem:
        return problem.get("details")
    return {key: value for key, value in problem.items() if key not in ("code", "message", "hint")} or None


def _described(answer: Answer, body: JSON) -> str:
    kind = answer.headers.get("content-type") or "no content type"
    if 300 <= answer.status < 400:
        return "a redirect, which is not followed with a token"
    if isinstance(body, str) and kind.lower().startswith("text/"):
        title = re.search(r"<title[^>]*>(.*?)</title", body, re.IGNORECASE | re.DOTALL)
        plain = unescape(
            title[1] if title else re.sub(r"<(script|style).*?</\1[^>]*>|<[^>]*>", " ", body, flags=re.DOTALL)
        )
        if words := " ".join(plain.split()):
            return f"{words[:_FIRST_WORDS]} ({kind})"
    return f"an error without a message ({kind})"


def _text_of(answer: Answer) -> str:
    """The body as text, in the charset that its content type names."""
    charset = re.search(r"charset=\"?([\w-]+)", answer.headers.get("content-type", ""), re.IGNORECASE)
    try:
        return answer.content.removeprefix(_BOM).decode(charset[1] if charset else "utf-8", "replace")
    except LookupError:
        return answer.content.decode("utf-8", "replace")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None

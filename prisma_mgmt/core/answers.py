"""What an answer says, as pure functions: envelopes, models, and errors."""

import re
from typing import Any, TypeVar

from prisma_mgmt.core.call import Answer
from prisma_mgmt.core.codec import BOM, Mismatch, NoJSON, decode, parse
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
_JSON_TYPE = r"(?i)[\w.+-]+/([\w.-]+\+)?json(?![\w.+-])"  # compiled when it is needed; not that of lines of JSON
_FIRST_WORDS = 100  # characters of an error that is text
_LOOKED_AT = 4_000  # characters of it in which they are looked for: what is longer may take long
_MESSAGES = ("message", "errorDescription", "error_description", "detail", "errors", "issues", "title")
_DETAILS = ("details", "errors", "issues")
_CHARSETS = r"utf-?8|utf-?16|us-ascii|ascii|latin-?1|iso-8859-\d+|windows-125\d"  # Python's own ones may take for ever

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
    except Mismatch as misfit:
        raise decode_error(misfit, answer, "" if bare else "data") from None


def read_json(answer: Answer) -> JSON:
    """The parsed body, None for an empty one; DecodeError if it is no JSON."""
    try:
        return parse(answer.content) if answer.content else None
    except NoJSON as misfit:
        raise decode_error(misfit, answer) from None


def read_any(answer: Answer) -> Any:
    """The body by its content type: JSON parsed, text as str, anything else as bytes; None for an empty one.

    A body without a content type is parsed if it is JSON.
    """
    kind = answer.headers.get("content-type", "")
    if re.match(_JSON_TYPE, kind) or not answer.content:
        return read_json(answer)
    if kind.lower().startswith("text/"):
        return _text_of(answer)
    return answer.content if kind else _parsed_or(answer.content, answer)


def _parsed_or(otherwise: T, answer: Answer) -> JSON | T:
    """The parsed body, or `otherwise` if it is no JSON."""
    try:
        return parse(answer.content)
    except NoJSON:
        return otherwise


def decode_error(misfit: Mismatch, answer: Answer, at: str = "") -> DecodeError:
    """That an answer does not fit, at the path of the misfit below `at`."""
    problem = misfit.with_traceback(None).problem  # whose frames hold the payload
    if isinstance(misfit, NoJSON):
        problem = f"{problem} ({_kind_of(answer)})"
    else:
        misfit.under(at)
    error = answer.error(DecodeError, f"{misfit.path or 'the answer'}: {problem} (status {answer.status})")
    error.path = misfit.path
    return error


def _kind_of(answer: Answer) -> str:
    return answer.headers.get("content-type") or "no content type"


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
    body: JSON = _parsed_or(_text_of(answer), answer) if answer.content else None
    problem = _problem(body)
    kind = _ERRORS.get(status) or (ServerError if status >= 500 else APIError)
    error = kind(
        next(filter(None, (_said(problem.get(name)) for name in _MESSAGES)), None) or _described(answer, body),
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


def _problem(body: JSON) -> dict[str, Any]:
    """What the body of an error says, on one level: in the API's own form, OAuth's, Fastify's or that of RFC 9457."""
    if body.__class__ is not dict:
        return {}
    said = body.get("error")
    problem = {key: value for key, value in body.items() if key not in ("error", "statusCode")}
    if said.__class__ is dict:
        return {**problem, **said}
    if "statusCode" not in body:  # beside which it is only the status in words
        problem.setdefault("message" if isinstance(said, str) and " " in said else "code", said)
    return problem


def _details(status: int, problem: dict[str, Any]) -> Any:
    """What the API gives as details; of a conflict also what stands beside its message, such as `existingAppId`."""
    given = next((problem[name] for name in _DETAILS if problem.get(name)), None)
    beside = {key: value for key, value in problem.items() if key not in ("code", "message", "hint", "details")}
    return given or (beside if status == 409 else None) or None


def _described(answer: Answer, body: JSON) -> str:
    kind = _kind_of(answer)
    if 300 <= answer.status < 400:
        return "a redirect, which is not followed with a token"
    start = body[:_LOOKED_AT] if isinstance(body, str) else ""
    if not re.match(r"\s*[{\[]", start) and "\ufffd" not in start:  # broken JSON, which may hold a secret; no text
        from html import unescape  # which takes long to import, and is seldom needed

        title = re.search(r"<title[^>]*>\s*([^<\s][^<]*)", start, re.IGNORECASE)
        no_words = r"<!--.*?-->|<(script|style).*?</\1[^>]*>|<[^>]*>"
        plain = unescape(title[1] if title else re.sub(no_words, " ", start, flags=re.DOTALL))
        if words := " ".join(plain.split()):
            return f"{words[:_FIRST_WORDS]} ({kind})"
    return f"an error without a message ({kind})"


def _text_of(answer: Answer) -> str:
    """The body as text, in the charset that its content type names, if that is one of the web's."""
    charset = re.search(rf"charset=\"?({_CHARSETS})\b", answer.headers.get("content-type", ""), re.IGNORECASE)
    return answer.content.removeprefix(BOM).decode(charset[1] if charset else "utf-8", "replace")


def _said(value: Any) -> str | None:
    """A text, or those of a list of faults, each of which is a text or has a message."""
    if value.__class__ is not list:
        return _text(value)
    each = [_text(one.get("message") if one.__class__ is dict else one) for one in value]
    return "; ".join(filter(None, each)) or None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None

"""Every exception this package raises, and the text that each of them shows.

PrismaError
├── APIError                     the API answered with an error
│   ├── BadRequestError          400
│   ├── AuthenticationError      401
│   ├── PermissionDeniedError    403
│   ├── NotFoundError            404
│   ├── ConflictError            409
│   ├── PayloadTooLargeError     413
│   ├── UnprocessableEntityError 422
│   ├── RateLimitError           429
│   └── ServerError              5xx
├── NetworkError                 no answer, or one cut short
│   └── RequestTimeoutError
├── DecodeError                  an answer that is no JSON, or does not fit its model
├── StreamError                  a log stream that ended with an error record
└── AuthError                    the login server, the callback or the stored tokens
    ├── CallbackError            the login callback cannot be believed
    └── LoginRequiredError       the user must log in again

Bad arguments are a ValueError or a TypeError, raised before anything is sent.
"""

from collections.abc import Mapping
from typing import Any

_LONGEST = 500  # characters of what a server said, in the text of an error


class PrismaError(Exception):
    """Base of every exception of this package.

    `method` and `url` name the call that it is about, if there was one, and `attempts` says how often it was sent.
    `request_id` is that of its answer, to quote to Prisma's support. The text is one line, whatever a server said.
    """

    method: str = ""
    url: str = ""
    attempts: int = 1
    request_id: str | None = None

    @property
    def _call(self) -> str:
        """The call and its answer, for the error's text."""
        call = f": {self.method} {self.url}" if self.url else ""
        tried = f" (tried {self.attempts} times)" if self.attempts > 1 else ""
        return call + tried + (f" [request {_line(self.request_id)}]" if self.request_id else "")

    def __str__(self) -> str:
        return f"{_line(super().__str__())}{self._call}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Most subclasses take keyword-only arguments, which Exception's own pickling cannot give back.
        return _revive, (type(self), self.args), self.__dict__


def _revive(cls: type[PrismaError], args: tuple[Any, ...]) -> PrismaError:
    error = cls.__new__(cls, *args)
    error.args = args
    return error


class APIError(PrismaError):
    """An answer of the API that says that the call has failed.

    `status` is the HTTP status. `code`, `message`, `hint` and `details` are the API's own words, if it gave any.
    `body` is the parsed answer. The error's text leaves it out, since it may hold more than a log should.
    `retry_after` is the wait the API asked for, in seconds, or None.
    """

    retry_after: float | None = None

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        hint: str | None = None,
        details: Any = None,
        request_id: str | None = None,
        method: str = "",
        url: str = "",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details
        self.request_id = request_id
        self.method = method
        self.url = url
        self.headers: Mapping[str, str] = headers if headers is not None else {}
        self.body = body

    def __str__(self) -> str:
        code = f" {_line(self.code)}" if self.code else ""
        hint = f" ({_line(self.hint)})" if self.hint else ""
        wait = f" (it asks for a wait of {self.retry_after:.0f} s)" if self.retry_after else ""
        return f"{self.status}{code}: {_line(self.message)}{hint}{wait}{self._call}"


def _line(said: str) -> str:
    """What a server said as a piece of one line: short enough for a log, without its full stop.

    It cannot forge another entry.
    """
    return "".join(one if one.isprintable() else " " for one in said[:_LONGEST].rstrip("."))


class BadRequestError(APIError):
    """400: the API could not make sense of the request."""


class AuthenticationError(APIError):
    """401: the API refused the token, and there was no other one to try. `token_from` says where it came from."""

    token_from: str = ""

    def __str__(self) -> str:
        return f"{super().__str__()} (the token was {self.token_from})" if self.token_from else super().__str__()


class PermissionDeniedError(APIError):
    """403: the token is valid, but it may not do this."""


class NotFoundError(APIError):
    """404: there is no such thing, or not for this token."""


class ConflictError(APIError):
    """409: the thing exists already, or its state does not allow this."""


class PayloadTooLargeError(APIError):
    """413: the body is larger than the API takes."""


class UnprocessableEntityError(APIError):
    """422: the request is well formed, but the API does not accept a value in it."""


class RateLimitError(APIError):
    """429: too many requests, or a quota reached."""


class ServerError(APIError):
    """5xx: the API failed."""


class NetworkError(PrismaError):
    """No answer, or one that was cut short; `__cause__` says what happened.

    `status` and `request_id` are set if the answer had begun. `unsent` is True if no connection was made, so that
    the server cannot have acted.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str = "",
        url: str = "",
        status: int | None = None,
        request_id: str | None = None,
        unsent: bool = False,
    ) -> None:
        super().__init__(message)
        self.method = method
        self.url = url
        self.unsent = unsent
        self.status = status
        self.request_id = request_id


class RequestTimeoutError(NetworkError):
    """No whole answer within the time allowed."""


class DecodeError(PrismaError):
    """An answer that is no JSON or does not fit its model; the payload itself is never kept.

    `path` names the field at fault, as in `data.connections[0].name`.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str = "",
        url: str = "",
        status: int | None = None,
        request_id: str | None = None,
        path: str = "",
    ) -> None:
        super().__init__(message)
        self.method = method
        self.url = url
        self.status = status
        self.request_id = request_id
        self.path = path


class StreamError(PrismaError):
    """A log stream that ended with an error record; `cursor` is where to resume, if `retryable`."""

    def __init__(self, message: str, *, code: str, retryable: bool, cursor: str | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
        self.cursor = cursor


class AuthError(PrismaError):
    """A login, a refresh or the tokens themselves went wrong.

    `refresh_token_invalid` is True if the login server refused the refresh token: a new login is needed.
    `error` and `error_description` are the server's (RFC 6749 §5.2); the description is untrusted text.
    `retry_after` is the wait the server asked for, in seconds, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        refresh_token_invalid: bool = False,
        error: str | None = None,
        error_description: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.refresh_token_invalid = refresh_token_invalid
        self.error = error
        self.error_description = error_description
        self.retry_after = retry_after


class CallbackError(AuthError):
    """The login callback carries an error, lacks its code, or fails its state or issuer check."""


class LoginRequiredError(AuthError):
    """There are no tokens, there is no refresh token, or it was refused: the user must log in again."""

"""RetryPolicy says which errors are tried again, how often, until when, and after what wait. Pure decisions."""

from typing import Any

from attrs import define, field, frozen

from prisma_mgmt.checks import checked_count, checked_kind, checked_seconds
from prisma_mgmt.errors import APIError, NetworkError, PrismaError, RateLimitError

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504, *range(520, 525), 529, 530})  # from 520 on they are Cloudflare's
_PACED = (None, "rate-limit-exceeded", "rateLimitReached")  # codes of a 429 that waiting helps; others name a quota
FULL = 100.0


def _seconds(_: object, attribute: Any, value: object) -> None:
    if value != float("inf"):  # which is no limit
        checked_seconds(value, attribute.name)


@frozen
class RetryPolicy:
    """How often a call is tried, and how long it may wait in between.

    Whatever it says, a client makes some 100 retries that fail, and then only first tries until some succeed.

    attempts: tries in all; 1 turns retrying off.
    deadline: seconds from the start of the call after which no further try begins.
    backoff, max_backoff: the wait before try n+1 is random, up to `backoff * 2**(n-1)` seconds and never over
        `max_backoff`.
    max_retry_after: the longest Retry-After that is waited for, in seconds; a longer one is an error at once.
    """

    attempts: int = field(default=4, validator=lambda _, __, value: checked_count(value, "attempts"))
    deadline: float = field(default=60.0, validator=_seconds)
    backoff: float = field(default=0.5, validator=_seconds)
    max_backoff: float = field(default=8.0, validator=_seconds)
    max_retry_after: float = field(default=60.0, validator=_seconds)

    def wait(self, error: PrismaError, method: str, attempt: int, asked: float | None, jitter: float) -> float | None:
        """Seconds to wait after try number `attempt`, or None if trying again cannot help or could do a thing twice.

        `asked` is what Retry-After says, `jitter` a random number from 0 to 1.
        """
        if not _may_repeat(error, method, asked):
            return None
        if asked is not None:
            return asked if asked <= self.max_retry_after else None
        return jitter * min(self.max_backoff, self.backoff * 2.0 ** min(attempt - 1, 64))


def _may_repeat(error: PrismaError, method: str, asked: float | None) -> bool:
    if isinstance(error, NetworkError):
        return error.unsent or method in _IDEMPOTENT
    if isinstance(error, RateLimitError):
        return error.code in _PACED or asked is not None
    if not isinstance(error, APIError) or error.status not in _TRANSIENT:
        return False
    return method in _IDEMPOTENT or (error.status == 503 and asked is not None)


def may_have_acted(error: PrismaError) -> bool:
    """If the server may have done what it was asked, although it failed to say so."""
    if isinstance(error, NetworkError):
        return not error.unsent
    return isinstance(error, APIError) and (error.status == 408 or error.status >= 500)


@define(eq=False)
class Budget:
    """Retries of a client that may still fail: a dead server is not asked over and over by every call.

    A retry that fails takes one, and a success gives a little back, so that only failures that last use it up. The
    first try of a call is never held back, and no burst of calls that fail once is.
    """

    left: float = FULL

    def take(self) -> None:
        self.left = max(0.0, self.left - 1.0)

    def give(self) -> None:
        self.left = min(FULL, self.left + 0.2)


def checked_retry(value: RetryPolicy) -> RetryPolicy:
    """`value`; TypeError if it is no RetryPolicy."""
    policy: RetryPolicy = checked_kind(value, RetryPolicy, "retry", "a RetryPolicy, such as RetryPolicy(attempts=3)")
    return policy

"""When to try again, and how long to wait first: pure decisions, and the clock they are made by."""

import random
import time
from collections.abc import Awaitable, Callable

import anyio
from attrs import define, field, frozen, validators

from prisma_mgmt.errors import APIError, NetworkError, PrismaError, RateLimitError

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_FULL = 100.0
_not_negative = validators.ge(0.0)


@frozen
class RetryPolicy:
    """How often a call is tried, and how long it may wait in between.

    Whatever it says, a client makes some 100 retries that fail, and then only first tries until some succeed.

    attempts: tries in all; 1 turns retrying off.
    deadline: seconds from the start of the call after which no further try begins.
    backoff, max_backoff: the wait before try n+1 is random, up to `backoff * 2**(n-1)` seconds and never over
        `max_backoff`.
    max_retry_after: the most seconds of a Retry-After that are obeyed.
    """

    attempts: int = field(default=4, validator=validators.ge(1))
    deadline: float = field(default=60.0, validator=_not_negative)
    backoff: float = field(default=0.5, validator=_not_negative)
    max_backoff: float = field(default=8.0, validator=_not_negative)
    max_retry_after: float = field(default=60.0, validator=_not_negative)

    def wait(self, error: PrismaError, method: str, attempt: int, asked: float | None, jitter: float) -> float | None:
        """Seconds to wait after try number `attempt`, or None where trying again cannot help or could do a thing twice.

        `asked` is what Retry-After says, `jitter` a random number from 0 to 1.
        """
        if not _may_repeat(error, method, asked):
            return None
        if asked is not None:
            return min(asked, self.max_retry_after)
        return jitter * min(self.max_backoff, self.backoff * 2.0 ** min(attempt - 1, 64))


def _may_repeat(error: PrismaError, method: str, asked: float | None) -> bool:
    if isinstance(error, NetworkError):
        return error.unsent or method in _IDEMPOTENT
    if isinstance(error, RateLimitError):  # a quota has a code of its own, and no waiting helps
        return error.code in (None, "rate-limit-exceeded") or asked is not None
    if not isinstance(error, APIError) or error.status not in _TRANSIENT:
        return False
    return method in _IDEMPOTENT or (error.status == 503 and asked is not None)


@define(eq=False)
class Budget:
    """Retries that a client may still make: a dead server is not asked over and over by every call.

    A retry takes one. A success gives a little back, and a retry that succeeds the whole of what it took, so that only
    failures that last use it up. The first try of a call is never held back.
    """

    left: float = _FULL

    def take(self) -> bool:
        """Take one retry, if there is one."""
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True

    def give(self, *, retried: bool) -> None:
        if self.left < _FULL:
            self.left = min(_FULL, self.left + (1.0 if retried else 0.2))


@define(eq=False)
class Clock:
    """Time, sleep and randomness as the client sees them; tests bring their own."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    jitter: Callable[[], float] = random.random

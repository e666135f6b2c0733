"""The events of a call, and Observer, which calls the user's hook with them and logs what it raises.

Events hold no secret, body or query, and no id that was filled in. This is imported only if somebody observes.
"""

import logging
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import TypeAlias, TypeVar

from attrs import field, frozen

from prisma_mgmt.core.call import Answer
from prisma_mgmt.core.clock import Clock
from prisma_mgmt.core.options import About
from prisma_mgmt.errors import APIError, PrismaError

T = TypeVar("T")
logger: logging.Logger = logging.getLogger("prisma_mgmt")


@frozen
class Event:
    """Something that happened to a call.

    `route` is the path's template, such as `/v1/databases/{id}`; `base_url` is where the API is. `attempt` counts how
    often this call has been sent, from 1.
    """

    method: str
    route: str
    base_url: str
    attempt: int


@frozen
class RequestSent(Event):
    """A call is being sent. If too many were on their way, it has waited for its turn."""


@frozen
class AnswerReceived(Event):
    """A whole answer has come, or the head of a log. `duration` is in seconds since the request was sent.

    `engine` is what carried it: "asyncio" for a connection of our own, "httpx", or "transport" or "http_client" for one
    of yours.
    """

    duration: float
    status: int
    request_id: str | None
    engine: str = field(default="", eq=False)


@frozen
class RequestFailed(Event):
    """No whole answer came within `duration` seconds; `error` is the name of the exception, cancellation included.

    "OutdatedError" means that nothing was sent, because the token was replaced while the call waited for a connection.
    The call goes on with the new token.
    """

    duration: float
    error: str


@frozen
class Retrying(Event):
    """The call is going to be sent again in `delay` seconds, for `error` (with its `status`, if it has one)."""

    delay: float
    error: str
    status: int | None


@frozen
class Renewed(Event):
    """The credentials were asked for another token, and had answered after `duration` seconds.

    This call's token had met a 401, or the credentials had taken it back while the call waited for a connection.
    `renewed` is False if they had no other.
    """

    duration: float
    renewed: bool


Hook: TypeAlias = Callable[[Event], object]


class Observer:
    """A user's hook, which cannot hurt the call that it is told of."""

    __slots__ = ("_failed", "_hook")

    def __init__(self, hook: Hook) -> None:
        if not callable(hook) or iscoroutinefunction(hook) or iscoroutinefunction(type(hook).__call__):
            raise TypeError("on_event must be a plain function that takes an event")
        self._hook = hook
        self._failed = False

    async def watched(self, about: About, send: Callable[[], Awaitable[T]], clock: Clock) -> T:
        """What comes of sending, an Answer or an error, once it is told."""
        self._tell(RequestSent(*about))
        began = clock.monotonic()
        try:
            outcome = await send()
        except BaseException as error:
            self._tell(RequestFailed(*about, clock.monotonic() - began, type(error).__name__))
            raise
        duration = clock.monotonic() - began
        if isinstance(outcome, Answer):
            self._tell(AnswerReceived(*about, duration, outcome.status, outcome.request_id, outcome.engine))
        else:
            self._tell(RequestFailed(*about, duration, type(outcome).__name__))
        return outcome

    def retrying(self, about: About, delay: float, error: PrismaError) -> None:
        status = error.status if isinstance(error, APIError) else None
        self._tell(Retrying(*about, delay, type(error).__name__, status))

    def renewed(self, about: About, duration: float, renewed: bool) -> None:
        self._tell(Renewed(*about, duration, renewed))

    def _tell(self, event: Event) -> None:
        try:
            self._hook(event)
        except Exception:
            if not self._failed:
                self._failed = True
                logger.exception("the on_event hook failed; its further failures are not logged")

"""What a client tells those who observe it; never a secret, a body, a query or an id that it filled in.

It is imported only if somebody observes.
"""

import logging
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import TypeAlias

from attrs import field, frozen

from prisma_mgmt.core.call import Answer, Call, Outcome
from prisma_mgmt.core.clock import Clock
from prisma_mgmt.core.paths import route
from prisma_mgmt.errors import APIError, PrismaError

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
    """No whole answer came within `duration` seconds; `error` is the name of the exception, cancellation included."""

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

    async def watched(self, call: Call, send: Callable[[], Awaitable[Outcome]], clock: Clock) -> Outcome:
        """What comes of sending, once it is told."""
        about = _about(call)
        self._tell(RequestSent(*about))
        began = clock.monotonic()
        try:
            outcome = await send()
        except BaseException as error:
            self._tell(RequestFailed(*about, clock.monotonic() - began, type(error).__name__))
            raise
        seconds = clock.monotonic() - began
        if isinstance(outcome, Answer):
            told = seconds, outcome.status, outcome.request_id, outcome.engine
            self._tell(AnswerReceived(*about, *told))
        else:
            self._tell(RequestFailed(*about, seconds, type(outcome).__name__))
        return outcome

    def retrying(self, call: Call, seconds: float, error: PrismaError) -> None:
        status = error.status if isinstance(error, APIError) else None
        self._tell(Retrying(*_about(call), seconds, type(error).__name__, status))

    def renewed(self, call: Call, seconds: float, renewed: bool) -> None:
        self._tell(Renewed(*_about(call), seconds, renewed))

    def _tell(self, event: Event) -> None:
        try:
            self._hook(event)
        except Exception:
            if not self._failed:
                self._failed = True
                logger.exception("the on_event hook failed; its further failures are not logged")


def _about(call: Call) -> tuple[str, str, str, int]:
    """What every event tells."""
    return call.method, route(call.path), call.options.base_url, call.sent

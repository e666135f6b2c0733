"""What a client tells those who observe it; never a secret, a body, a query or an id that it filled in."""

import logging
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import TypeAlias

from attrs import frozen

logger = logging.getLogger("prisma_mgmt")


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
    """A call is sent, or waits for a connection to be sent over."""


@frozen
class AnswerReceived(Event):
    """An answer has come, whole; of a log, its head. `duration` is in seconds since the request was sent."""

    duration: float
    status: int
    request_id: str | None


@frozen
class RequestFailed(Event):
    """No whole answer came within `duration` seconds; `error` is the name of the exception, cancellation included."""

    duration: float
    error: str


@frozen
class Retrying(Event):
    """The call is going to be sent again in `delay` seconds, for `error` (with its `status`, where there is one)."""

    delay: float
    error: str
    status: int | None


@frozen
class Renewed(Event):
    """The credentials were asked for another token after a 401, and had answered after `duration` seconds.

    `renewed` is False where they had none, and the 401 stands.
    """

    duration: float
    renewed: bool


Hook: TypeAlias = Callable[[Event], object]


class Observer:
    """A user's hook, which cannot hurt the call that it is told of."""

    __slots__ = ("_failed", "_hook")

    def __init__(self, hook: Hook) -> None:
        if not callable(hook) or iscoroutinefunction(hook):
            raise TypeError("on_event must be a plain function that takes an event")
        self._hook = hook
        self._failed = False

    def __call__(self, event: Event) -> None:
        try:
            self._hook(event)
        except Exception:
            if not self._failed:
                self._failed = True
                logger.exception("the on_event hook failed; its further failures are not logged")

"""Work that outlives whoever asked for it."""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from typing import Any, Generic, TypeVar

import anyio

from prisma_mgmt.errors import AuthError, PrismaError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_running: set["Work[Any]"] = set()  # a loop holds its tasks weakly
_owner: ContextVar[object] = ContextVar("owner", default=None)
_waits: ContextVar[bool] = ContextVar("waits", default=False)  # whether this is work that may wait


async def drain(owner: object) -> None:
    """Wait until no work of `owner` is under way; one that may wait does not wait for itself, nor for its like."""
    while works := [work for work in _running if work.owner is owner and not (work.may_wait and _waits.get())]:
        for work in works:
            await work.done.wait()


def tell(owner: object, hook: Callable[..., object] | None, *arguments: object) -> None:
    """Call a hook apart from whatever is under way, which it can neither delay nor hurt."""
    if hook is None:
        return

    async def call() -> None:
        try:
            result = hook(*arguments)
            if isinstance(result, Awaitable):
                await result
        except Exception as error:  # a hook is user code, and may raise anything
            logger.error("the hook %r failed (%s)", hook, type(error).__name__)  # noqa: TRY400  # see vault.py

    Work(owner, call, may_wait=True)


class Work(Generic[T]):
    """A coroutine in a task of its own, in an empty context: any number may wait for it, and none can stop it.

    An anyio scope, shielded or not, does not hold against asyncio's own cancellation, so no caller's task may run it.
    """

    def __init__(
        self,
        owner: object,
        function: Callable[[], Awaitable[T]],
        *,
        name: str = "the work",
        passing: tuple[type[Exception], ...] = (),
        may_wait: bool = False,
    ) -> None:
        """`may_wait` is for work that nothing of the same owner waits for: it may wait for that in turn.

        Those who wait get our own errors and those of `passing` as they are; any other is an AuthError about `name`.
        """
        self.owner = owner
        self.may_wait = may_wait
        self._name = name
        self._passing: tuple[type[Exception], ...] = (PrismaError, *passing)
        self.done = anyio.Event()
        self._function = function
        self._result: list[T] = []
        self._error: BaseException | None = None
        _running.add(self)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            import trio

            trio.lowlevel.spawn_system_task(self._run, context=Context())
        else:
            self._task = loop.create_task(self._run(), context=Context())

    async def _run(self) -> None:
        _owner.set(None if self.may_wait else self.owner)
        _waits.set(self.may_wait)
        try:
            self._result.append(await self._function())
        except Exception as error:  # whatever it is, those who wait are to have it
            self._error = error
        except BaseException as error:
            self._error = error  # the event loop is shutting down
            raise
        finally:
            _running.discard(self)
            self.done.set()

    async def wait(self) -> T:
        """The result. A failure is raised as an exception of one's own, so that no two callers share a traceback."""
        if _owner.get() is self.owner:
            raise RuntimeError("a token storage must not call the session that it belongs to")
        await self.done.wait()
        if self._error is None:
            return self._result[0]
        if isinstance(self._error, self._passing):
            mine = copy.copy(self._error)
            raise mine from self._error.__cause__
        raise AuthError(f"{self._name} ended with {type(self._error).__name__}") from self._error

"""Work that outlives whoever asked for it."""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from typing import Any, Generic, TypeVar

import anyio

from prisma_mgmt.errors import AuthError, PrismaError

T = TypeVar("T")

_running: set["Work[Any]"] = set()  # a loop holds its tasks weakly
_owner: ContextVar[object] = ContextVar("owner", default=None)


async def drain(owner: object) -> None:
    """Wait until no work of `owner` is under way."""
    for work in [work for work in _running if work.owner is owner]:
        await work.done.wait()


class Work(Generic[T]):
    """A coroutine in a task of its own, in an empty context: any number may wait for it, and none can stop it.

    An anyio scope, shielded or not, does not hold against asyncio's own cancellation, so no caller's task may run it.
    """

    def __init__(self, owner: object, function: Callable[[], Awaitable[T]], *, may_wait: bool = False) -> None:
        """`may_wait` is for work that nothing of the same owner waits for: it may wait for that in turn."""
        self.owner = owner
        self._may_wait = may_wait
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
        _owner.set(None if self._may_wait else self.owner)
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
        if isinstance(self._error, PrismaError):
            mine = copy.copy(self._error)
            raise mine from self._error.__cause__
        raise AuthError(f"the refresh ended with {type(self._error).__name__}") from self._error

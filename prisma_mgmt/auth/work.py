"""Work that outlives whoever asked for it, and the program's last line if need be."""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, Generic, TypeVar

import anyio

from prisma_mgmt.errors import AuthError, PrismaError
from prisma_mgmt.loops import running_loop
from prisma_mgmt.masks import strip

logger: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

_running: set["Work[Any]"] = set()  # a loop holds its tasks weakly
_owner: ContextVar[object] = ContextVar("owner", default=None)
_waits: ContextVar[bool] = ContextVar("waits", default=False)  # True in work that may wait


async def drain(owner: object) -> None:
    """Wait until no work of `owner` is under way in this event loop.

    Work that may wait does not wait for itself, nor for its like.
    """
    loop = running_loop()
    while works := [
        work
        for work in list(_running)
        if work.owner is owner and work.loop is loop and not (work.may_wait and _waits.get())
    ]:
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
            # without a traceback: it would show frames of user code that hold the tokens
            logger.error("the hook %r failed (%s)", hook, type(error).__name__)  # noqa: TRY400  # as said above

    Work(owner, call, may_wait=True, lasting=False)


def fresh(error: E) -> E:
    """A copy of an error, to be raised from the same cause, so that no two callers share a traceback or notes."""
    mine = copy.copy(error)
    if notes := getattr(mine, "__notes__", None):
        mine.__notes__ = list(notes)
    return mine


class Work(Generic[T]):
    """A coroutine in a task of its own, in an empty context: any number may wait for it, and none can stop it.

    An anyio scope, shielded or not, does not hold against asyncio's own cancellation, so no caller's task may run it.
    The end of the program does not stop it either: asyncio.run() and trio.run() wait for it, and it has a deadline.
    """

    def __init__(
        self,
        owner: object,
        function: Callable[[], Awaitable[T]],
        *,
        name: str = "the work",
        passing: tuple[type[Exception], ...] = (),
        may_wait: bool = False,
        lasting: bool = True,
    ) -> None:
        """`may_wait` is for work that nothing of the same owner waits for: it may wait for that in turn.

        `lasting` is False for work that may take for ever, and so ends with the program.
        Those who wait get our own errors and those of `passing` as they are; any other is an AuthError about `name`.
        """
        self.owner: object = owner
        self.may_wait = may_wait
        self.done: anyio.Event = anyio.Event()
        self.loop: object = running_loop()
        self._name = name
        self._passing: tuple[type[Exception], ...] = (PrismaError, *passing)
        self._lasting = lasting
        self._function: Callable[[], Awaitable[T]] | None = function
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._task: object = None
        _running.add(self)
        self._start()

    def _start(self) -> None:
        if isinstance(self.loop, asyncio.AbstractEventLoop):
            kind = _LastingTask if self._lasting else asyncio.Task[None]
            self._task = kind(self._run(), loop=self.loop, context=Context())
        else:
            import trio

            trio.lowlevel.spawn_system_task(self._run, context=Context())

    async def _run(self) -> None:
        _owner.set(None if self.may_wait else self.owner)
        _waits.set(self.may_wait)
        assert self._function is not None  # it is dropped below
        try:
            with anyio.CancelScope(shield=self._lasting):  # trio cancels what is left when the program ends
                self._result.append(await self._function())
        except Exception as error:  # whatever it is, those who wait are to have it
            strip(error)  # our frames hold tokens, and would keep the session alive
            self._error = error
        except BaseException as error:
            self._error = error  # the event loop is shutting down
            raise
        finally:
            self.owner = self._function = self._task = None  # no cycle keeps an owner that everybody has left
            _running.discard(self)
            self.done.set()

    async def wait(self) -> T:
        """The result. A failure is raised as an exception of the caller's own."""
        self.refuse_owner()
        await self.done.wait()
        if self._error is None:
            return self._result[0]
        if isinstance(self._error, self._passing):
            raise fresh(self._error) from self._error.__cause__
        raise AuthError(f"{self._name} ended with {type(self._error).__name__}") from self._error

    def refuse_owner(self) -> None:
        """Raise RuntimeError if it is work of the same owner that is about to wait for this."""
        if self.owner is not None and _owner.get() is self.owner:
            raise RuntimeError("a token storage must not call the session that it belongs to")


class _LastingTask(asyncio.Task[None]):
    """A task that asyncio.run() waits for: it cancels what is left once the loop has stopped, and then runs that."""

    def __init__(
        self, coro: Coroutine[Any, Any, None], *, loop: asyncio.AbstractEventLoop, context: Context
    ) -> None:  # typeshed's signature differs between releases
        super().__init__(coro, loop=loop, context=context)

    def cancel(self, msg: Any | None = None) -> bool:
        """Do nothing once the loop no longer runs."""
        return super().cancel(msg) if self.get_loop().is_running() else False

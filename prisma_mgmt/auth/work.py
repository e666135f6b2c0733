"""Tasks that go on if their caller is cancelled. A program waits for them before it ends."""

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401  # pyright: ignore[reportUnusedImport]  # its end is registered before ours
import copy
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar
from traceback import walk_tb
from typing import Any, Generic, TypeVar

import anyio

from prisma_mgmt.auth.arguments import called
from prisma_mgmt.errors import AuthError, PrismaError
from prisma_mgmt.loops import closed, running_loop
from prisma_mgmt.masks import strip

logger: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

_ENDS = (KeyboardInterrupt, SystemExit)
_LONGEST, _LOOK = 40.0, 0.01  # seconds in which work ends, a wait for a lock included; and between two looks at it
_running: dict[object, set["Work[Any]"]] = {}  # by event loop, since a loop holds its tasks weakly
_current: ContextVar["Work[Any] | None"] = ContextVar("current", default=None)


async def drain(owner: object) -> None:
    """Wait until no work of `owner` is under way in this event loop. A hook waits for no hook."""
    _refuse(owner)
    loop, asking = running_loop(), current()
    in_hook = asking is not None and asking.hook
    while works := [one for one in _running.get(loop, ()) if one.owner is owner and not (in_hook and one.hook)]:
        for work in works:
            await work.done.wait()


def _wait_for_the_rest() -> None:
    """Wait for the work of event loops in other threads, which run on until the program has ended.

    A program in such a loop is the usual way from code that is not asynchronous. Its thread may be a daemon.
    """
    until = time.monotonic() + _LONGEST
    while time.monotonic() < until and any(one.goes_on() for works in list(_running.values()) for one in list(works)):
        time.sleep(_LOOK)


# Before the threads of executors end, which a storage may need. Who came last is called first.
getattr(threading, "_register_atexit", atexit.register)(_wait_for_the_rest)
atexit.register(_wait_for_the_rest)  # once more, for what threads that are no daemons have begun meanwhile


def _refuse(owner: object) -> None:
    """Raise RuntimeError if it is work of the owner that asks, since it would wait for itself."""
    asking = current()
    if asking is not None and not asking.hook and asking.owner is owner:
        raise RuntimeError("a token storage must not call the session that it belongs to")


def current() -> "Work[Any] | None":
    """The work that runs here."""
    return _current.get()


def tell(owner: object, hook: Callable[..., object] | None, *arguments: object) -> None:
    """Call a hook apart from whatever is under way, which it can neither delay nor hurt."""
    if hook is None:
        return

    async def call() -> None:
        try:
            await called(hook, *arguments)
        except Exception as error:  # a hook is user code, and may raise anything
            # without a traceback: it would show frames of user code that hold the tokens
            name = getattr(hook, "__qualname__", type(hook).__name__)  # its repr may show what it was made with
            logger.error("the hook %s failed (%s)", name, type(error).__name__)  # noqa: TRY400  # as said above

    Work(owner, call, hook=True)


def fresh(error: E) -> E:
    """A copy of an error, to be raised from the same cause, so that no two callers share a traceback or notes."""
    mine = copy.copy(error)
    if notes := getattr(mine, "__notes__", None):
        mine.__notes__ = list(notes)
    return mine


def ended(name: str, error: BaseException) -> AuthError:
    """What to tell of an error that is none of ours."""
    told = AuthError(f"{name} ended with {type(error).__name__}")
    told.__cause__ = error
    return told


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
        hook: bool = False,
        lasting: bool = True,
    ) -> None:
        """`hook` is True for the application's own code. It may never end, so the program's end does not wait for it.

        A hook may wait for the owner's other work, because that never waits for a hook. The program's end does not wait
        for a work that is not `lasting`, either.
        Whoever waits gets our own errors and those of `passing` as they are. Others become an AuthError about `name`.
        """
        self.owner: object = owner
        self.hook: bool = hook
        self.told: anyio.Event = anyio.Event()  # set when nobody is to wait any longer
        self.done: anyio.Event = anyio.Event()  # set when it has ended
        self._name, self._lasting = name, lasting and not hook
        self._passing: tuple[type[Exception], ...] = (PrismaError, *passing)
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._loop, self._process = running_loop(), os.getpid()
        self.task: asyncio.Task[None] | None = None
        self._begun: list[Work[Any]] = []  # by this one
        if self._lasting and (parent := current()) is not None:
            parent._begun.append(self)
        if self._loop not in _running:
            _let_go()
        _running.setdefault(self._loop, set()).add(self)
        self._start(function)

    def _start(self, function: Callable[[], Awaitable[T]]) -> None:
        if isinstance(self._loop, asyncio.AbstractEventLoop):
            kind = _LastingTask if self._lasting else asyncio.Task[None]
            self.task = kind(self._run(function), loop=self._loop, context=Context())
            self.task.add_done_callback(self._finish)
        else:
            import trio

            trio.lowlevel.spawn_system_task(self._run, function, context=Context())

    async def _run(self, function: Callable[[], Awaitable[T]]) -> None:
        _current.set(self)
        try:
            with anyio.CancelScope(shield=self._lasting):  # trio cancels what is left when the program ends
                self._result.append(await function())
        except BaseException as error:  # whatever it is, those who wait are to have it
            self._error = error
            if isinstance(error, PrismaError):  # its cause may keep frames of the user's code, which know their callers
                _empty(error)
            strip(error)  # our frames hold tokens, and would keep the session alive
            if isinstance(error, anyio.get_cancelled_exc_class()) or (self.task and isinstance(error, _ENDS)):
                raise  # the event loop is shutting down; in trio only a cancellation may leave its tasks
        finally:
            del function
            self._finish()
        for work in self._begun:  # asyncio.run() waits for no task that has begun since it looked
            await work.done.wait()

    def _finish(self, task: asyncio.Task[None] | None = None) -> None:
        """Let all go on who wait. A task that was cancelled before its first step comes here, too."""
        if task is not None and not task.cancelled():
            task.exception()  # what ends the program has been raised by the loop, and asyncio need not warn of it
        if self.done.is_set():
            return
        if self._error is None and not self._result:
            self._error = asyncio.CancelledError()
        self.owner = self.task = None  # no cycle keeps an owner that everybody has left
        works = _running.get(self._loop, set())
        works.discard(self)
        if not works:
            _running.pop(self._loop, None)
        self.told.set()
        self.done.set()

    @property
    def under_way(self) -> bool:
        return not self.done.is_set()

    def goes_on(self) -> bool:
        """Return True if an event loop of this process runs it, and a program's end is to wait for it."""
        running = getattr(self._loop, "is_running", lambda: True)()
        return self._lasting and running and self._process == os.getpid()

    async def wait(self) -> T:
        """The result. A failure is raised as an exception of the caller's own."""
        if self.owner is not None:
            _refuse(self.owner)
        await self.told.wait()
        return self.outcome()

    def outcome(self) -> T:
        """The result for one of those who were told to wait no longer."""
        if self._error is None:
            return self._result[0]
        if isinstance(self._error, self._passing):
            raise fresh(self._error) from self._error.__cause__
        raise ended(self._name, self._error)


def _empty(error: BaseException) -> None:
    """Empty our frames in an error's traceback, through which it has come.

    A frame of the user's code may belong to a task that has handed the error on and lives. clear() would close it.
    """
    for frame, _ in walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] == "prisma_mgmt":
            with suppress(RuntimeError):  # it is the one that runs
                frame.clear()


def _let_go() -> None:
    """Run what `finally` says in the middle of work whose event loop was closed, since nothing else will."""
    for loop in [one for one in list(_running) if closed(one)]:
        for work in _running.pop(loop, set()):
            if work.task is not None and isinstance(coroutine := work.task.get_coro(), Coroutine):
                with suppress(Exception):  # whatever it meets without its loop, it is over
                    coroutine.close()


class _LastingTask(asyncio.Task[None]):
    """A task that ends by itself only: no other task may cancel it, and asyncio.run() waits for it.

    asyncio.run() cancels what is left once the loop has stopped, and then runs that.
    """

    timed: bool = False  # True in a call of the user's code, whose timers may cancel it
    refused: int = 0  # cancellations that came to nothing

    def cancel(self, msg: Any | None = None) -> bool:
        """Do nothing, unless a scope of anyio's cancels it, or a timer in the user's code, which no task runs."""
        loop = self.get_loop()
        scoped = isinstance(msg, str) and msg.startswith("Cancelled via cancel scope ")  # as anyio says
        if loop.is_running() and (scoped or (self.timed and asyncio.current_task(loop) is None)):
            return super().cancel(msg)
        self.refused += not loop.is_closed()  # else nothing is to be done once more
        return False

    def disturbed(self, refused: int, error: BaseException | None = None) -> bool:
        """Return True if anybody has cancelled it since it had refused so often, and make nothing of that.

        A cancellation that it did not refuse counts if it is the `error` that a call has ended with. Timers and groups
        of tasks make another one of theirs.
        """
        cut = isinstance(error, asyncio.CancelledError) and self.cancelling() > 0
        while self.cancelling():
            self.uncancel()
        return cut or self.refused > refused


def _lasting_task() -> _LastingTask | None:
    """The task of the work that runs here, if only that ends it."""
    work = current()
    return work.task if work is not None and isinstance(work.task, _LastingTask) else None


async def uncut(call: Callable[[], Awaitable[T]], scope: anyio.CancelScope) -> T:
    """What a call of the user's code in `scope` gives; it is made again if somebody cancels all tasks meanwhile.

    asyncio.run() does so at the program's end. That spares the work, and not the tasks that the user's code has started
    in it; a group of tasks then ends as if they had done what they were for. The handler of a signal does not even
    spare the work, since it looks like a timer. Three calls are the most, as the user's code may cancel its own task.
    """
    task, left = _lasting_task(), 3
    while True:
        left -= 1
        refused = 0 if task is None else task.refused
        try:
            result = await call()
        except (Exception, asyncio.CancelledError) as error:
            if task is None or scope.cancel_called or not (task.disturbed(refused, error) and left):
                raise
        else:
            if task is None or scope.cancel_called or not (task.disturbed(refused) and left):
                return result


@contextmanager
def timed(allowed: bool = True) -> Generator[None]:
    """Let timers cancel what is inside, as drivers of databases have them; or let none, inside of that."""
    task = _lasting_task()
    if task is None:
        yield
        return
    before, task.timed = task.timed, allowed
    try:
        yield
    finally:
        task.timed = before

"""A token storage as its session sees it: faults become AuthErrors, and what it could not take stays in memory."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import anyio
from attrs import evolve, field, frozen

from prisma_mgmt.auth.ledger import Ledger, mark
from prisma_mgmt.auth.storage.protocol import SharedTokenStorage, TokenStorage
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.auth.work import Work, current, timed, uncut
from prisma_mgmt.checks import checked_methods, checked_seconds
from prisma_mgmt.errors import AuthError, PrismaError

logger: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

_PAUSE, _LONGEST_PAUSE = 0.2, 1.0  # seconds until a write that failed is tried again
_PLAIN = ("get_tokens", "set_tokens", "clear_tokens")
_SHARED = ("refresh_lock", "set_tokens_if_current", "clear_tokens_if_current")


def _seconds(_: "Patience", attribute: Any, value: float) -> None:
    checked_seconds(value, f"patience.{attribute.name}")


@frozen(kw_only=True)
class Patience:
    """How long a session waits, in seconds.

    storage: for one call of its storage, and for one that fails to take a new pair after all.
    lock: for the storage's lock to come; longer than any of our own storages waits for theirs.
    drain: at closing, for a refresh under way, which has a deadline under that.
    call: for a read of the storage that a call waits for whose token is good.
    """

    storage: float = field(default=10.0, validator=_seconds)
    lock: float = field(default=30.0, validator=_seconds)
    drain: float = field(default=10.0, validator=_seconds)
    call: float = field(default=1.0, validator=_seconds)


class Vault:
    """One storage. Whoever writes holds `writing()`, so that a check and the write it is for are one step.

    What is to be stored is noted in the ledger before it is tried, and settled after it: whatever a storage does
    meanwhile, a pair is not lost.
    """

    def __init__(self, storage: TokenStorage, ledger: Ledger | None = None, patience: Patience | None = None) -> None:
        self._storage = storage
        self._shared = _shared(storage)
        self.ledger: Ledger = ledger or Ledger()
        self._patience = patience or Patience()
        self._lock = anyio.Lock(fast_acquire=True)

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[None]:
        async with self._lock, self.ledger.claim(b"writing"):
            yield

    # Reading

    async def read(self) -> Tokens | None:
        """The stored tokens, or what could not be stored; this is the next chance to store it."""
        if self.ledger.unsaved is None:
            stored = await self._get()
            if mark(stored) not in self.ledger.spent:
                if self.ledger.unsaved is None:  # or something newer came while this was read
                    self.ledger.latest = stored
                return stored
        async with self.writing():  # what takes the place of a pair that was replaced is being written, or still to be
            return await self.latest()

    async def latest(self) -> Tokens | None:
        """As read(), for whoever holds `writing()`."""
        self.ledger.untried = None
        try:
            return await self._settle(await self._get())
        except AuthError as error:
            if self.ledger.unsaved is None:
                raise
            self._report_unsaved(error)
            return self.ledger.unsaved.wanted

    def _believed(self, stored: Tokens | None) -> Tokens | None:
        """`stored`, unless it is a pair that was replaced from here: then the storage lags behind."""
        ledger = self.ledger
        if stored is None or mark(stored) not in ledger.spent:
            return stored
        if ledger.latest is not None and mark(ledger.latest) in ledger.spent:
            raise AuthError("the token storage lags behind: it gives tokens that have been replaced")
        return ledger.latest

    async def _get(self) -> Tokens | None:
        found = await self._asked(self._storage.get_tokens)
        if found is None or isinstance(found, Tokens):  # pyright: ignore[reportUnnecessaryIsInstance]  # it is user code
            return found
        kind = type(found).__name__
        del found  # a traceback would show it
        raise AuthError(f"get_tokens() of the token storage must give Tokens or None, not {kind}")

    # Writing

    async def _settle(self, stored: Tokens | None) -> Tokens | None:
        """Bring the storage from `stored` to what it should hold, if that is still due; give what it holds then."""
        unsaved = self.ledger.unsaved
        if unsaved is None:
            held = self._believed(stored)
            if self._shared is None or same(held, stored):
                return held
            written = self.ledger.written
            unsaved = self.ledger.want(held, stored)  # a server may be back from an older copy, which others believe
            self.ledger.written = written  # that is no news here
        if unsaved.due(stored):
            self.ledger.spend(stored, keep=unsaved.wanted)  # a storage that lags may give it again
            stored = await self._bring(unsaved.wanted, stored)
            if self.ledger.unsaved is not unsaved:  # another event loop has written, since this one stood still
                self.ledger.want(self.ledger.ours, unsaved.wanted)
                return await self._settle(stored)
            if not same(stored, unsaved.wanted) and evolve(unsaved, blind=False).due(stored):
                return unsaved.wanted  # it lags behind; another chance will come
        self.ledger.settle(stored)
        return stored

    async def _bring(self, wanted: Tokens | None, stored: Tokens | None) -> Tokens | None:
        """Bring the storage from `stored` to `wanted`, and give what it holds then: somebody else may be faster."""
        if self._shared is None or stored is None or same(stored, wanted):
            await self._set(wanted)
            return wanted
        shared = self._shared
        if wanted is None:
            done = await self._asked(lambda: shared.clear_tokens_if_current(stored))
        else:
            done = await self._asked(lambda: shared.set_tokens_if_current(wanted, stored))
        if not isinstance(done, int):  # pyright: ignore[reportUnnecessaryIsInstance]  # it is user code
            kind = type(done).__name__
            del done  # a traceback would show it
            raise AuthError(f"a token storage must say True if it has replaced the tokens, else False, not {kind}")
        return wanted if done else await self._get()

    async def _set(self, wanted: Tokens | None) -> None:
        await self._asked(self._storage.clear_tokens if wanted is None else lambda: self._storage.set_tokens(wanted))

    async def replace(self, old: Tokens, new: Tokens) -> bool:
        """Store a rotated pair in place of `old`; False if somebody else has stored since, or logged out.

        If that fails, the pair is remembered, and the log says so. It is worth more than a storage's fault. If other
        processes share the storage, it is tried again and again for a while: else they would spend the old pair.
        """
        if self._overtaken(old):
            return False
        pending, work = self.ledger.unsaved, current()
        self.ledger.want(new, old)
        try:
            stored = await self._get() if self._shared is None or pending else old
            kept = same(await self._settle(stored), new)
        except AuthError as error:
            self._report_unsaved(error)
            kept = True
        if self._shared and self.ledger.unsaved:
            Work(work and work.owner, self._try_again, name="storing new tokens")
        return kept

    async def _try_again(self) -> None:
        """Store what could not be stored, as soon as the storage takes it, for as long as one of its calls may last."""
        pause, until = _PAUSE, anyio.current_time() + self._patience.storage
        while self.ledger.unsaved is not None and anyio.current_time() < until:
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            with suppress(AuthError):  # which the log has told
                await self.flush()

    def _overtaken(self, tokens: Tokens) -> bool:
        """Return True if a login or a logout in another event loop replaced `tokens`, and is still to be stored."""
        return self.ledger.unsaved is not None and not same(self.ledger.unsaved.wanted, tokens)

    async def put(self, wanted: Tokens | None, known: Tokens | None = None) -> None:
        """Store a login's tokens, or none after a logout, whatever the storage holds; `known` is what was in use.

        If that fails it is remembered, and it is an AuthError.
        """
        try:
            stored, blind = await self._get(), False
        except AuthError:
            stored, blind = known, True
        if wanted and stored and wanted.workspace_id == stored.workspace_id:  # what other programs kept there stays
            wanted = evolve(wanted, extra={**stored.extra, **wanted.extra})
        self.ledger.want(wanted, stored, known, blind=blind)
        await self._set(wanted)
        self.ledger.settle(wanted)

    async def clear_refused(self, tokens: Tokens) -> Tokens | None:
        """Forget `tokens`, which the server refused, and no newer ones, which it gives; if that fails, once more later.

        Raises AuthError if the storage cannot be read.
        """
        await self._get()
        if not self._overtaken(tokens):
            self.ledger.want(None, tokens)
        return await self.latest()

    async def flush(self) -> None:
        """Store what could not be stored before; AuthError if it still cannot be, or not in time."""
        patience = self._patience.storage
        try:
            with anyio.fail_after(patience):
                async with self.writing():
                    if self.ledger.unsaved is not None:
                        await self._settle(await self._get())
        except TimeoutError as error:
            name = type(self._storage).__name__
            raise AuthError(f"the token storage {name} did not take the tokens within {patience:g} s") from error

    # The refresh lock

    @asynccontextmanager
    async def refresh_lock(self, tokens: Tokens) -> AsyncGenerator[None]:
        """One process, and one event loop, refreshes `tokens` at a time.

        What is done under the storage's own lock runs to its end, whatever becomes of the lock.
        """
        if self._shared is None:
            async with self.ledger.claim(mark(tokens)):
                yield
            return
        held, failure = False, None
        try:
            # one scope for all of it: the lock may hold a scope or a task group of its own from its start to its end
            with timed(), anyio.fail_after(self._patience.lock) as scope:
                async with self._shared.refresh_lock():
                    held, scope.deadline = True, math.inf
                    try:
                        with timed(False), anyio.CancelScope(shield=True):
                            yield
                    except BaseException as error:  # raised again once the lock is released
                        failure = error
                    scope.deadline = anyio.current_time() + self._patience.storage
        except BaseException as error:  # a lock is user code, and may raise anything
            if not _is_fault(error):
                raise
            if held:  # what it was for is done, and it ends by itself
                report("the refresh lock could not be released", error)
            elif isinstance(error, PrismaError):
                raise
            else:
                raise AuthError(f"the token storage's refresh lock failed: {type(error).__name__}") from error
        if failure is not None:
            raise failure

    # Asking the storage

    async def _asked(self, call: Callable[[], Awaitable[T]]) -> T:
        """What one call of the storage gives. Whatever it raises, and its silence, is an AuthError with the cause."""
        work = current()
        try:
            with timed(), anyio.fail_after(self._patience.storage) as scope:
                return await uncut(call, scope)
        except BaseException as error:  # a storage is user code, and may raise anything
            if current() is not work:  # what closed its event loop runs here: whatever that led to, nothing may follow
                raise GeneratorExit from None
            if isinstance(error, AuthError) or not _is_fault(error):
                raise
            what = f"{type(error).__name__} ({type(self._storage).__name__})"
            raise AuthError(f"the token storage failed: {what}") from error

    def _report_unsaved(self, error: AuthError) -> None:
        if self.ledger.unsaved is not None and self.ledger.unsaved.wanted is None:
            report("the tokens could not be cleared; that is tried again", error)
        else:
            report("new tokens could not be stored; they are kept in memory", error)


def _shared(storage: TokenStorage) -> SharedTokenStorage | None:
    """The storage, if processes may share it; TypeError if it lacks methods that it needs."""
    checked_methods(storage, "storage", *_PLAIN)
    if any(hasattr(storage, name) for name in _SHARED):
        checked_methods(storage, "storage, since processes share it,", *_PLAIN, *_SHARED)
    return storage if isinstance(storage, SharedTokenStorage) else None


def _is_fault(error: BaseException) -> bool:
    """Return True for what a storage raised by itself, False for what is to end the task that asks it.

    A storage may wait for a task of its own that somebody cancels; nobody has then cancelled this one.
    """
    if isinstance(error, anyio.get_cancelled_exc_class()):
        task = asyncio.current_task() if isinstance(error, asyncio.CancelledError) else None
        return task is not None and not task.cancelling()
    return not isinstance(error, GeneratorExit | KeyboardInterrupt | SystemExit)


def report(problem: str, error: BaseException) -> None:
    """Log what a storage could not do, without a traceback: it would show frames of user code that hold the tokens."""
    logger.error("%s (%s)", problem, type(error.__cause__ or error).__name__)

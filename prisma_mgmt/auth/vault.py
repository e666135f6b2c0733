"""A token storage as its session sees it: faults become AuthErrors, and a pair that could not be stored is kept."""

import logging
import math
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from weakref import ref

import anyio

from prisma_mgmt.auth.storage.protocol import SharedTokenStorage, TokenStorage
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.errors import AuthError, PrismaError

logger = logging.getLogger(__name__)

_PATIENCE = 10.0  # seconds for one call of a storage
_LOCK_PATIENCE = 30.0  # seconds for its lock to come: longer than any of our own storages waits for theirs
_owners: dict["Vault", object] = {}  # of the pairs that are in memory only


class Vault:
    """One storage. Whoever writes holds `writing`, so that a check and the write it is for are one step.

    owner: what lives on, though nobody holds it, for as long as a pair could not be stored.
    """

    def __init__(self, storage: TokenStorage, owner: object) -> None:
        self.writing = anyio.Lock(fast_acquire=True)
        self._owner = ref(owner)
        self._storage = storage
        self._shared = storage if isinstance(storage, SharedTokenStorage) else None
        # what the storage holds, and what it should hold; twice the same pair where it could not say what it holds
        self._unsaved: tuple[Tokens | None, Tokens | None] | None = None

    async def read(self) -> Tokens | None:
        """The stored tokens, or what could not be stored; this is the next chance to store it."""
        if self._unsaved is None:
            return await self._get()
        async with self.writing:
            return await self.latest()

    async def latest(self) -> Tokens | None:
        """As read(), for whoever holds `writing`."""
        try:
            return await self._settle()
        except AuthError as error:
            if self._unsaved is None:
                raise
            self._report_unsaved(error)
            return self._unsaved[1]

    async def _get(self) -> Tokens | None:
        with _faults():
            found = await self._storage.get_tokens()
        if found is None or isinstance(found, Tokens):  # pyright: ignore[reportUnnecessaryIsInstance]  # it is user code
            return found
        kind = type(found).__name__
        del found  # a traceback would show it
        raise AuthError(f"get_tokens() of the token storage must give Tokens or None, not {kind}")

    async def _settle(self) -> Tokens | None:
        """Bring the storage to what it should hold, unless somebody else has written since; what it holds then."""
        stored = await self._get()
        if self._unsaved is None:
            return stored
        before, wanted = self._unsaved
        if self._awaits(stored):
            with _faults():
                if wanted is not None:
                    await self._storage.set_tokens(wanted)
                elif self._shared is not None and before is not None:
                    await self._shared.clear_tokens_if_current(before)
                else:
                    await self._storage.clear_tokens()
            stored = wanted
        self._remember(None)
        return stored

    def _awaits(self, stored: Tokens | None) -> bool:
        """Whether a storage that holds `stored` is still to be brought to what it should hold."""
        if self._unsaved is None:
            return False
        before, wanted = self._unsaved
        return same(stored, before) or (wanted is not None and before is wanted)

    async def holds(self, tokens: Tokens) -> bool:
        """Whether the storage holds `tokens`, or what they could not yet replace; yes where it cannot say."""
        try:
            stored = await self._get()
        except AuthError:  # the rotated pair at hand is worth more than a storage's fault
            return True
        return same(stored, tokens) or (self._unsaved is not None and same(stored, self._unsaved[0]))

    async def replace(self, old: Tokens, new: Tokens) -> bool:
        """Store a rotated pair in place of `old`, as keep() does; False where somebody else has stored since."""
        swap = getattr(self._storage, "set_tokens_if_current", None)
        if swap is None or self._unsaved is not None:
            if not await self.holds(old):
                return False
            await self.keep(old, new)
            return True
        try:
            with _faults():
                return bool(await swap(new, old))
        except AuthError as error:
            self._keep_in_memory(old, new, error)
            return True

    async def keep(self, old: Tokens | None, new: Tokens) -> None:
        """Store a rotated pair in place of `old`; where that fails, remember it and say so in the log."""
        try:
            with _faults():
                await self._storage.set_tokens(new)
        except AuthError as error:
            self._keep_in_memory(old, new, error)
        else:
            self._remember(None)

    def _keep_in_memory(self, old: Tokens | None, new: Tokens, error: AuthError) -> None:
        self._remember((self._unsaved[0] if self._unsaved else old, new))
        self._report_unsaved(error)

    async def put(self, tokens: Tokens) -> None:
        """Store a login's tokens; where that fails they are remembered, and it is an AuthError."""
        try:
            with _faults():
                await self._storage.set_tokens(tokens)
        except AuthError:
            self._remember((tokens, tokens))
            with suppress(AuthError):
                self._remember((await self._get(), tokens))
            raise
        self._remember(None)

    async def clear(self, known: Tokens | None = None) -> None:
        """Forget the tokens; where that fails it is an AuthError, and `known`, if stored still, are cleared later."""
        before = self._unsaved[0] if self._unsaved else known
        self._remember(None)
        try:
            with _faults():
                await self._storage.clear_tokens()
        except AuthError:
            if before is not None:
                self._remember((before, None))
            raise

    async def clear_refused(self, tokens: Tokens) -> Tokens | None:
        """Forget `tokens`, which the server refused, and no newer ones, which it gives; if that fails, once more later.

        Raises AuthError where the storage cannot be read.
        """
        stored = await self._get()
        ours = same(stored, tokens) or self._awaits(stored)
        self._remember((stored, None) if ours else None)
        return await self.latest() if ours else stored

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncGenerator[bool, None]:
        """One process at a time; whether others may have written before, so that the tokens want reading again."""
        if self._shared is None:
            yield False
            return
        held, failure = False, None
        try:
            # one scope for all of it: the lock may hold a scope or a task group of its own from its start to its end
            with _translated("the token storage's refresh lock"), anyio.fail_after(_LOCK_PATIENCE) as scope:
                lock = self._shared.refresh_lock()
                await lock.__aenter__()
                held, scope.deadline = True, math.inf
                try:
                    with anyio.CancelScope(shield=True):  # whatever becomes of the lock, a refresh runs to its end
                        yield True
                except BaseException as error:  # raised again once the lock is released
                    failure = error
                scope.deadline = anyio.current_time() + _PATIENCE
                await lock.__aexit__(None, None, None)
        except AuthError as error:
            if not held:
                raise
            _report("the refresh lock could not be released", error)  # what it was for is done, and it ends by itself
        if failure is not None:
            raise failure

    async def flush(self) -> None:
        """Store what could not be stored before; AuthError where it still cannot be, or not in time."""
        try:
            with anyio.fail_after(_PATIENCE):
                async with self.writing:
                    if self._unsaved is not None:
                        await self._settle()
        except TimeoutError as error:
            name = type(self._storage).__name__
            raise AuthError(f"the token storage {name} did not take the tokens within {_PATIENCE:g} s") from error
        finally:
            _owners.pop(self, None)

    def _report_unsaved(self, error: AuthError) -> None:
        if self._unsaved is not None and self._unsaved[1] is None:
            _report("the tokens could not be cleared; that is tried again", error)
        else:
            _report("new tokens could not be stored; they are kept in memory", error)

    def _remember(self, unsaved: tuple[Tokens | None, Tokens | None] | None) -> None:
        self._unsaved = unsaved
        if unsaved is None:
            _owners.pop(self, None)
        else:
            _owners[self] = self._owner()


def _report(problem: str, error: AuthError) -> None:
    # no traceback: it would show frames of user code that hold the tokens
    logger.error("%s (%s)", problem, type(error.__cause__ or error).__name__)


@contextmanager
def _faults() -> Generator[None, None, None]:
    """Turn whatever one call of a storage raises, and its silence, into an AuthError; its cause tells the rest."""
    with _translated("the token storage"), anyio.fail_after(_PATIENCE):
        yield


@contextmanager
def _translated(what: str) -> Generator[None, None, None]:
    try:
        yield
    except PrismaError:
        raise
    except Exception as error:  # a storage is user code, and may raise anything
        raise AuthError(f"{what} failed: {type(error).__name__}") from error

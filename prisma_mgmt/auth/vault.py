"""A token storage as its session sees it: faults become AuthErrors, and a pair that could not be stored is kept."""

import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from weakref import ref

import anyio

from prisma_mgmt.auth.storage.protocol import SharedTokenStorage, TokenStorage
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.errors import AuthError, PrismaError

logger = logging.getLogger(__name__)

_PATIENCE = 10.0  # seconds for one call of a storage
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
        # what the storage holds, and what it should hold; twice the same where it could not say what it holds
        self._unsaved: tuple[Tokens | None, Tokens] | None = None

    async def read(self) -> Tokens | None:
        """The stored tokens, or the pair that could not be stored; this is the next chance to store it."""
        if self._unsaved is not None:
            async with self.writing:
                return await self._settle()
        with _faults():
            return await self._storage.get_tokens()

    async def _settle(self) -> Tokens | None:
        try:
            with _faults():
                stored = await self._storage.get_tokens()
        except AuthError:
            if self._unsaved is None:
                raise
            return self._unsaved[1]
        if self._unsaved is None:
            return stored
        before, tokens = self._unsaved
        if before is not tokens and not same(stored, before):
            self._remember(None)  # somebody else has written since
            return stored
        await self.keep(before, tokens)
        return tokens

    async def holds(self, tokens: Tokens) -> bool:
        """Whether the storage holds `tokens`, or what they could not yet replace; yes where it cannot say."""
        try:
            with _faults():
                stored = await self._storage.get_tokens()
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
        _report("new tokens could not be stored; they are kept in memory", error)

    async def put(self, tokens: Tokens) -> None:
        """Store a login's tokens; where that fails they are remembered, and it is an AuthError."""
        try:
            with _faults():
                await self._storage.set_tokens(tokens)
        except AuthError:
            self._remember((tokens, tokens))
            with suppress(AuthError), _faults():
                self._remember((await self._storage.get_tokens(), tokens))
            raise
        self._remember(None)

    async def clear(self) -> None:
        """Forget the tokens."""
        self._remember(None)
        with _faults():
            await self._storage.clear_tokens()

    async def clear_refused(self, tokens: Tokens) -> None:
        """Forget `tokens`, which the server refused, and no newer ones."""
        self._remember(None)
        with _faults():
            if self._shared is not None:
                await self._shared.clear_tokens_if_current(tokens)
            elif same(await self._storage.get_tokens(), tokens):
                await self._storage.clear_tokens()

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncGenerator[bool, None]:
        """One process at a time; whether others may have written before, so that the tokens want reading again."""
        if self._shared is None:
            yield False
            return
        with _faults(patience=None):  # it has a deadline of its own
            lock = self._shared.refresh_lock()
            await lock.__aenter__()
        try:
            yield True
        finally:
            try:
                with _faults():
                    await lock.__aexit__(None, None, None)
            except AuthError as error:  # what the lock was for is done, and the lock ends by itself
                _report("the refresh lock could not be released", error)

    async def flush(self) -> None:
        """Store what could not be stored before; AuthError where it still cannot be."""
        try:
            if self._unsaved is not None:
                await self.put(self._unsaved[1])
        finally:
            _owners.pop(self, None)

    def _remember(self, unsaved: tuple[Tokens | None, Tokens] | None) -> None:
        self._unsaved = unsaved
        if unsaved is None:
            _owners.pop(self, None)
        else:
            _owners[self] = self._owner()


def _report(problem: str, error: AuthError) -> None:
    # no traceback: it would show frames of user code that hold the tokens
    logger.error("%s (%s)", problem, type(error.__cause__ or error).__name__)


@contextmanager
def _faults(patience: float | None = _PATIENCE) -> Generator[None, None, None]:
    """Turn whatever a storage raises, and its silence, into an AuthError; its cause tells the rest."""
    try:
        with anyio.fail_after(patience):
            yield
    except PrismaError:
        raise
    except Exception as error:  # a storage is user code, and may raise anything
        raise AuthError(f"the token storage failed: {type(error).__name__}") from error

"""What a session asks of the place where tokens are kept."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from prisma_mgmt.auth.tokens import Tokens


@runtime_checkable
class TokenStorage(Protocol):
    """Keeps one user's tokens. Any class with these three methods will do.

    A storage runs in a task of the session's own: it must not call the session, nor read a request's context variables.
    """

    async def get_tokens(self) -> Tokens | None:
        """Return the tokens, or None if there are none. What cannot be read is an exception, never None."""
        ...

    async def set_tokens(self, tokens: Tokens) -> None:
        """Keep `tokens` in place of any others."""
        ...

    async def clear_tokens(self) -> None:
        """Forget the tokens. If there are none, nothing happens."""
        ...


@runtime_checkable
class SharedTokenStorage(TokenStorage, Protocol):
    """A storage whose tokens several processes share. The three methods come together or not at all.

    With them, processes refresh one at a time, and none undoes what another has stored or cleared in the meantime.
    """

    def refresh_lock(self) -> AbstractAsyncContextManager[None]:
        """Give a lock for one process at a time, held over a read, a refresh and a write; it ends with its process.

        A refresh may take nearly ten seconds. If the lock can end by itself before, extend it while it is held. The
        other methods are called while it is held, and must not wait for it.
        """
        ...

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        """Store `tokens` if the stored ones are still `current`, in one step; return False if they are not."""
        ...

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        """Forget the tokens if they are still `tokens`, in one step; return False if they are not."""
        ...

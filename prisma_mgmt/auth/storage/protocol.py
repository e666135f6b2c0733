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
        """The tokens, None where there are none. What cannot be read is an exception, never None."""
        ...

    async def set_tokens(self, tokens: Tokens) -> None:
        """Keep `tokens` in place of any others."""
        ...

    async def clear_tokens(self) -> None:
        """Forget the tokens; where there are none, nothing happens."""
        ...


@runtime_checkable
class SharedTokenStorage(TokenStorage, Protocol):
    """A storage whose tokens several processes share.

    One that also has `set_tokens_if_current(tokens, current) -> bool`, which stores `tokens` in one step if the stored
    ones are still `current`, keeps even a logout in another process from being undone in the moment of a write.
    """

    def refresh_lock(self) -> AbstractAsyncContextManager[None]:
        """Held by one process at a time, over a read, a refresh and a write; it ends with its process."""
        ...

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        """Forget the tokens if they are still `tokens`, in one step; whether they were."""
        ...

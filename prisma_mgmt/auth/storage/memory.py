"""MemoryTokenStorage: tokens in memory, until the program ends."""

from prisma_mgmt.auth.closing import Unpickled
from prisma_mgmt.auth.tokens import Tokens
from prisma_mgmt.checks import checked_kind


class MemoryTokenStorage(Unpickled):
    """Keeps tokens for as long as this object lives."""

    def __init__(self, tokens: Tokens | None = None) -> None:
        checked_kind(tokens, Tokens | None, "tokens", "Tokens or None")
        self._tokens = tokens

    async def get_tokens(self) -> Tokens | None:
        return self._tokens

    async def set_tokens(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def clear_tokens(self) -> None:
        self._tokens = None

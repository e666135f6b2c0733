"""What storages on a server have in common: they compare texts and replace them, and their lock is a lease."""

from abc import ABC, abstractmethod

from prisma_mgmt.auth.storage.form import Form
from prisma_mgmt.auth.storage.locks import LeaseLock
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.masks import Secret


class ServedStorage(ABC):
    """Keeps tokens as a text on a server that can replace one text by another in one step."""

    _form: Form
    _lock: LeaseLock
    _seen: Secret | None = None  # the text last read, to compare with in one step

    @abstractmethod
    async def _text(self) -> Secret | None:
        """The stored text, None if there is none."""

    @abstractmethod
    async def _replaced(self, seen: Secret, text: Secret | None) -> bool:
        """Store `text`, or nothing, if `seen` is still stored; return False if it is not."""

    async def get_tokens(self) -> Tokens | None:
        found = await self._read()
        while not await self._lock.sure():
            found = await self._read()
        return None if found is None else self._form.read(found)

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        self._lock.leave(True)
        text = self._form.write(tokens)
        # the text read last may be another of the same tokens: sealed anew, it differs
        done = await self._swap(self._seen, text, current) or await self._swap(await self._read(), text, current)
        self._lock.leave(False)
        return done

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        return await self._swap(await self._read(), None, tokens)

    async def _swap(self, seen: Secret | None, text: Secret | None, current: Tokens) -> bool:
        """Store `text` in place of `seen`, if that is `current`."""
        return seen is not None and same(self._form.read(seen), current) and await self._replaced(seen, text)

    async def _read(self) -> Secret | None:
        self._seen = await self._text()
        return self._seen

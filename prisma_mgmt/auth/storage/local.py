"""What storages on the user's own machine share: lock files, which the kernel keeps, and a thread for what blocks."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from prisma_mgmt.auth.storage.form import Form
from prisma_mgmt.auth.storage.locks import WRITING, until
from prisma_mgmt.auth.storage.threads import Alone, T
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.checks import checked_seconds


class LocalStorage(ABC):
    """Keeps tokens by functions that a thread runs, one at a time; processes keep apart by two lock files."""

    def __init__(self, form: Form, locks: Path, patience: float) -> None:
        """`locks` is the path that the lock files' paths begin with."""
        self._form = form
        self._locks = locks
        self._patience = checked_seconds(patience, "patience")
        self._thread = Alone()

    async def get_tokens(self) -> Tokens | None:
        return await self._run(self._read)

    async def set_tokens(self, tokens: Tokens) -> None:
        await self._run(lambda: self._write(tokens))

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        return await self._run(lambda: self._write(tokens, current))

    async def clear_tokens(self) -> None:
        await self._run(lambda: self._write(None))

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        return await self._run(lambda: self._write(None, tokens))

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncGenerator[None]:
        """Held by one process of the user's at a time; the kernel releases it when its process dies."""
        lock = await self._run(lambda: self._lock("refresh"))

        async def attempt() -> AbstractContextManager[object] | None:
            with suppress(Timeout):
                # at once and not in a thread, whose lock a cancelled caller would leave held
                return lock.acquire(timeout=0)
            return None

        with await until(attempt, self._form.place, self._patience):
            yield

    async def _run(self, function: Callable[[], T]) -> T:
        return await self._thread.run(function)

    def _lock(self, purpose: str) -> FileLock:
        """A lock file, in a folder that is the user's alone if there was none."""
        self._locks.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock(f"{self._locks}.{purpose}.lock", mode=0o600, thread_local=False)

    def _write(self, tokens: Tokens | None, only: Tokens | None = None) -> bool:
        """Store tokens, or none; returns False, having changed nothing, if neither `only` nor they are there."""
        with self._lock("write").acquire(timeout=WRITING):
            found = None if only is None else self._read()
            if only is not None and not same(found, only) and (tokens is None or not same(found, tokens)):
                return False
            self._delete() if tokens is None else self._put(tokens)
            return True

    @abstractmethod
    def _read(self) -> Tokens | None:
        """What is stored."""

    @abstractmethod
    def _put(self, tokens: Tokens) -> None:
        """Store tokens; whoever calls it writes alone."""

    @abstractmethod
    def _delete(self) -> None:
        """Remove what is stored; whoever calls it writes alone."""

"""Waiting for a lock that another process may hold, without blocking anybody else."""

import logging
import random
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio
from attrs import frozen
from filelock import FileLock, Timeout

from prisma_mgmt.auth.storage.rooms import room
from prisma_mgmt.auth.work import Work
from prisma_mgmt.checks import checked_seconds
from prisma_mgmt.errors import AuthError

logger: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_WAIT = 25.0  # seconds: longer than a refresh, and than a lock outlives a process that died with it
LEASE = 5.0  # seconds: well within those in which the login server forgives that a refresh token comes twice
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0  # seconds
_ASKING = 2  # who wait for a lease ask at once in one event loop: whoever holds one is to extend it before that


async def until(attempt: Callable[[], Awaitable[T | None]], place: str, patience: float) -> T:
    """What `attempt` gives, asked again and again while it gives nothing.

    Raises AuthError if another process has held the lock for `patience` seconds.
    """
    pause = _FIRST_PAUSE
    with anyio.move_on_after(patience):
        while True:
            held = await attempt()
            if held is not None:
                return held
            await anyio.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # to keep processes out of step
            pause = min(pause * 2, _LONGEST_PAUSE)
    raise AuthError(f"another process has held the refresh lock of {place} for {patience:g} s")


# Locks that a server keeps


class Leases(Protocol):
    """What keeps a lease on a server, by the server's own clock; `owner` is a text that nobody else has."""

    async def take(self, owner: str) -> bool:
        """Returns True if nobody holds the lease, or held it in time, and `owner` holds it now."""
        ...

    async def extend(self, owner: str) -> bool:
        """Returns False if `owner` does not hold the lease any more."""
        ...

    async def release(self, owner: str) -> None:
        """End the lease if `owner` holds it."""
        ...


@frozen
class Lease:
    """A lock that ends by itself `seconds` after its holder was last heard of, which it is four times in them.

    A holder whose event loop stalls for longer has lost it. Another process may then refresh with the same token, and a
    login server may take that for a theft.
    """

    place: str
    seconds: float
    patience: float

    @asynccontextmanager
    async def held(self, leases: Leases) -> AsyncGenerator[None]:
        owner, done = secrets.token_hex(16), anyio.Event()

        async def attempt() -> bool | None:
            # a caller that is cancelled waits for the answer, or the server might take the lease after its release
            async with room("leases", _ASKING):
                with anyio.move_on_after(self.seconds, shield=True):
                    return await leases.take(owner) or None
            return None

        try:
            await until(attempt, self.place, self.patience)
            Work(done, lambda: self._keep(leases, owner, done))
            yield
        finally:
            done.set()
            with anyio.move_on_after(self.seconds, shield=True):  # by then it has ended by itself
                await leases.release(owner)  # also after a cancellation that may have come between asking and knowing

    async def _keep(self, leases: Leases, owner: str, done: anyio.Event) -> None:
        """Extend the lease for as long as its holder has it."""
        while True:
            with anyio.move_on_after(self.seconds / 4):
                await done.wait()
                return
            try:
                with anyio.fail_after(self.seconds / 4):
                    kept = await leases.extend(owner)
            except (
                Exception
            ) as error:  # whatever a client raises: the next turn may fare better, and else the lease ends
                logger.warning("the refresh lock of %s could not be extended (%s)", self.place, type(error).__name__)
                continue
            if not kept:  # nobody is harmed: what its holder stores is stored only in place of what it has read
                if not done.is_set():
                    logger.warning("the refresh lock of %s was lost", self.place)
                return


def checked_lease(place: str, seconds: Any, patience: Any) -> Lease:
    return Lease(place, checked_seconds(seconds, "lease", least=0.01), checked_seconds(patience, "patience"))


# Locks that the kernel keeps


def file_lock(path: Path) -> FileLock:
    """A lock file that the kernel releases when its process dies."""
    return FileLock(path, mode=0o600, thread_local=False)


@asynccontextmanager
async def held_file(path: Path, place: str, patience: float) -> AsyncGenerator[None]:
    """Hold a lock file."""
    lock = file_lock(path)

    async def attempt() -> FileLock | None:
        try:
            lock.acquire(timeout=0)  # at once and not in a thread, whose lock a cancelled caller would leave held
        except Timeout:
            return None
        return lock

    await until(attempt, place, patience)
    try:
        yield
    finally:
        lock.release()

"""Waiting for a lock that another process may hold, without blocking anybody else."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
from filelock import FileLock, Timeout

from prisma_mgmt.errors import AuthError

T = TypeVar("T")

LONGEST_WAIT = 25.0  # seconds: longer than a refresh, and than a lock outlives a process that died with it
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25  # seconds


async def until(attempt: Callable[[], Awaitable[T | None]], place: str) -> T:
    """What `attempt` gives, asked again and again while it gives nothing.

    Raises AuthError when another process has held the lock for too long.
    """
    pause = _FIRST_PAUSE
    with anyio.move_on_after(LONGEST_WAIT):
        while True:
            held = await attempt()
            if held is not None:
                return held
            await anyio.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # to keep processes out of step
            pause = min(pause * 2, _LONGEST_PAUSE)
    raise AuthError(f"another process has held the refresh lock of {place} for {LONGEST_WAIT:g} s")


def file_lock(path: Path) -> FileLock:
    """A lock file that the kernel releases when its process dies."""
    return FileLock(path, mode=0o600, thread_local=False)


@asynccontextmanager
async def held_file(path: Path, place: str) -> AsyncGenerator[None]:
    """Hold a lock file."""
    lock = file_lock(path)

    async def attempt() -> FileLock | None:
        try:
            lock.acquire(timeout=0)  # at once and not in a thread, whose lock a cancelled caller would leave held
        except Timeout:
            return None
        return lock

    await until(attempt, place)
    try:
        yield
    finally:
        lock.release()

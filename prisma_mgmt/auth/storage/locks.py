"""Locks between processes: waits for one of any kind, and keeps one that is a lease on a server."""

import logging
import random
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import anyio
from attrs import Factory, define, field

from prisma_mgmt.auth.storage.rooms import holding
from prisma_mgmt.auth.work import Work, timed, uncut
from prisma_mgmt.checks import checked_seconds
from prisma_mgmt.errors import AuthError

logger: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_WAIT = 25.0  # seconds: longer than a refresh, and than a lock outlives a process that died with it
# Seconds. If a process dies just after it has sent a refresh token, another sends it again when the lease is over. With
# the longest pause between two looks, that is within the ten in which the login server forgives it.
LEASE, LONGEST_PAUSE = 7.0, 1.0
WRITING = 5.0  # seconds to wait for another process to finish its write of a file, or of a keyring


async def until(
    attempt: Callable[[], Awaitable[T | None]], place: str, patience: float, jitter: Callable[[], float] = random.random
) -> T:
    """What `attempt` gives, asked again and again while it gives nothing, after ever longer pauses.

    `jitter` gives numbers from 0 to 1. Raises AuthError if another process has held the lock for `patience` seconds.
    """
    pause = 0.05
    with anyio.move_on_after(patience):
        while (held := await attempt()) is None:
            await anyio.sleep(pause * (1 + jitter()) / 2)  # so that processes get out of step
            pause = min(pause * 2, LONGEST_PAUSE)
        return held
    raise AuthError(f"another process has held the refresh lock of {place} for {patience:g} s")


@define(eq=False)
class _Holder:
    """One who wants a lock, or has it: until `ends` at least, by the clock of the event loop."""

    lock: "LeaseLock"
    owner: str
    done: anyio.Event = Factory(anyio.Event)
    ends: float = 0.0
    left: bool = False  # and not to be released


@define(eq=False)
class LeaseLock:
    """A lock that ends by itself `seconds` after its holder was last heard of, which it is seven times in them.

    A holder whose event loop stalls for longer has lost it. Another process may then refresh with the same token, and a
    login server may take that for a theft.

    turn: where all wait who ask for a lock, so that those who hold one are served before.
    take: gives True if the owner, a text that nobody else has, holds the lock now; nobody held it, or too long ago.
    extend: gives False if the owner does not hold it any more.
    release: ends it if the owner holds it.
    """

    place: str
    seconds: float = field(validator=lambda _, __, value: checked_seconds(value, "lease", least=0.01))
    patience: float = field(validator=lambda _, __, value: checked_seconds(value, "patience"))
    turn: Callable[[], AbstractAsyncContextManager[object]]
    take: Callable[[str], Awaitable[Any]]
    extend: Callable[[str], Awaitable[Any]]
    release: Callable[[str], Awaitable[Any]]

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        holder, before = _Holder(self, secrets.token_hex(16)), holding.get()
        holding.set(holder)
        try:
            await self._take(holder)
            yield
        finally:
            holder.done.set()
            try:
                if not holder.left:  # else it ends by itself
                    with anyio.move_on_after(min(self.seconds, LEASE), shield=True):
                        # also after a cancellation that may have come between asking and knowing
                        await self.release(holder.owner)
            finally:
                holding.set(before)

    async def sure(self) -> bool:
        """Return True if what was just read can be acted on: no lock is held here, or it surely is held still.

        If it may have ended, as on a machine that is too busy, it is taken again, and what was read counts no more.
        """
        holder = self._held_here()
        if holder is None or anyio.current_time() < holder.ends:
            return True
        await self._take(holder)
        return False

    def leave(self, left: bool) -> None:
        """From now on the lock that is held here will not be released, or will be again.

        While a new pair is written it is left, to end by itself. Whoever came next, had the write failed, would read
        the old pair, and send again a refresh token that was spent; as it is, the new one can be stored before.
        """
        if (holder := self._held_here()) is not None:
            holder.left = left

    def _held_here(self) -> _Holder | None:
        holder = holding.get()
        return holder if isinstance(holder, _Holder) and holder.lock is self and not holder.done.is_set() else None

    async def _take(self, holder: _Holder) -> None:
        async def attempt() -> float | None:
            async with self.turn():
                asked = anyio.current_time()
                # A caller that is cancelled waits for the answer, or the server might take the lease after its release.
                # But nobody waits longer for a silent server because the lease is long.
                with anyio.move_on_after(min(self.seconds, LEASE), shield=True):
                    if await self.take(holder.owner):
                        return asked + self.seconds
            return None

        holder.ends = await until(attempt, self.place, self.patience)
        Work(holder.done, lambda: self._keep(holder))

    async def _keep(self, holder: _Holder) -> None:
        """Extend the lease for as long as its holder has it."""
        holding.set(holder)
        while True:
            with anyio.move_on_after(self.seconds / 7):
                await holder.done.wait()
                return
            asked, failure = anyio.current_time(), ""
            try:
                with timed(), anyio.fail_after(self.seconds / 2) as scope:
                    kept = await uncut(lambda: self.extend(holder.owner), scope)
            except Exception as error:  # of any client: the next turn may fare better, and else the lease ends
                kept, failure = False, type(error).__name__
            if holder.done.is_set():  # it was released meanwhile
                return
            if failure:
                logger.warning("the refresh lock of %s could not be extended (%s)", self.place, failure)
            elif kept:
                holder.ends = asked + self.seconds
            else:  # what its holder stores is stored only in place of what it has read
                holder.ends = 0.0
                logger.warning("the refresh lock of %s was lost", self.place)
                return

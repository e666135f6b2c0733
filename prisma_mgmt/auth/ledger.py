"""What all event loops of this process know of one user's tokens, and claims, by which one waits for another."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TypeVar
from weakref import WeakValueDictionary

import anyio
from attrs import define, field, frozen

from prisma_mgmt.auth.held import Held
from prisma_mgmt.auth.tokens import Tokens
from prisma_mgmt.loops import closed, running_loop

K = TypeVar("K")

_LAG = 60.0  # seconds for which a storage may give what was replaced, and for which what was seen is remembered
_SPENT = 100  # pairs that are remembered as replaced
_AT_ONCE = 100  # ledgers that are let go of when a session begins, while all others wait
_POLL = 0.01  # seconds between two looks at what another event loop holds
_LEASE = 60.0  # seconds after which an event loop that holds something is taken for dead; a refresh takes less
_STOPPED = 10.0  # the same for one that does not run: it may go on, but a refresh has ten seconds at most


def mark(tokens: Tokens | None) -> bytes:
    """A hash that stands for a pair in records that must not hold the pair itself; empty for no pair."""
    if tokens is None:
        return b""
    return sha256(f"{tokens.access_token}\0{tokens.refresh_token}".encode(errors="surrogatepass")).digest()


@frozen
class Unsaved:
    """What the storage should hold and does not hold yet.

    before: the marks of what it may be holding still: all that was replaced here.
    wanted: the tokens that it should hold, None if it should hold none.
    blind: True if the storage could not say what it held when a login or a logout replaced that: whatever it holds is
        older.
    """

    before: frozenset[bytes] = frozenset()
    wanted: Tokens | None = None
    blind: bool = False

    def due(self, stored: Tokens | None) -> bool:
        """Return True if a storage that holds `stored` is still to be brought to `wanted`.

        If it holds anything else, somebody else has stored since, or logged out, and that stands.
        """
        return self.blind or mark(stored) in self.before


@define(eq=False)
class Ledger:
    """The knowledge that all sessions of one user in this process share. Its values are replaced, never changed.

    ours: what the storage was last brought to hold from here, as far as is known.
    latest: what it was last seen to hold, or brought to hold; a storage may fall behind that.
    spent: the marks of the pairs that were replaced from here, the latest last. They are never used again.
    unsaved: what the storage is being brought to hold, or could not take yet.
    untried: the same, until a read has been the first chance to make up for it.
    unproven: when the latest refreshes were, on the monotonic clock, and hashes of the tokens that they gave, without
        those that the API has accepted.
    refreshes: when the latest refreshes were, accepted or not.
    keep: where a ledger is kept that others need though no session does: see ledger_of().
    used: when something was last read or to be stored, on the monotonic clock.
    seen: what a session last held, and the latest write that this takes into account; the next session begins with it.
    written: stands for the latest write from here, so that each event loop can tell if it knows of it.
    revoked: the latest write of a logout that asks the server to forget the login.
    """

    ours: Tokens | None = None
    latest: Tokens | None = None
    spent: tuple[bytes, ...] = ()
    unsaved: Unsaved | None = None
    untried: Unsaved | None = None
    unproven: tuple[tuple[float, int], ...] = ()
    refreshes: tuple[float, ...] = ()
    keep: OrderedDict["Ledger", None] | None = field(default=None, repr=False)
    used: float = 0.0
    seen: tuple[Held, object] = (Held(), None)
    written: object = None
    revoked: object = field(factory=object)
    _claims: dict[bytes, "_Claim"] = field(factory=dict, init=False)

    def want(
        self, wanted: Tokens | None, stored: Tokens | None, *known: Tokens | None, blind: bool | None = None
    ) -> Unsaved:
        """Note that the storage is to hold `wanted` in place of `stored`; gives what is unsaved until settle().

        From now on nobody is given what it replaces: `stored`, which may lag, and all that is `known` here.
        `blind` stays as it was if it is None.
        """
        unsaved = self.unsaved or Unsaved()
        self.spend(stored, self.ours, unsaved.wanted, *known, keep=wanted)
        before = unsaved.before | {mark(stored), *self.spent}
        self.unsaved = self.untried = Unsaved(before, wanted, unsaved.blind if blind is None else blind)
        self.ours = self.latest = wanted
        self.written = object()
        self._stay()
        return self.unsaved

    def see(self, held: Held, written: object) -> None:
        """Note what a session holds from now on: see `seen`."""
        self.seen = held, written
        self._stay()

    def _stay(self) -> None:
        self.used = time.monotonic()
        if self.keep is not None:
            with _guard:
                self.keep[self] = None
                self.keep.move_to_end(self)

    def spend(self, *pairs: Tokens | None, keep: Tokens | None) -> None:
        """Note pairs that `keep` replaces."""
        marks = dict.fromkeys((*self.spent, *(mark(one) for one in pairs if one)))
        marks.pop(mark(keep), None)
        self.spent = tuple(marks)[-_SPENT:]

    def settle(self, held: Tokens | None) -> None:
        """Note that nothing is to be written, and what the storage holds."""
        self.unsaved = self.untried = None
        self.ours = self.latest = held

    @asynccontextmanager
    async def claim(self, name: bytes) -> AsyncGenerator[None]:
        """Hold `name` alone among all event loops of this process."""
        mine = _Claim(running_loop())
        while not self._take(name, mine):  # noqa: ASYNC110  # whoever has it may be in another event loop
            await anyio.sleep(_POLL)
        try:
            yield
        finally:
            with _guard:
                if self._claims.get(name) is mine:
                    del self._claims[name]

    def _take(self, name: bytes, mine: "_Claim") -> bool:
        with _guard:
            holder = self._claims.get(name)
            if holder is not None and holder.lives():
                return False
            self._claims[name], mine.since = mine, time.monotonic()
            return True


@define(eq=False)
class _Claim:
    """An event loop that holds something. One that was closed, or left behind by a fork, holds nothing.

    trio's loops do not stop and go on, and cannot be asked.
    """

    loop: object
    process: int = field(factory=os.getpid)
    since: float = field(factory=time.monotonic)

    def lives(self) -> bool:
        lease = _LEASE if getattr(self.loop, "is_running", lambda: True)() else _STOPPED
        return not closed(self.loop) and self.process == os.getpid() and time.monotonic() - self.since < lease


def ledger_of(
    user: K, ledgers: "WeakValueDictionary[K, Ledger]", keep: OrderedDict[Ledger, None], now: float
) -> Ledger:
    """The one ledger of a user among `ledgers`, which is new if nobody needs the one before.

    `keep` is where those live on that have something unsaved, or have spent a pair that a storage may still give, or
    know what sessions have seen that are gone: many applications ask for a session with each request.
    """
    with _guard:
        _sweep(keep, now)  # a function, so that no name here holds one that is let go of
        return ledgers.setdefault(user, Ledger(keep=keep))


def _sweep(keep: OrderedDict[Ledger, None], now: float) -> None:
    """Let go of the ledgers that nobody needs any longer, the oldest first, and not of all at once if they are many."""
    for _ in range(_AT_ONCE):
        oldest = next(iter(keep), None)
        if oldest is None or now - oldest.used <= _LAG:
            return
        del keep[oldest]
        if oldest.unsaved is not None:
            oldest.used, keep[oldest] = now, None


def _renew_guard() -> None:
    global _guard
    _guard = threading.RLock()


# for the moment in which a claim or a ledger changes hands; garbage collection may come in between
_guard = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_guard)  # another thread may have held it

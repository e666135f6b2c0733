"""SessionManager: one live session for each user and event loop."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sized
from contextlib import suppress
from functools import partial
from threading import get_ident
from typing import Generic, TypedDict, Unpack
from weakref import WeakValueDictionary

import anyio
from anyio import from_thread
from typing_extensions import TypeVar

from prisma_mgmt.auth.closing import Closing
from prisma_mgmt.auth.ledger import Ledger, ledger_of
from prisma_mgmt.auth.oauth import OAuthClient
from prisma_mgmt.auth.session import OAuthSession
from prisma_mgmt.auth.storage.memory import MemoryTokenStorage
from prisma_mgmt.auth.storage.protocol import TokenStorage
from prisma_mgmt.auth.tokens import Tokens
from prisma_mgmt.auth.vault import Patience
from prisma_mgmt.checks import checked_kind, checked_methods
from prisma_mgmt.loops import running_loop

K = TypeVar("K", bound=Hashable, default=str)


class SessionOptions(TypedDict, total=False):
    """What an OAuthSession can be told beside its client and its storage."""

    leeway: float
    snapshot_ttl: float
    on_refreshed: Callable[[Tokens], object] | None
    on_signed_out: Callable[[], object] | None
    monotonic: Callable[[], float]
    patience: Patience | None


class SessionManager(Closing, Generic[K]):
    """One live session for each user: `sessions[user]` is the same object for as long as anyone holds it.

    storage_for: gives the storage of a user's tokens, which depends on nothing but the key. It is asked anew for each
        session, and each session begins with what the one before knew.
    options: of every OAuthSession made here.

    A manager may be made once for a whole program, whatever event loops come and go there. In each of them
    `sessions[user]` gives a session that works there. Together they spend a refresh token once, and what one of them
    could not store, the next one does.
    """

    def __init__(
        self, oauth: OAuthClient, storage_for: Callable[[K], TokenStorage], **options: Unpack[SessionOptions]
    ) -> None:
        if unknown := sorted(options.keys() - SessionOptions.__annotations__.keys()):
            raise TypeError(f"SessionManager takes no {', '.join(unknown)}")
        checked_kind(storage_for, Callable, "storage_for", "a function that gives the storage of a key")
        OAuthSession(oauth, MemoryTokenStorage(), **options)  # says what is wrong with them, here and not later
        self._oauth = oauth
        self._storage_for = storage_for
        self._options = options
        self._live: WeakValueDictionary[tuple[K, int], OAuthSession] = WeakValueDictionary()
        self._ledgers: WeakValueDictionary[K, Ledger] = WeakValueDictionary()
        self._kept: OrderedDict[Ledger, None] = OrderedDict()

    def __getitem__(self, user: K) -> OAuthSession:
        """The session of `user` for the event loop that asks; ValueError for a key that stands for nobody."""
        if user is None or (isinstance(user, Sized) and not len(user)):
            raise ValueError(f"a key must name one user, and {user!r} would be the key of everybody who has none")
        loop, before = _loop(), -get_ident()  # in this thread, before any loop ran
        for place in (id(loop), before):
            session = self._live.get((user, place))
            if session is not None and session.loop.bind(loop):
                break
        else:
            session = self._new(user)
            session.loop.bind(loop)
        self._live[user, before if loop is None else id(loop)] = session
        return session

    def _new(self, user: K) -> OAuthSession:
        storage = self._storage_for(user)
        checked_methods(storage, "what storage_for gives", "get_tokens", "set_tokens", "clear_tokens")
        ledger = ledger_of(user, self._ledgers, self._kept, time.monotonic())
        return OAuthSession(self._oauth, storage, ledger=ledger, **self._options)

    async def aclose(self) -> None:
        """Close all live sessions of this event loop at once, each whatever becomes of the others.

        What the sessions of event loops that are over could not store is stored too. Raises what the first raised that
        could not be closed.
        """
        loop, failures = _loop(), list[Exception]()
        unsaved = {ref.key for ref in self._ledgers.valuerefs() if (ledger := ref()) and ledger.unsaved}
        # several of a user, if threads have asked for them
        live = {one: ref.key[0] for ref in self._live.valuerefs() if (one := ref()) and one.loop.served is loop}

        async def close(user: K, session: OAuthSession | None) -> None:
            try:
                await (session or self._new(user)).aclose()
            except Exception as error:  # storage_for is user code, and may raise anything
                failures.append(error)

        async with anyio.create_task_group() as group:
            for session, user in live.items():
                group.start_soon(close, user, session)
            for user in unsaved - set(live.values()):
                group.start_soon(close, user, None)
        if failures:
            raise failures[0]


def _loop() -> object:
    """The event loop that runs here, or that waits for this thread, as for a handler that is not async; else None."""
    for find in (running_loop, partial(from_thread.run_sync, running_loop)):
        with suppress(RuntimeError):
            return find()
    return None

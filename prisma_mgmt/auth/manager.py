"""Many users' sessions."""

from collections.abc import Callable, Hashable
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypedDict, Unpack
from weakref import WeakValueDictionary

from typing_extensions import TypeVar

from prisma_mgmt.auth.oauth import OAuthClient
from prisma_mgmt.auth.session import OAuthSession
from prisma_mgmt.auth.storage.protocol import TokenStorage
from prisma_mgmt.errors import AuthError

if TYPE_CHECKING:
    from prisma_mgmt.auth.tokens import Tokens

K = TypeVar("K", bound=Hashable, default=str)


class SessionOptions(TypedDict, total=False):
    """What an OAuthSession can be told beside its client and its storage."""

    leeway: float
    snapshot_ttl: float
    on_refreshed: "Callable[[Tokens], object] | None"
    on_signed_out: Callable[[], object] | None
    monotonic: Callable[[], float]


class SessionManager(Generic[K]):
    """One live session for each user: `sessions[user]` is the same object for as long as anyone holds it.

    storage_for: gives the storage of a user's tokens.
    options: of every OAuthSession made here.
    """

    def __init__(
        self, oauth: OAuthClient, storage_for: Callable[[K], TokenStorage], **options: Unpack[SessionOptions]
    ) -> None:
        if unknown := sorted(options.keys() - SessionOptions.__annotations__.keys()):
            raise TypeError(f"SessionManager takes no {', '.join(unknown)}")
        self._oauth = oauth
        self._storage_for = storage_for
        self._options = options
        self._live: WeakValueDictionary[K, OAuthSession] = WeakValueDictionary()

    def __getitem__(self, user: K) -> OAuthSession:
        session = self._live.get(user)
        if session is None:
            session = OAuthSession(self._oauth, self._storage_for(user), **self._options)
            self._live[user] = session
        return session

    async def aclose(self) -> None:
        """Close every live session, whatever becomes of the others; raise what the first of them raised."""
        failures: list[AuthError] = []
        for session in list(self._live.values()):
            try:
                await session.aclose()
            except AuthError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

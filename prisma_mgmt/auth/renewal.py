"""One refresh: if the tokens need it, the pause after one that failed, who may write its pair, and the hooks."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeGuard

from attrs import field, frozen

from prisma_mgmt.auth.endpoint import bearer
from prisma_mgmt.auth.held import good
from prisma_mgmt.auth.ledger import mark
from prisma_mgmt.auth.oauth import OAuthClient
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.auth.vault import Vault
from prisma_mgmt.auth.work import Work, current, ended, fresh, tell
from prisma_mgmt.errors import AuthError, LoginRequiredError, NetworkError
from prisma_mgmt.masks import strip

_FRUITLESS = 10.0  # seconds in which a token that a refresh gave, and the API has not accepted, is not refreshed again
_MOST = 2  # refreshes in that time of which nothing was accepted: processes must not go on outdoing each other
_MOST_AT_ALL = 5  # the same of which all may have been accepted: one route may answer 401 for ever, and others not
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds
_PATIENT = 3600.0  # seconds that a server may ask for; a session that waits for a slip of the pen looks dead
_REMEMBERED = 10_000  # troubles, of all users together


class Flight(Work[Tokens | None]):
    """A refresh under way. It carries its own fences: login and logout mark it, and nobody compares numbers.

    token: the access token that it is to replace.
    rejected: True if the API has rejected that token, so that to send it would only earn another 401.
    overtaken: True once a login or a logout has come: it may not write, and nobody gets what it brings.
    revoke: True if a logout asked the server to forget the login: what the refresh brings is to be forgotten too.
    brings: the pair that the login server has given for it.
    written: the latest write by this process when the refresh last read, or its own after that.
    """

    def __init__(self, token: str, owner: object, renew: Callable[["Flight"], Awaitable[Tokens]]) -> None:
        self.token = token
        self.rejected: bool = False
        self.overtaken: bool = False
        self.revoke: bool = False
        self.brings: Tokens | None = None
        self.written: object = None
        super().__init__(owner, lambda: renew(self), name="the refresh")

    def overtake(self, *, revoke: bool = False) -> None:
        """Mark that a login or a logout has come; all who wait are sent on to ask anew."""
        self.overtaken = True
        self.revoke = self.revoke or revoke
        self.told.set()

    def outcome(self) -> Tokens | None:
        """What the refresh brought, None if it was overtaken. What it raised is raised as an error of one's own."""
        return None if self.overtaken else super().outcome()


@frozen
class Trouble:
    """What the token endpoint last said instead of new tokens, and until when it is not asked again."""

    error: AuthError | NetworkError = field(repr=False)
    pause: float
    until: float  # on the monotonic clock

    @classmethod
    def after(cls, error: AuthError | NetworkError, before: "Trouble | None", now: float) -> "Trouble":
        """The server's own Retry-After counts, up to an hour, else a pause twice as long as the one before."""
        strip(error)  # our frames hold tokens
        pause = min(_LONGEST_PAUSE, before.pause * 2) if before else _FIRST_PAUSE
        asked = error.retry_after if isinstance(error, AuthError) else None
        return cls(error, pause, now + min(asked or pause, _PATIENT))


@frozen
class Renewal:
    """How a session gets other tokens than those that it has."""

    oauth: OAuthClient = field(repr=False)
    vault: Vault = field(repr=False)
    monotonic: Callable[[], float]
    on_refreshed: Callable[[Tokens], object] | None = None
    on_signed_out: Callable[[], object] | None = None

    async def run(self, flight: Flight) -> Tokens | None:
        """Tokens that are not `flight.token`, if there is a way to any; None if nobody is logged in any more.

        Raises LoginRequiredError if only a new login helps, NetworkError or AuthError if the refresh fails.
        """
        tokens = await self._read(flight)
        if not self.worth_while(tokens, flight):
            return tokens
        async with self.vault.refresh_lock(tokens):
            tokens = await self._read(flight)  # others may have stored while this waited for the lock
            if not self.worth_while(tokens, flight):
                return tokens
            return await self._refreshed(flight, tokens)

    async def _read(self, flight: Flight) -> Tokens | None:
        """What is stored, and in the flight what this process had written before; what comes later is news to it."""
        flight.written = self.vault.ledger.written
        return await self.vault.read()

    def worth_while(self, tokens: Tokens | None, flight: Flight) -> TypeGuard[Tokens]:
        """Return True if the tokens are those to replace, and a refresh may help."""
        if tokens is None or flight.overtaken or tokens.access_token != flight.token:
            return False
        since = self.monotonic() - _FRUITLESS
        unproven, refreshes = self.vault.ledger.unproven, self.vault.ledger.refreshes
        young = any(when > since and given == hash(tokens.access_token) for when, given in unproven)
        often = len(unproven) == _MOST and unproven[0][0] > since
        often = often or (len(refreshes) == _MOST_AT_ALL and refreshes[0] > since)
        # Servers count in whole seconds: for them a token may have expired in its last one.
        return not ((young or often) and good(tokens, self.oauth.now() + (0 if young else 1)))

    async def _refreshed(self, flight: Flight, old: Tokens) -> Tokens | None:
        """Spend the refresh token; keep what comes unless a login, a logout or another process was faster."""
        try:
            new = flight.brings = await self._asked(old)
        except LoginRequiredError as error:
            if not error.refresh_token_invalid:
                raise
            return await self._after_refusal(flight, old, error)
        given = self.monotonic(), hash(new.access_token)
        self.vault.ledger.unproven = (*self.vault.ledger.unproven, given)[-_MOST:]
        self.vault.ledger.refreshes = (*self.vault.ledger.refreshes, given[0])[-_MOST_AT_ALL:]
        async with self.vault.writing():
            ledger = self.vault.ledger
            if self._may_write(flight, old) and await self.vault.replace(old, new):
                flight.written = ledger.written
                tell(flight.owner, self.on_refreshed, new)
                return new
            ledger.spend(old, keep=None)  # nobody sends it again, though it may be stored until a logout is
            revoke = flight.revoke or (ledger.ours is None and ledger.revoked is ledger.written)
        if revoke:
            with suppress(AuthError, NetworkError):  # as far as the server lets it; nobody waits for an overtaken one
                await self.oauth.revoke(new)
        return await self._read(flight)

    async def _after_refusal(self, flight: Flight, refused: Tokens, error: LoginRequiredError) -> Tokens | None:
        """A pair that somebody else has stored meanwhile; if there is none, the session is over."""
        async with self.vault.writing():  # a login may be about to store its tokens
            if self._may_write(flight, refused):
                stored = await self.vault.clear_refused(refused)
                if stored is not None:
                    return stored
                tell(flight.owner, self.on_signed_out)
                raise error
        return await self._read(flight)

    def _may_write(self, flight: Flight, old: Tokens) -> bool:
        """Return False if a login or a logout has come in the place of `old`, here or in another event loop."""
        ledger = self.vault.ledger
        return not flight.overtaken and (ledger.written is flight.written or same(ledger.ours, old))

    async def _asked(self, old: Tokens) -> Tokens:
        """New tokens from the token endpoint, which is not asked while it is in trouble over these."""
        if not old.refresh_token:
            raise LoginRequiredError("there is no refresh token: the login did not ask for offline_access")
        key, work = mark(old), current()
        trouble = _troubles.get(key)
        if trouble is not None and self.monotonic() < trouble.until:
            raise fresh(trouble.error) from trouble.error.__cause__
        try:
            new = await self.oauth.refresh(old)
        except LoginRequiredError:
            raise
        except Exception as error:  # a client or a transport of the user's may raise anything
            failure = error if isinstance(error, AuthError | NetworkError) else ended("the refresh", error)
            if current() is work:  # else what closed its event loop runs here
                _remember(key, Trouble.after(failure, trouble, self.monotonic()))
            raise fresh(failure) from failure.__cause__
        _troubles.pop(key, None)
        try:
            bearer(new.access_token)
        except AuthError as error:  # it is kept and not used, and not every call asks a server that gives such a one
            _remember(mark(new), Trouble.after(error, trouble, self.monotonic()))
        return new

    def paused(self, tokens: Tokens) -> float:
        """The seconds for which the token endpoint is not asked for the successors of these; 0 if it may be."""
        trouble = _troubles.get(mark(tokens))
        return 0.0 if trouble is None else max(0.0, trouble.until - self.monotonic())

    def accepted(self, token: str) -> None:
        """Note that the API accepted a token: should it reject that later, a refresh is worth while."""
        self.vault.ledger.unproven = tuple(one for one in self.vault.ledger.unproven if one[1] != hash(token))


def _remember(key: bytes, trouble: Trouble) -> None:
    _troubles[key] = trouble
    _troubles.move_to_end(key)
    if len(_troubles) > _REMEMBERED:
        _troubles.popitem(last=False)


# By the mark of a pair. Sessions and clients come and go with the requests that they serve, so this is not theirs.
_troubles: OrderedDict[bytes, Trouble] = OrderedDict()

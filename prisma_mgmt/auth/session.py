"""OAuthSession: one user's login, logout and token for each call; all who wait share one refresh (renewal.py)."""

import math
import time
from collections.abc import Callable

import anyio
from attrs import evolve

from prisma_mgmt.auth.arguments import checked_functions, checked_text
from prisma_mgmt.auth.closing import Closing
from prisma_mgmt.auth.endpoint import bearer
from prisma_mgmt.auth.held import Held, good, refuse_switched, switched
from prisma_mgmt.auth.httpx_auth import SessionAuth
from prisma_mgmt.auth.ledger import Ledger
from prisma_mgmt.auth.oauth import OAuthClient
from prisma_mgmt.auth.pkce import LoginRequest
from prisma_mgmt.auth.renewal import Flight, Renewal
from prisma_mgmt.auth.storage.protocol import TokenStorage
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.auth.vault import Patience, Vault, report
from prisma_mgmt.auth.work import Work, drain
from prisma_mgmt.checks import checked_kind, checked_methods, checked_seconds
from prisma_mgmt.errors import AuthError, LoginRequiredError, NetworkError
from prisma_mgmt.loops import LoopGuard, closed
from prisma_mgmt.masks import masked

_AWAY = 30  # snapshots: if their time is 0, none serves on
_COOL_DOWN = 1.0  # seconds after a renewal ahead of expiry that failed before the token endpoint was asked


class OAuthSession(Closing):
    """One user's session: a Credentials for any client, over tokens in a storage.

    leeway: a token that expires within so many seconds is renewed before a call, but never earlier than in the last
        tenth of the time that it had when it was first seen. With 0 it is renewed after a 401 only.
    snapshot_ttl: seconds for which tokens are used that were read from the storage, before it is read again.
    on_refreshed, on_signed_out: called with the new tokens, and when the server has ended the session; plain functions
        or coroutine functions, run apart from the refresh. What they raise is logged.
    monotonic: the clock that snapshots and pauses are measured by; expiry is measured by the OAuthClient's.
    patience: how long the session waits for its storage, and how much it asks of it at once.
    ledger: what all sessions of one user in a process know together; a SessionManager gives it.

    A session serves one event loop, and one session serves all that a user does there. An application with many users,
    or with several event loops, gets its sessions from a SessionManager, which sees to both. An OAuthSession for each
    request would not: ten of them over a storage with the three methods only spend the same refresh token ten times.

    What happens when a call needs another token than its own:

        the stored tokens are                   what happens
        ------------------------------------    ------------------------------------------------------------------
        none                                    no refresh: the call raises LoginRequiredError
        newer than the call's own               no refresh: the call goes on with them
        refreshed, and never accepted yet       no refresh for ten seconds: the caller gets the API's own 401
        the fifth from refreshes in 10 s        no refresh until those are over: a route may answer 401 for ever
        those whose last refresh failed         no refresh before Retry-After is over, or else 1, 2, 4 … 30 seconds
        any others                              one refresh, for all who wait

    What happens to the tokens that a refresh brings:

        meanwhile                               the new pair is
        ------------------------------------    ------------------------------------------------------------------
        nothing                                 stored, then used
        the storage failed                      used, and stored at the next chance
        another process stored or logged out    dropped; what is stored counts
        handle_callback() or logout()           dropped, or revoked; all who wait are sent on to what counts now

    A login or a logout that the storage could not take counts here at once, and is made up for at the next chance.
    """

    def __init__(
        self,
        oauth: OAuthClient,
        storage: TokenStorage,
        *,
        leeway: float = 60.0,
        snapshot_ttl: float = 1.0,
        on_refreshed: Callable[[Tokens], object] | None = None,
        on_signed_out: Callable[[], object] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        patience: Patience | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        checked_methods(oauth, "oauth", "exchange_callback", "refresh", "revoke", "now")
        checked_functions(on_refreshed=on_refreshed, on_signed_out=on_signed_out)
        checked_kind(monotonic, Callable, "monotonic", "a function")
        checked_kind(patience, Patience | None, "patience", "a Patience")
        checked_kind(ledger, Ledger | None, "ledger", "what a SessionManager gives")
        self._oauth = oauth
        self._monotonic = monotonic
        self._patience = patience or Patience()
        self._vault = Vault(storage, ledger, self._patience)
        self._renewal = Renewal(oauth, self._vault, monotonic, on_refreshed, on_signed_out)
        self._leeway = checked_seconds(leeway, "leeway")
        self._snapshot_ttl = checked_seconds(snapshot_ttl, "snapshot_ttl")
        self.loop: LoopGuard = LoopGuard("session")
        self._held, self._written = self._vault.ledger.seen  # and the latest write by this process that is known here
        self._reading: Work[None] | None = None
        self._flight: Flight | None = None  # the latest refresh

    # What clients call

    async def access_token(self) -> str:
        """The token to send now, renewed first if it is about to expire.

        Raises LoginRequiredError if nobody is logged in, and what a refresh raises.
        """
        self.loop.check()
        while True:
            if self._vault.ledger.untried or not self._serves(self._snapshot_ttl):
                await self._look()
            held = self._held
            if held.tokens is None:
                raise LoginRequiredError("nobody is logged in: there are no stored tokens")
            refuse_switched(held.switched)
            now = self._oauth.now()
            if not held.due(now) or (held.away and good(held.tokens, now)):  # a refresh would wait for the storage
                return held.tokens.access_token
            token = await self._ahead(held.tokens)
            if token is not None:
                return token

    async def renew(self, rejected: str) -> str | None:
        """A token other than `rejected`: the stored one if that is another, else a refreshed one.

        None if a refresh has just given `rejected` and the API has never accepted it: one more would not help.
        Raises LoginRequiredError if only a new login helps, NetworkError or AuthError if a refresh fails.
        """
        rejected = masked(rejected)
        self.loop.check()
        checked_text(rejected, "rejected")
        while True:
            flight = self._joined(rejected, rejected=True)
            tokens = await self._landed(flight)
            if tokens is None:
                continue
            if tokens.access_token != rejected:
                return tokens.access_token
            if flight.token == rejected:
                return None

    def accepted(self, token: str) -> None:
        """Note that the API accepted `token`; should it reject one later, a refresh is worth while again."""
        self._renewal.accepted(token)

    def outdated(self, token: str) -> bool:
        """Return True if `token` would only cost a 401: it is not the one in use, or the API has rejected it."""
        flight, ledger, own = self._flight, self._vault.ledger, False
        if flight is not None and flight.under_way:
            if flight.rejected and flight.token == token and self._renewal.worth_while(self._held.tokens, flight):
                return True
            own = flight.brings is not None and flight.brings is ledger.ours  # the latest write is the flight's
        if self._written is not ledger.written and not own:  # another event loop has stored since, or logged out
            return ledger.ours is None or ledger.ours.access_token != token
        return self._held.outdates(token)

    async def drain(self) -> None:
        """Wait for a refresh under way, and for what else must not be lost; clients call this when they close."""
        with anyio.move_on_after(self._patience.drain):
            await drain(self)

    def httpx_auth(self, *, origin: str | None = None) -> SessionAuth:
        """This session as an `httpx.Auth`, for any httpx.AsyncClient.

        origin: the one origin that the token goes to; the API's unless it is given. To any other it is a ValueError.
        """
        return SessionAuth(self, origin=origin)

    # What applications call

    async def tokens(self) -> Tokens | None:
        """The user's tokens, None if nobody is logged in."""
        self.loop.check()
        await self._read()
        return self._held.tokens

    async def handle_callback(
        self,
        callback_url: str,
        login: LoginRequest | None = None,
        *,
        verifier: str | None = None,
        expected_state: str | None = None,
    ) -> Tokens:
        """Exchange a login's callback and store its tokens; see OAuthClient.exchange_callback.

        Cancelling the caller does not lose the login. Raises what the exchange raises, bad arguments included, and
        AuthError if the tokens could not be stored; they are in use even then.
        """
        callback_url = masked(callback_url)  # before anything is raised: a traceback would show them
        verifier, expected_state = masked(verifier), masked(expected_state)
        self.loop.check()

        async def log_in() -> Tokens:
            tokens = await self._oauth.exchange_callback(
                callback_url, login, verifier=verifier, expected_state=expected_state
            )
            self._overtake()
            async with self._vault.writing():
                try:
                    await self._vault.put(tokens, self._held.tokens)
                finally:
                    self._switch(tokens)
            return tokens

        return await Work(self, log_in, name="the login", passing=(ValueError, TypeError)).wait()

    async def logout(self, *, revoke: bool = False) -> None:
        """Forget the tokens, here and in the storage; a refresh under way brings none back.

        With `revoke` the login server is asked to forget them too, if it publishes a way to. The tokens are gone
        here even if that fails, with AuthError or NetworkError.
        """
        self.loop.check()
        known = self._held.tokens
        self._switch(None, revoke=revoke)
        await Work(self, lambda: self._forget(known, revoke), name="the logout").wait()

    async def _forget(self, known: Tokens | None, revoke: bool) -> None:
        """Clear the storage, and revoke the tokens in it, or else `known`. Each is done even if the other fails."""
        faults: list[AuthError] = []
        tokens = known
        async with self._vault.writing():
            if revoke:
                try:
                    tokens = await self._vault.latest() or known
                except AuthError as error:
                    faults.append(error)
            try:
                await self._vault.put(None, known)
            except AuthError as error:
                faults.append(error)
            if revoke:
                self._vault.ledger.revoked = self._vault.ledger.written
            self._switch(None, revoke=revoke)
        try:
            if revoke and tokens is not None:
                await self._oauth.revoke(tokens)
        finally:
            if faults:
                raise faults[-1]

    async def aclose(self) -> None:
        """Wait for a refresh under way, and store what could not be stored before.

        Raises AuthError if it still cannot be.
        """
        with anyio.CancelScope(shield=True):
            await self.drain()
            await self._vault.flush()

    # The tokens in use

    def _serves(self, ttl: float) -> bool:
        """Return True if what was read in the last `ttl` seconds may serve: nothing was written here since."""
        return self._written is self._vault.ledger.written and self._held.fresh(self._monotonic(), ttl)

    def _serves_on(self) -> bool:
        """Return True if a good token may serve on though the storage is away."""
        tokens = self._held.tokens
        return tokens is not None and good(tokens, self._oauth.now()) and self._serves(_AWAY * self._snapshot_ttl)

    async def _look(self) -> None:
        """Hold what is stored, or if that takes long a good token that was read lately."""
        longest = self._patience.call / 10 if self._held.away else self._patience.call
        with anyio.move_on_after(longest if self._serves_on() else math.inf) as soon:
            await self._read()
        if soon.cancelled_caught and not self._serves_on():
            await self._read()

    async def _read(self) -> None:
        """Hold what is stored, the latest write in this process included; callers at the same time share one read."""
        while True:
            if self._reading is None or not self._reading.under_way:
                self._reading = Work(self, self._read_now, name="reading the tokens", lasting=False)
            await self._reading.wait()
            if self._written is self._vault.ledger.written:  # else the read began before that
                return

    async def _read_now(self) -> None:
        before, written = self._held, self._vault.ledger.written
        try:
            tokens = await self._vault.read()
        except AuthError as error:
            if not self._serves_on():
                raise
            if not self._held.away:
                report("the tokens could not be read; those that were read before are used", error)
            self._keep(evolve(self._held, away=True))
            return
        if self._held is before:  # or the read began before what counts now
            self._hold(tokens, written)

    def _hold(self, tokens: Tokens | None, written: object) -> None:
        """Use `tokens` from now on; `written` is the latest write by this process that they take into account."""
        now, self._written = self._oauth.now(), written
        self._keep(self._held.replaced(tokens, read_at=self._monotonic(), now=now, leeway=self._leeway), news=True)

    def _keep(self, held: Held, *, news: bool = False) -> None:
        """Use `held` from now on, and so do sessions that begin later; `news` if it was read or written just now."""
        # unless another event loop has read since, or this is what a closed one has left behind
        if (news or self._vault.ledger.seen[0] is self._held) and not closed(self.loop.served):
            self._vault.ledger.see(held, self._written)
        self._held = held

    def _switch(self, tokens: Tokens | None, *, revoke: bool = False) -> None:
        """Use the tokens of a login, or none after a logout, from now on."""
        self._overtake(revoke=revoke)
        self._hold(tokens, self._vault.ledger.written)

    def _overtake(self, *, revoke: bool = False) -> None:
        if self._flight is not None:
            self._flight.overtake(revoke=revoke)

    # Renewing

    def _joined(self, token: str, *, rejected: bool) -> Flight:
        """The refresh under way, whichever token it is for, or else a new one."""
        flight = self._flight
        if flight is None or flight.overtaken or not flight.under_way:
            flight = self._flight = Flight(token, self, self._renewed)
        flight.rejected = flight.rejected or (rejected and flight.token == token)
        return flight

    async def _landed(self, flight: Flight) -> Tokens | None:
        """What a refresh brought; None if a login or a logout has come, here or in another event loop."""
        tokens = await flight.wait()
        return tokens if flight.written is self._vault.ledger.written else None

    async def _renewed(self, flight: Flight) -> Tokens:
        try:
            tokens = await self._renewal.run(flight)
        except LoginRequiredError as error:
            if error.refresh_token_invalid and not flight.overtaken:
                self._hold(None, flight.written)
            raise
        if not flight.overtaken:
            self._hold(tokens, flight.written)
        if tokens is None:
            raise LoginRequiredError("nobody is logged in any more: the stored tokens are gone")
        refuse_switched(switched(tokens))  # it is stored by now
        bearer(tokens.access_token)
        return tokens

    async def _ahead(self, tokens: Tokens) -> str | None:
        """Renew ahead of a call; None if what is in use now is to be looked at again.

        A login or a logout may have come, the refresh under way may have been for other tokens, or it has failed, and
        a token that is still good serves on.
        """
        usable = good(tokens, self._oauth.now())
        if usable and not tokens.refresh_token:
            return tokens.access_token
        flight = self._joined(tokens.access_token, rejected=not usable)
        try:
            found = await self._landed(flight)
        except (AuthError, NetworkError) as error:
            if not usable or isinstance(error, LoginRequiredError):
                raise
            if same(tokens, self._held.tokens):  # or another process has stored since, or logged out
                pause = self._renewal.paused(tokens) or _COOL_DOWN
                self._keep(self._held.postponed(self._oauth.now() + pause))
            return None
        asked = flight.token == tokens.access_token
        return found.access_token if found and (asked or found.access_token != tokens.access_token) else None

"""One user's tokens, renewed for all who use them by one refresh.

A refresh runs in a task of the session's own (see work.py), so that no caller's cancellation loses the rotated pair.
`_generation` counts logins and logouts: a refresh that was started before one of them may not write any more.
`_version` counts every change of the tokens held here: a read of the storage that began before one is out of date.
"""

import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

from prisma_mgmt.auth.endpoint import bearer
from prisma_mgmt.auth.httpx_auth import SessionAuth
from prisma_mgmt.auth.oauth import OAuthClient
from prisma_mgmt.auth.pkce import LoginRequest
from prisma_mgmt.auth.storage.protocol import TokenStorage
from prisma_mgmt.auth.tokens import Tokens, same, workspace_of
from prisma_mgmt.auth.vault import Vault
from prisma_mgmt.auth.work import Work, drain, tell
from prisma_mgmt.errors import AuthError, LoginRequiredError, NetworkError
from prisma_mgmt.loops import LoopGuard
from prisma_mgmt.masks import Secret

_FRUITLESS = 10.0  # seconds in which a token that a refresh has just given, and nobody took, is not refreshed again
_COOL_DOWN = 5.0  # seconds after a failed renewal ahead of expiry
_DRAIN = 10.0  # seconds, and as many for the storage; a refresh has a deadline under that


class OAuthSession:
    """One user's session: a Credentials for any client, over tokens in a storage.

    leeway: seconds before its expiry from which a token is renewed ahead of a call, at most a tenth of what it had
        left when it was first seen; 0 leaves renewing to the 401.
    snapshot_ttl: seconds for which the tokens read from the storage serve without another read.

    on_refreshed, on_signed_out: called with the new tokens, and when the server has ended the session; plain functions
        or coroutine functions, run apart from the refresh. What they raise is logged.

    One session serves one event loop.
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
    ) -> None:
        if leeway < 0 or snapshot_ttl < 0:
            raise ValueError("leeway and snapshot_ttl must not be negative")
        self._oauth = oauth
        self._vault = Vault(storage, self)
        self._leeway = leeway
        self._snapshot_ttl = snapshot_ttl
        self._now = oauth.now
        self._monotonic = monotonic
        self._on_refreshed = on_refreshed
        self._on_signed_out = on_signed_out
        self._loop = LoopGuard("session")
        self._tokens: Tokens | None = None
        self._read_at = -math.inf
        self._renew_at = math.inf  # Unix seconds
        self._generation = 0
        self._version = 0
        self._reading: Work[Tokens | None] | None = None
        self._flight: tuple[str, Work[Tokens]] | None = None  # the token to replace, and what came of it
        self._rejected: str | None = None  # the token that the API rejected, of those to replace
        self._unproven_since: float | None = None  # when a refresh gave a token that the API has not yet taken
        self._refused: str | None = None  # the refresh token that the server refused
        self._revoked = 0  # the generation that began with the last logout that revokes

    # What clients call

    async def access_token(self) -> str:
        """The token to send now, renewed first where it is about to expire.

        Raises LoginRequiredError where nobody is logged in, and what a refresh raises.
        """
        self._loop.check()
        tokens = self._tokens
        if tokens is None or self._monotonic() - self._read_at >= self._snapshot_ttl:
            tokens = await self._read()
        if tokens is None:
            raise LoginRequiredError("nobody is logged in: there are no stored tokens")
        if self._now() < self._renew_at:
            return tokens.access_token
        return await self._ahead(tokens)

    async def renew(self, rejected: str) -> str | None:
        """A token other than `rejected`: the stored one where that is another, else a refreshed one.

        None where a refresh has just given `rejected` and the API has taken no token since: another would fare no
        better. Raises LoginRequiredError where only a new login helps, NetworkError or AuthError where a refresh fails.
        """
        self._loop.check()
        rejected = Secret(rejected)
        return await self._other(rejected, rejected=True)

    def accepted(self, token: str) -> None:
        """Note that the API took `token`; should it reject it later, a refresh is worth while again."""
        if self._unproven_since is not None and self._tokens is not None and token == self._tokens.access_token:
            self._unproven_since = None

    def outdated(self, token: str) -> bool:
        """Whether another token than `token` is there, or on its way after a 401: to send it would only cost one."""
        flight = self._flight
        if flight is not None and flight[0] == self._rejected == token and not flight[1].done.is_set():
            return True
        return self._tokens is not None and token != self._tokens.access_token

    def httpx_auth(self, *, origin: str | None = None) -> SessionAuth:
        """This session as an `httpx.Auth`, for any httpx.AsyncClient; its token goes to `origin` only (the API's)."""
        return SessionAuth(self, origin=origin)

    # What applications call

    async def tokens(self) -> Tokens | None:
        """The user's tokens, None where nobody is logged in."""
        self._loop.check()
        return await self._read()

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
        AuthError where the tokens could not be stored; they are in use even then.
        """
        self._loop.check()
        callback_url = Secret(callback_url)
        verifier = None if verifier is None else Secret(verifier)
        expected_state = None if expected_state is None else Secret(expected_state)

        async def log_in() -> Tokens:
            tokens = await self._oauth.exchange_callback(
                callback_url, login, verifier=verifier, expected_state=expected_state
            )
            self._generation += 1
            self._unproven_since = self._refused = None
            async with self._vault.writing:
                try:
                    await self._vault.put(tokens)
                finally:
                    self._adopt(tokens)
            return tokens

        return await Work(self, log_in, name="the login", passing=(ValueError, TypeError)).wait()

    async def logout(self, *, revoke: bool = False) -> None:
        """Forget the tokens, here and in the storage; a refresh under way brings none back.

        With `revoke` the login server is asked to forget them too, where it publishes a way to. The tokens are gone
        here even where that fails, with AuthError or NetworkError.
        """
        self._loop.check()
        known = self._tokens
        self._generation += 1
        if revoke:
            self._revoked = self._generation
        self._adopt(None)
        await Work(self, lambda: self._forget(known, revoke), name="the logout").wait()

    async def _forget(self, tokens: Tokens | None, revoke: bool) -> None:
        """Clear the storage, and revoke the tokens in it, or else `tokens`; what fails keeps nothing else from it."""
        fault: AuthError | None = None
        async with self._vault.writing:
            if revoke:
                try:
                    tokens = await self._vault.latest()
                except AuthError as error:
                    fault = error
            try:
                await self._vault.clear(tokens)
            except AuthError as error:
                fault = error
            self._adopt(None)
        try:
            if revoke and tokens is not None:
                await self._oauth.revoke(tokens)
        finally:
            if fault is not None:
                raise fault

    async def drain(self) -> None:
        """Wait for a refresh under way; a client calls this when it closes."""
        with anyio.move_on_after(_DRAIN):
            await drain(self)

    async def aclose(self) -> None:
        """Wait for a refresh under way, and store what could not be stored before.

        Raises AuthError where it still cannot be.
        """
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(_DRAIN):
                await drain(self)
            await self._vault.flush()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # Reading

    async def _read(self) -> Tokens | None:
        """The stored tokens; callers at the same time share one read."""
        if self._reading is None or self._reading.done.is_set():
            self._reading = Work(self, self._read_now, name="reading the tokens")
        return await self._reading.wait()

    async def _read_now(self) -> Tokens | None:
        version = self._version
        tokens = await self._vault.read()
        if version == self._version:
            self._adopt(tokens)
        return self._tokens

    async def _stored_or_raise(self) -> Tokens:
        tokens = await self._vault.read()
        if tokens is None:
            self._adopt(None)
            raise LoginRequiredError("nobody is logged in any more: the stored tokens are gone")
        return tokens

    def _adopt(self, tokens: Tokens | None) -> None:
        """Use `tokens` from now on."""
        self._version += 1
        self._read_at = self._monotonic()
        if same(tokens, self._tokens):
            return
        self._tokens = tokens
        self._renew_at = math.inf
        if tokens is not None and tokens.expires_at is not None and self._leeway:
            left = max(0.0, tokens.expires_at - self._now())
            self._renew_at = tokens.expires_at - min(self._leeway, left / 10)
        if tokens is not None and switched(tokens):
            self._renew_at = -math.inf  # sends every call to _ahead(), which refuses it

    # Renewing

    async def _ahead(self, tokens: Tokens) -> str:
        """Renew ahead of a call. Where that fails, a token that is still good serves on."""
        _refuse_switched(tokens)
        good = tokens.expires_at is None or self._now() < tokens.expires_at
        if good and tokens.refresh_token is None:
            return tokens.access_token
        try:
            return await self._other(tokens.access_token, rejected=not good) or tokens.access_token
        except LoginRequiredError:
            raise
        except (AuthError, NetworkError):
            if not good:
                raise
            self._renew_at = min(tokens.expires_at or math.inf, self._now() + _COOL_DOWN)
            return tokens.access_token

    async def _other(self, token: str, *, rejected: bool) -> str | None:
        """See renew(); `rejected` is whether to send `token` once more would be in vain."""
        while True:
            if self._flight is None or self._flight[1].done.is_set():
                self._flight = (token, Work(self, lambda: self._renewed(token), name="the refresh"))
            asked, work = self._flight  # whichever token it is for
            if rejected and asked == token:
                self._rejected = token
            tokens = await work.wait()
            if tokens.access_token != token:
                return tokens.access_token
            if asked == token:
                return None

    async def _renewed(self, rejected: str) -> Tokens:
        """Tokens that are not `rejected`, where there is a way to any; run by one task for all callers."""
        generation, before = self._generation, self._tokens
        tokens = await self._stored_or_raise()
        if tokens.access_token == rejected and not self._fruitless(tokens):
            async with self._vault.refresh_lock() as others:
                if others:
                    tokens = await self._stored_or_raise()
                if tokens.access_token == rejected:
                    tokens = await self._refreshed(tokens, generation)
        if generation == self._generation:
            self._adopt(tokens)
        known = (rejected, before.access_token if before else None)
        if tokens.access_token not in known and self._unproven_since is None:
            self._unproven_since = self._monotonic()
        _refuse_switched(tokens)
        bearer(tokens.access_token)  # stored by now, and not to be sent if it is of another scheme
        return tokens

    def _fruitless(self, tokens: Tokens) -> bool:
        """Whether the token is too young to have expired, and of a kind that the API has not taken once."""
        if self._unproven_since is None or self._monotonic() - self._unproven_since >= _FRUITLESS:
            self._unproven_since = None
            return False
        return tokens.expires_at is None or self._now() < tokens.expires_at

    async def _refreshed(self, old: Tokens, generation: int) -> Tokens:
        """Spend the refresh token; keep what comes unless a login, a logout or another process was faster."""
        if old.refresh_token is None:
            raise LoginRequiredError("there is no refresh token: the login did not ask for offline_access")
        if old.refresh_token == self._refused:
            raise LoginRequiredError("the refresh token was refused: log in again", refresh_token_invalid=True)
        try:
            new = await self._oauth.refresh(old)
        except LoginRequiredError as error:
            return await self._after_refusal(old, generation, error)
        async with self._vault.writing:
            if generation == self._generation and await self._vault.replace(old, new):
                tell(self, self._on_refreshed, new)
                return new
        if generation < self._revoked:
            Work(self, lambda: self._oauth.revoke(new))  # as far as the server lets it; nobody waits for it
        return await self._stored_or_raise()

    async def _after_refusal(self, refused: Tokens, generation: int, error: LoginRequiredError) -> Tokens:
        """A pair that somebody else has stored meanwhile; where there is none, the session is over."""
        async with self._vault.writing:  # a login may be about to store its tokens
            if generation == self._generation:
                stored = await self._vault.clear_refused(refused)
                if stored is not None:
                    return stored
                self._refused = refused.refresh_token
                self._adopt(None)
                tell(self, self._on_signed_out)
                raise error
        return await self._stored_or_raise()


def switched(tokens: Tokens) -> bool:
    """Whether the access token is for another workspace than the one that the user chose."""
    return workspace_of(tokens.access_token) not in (None, tokens.workspace_id)


def _refuse_switched(tokens: Tokens) -> None:
    if switched(tokens):
        raise AuthError("a refresh gave tokens of another workspace than the session's; log in again")

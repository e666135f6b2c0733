"""The OAuth 2.0 client: login URLs, the callback's exchange, refreshes. It keeps no tokens and no connection."""

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode, urlsplit

from attrs import evolve

from prisma_mgmt.auth.callback import read_callback
from prisma_mgmt.auth.endpoint import TokenEndpoint
from prisma_mgmt.auth.pkce import LoginRequest, challenge, checked_verifier, new_secret
from prisma_mgmt.auth.tokens import Tokens, expiry, workspace_of
from prisma_mgmt.checks import checked_origin
from prisma_mgmt.errors import AuthError, CallbackError, LoginRequiredError, NetworkError
from prisma_mgmt.masks import Secret

if TYPE_CHECKING:
    import httpx

DEFAULT_SCOPE = "workspace:admin offline_access"
_RESERVED = frozenset(
    {"client_id", "client_secret", "code_challenge", "code_challenge_method", "code_verifier", "redirect_uri"}
    | {"request", "request_uri", "response_mode", "response_type", "scope", "state"}
)
_REMEMBERED = 1000  # exchanged callbacks; a code is good for ten minutes at most (RFC 6749 §4.1.2)


class OAuthClient:
    """An application registered with Prisma's login server.

    client_id, client_secret: as registered; a secret is sent in the form body, and PKCE is used with it too.
    redirect_uri: where the login server sends the user back, exactly as registered.
    auth_base_url: the login server, which is also the issuer that callbacks are held to.
    timeout: seconds for one exchange or refresh as a whole; under ten, in which the server forgives a reuse.
    transport: an httpx transport to use instead of a connection to the server.
    now: gives Unix seconds; what expiry is measured by.

    Raises ValueError for arguments that cannot be right.
    """

    def __init__(
        self,
        client_id: str,
        redirect_uri: str,
        *,
        client_secret: str | None = None,
        auth_base_url: str = "https://auth.prisma.io",
        timeout: float = 9.0,
        transport: "httpx.AsyncBaseTransport | None" = None,
        allow_http: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        client_secret = None if client_secret is None else Secret(client_secret.strip())
        if not client_id.strip() or client_secret == "":
            raise ValueError(
                "client_id and client_secret must not be blank; leave client_secret out for a public client"
            )
        if not urlsplit(redirect_uri).scheme or urlsplit(redirect_uri).fragment:
            raise ValueError("redirect_uri must be an absolute URL without a fragment")
        if not 0 < timeout < 10:
            raise ValueError(f"timeout must be more than 0 and less than 10 seconds, not {timeout!r}")
        self.client_id = client_id.strip()
        self.redirect_uri = redirect_uri
        self.issuer = checked_origin(auth_base_url, "auth_base_url", allow_http=allow_http)
        self._client_secret = client_secret
        self._endpoint = TokenEndpoint(f"{self.issuer}/token", timeout=timeout, transport=transport)
        self.now = now
        self._exchanged: dict[bytes, None] = {}  # hashes of states, oldest first

    def login_url(self, *, scope: str = DEFAULT_SCOPE, extra_params: Mapping[str, str] | None = None) -> LoginRequest:
        """A new login: its URL, and the state and verifier to keep until the callback (RFC 6749 §4.1.1, RFC 7636).

        Raises ValueError for extra parameters that would replace the protocol's own.
        """
        extra = dict(extra_params or {})
        if reserved := sorted(_RESERVED & extra.keys()):
            raise ValueError(f"extra_params must not replace {', '.join(reserved)}")
        state, verifier = new_secret(), new_secret()
        query = urlencode(
            {
                **extra,
                "response_type": "code",
                "client_id": self.client_id,
                "redirect_uri": self.redirect_uri,
                "scope": scope,
                "state": state,
                "code_challenge": challenge(verifier),
                "code_challenge_method": "S256",
            },
            quote_via=quote,
        )
        return LoginRequest(Secret(f"{self.issuer}/authorize?{query}"), state, verifier)

    async def exchange_callback(
        self,
        callback_url: str,
        login: LoginRequest | None = None,
        *,
        verifier: str | None = None,
        expected_state: str | None = None,
    ) -> Tokens:
        """The tokens of a login, from its callback and what was kept: `login`, or `verifier` and `expected_state`.

        `callback_url` may be relative. A callback is exchanged once, and never retried (RFC 6749 §4.1.2). Raises
        CallbackError, AuthError or NetworkError.
        """
        callback_url = Secret(callback_url)
        verifier = login.verifier if login else Secret(verifier) if verifier else None
        expected_state = login.state if login else Secret(expected_state) if expected_state else None
        code = read_callback(callback_url, expected_state, self.issuer)
        verifier = checked_verifier(verifier)
        mark = self._mark(expected_state or "")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        try:
            grant = await self._endpoint.post(self._form({**form, "code_verifier": verifier}), again=False)
        except NetworkError as error:
            if error.unsent:
                self._exchanged.pop(mark, None)  # nothing reached the server, so the code is still good
            raise
        return self._tokens(grant)

    def _mark(self, state: str) -> bytes:
        """Remember a callback as exchanged; CallbackError for one that was before."""
        mark = sha256(state.encode()).digest()
        if mark in self._exchanged:
            raise CallbackError("this callback was exchanged already; start a new login")
        self._exchanged[mark] = None
        if len(self._exchanged) > _REMEMBERED:
            del self._exchanged[next(iter(self._exchanged))]
        return mark

    async def refresh(self, tokens: Tokens) -> Tokens:
        """New tokens for old (RFC 6749 §6), keeping what the answer leaves out; a lost answer is asked for again.

        Raises LoginRequiredError where there is no refresh token or it was refused, AuthError, or NetworkError.
        """
        if tokens.refresh_token is None:
            raise LoginRequiredError("there is no refresh token: the login did not ask for offline_access")
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
        grant = await self._endpoint.post(self._form(form), again=True)
        fresh = self._tokens(grant, tokens.workspace_id)
        return evolve(
            fresh, refresh_token=fresh.refresh_token or tokens.refresh_token, scope=fresh.scope or tokens.scope
        )

    async def revoke(self, tokens: Tokens) -> bool:
        """Have the login server forget a login (RFC 7009); False where it publishes no way to (RFC 8414).

        Raises AuthError or NetworkError.
        """
        metadata = await self._endpoint.metadata(f"{self.issuer}/.well-known/oauth-authorization-server")
        url = metadata.get("revocation_endpoint")
        if not isinstance(url, str):
            return False
        origin = "/".join(self.issuer.split("/")[:3])
        if metadata.get("issuer") != self.issuer or not url.startswith(f"{origin}/"):
            raise AuthError("the login server's metadata is another server's: nothing was sent there")
        kind = "refresh_token" if tokens.refresh_token else "access_token"
        form = {"token": tokens.refresh_token or tokens.access_token, "token_type_hint": kind}
        await self._endpoint.revoke(url, self._form(form))
        return True

    def _form(self, grant: Mapping[str, str]) -> dict[str, str]:
        secret = {"client_secret": self._client_secret} if self._client_secret else {}
        return {**grant, "client_id": self.client_id, **secret}

    def _tokens(self, grant: Mapping[str, Any], workspace_id: str | None = None) -> Tokens:
        """Tokens from a grant. A rotated pair is never judged here: it has to be stored first."""
        access_token = grant["access_token"]
        workspace_id = workspace_id or workspace_of(access_token)
        if workspace_id is None:
            raise AuthError("the access token names no workspace: no workspace_id claim, or no JWT at all")
        expires_at = expiry(grant.get("expires_in"), access_token, self.now())
        return Tokens(workspace_id, access_token, grant.get("refresh_token") or None, expires_at, grant.get("scope"))

    async def aclose(self) -> None:
        """Nothing is left open between calls; this is here so that every client closes alike."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

"""The OAuth 2.0 client: login URLs, the callback's exchange, refreshes, revocation. It keeps no tokens."""

import re
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

from attrs import evolve

from prisma_mgmt.auth import pkce
from prisma_mgmt.auth.arguments import checked_text
from prisma_mgmt.auth.callback import read_callback
from prisma_mgmt.auth.closing import Closing
from prisma_mgmt.auth.endpoint import Grant, TokenEndpoint, bearer
from prisma_mgmt.auth.pkce import LoginRequest
from prisma_mgmt.auth.sending import Sender, TransportArgument
from prisma_mgmt.auth.tokens import Tokens, expiry, workspace_of
from prisma_mgmt.checks import checked_kind, checked_mapping, checked_origin, checked_seconds
from prisma_mgmt.environment import variable
from prisma_mgmt.errors import AuthError, CallbackError, LoginRequiredError, NetworkError
from prisma_mgmt.masks import Secret, bare

DEFAULT_SCOPE = "workspace:admin offline_access"
DEFAULT_SERVER = "https://auth.prisma.io"

_REQUIRED = {"client_id": "PRISMA_CLIENT_ID", "redirect_uri": "PRISMA_REDIRECT_URI"}
_RESERVED = frozenset(
    {"client_id", "client_secret", "code_challenge", "code_challenge_method", "code_verifier", "redirect_uri"}
    | {"request", "request_uri", "response_mode", "response_type", "scope", "state"}
)
_REMEMBERED = 1000  # exchanged callbacks; a code is good for ten minutes at most (RFC 6749 §4.1.2)


class OAuthClient(Closing):
    """An application registered with Prisma's login server.

    client_id, client_secret: as registered; a secret is sent in the form body, and PKCE is used with it too.
    redirect_uri: where the login server sends the user back, exactly as registered.
    auth_base_url: the login server; https://auth.prisma.io by default.
    issuer: what the login server calls itself in callbacks, if that is not `auth_base_url` without a slash at its end.
    timeout: seconds for one exchange or refresh as a whole; under ten, in which the server forgives a reuse.
    ssl_context: the certificates to trust, in place of those that the environment names.
    transport: an httpx transport to use instead of a connection to the server.
    allow_http: let `auth_base_url` be plain http to other machines than this one.
    now: gives Unix seconds; what expiry is measured by.
    new_secret: gives states and verifiers, 43 to 128 characters each.

    Raises ValueError for wrong values, and TypeError for wrong types.
    """

    def __init__(
        self,
        client_id: str,
        redirect_uri: str,
        *,
        client_secret: str | None = None,
        auth_base_url: str = DEFAULT_SERVER,
        issuer: str | None = None,
        timeout: float = 9.0,
        ssl_context: ssl.SSLContext | None = None,
        transport: TransportArgument = None,
        allow_http: bool = False,
        now: Callable[[], float] = time.time,
        new_secret: Callable[[], str] = pkce.new_secret,
    ) -> None:
        with bare:
            if client_secret is not None:
                client_secret = Secret(checked_text(client_secret, "client_secret").strip())
        self.client_id: str = checked_text(client_id, "client_id").strip()
        if not self.client_id or client_secret == "":
            raise ValueError("client_id and client_secret must not be blank; a public client has no client_secret")
        if allow_http not in (True, False) or not (callable(now) and callable(new_secret)):
            raise TypeError("allow_http must be True or False, now and new_secret functions")
        if not 0 < checked_seconds(timeout, "timeout") < 10:
            raise ValueError(f"timeout must be more than 0 and less than 10 seconds, not {timeout!r}")
        self.redirect_uri: str = _redirect_uri(redirect_uri)
        self._base = checked_origin(auth_base_url, "auth_base_url", allow_http=allow_http)
        self.issuer: str = checked_text(issuer or "", "issuer").strip() or self._base
        self.now = now
        self._new_secret = new_secret
        self._client_secret = client_secret
        sender = Sender(timeout=timeout, transport=transport, ssl_context=ssl_context)
        self._endpoint = TokenEndpoint(f"{self._base}/token", sender, now)
        self._exchanged: OrderedDict[bytes, list[bool]] = OrderedDict()  # by hashes of states, oldest first

    @classmethod
    def from_environment(cls, redirect_uri: str | None = None, **options: Any) -> Self:
        """A client made of PRISMA_CLIENT_ID, PRISMA_CLIENT_SECRET, PRISMA_REDIRECT_URI and PRISMA_AUTH_URL.

        PRISMA_CLIENT_ID has to be set, and PRISMA_REDIRECT_URI unless `redirect_uri` is given. A blank one counts as
        not set. `options` are arguments of the class, used in place of the variables. Raises ValueError, naming the
        variable that is missing.
        """
        with bare:
            found = {
                "client_id": variable(_REQUIRED["client_id"]),
                "client_secret": variable("PRISMA_CLIENT_SECRET"),
                "redirect_uri": redirect_uri or variable(_REQUIRED["redirect_uri"]),
                "auth_base_url": variable("PRISMA_AUTH_URL"),
            }
            options = {**{key: value for key, value in found.items() if value}, **options}
            if missing := [name for key, name in _REQUIRED.items() if key not in options]:
                raise ValueError(f"set {' and '.join(missing)} in the environment, or pass values as arguments")
            return cls(**options)

    def login_url(
        self,
        *,
        scope: str | Sequence[str] = DEFAULT_SCOPE,
        extra_params: Mapping[str, str] | None = None,
        redirect_uri: str | None = None,
    ) -> LoginRequest:
        """A new login: its URL, and the state and verifier to keep until the callback (RFC 6749 §4.1.1, RFC 7636).

        scope: the scopes, separated by spaces, or as a sequence; by default `workspace:admin offline_access`. If it is
            empty, the server chooses.
        redirect_uri: where to send the user back this time, if the application has registered more than one place.

        Raises ValueError for extra parameters that would replace the protocol's own, TypeError for wrong types.
        """
        if isinstance(scope, Sequence) and not isinstance(scope, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
            scope = " ".join(checked_text(one, "each of scope") for one in scope)
        extra = {
            checked_text(key, "a name in extra_params"): checked_text(value, f"{key} in extra_params")
            for key, value in checked_mapping(extra_params, "extra_params").items()
        }
        # lax servers take `state[]` and `State` for `state`
        if reserved := sorted(_RESERVED & {re.split(r"[^a-z0-9_]", key.strip().lower())[0] for key in extra}):
            raise ValueError(f"extra_params must not replace {', '.join(reserved)}")
        redirect_uri = self.redirect_uri if redirect_uri is None else _redirect_uri(redirect_uri)
        state, verifier = Secret(self._new_secret()), pkce.checked_verifier(self._new_secret())
        query = urlencode(
            {
                **extra,
                "response_type": "code",
                "client_id": self.client_id,
                "redirect_uri": redirect_uri,
                **({"scope": scope} if checked_text(scope, "scope") else {}),
                "state": state,
                "code_challenge": pkce.challenge(verifier),
                "code_challenge_method": "S256",
            },
            quote_via=quote,
        )
        return LoginRequest(Secret(f"{self._base}/authorize?{query}"), state, verifier, redirect_uri)

    async def exchange_callback(
        self,
        callback_url: str,
        login: LoginRequest | None = None,
        *,
        verifier: str | None = None,
        expected_state: str | None = None,
    ) -> Tokens:
        """The tokens of a login, from its callback and what was kept: `login`, or `verifier` and `expected_state`.

        `callback_url` may be relative. A callback is exchanged once, and never retried (RFC 6749 §4.1.2). You may use
        it again only if nothing was sent (`error.unsent`). Raises CallbackError, AuthError or NetworkError.
        """
        with bare:
            callback_url = Secret(checked_text(callback_url, "callback_url"))
            kept = _kept(login, verifier, expected_state)
            code = read_callback(callback_url, kept.state, self.issuer)
            verifier = pkce.checked_verifier(kept.verifier)
            form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
            grant = await self._once(kept.state, {**form, "redirect_uri": kept.redirect_uri or self.redirect_uri})
            access_token = bearer(grant.access_token)
            if (workspace_id := workspace_of(access_token)) is None:
                raise AuthError("the access token names no workspace: no workspace_id claim, or no JWT at all")
            expires_at = expiry(grant.expires_in, access_token, self.now())
            return Tokens(workspace_id, access_token, grant.refresh_token, expires_at, grant.scope)

    async def _once(self, state: str, form: dict[str, str]) -> Grant:
        """What a callback's code is exchanged for; CallbackError for one that was exchanged before."""
        mark, sent = sha256(state.encode(errors="surrogatepass")).digest(), list[bool]()
        if self._exchanged.setdefault(mark, sent) is not sent:  # two threads may ask at once
            # the login server would say so, too
            raise CallbackError("this callback was exchanged already; start a new login", error="invalid_grant")
        if len(self._exchanged) > _REMEMBERED:
            self._exchanged.popitem(last=False)
        try:
            return await self._endpoint.post(self._form(form), again=False, on_sent=lambda: sent.append(True))
        except BaseException as error:
            if not sent or (isinstance(error, NetworkError) and error.unsent):
                self._exchanged.pop(mark, None)  # nothing reached the server, so the code is still good
            raise

    async def refresh(self, tokens: Tokens) -> Tokens:
        """New tokens for old (RFC 6749 §6), keeping what the answer leaves out; a lost answer is asked for again.

        The new tokens are given back whatever they look like, since they have to be stored first. If an access token is
        of another scheme than Bearer, the scheme stands before it, and bearer() raises when it is to be sent.

        Raises LoginRequiredError if there is no refresh token or it was refused, AuthError, or NetworkError.
        """
        with bare:
            checked_kind(tokens, Tokens, "tokens", "Tokens")
            if not tokens.refresh_token:
                raise LoginRequiredError("there is no refresh token: offline_access was not asked for, or not granted")
            form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
            grant = await self._endpoint.post(self._form(form), again=True)
            return evolve(
                tokens,
                access_token=grant.access_token,
                refresh_token=grant.refresh_token or tokens.refresh_token,
                expires_at=expiry(grant.expires_in, grant.access_token, self.now()),
                scope=grant.scope or tokens.scope,
            )

    async def revoke(self, tokens: Tokens) -> bool:
        """Have the login server forget a login (RFC 7009); False if it has no way to.

        It then publishes none (RFC 8414), or there is no refresh token and it revokes no access tokens (RFC 7009 §2).
        Raises AuthError or NetworkError.
        """
        with bare:
            checked_kind(tokens, Tokens, "tokens", "Tokens")
            origin = "/".join(self._base.split("/")[:3])
            known = f"{origin}/.well-known/oauth-authorization-server{self._base.removeprefix(origin)}"  # RFC 8414 §3.1
            elsewhere = f"{self._base}/.well-known/openid-configuration"  # many under a path have it only there
            metadata = await self._endpoint.metadata(known) or await self._endpoint.metadata(elsewhere)
            if not isinstance(url := metadata.get("revocation_endpoint"), str):
                return False
            if metadata.get("issuer") != self.issuer or not url.startswith(f"{origin}/") or not url.isprintable():
                raise AuthError("the login server's metadata is another server's: nothing was sent there, see issuer=")
            kind = "refresh_token" if tokens.refresh_token else "access_token"
            form = {"token": tokens.refresh_token or tokens.access_token, "token_type_hint": kind}
            return await self._endpoint.revoke(str(url), self._form(form))

    def _form(self, grant: Mapping[str, str]) -> dict[str, str]:
        secret = {"client_secret": self._client_secret} if self._client_secret else {}
        return {**grant, "client_id": self.client_id, **secret}


def _redirect_uri(value: object) -> str:
    text = checked_text(value, "redirect_uri")
    parts = urlsplit(text)
    known = bool(parts.netloc) if parts.scheme in ("http", "https") else bool(parts.scheme)
    if not known or parts.fragment or text != text.strip():
        raise ValueError("redirect_uri must be an absolute URL such as https://app.example/callback, with no fragment")
    return text


def _kept(login: LoginRequest | None, verifier: str | None, expected_state: str | None) -> LoginRequest:
    """What was kept of a login, however it is given; no state is an empty one."""
    if login is None:
        state, verifier = checked_text(expected_state or "", "expected_state"), checked_text(verifier or "", "verifier")
        return LoginRequest("", state, verifier)
    if not isinstance(login, LoginRequest):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
        told = "a sealed cookie is opened with LoginSealer.open() or open_for() first"
        raise TypeError(f"login must be the LoginRequest that login_url() gave, not {type(login).__name__}; {told}")
    return login

"""Codes and tokens: what the login server gave out, and what of it is still good."""

import base64
import hashlib
import hmac
import json
import secrets
import uuid
from dataclasses import dataclass
from typing import Literal

from prisma_mgmt.sandbox.state import Values, World
from prisma_mgmt.sandbox.wire import OAuthError

CODE_LIFETIME = 60.0
REFRESH_TOKEN_LIFETIME = 90 * 24 * 3600.0
REUSE_GRACE = 10.0

Personality = Literal["strict", "grace"]
Kind = Literal["code", "access", "refresh", "service"]


@dataclass(frozen=True, slots=True)
class Client:
    id: str
    name: str
    redirect_uris: tuple[str, ...]
    secret: str | None = None


SERVICE = Client("", "Sandbox service token", ())  # stands for whoever has a service token


@dataclass(slots=True, eq=False)
class Grant:
    """What a user allowed an app at one login, or a service token may; revoked, it takes its tokens along."""

    client: Client
    workspace_id: str
    scope: str = ""
    user_id: str | None = None  # None for a service token
    redirect_uri: str = ""
    challenge: str | None = None  # of PKCE
    revoked: bool = False


@dataclass(slots=True)
class Token:
    """What a grant gave, and what ends with it."""

    kind: Kind
    grant: Grant
    expires_at: float
    used_at: float | None = None
    reused: bool = False


class Tokens:
    """Every code and token given out. Callers hold the world's lock."""

    def __init__(self, world: World, personality: Personality, lifetime: float) -> None:
        self.issuer = ""
        self._given: dict[str, Token] = {}
        self._world, self._personality, self._lifetime = world, personality, lifetime
        self._key = secrets.token_bytes(32)

    def grant_of(self, token: str) -> Grant | None:
        """What an access token or a service token stands for; None if it is unknown, revoked or expired."""
        found = self._given.get(token)
        if found is None or found.kind not in {"access", "service"}:
            return None
        return None if found.grant.revoked or found.expires_at <= self._world.clock() else found.grant

    def forget(self, kind: Kind, token: str | None = None) -> None:
        """Let a token of a kind, or all of them, be unknown from now on."""
        gone = [text for text, it in self._given.items() if it.kind == kind and token in {None, text}]
        for text in gone:
            del self._given[text]

    def issue_service_token(
        self, workspace_id: str, token: str | None = None, *, expires_at: float | None = None
    ) -> str:
        """Give a service token; `token` is one that is to be good for the workspace."""
        token = token or self._jwt({"sub": f"workspace:{workspace_id}", "workspace_id": workspace_id})
        return self._give("service", token, Grant(SERVICE, workspace_id), expires_at or float("inf"))

    def issue_code(self, grant: Grant) -> str:
        return self._give("code", secrets.token_urlsafe(32), grant, self._world.clock() + CODE_LIFETIME)

    def redeem(self, client: Client, code: str, redirect_uri: str, verifier: str | None) -> Values:
        """Exchange a code. It can be tried once; a second try takes back what the first one gave."""
        found = self._find("code", client, code)
        if found.used_at is not None:
            found.grant.revoked = True
            raise _invalid("The code was used before.")
        found.used_at = self._world.clock()
        if found.expires_at <= found.used_at:
            raise _invalid("The code has expired.")
        grant = found.grant
        if grant.redirect_uri != redirect_uri:
            raise _invalid("redirect_uri is not the one that the code was asked for with.")
        if grant.challenge != (None if verifier is None else s256(verifier)):
            raise _invalid("code_verifier does not match the challenge.")
        self._world.let_in(client.id, client.name, grant.workspace_id, grant.scope.split(), grant.user_id)
        return self._issue(grant)

    def refresh(self, client: Client, refresh_token: str) -> Values:
        """Exchange a refresh token for a new pair; what a second use of it does is the server's personality."""
        now, token = self._world.clock(), self._find("refresh", client, refresh_token)
        if token.grant.revoked or token.expires_at <= now:
            raise _invalid("The refresh token was revoked or has expired.")
        if token.used_at is None:
            token.used_at = now
        elif self._personality == "strict":
            token.grant.revoked = True
            raise _invalid("The refresh token was used before; everything that came from this login is revoked.")
        elif token.reused or now - token.used_at > REUSE_GRACE:
            raise _invalid("The refresh token was used before.")
        else:
            token.reused = True
        return self._issue(token.grant)

    def revoke(self, client: Client, token: str) -> None:
        """Revoke the login that a token came from (RFC 7009); an unknown token is no error."""
        found = self._given.get(token)
        if found is not None and found.kind != "code" and found.grant.client.id == client.id:
            found.grant.revoked = True

    def revoke_app(self, client_id: str, workspace_id: str) -> None:
        for it in self._given.values():
            if it.kind != "code" and (it.grant.client.id, it.grant.workspace_id) == (client_id, workspace_id):
                it.grant.revoked = True

    def _find(self, kind: Kind, client: Client, token: str) -> Token:
        found = self._given.get(token)
        if found is None or found.kind != kind or found.grant.client.id != client.id:
            raise _invalid(f"The {'code' if kind == 'code' else 'refresh token'} is unknown.")
        return found

    def _issue(self, grant: Grant) -> Values:
        now = self._world.clock()
        claims = {"sub": grant.user_id, "workspace_id": grant.workspace_id, "client_id": grant.client.id}
        access_token = self._jwt({**claims, "scope": grant.scope, "exp": int(now + self._lifetime)})
        answer: Values = {
            "access_token": self._give("access", access_token, grant, now + self._lifetime),
            "token_type": "Bearer",
            "expires_in": int(self._lifetime),
            "scope": grant.scope,
        }
        if "offline_access" in grant.scope.split():
            refresh_token, end = secrets.token_urlsafe(32), now + REFRESH_TOKEN_LIFETIME
            answer["refresh_token"] = self._give("refresh", refresh_token, grant, end)
        return answer

    def _give(self, kind: Kind, token: str, grant: Grant, expires_at: float) -> str:
        self._given[token] = Token(kind, grant, expires_at)
        return token

    def _jwt(self, claims: Values) -> str:
        """Sign claims as an HS256 JSON Web Token."""
        claims = {"iss": self.issuer, "iat": int(self._world.clock()), "jti": uuid.uuid4().hex, **claims}
        head = {"alg": "HS256", "typ": "JWT"}
        signed = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
        return f"{signed}.{_base64url(hmac.digest(self._key, signed.encode(), 'sha256'))}"


def s256(verifier: str) -> str:
    """The challenge of a verifier (RFC 7636)."""
    return _base64url(hashlib.sha256(verifier.encode()).digest())


def _invalid(message: str) -> OAuthError:
    return OAuthError(400, message, "invalid_grant")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

"""Codes and tokens: what the login server gave out, and what of it is still good."""

import base64
import hashlib
import hmac
import json
import secrets
import uuid
from dataclasses import dataclass
from typing import Literal

from prisma_mgmt.sandbox.state import World

CODE_LIFETIME = 60.0
REFRESH_TOKEN_LIFETIME = 90 * 24 * 3600.0
REUSE_GRACE = 10.0

Personality = Literal["strict", "grace"]


class InvalidGrantError(Exception):
    """A code or refresh token that is not good, or no longer."""


@dataclass(frozen=True, slots=True)
class Client:
    id: str
    name: str
    redirect_uris: tuple[str, ...]
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a live access token speaks for: a user through an app (OAuth), or the workspace itself (a service token)."""

    workspace_id: str
    client: Client | None = None
    user_id: str | None = None


@dataclass(slots=True, eq=False)
class Grant:
    """What a user allowed at one login; revoked, it takes every token that came from it along."""

    client: Client
    workspace_id: str
    scope: str
    user_id: str
    revoked: bool = False


@dataclass(slots=True)
class Code:
    grant: Grant
    redirect_uri: str
    challenge: str | None
    expires_at: float
    used: bool = False


@dataclass(slots=True)
class Token:
    grant: Grant
    expires_at: float
    rotated_at: float | None = None
    reused: bool = False


def s256(verifier: str) -> str:
    return _base64url(hashlib.sha256(verifier.encode()).digest())


class Tokens:
    """Every code and token given out. Callers hold the world's lock."""

    def __init__(self, world: World, personality: Personality, lifetime: float) -> None:
        self.issuer = ""
        self.codes: dict[str, Code] = {}
        self.access_tokens: dict[str, Token] = {}
        self.refresh_tokens: dict[str, Token] = {}
        self.service_tokens: dict[str, tuple[Principal, float | None]] = {}  # with the end of their lives
        self._world = world
        self._personality = personality
        self._lifetime = lifetime
        self._key = secrets.token_bytes(32)

    def principal(self, access_token: str) -> Principal | None:
        now, token = self._world.clock(), self.access_tokens.get(access_token)
        if token is None:
            principal, expires_at = self.service_tokens.get(access_token, (None, None))
            return None if expires_at is not None and expires_at <= now else principal
        if token.grant.revoked or token.expires_at <= now:
            return None
        return Principal(token.grant.workspace_id, token.grant.client, token.grant.user_id)

    def issue_service_token(
        self, workspace_id: str, token: str | None = None, *, expires_at: float | None = None
    ) -> str:
        """Give a service token; `token` is one that is to be good for the workspace."""
        token = token or self._jwt({"sub": f"workspace:{workspace_id}", "workspace_id": workspace_id})
        self.service_tokens[token] = Principal(workspace_id), expires_at
        return token

    def issue_code(self, grant: Grant, redirect_uri: str, challenge: str | None) -> str:
        code = secrets.token_urlsafe(32)
        self.codes[code] = Code(grant, redirect_uri, challenge, self._world.clock() + CODE_LIFETIME)
        return code

    def redeem(self, client: Client, code: str, redirect_uri: str, verifier: str | None) -> dict[str, object]:
        """Exchange a code. It can be tried once; a second try takes back what the first one gave."""
        found = self.codes.get(code)
        if found is None or found.grant.client.id != client.id:
            raise InvalidGrantError("The code is unknown.")
        if found.used:
            found.grant.revoked = True
            raise InvalidGrantError("The code was used before.")
        found.used = True
        if found.expires_at <= self._world.clock():
            raise InvalidGrantError("The code has expired.")
        if found.redirect_uri != redirect_uri:
            raise InvalidGrantError("redirect_uri is not the one that the code was asked for with.")
        if found.challenge != (None if verifier is None else s256(verifier)):
            raise InvalidGrantError("code_verifier does not match the challenge.")
        return self._issue(found.grant)

    def refresh(self, client: Client, refresh_token: str) -> dict[str, object]:
        """Exchange a refresh token for a new pair; what a second use of it does is the server's personality."""
        now = self._world.clock()
        token = self.refresh_tokens.get(refresh_token)
        if token is None or token.grant.client.id != client.id:
            raise InvalidGrantError("The refresh token is unknown.")
        if token.grant.revoked or token.expires_at <= now:
            raise InvalidGrantError("The refresh token was revoked or has expired.")
        if token.rotated_at is None:
            token.rotated_at = now
        elif self._personality == "strict":
            token.grant.revoked = True
            raise InvalidGrantError(
                "The refresh token was used before; everything that came from this login is revoked."
            )
        elif token.reused or now - token.rotated_at > REUSE_GRACE:
            raise InvalidGrantError("The refresh token was used before.")
        else:
            token.reused = True
        return self._issue(token.grant)

    def revoke(self, client: Client, token: str) -> None:
        """Revoke the login that a token came from (RFC 7009); an unknown token is no error."""
        found = self.refresh_tokens.get(token) or self.access_tokens.get(token)
        if found is not None and found.grant.client.id == client.id:
            found.grant.revoked = True

    def revoke_app(self, client_id: str, workspace_id: str) -> None:
        for token in (*self.access_tokens.values(), *self.refresh_tokens.values()):
            if (token.grant.client.id, token.grant.workspace_id) == (client_id, workspace_id):
                token.grant.revoked = True

    def _issue(self, grant: Grant) -> dict[str, object]:
        now = self._world.clock()
        expires_at = now + self._lifetime
        access_token = self._jwt(
            {
                "sub": grant.user_id,
                "workspace_id": grant.workspace_id,
                "client_id": grant.client.id,
                "scope": grant.scope,
                "exp": int(expires_at),
            }
        )
        self.access_tokens[access_token] = Token(grant, expires_at)
        answer: dict[str, object] = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": int(self._lifetime),
            "scope": grant.scope,
        }
        if "offline_access" in grant.scope.split():
            refresh_token = secrets.token_urlsafe(32)
            self.refresh_tokens[refresh_token] = Token(grant, now + REFRESH_TOKEN_LIFETIME)
            answer["refresh_token"] = refresh_token
        return answer

    def _jwt(self, claims: dict[str, object]) -> str:
        """Sign claims as an HS256 JSON Web Token."""
        claims = {"iss": self.issuer, "iat": int(self._world.clock()), "jti": uuid.uuid4().hex, **claims}
        head, body = ({"alg": "HS256", "typ": "JWT"}, claims)
        signed = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (head, body))
        return f"{signed}.{_base64url(hmac.digest(self._key, signed.encode(), 'sha256'))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

"""Codes and tokens: what the login server gave out, and what of it is still good."""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prisma_mgmt.sandbox.state import Thing, Values, World
from prisma_mgmt.sandbox.wire import OAuthError, need

CODE_LIFETIME = 60.0
REFRESH_TOKEN_LIFETIME = 90 * 24 * 3600.0
REUSE_GRACE = 10.0

Personality = Literal["strict", "grace"]


@dataclass(slots=True)
class Client:
    id: str
    name: str
    redirect_uris: Sequence[str]
    secret: str | None = None


class Tokens:
    """The codes and tokens that were given out. Callers hold the world's lock.

    They are things of the world, and so is the login that they come from: a workspace holds what it let in, that holds
    logins, and a login holds its tokens. Whatever goes takes them along.
    """

    def __init__(self, world: World, personality: Personality, lifetime: float) -> None:
        self.world: World = world
        self.issuer = ""
        self._personality, self._lifetime = personality, lifetime

    def bearer(self, token: str) -> Thing | None:
        """An access token or a service token; None if it is unknown, revoked or expired."""
        return self.world.things("access-tokens").get(token)

    def forget(self, kind: str) -> None:
        """Let all tokens of a kind be unknown that came from a login."""
        for it in self.world.every(kind):
            if it.up("logins") is not None:
                self.world.remove(it)

    def issue_service_token(
        self, workspace_id: str, token: str | None = None, *, holder: Thing | None = None, until: float | None = None
    ) -> str:
        """Give a service token; `token` is one that is to be good for the workspace, `holder` what it goes with."""
        holder = holder or self.world.things("workspaces")[workspace_id]
        token = token or self._jwt({"sub": f"workspace:{workspace_id}", "workspace_id": workspace_id})
        return self._give("access-tokens", holder, token, until)

    def issue_code(self, client: Client, workspace: Thing, user: Thing, scope: str, asked: Mapping[str, str]) -> str:
        """Give a code for a user who said yes to what was asked for at the login URL."""
        login = self.world.new("logins", workspace, {"clientId": client.id, "name": client.name, "scope": scope})
        login.hidden.update(user=user, redirect_uri=asked["redirect_uri"], challenge=asked.get("code_challenge"))
        until = self.world.clock() + CODE_LIFETIME
        return self._give("codes", self.world.put(login), secrets.token_urlsafe(32), until)

    def redeem(self, client: Client, code: str, redirect_uri: str, verifier: str | None) -> Values:
        """Exchange a code. It can be tried once; a second try takes back what the first one gave."""
        found = self._find("codes", client, code)
        login = found.holder
        if "used" in found.hidden:
            self.world.remove(login)
            raise _invalid("The code was used before.")
        found.hidden["used"] = True
        self.world.cancel(found)  # a code that was used stays, so that a second use is seen
        need(login.hidden["redirect_uri"] == redirect_uri, _invalid("redirect_uri is not the one of the login."))
        challenge = None if verifier is None else _base64url(hashlib.sha256(verifier.encode()).digest())  # RFC 7636
        need(login.hidden["challenge"] == challenge, _invalid("code_verifier does not match the challenge."))
        login.parent = self.world.let_in(login)
        return self._issue(login)

    def refresh(self, client: Client, refresh_token: str) -> Values:
        """Exchange a refresh token for a new pair; what a second use of it does is the server's personality."""
        now, token = self.world.clock(), self._find("refresh-tokens", client, refresh_token)
        uses: list[float] = token.hidden.setdefault("uses", [])
        if uses and self._personality == "strict":
            self.world.remove(token.holder)
            raise _invalid("The refresh token was used before; everything that came from this login is revoked.")
        forgiven = not uses or (len(uses) == 1 and now - uses[0] <= REUSE_GRACE)
        need(forgiven, _invalid("The refresh token was used before."))
        uses.append(now)
        return self._issue(token.holder)

    def revoke(self, client: Client, token: str) -> None:
        """Revoke the login that a token came from (RFC 7009); an unknown token is no error."""
        for kind in ("access-tokens", "refresh-tokens"):
            found = self.world.things(kind).get(token)
            if found is not None and found.holder.values.get("clientId") == client.id:
                self.world.remove(found.holder)

    def _find(self, kind: str, client: Client, token: str) -> Thing:
        found = self.world.things(kind).get(token)
        if found is None or found.holder.values["clientId"] != client.id:
            raise _invalid("The code or token is unknown, has expired or was revoked.")
        return found

    def _issue(self, login: Thing) -> Values:
        now, scope, workspace = self.world.clock(), login.values["scope"], login.up("workspaces")
        claims = {"sub": login.hidden["user"].id, "client_id": login.values["clientId"], "scope": scope}
        claims |= {"workspace_id": workspace and workspace.id, "exp": int(now + self._lifetime)}
        answer: Values = {
            "access_token": self._give("access-tokens", login, self._jwt(claims), now + self._lifetime),
            "token_type": "Bearer",
            "expires_in": int(self._lifetime),
            "scope": scope,
        }
        if "offline_access" in scope.split():
            token, end = secrets.token_urlsafe(32), now + REFRESH_TOKEN_LIFETIME
            answer["refresh_token"] = self._give("refresh-tokens", login, token, end)
        return answer

    def _give(self, kind: str, holder: Thing, token: str, until: float | None) -> str:
        """Keep a token, till a time of the clock if there is one."""
        given = self.world.put(self.world.new(kind, holder, id=token))
        if until is not None:
            self.world.plan(until, given, lambda _: self.world.remove(given))
        return token

    def _jwt(self, claims: Values) -> str:
        """Write claims as an HS256 JSON Web Token. The signature is made up, since nobody else would have the key."""
        claims = {"iss": self.issuer, "iat": int(self.world.clock()), "jti": secrets.token_hex(16), **claims}
        parts = [json.dumps(one, separators=(",", ":")).encode() for one in ({"alg": "HS256", "typ": "JWT"}, claims)]
        return ".".join(map(_base64url, (*parts, secrets.token_bytes(32))))


def _invalid(message: str) -> OAuthError:
    return OAuthError(400, message, "invalid_grant")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

"""A login server and an API in one handler, with gates: what the auth tests talk to."""

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from attrs import define, field

from prisma_mgmt.auth import OAuthClient, OAuthSession, Tokens, TokenStorage
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.auth.tokens import same
from prisma_mgmt.auth.vault import Patience
from tests.conftest import FakeClock
from tests.kit.rig import Drop, Gate, Reply, Request


def jwt(**claims: Any) -> str:
    """An access token as the login server makes them; nobody here verifies a signature."""
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + ".signature"


_worlds = count(1)


@define
class Prisma:
    """The state of both servers. `strict` revokes everything when a refresh token is replayed; `grace` forgives once.

    token_gate, api_gate: hold the answers of the token endpoint and of the API.
    drop: how many answers of the token endpoint get lost after it has acted.
    replies: answers of the token endpoint to give instead of its own, first come first served.
    """

    personality: str = "strict"
    token_gate: Gate = field(factory=lambda: Gate(open_=True))
    api_gate: Gate = field(factory=lambda: Gate(open_=True))
    drop: int = 0
    replies: list[Reply] = field(factory=list)
    grant: dict[str, Any] = field(factory=dict)  # fields to add to a grant; None takes one away
    api_status: int | None = None  # answer every API call with this
    live: set[str] = field(factory=set)
    refresh_tokens: set[str] = field(factory=set)
    spent: dict[str, int] = field(factory=dict)
    forms: list[dict[str, str]] = field(factory=list)
    seen: list[str | None] = field(factory=list)  # the token of each API call
    refused: int = 0
    pairs: int = 0
    world: int = field(factory=lambda: next(_worlds))  # so that no two tests see the same token

    @property
    def refreshes(self) -> int:
        return sum(form["grant_type"] == "refresh_token" for form in self.forms)

    def new_pair(self, workspace: str = "wksp_1", **extra: Any) -> dict[str, Any]:
        self.pairs += 1
        access = jwt(workspace_id=workspace, jti=f"{self.world}-{self.pairs}")
        pair = {"access_token": access, "refresh_token": f"refresh-{self.pairs}", "token_type": "Bearer"}
        pair = {**pair, "expires_in": 3600, "scope": "workspace:admin offline_access", **self.grant, **extra}
        pair = {key: value for key, value in pair.items() if value is not None}
        if isinstance(pair.get("access_token"), str):
            self.live.add(pair["access_token"])
        self.refresh_tokens.add(pair.get("refresh_token", ""))
        return pair

    def tokens(self, **changes: Any) -> Tokens:
        """A pair as a login would have left it in a storage."""
        pair = self.new_pair()
        values = {
            "workspace_id": "wksp_1",
            "access_token": pair["access_token"],
            "refresh_token": pair["refresh_token"],
        }
        return Tokens(**{**values, **changes})

    def expire(self) -> None:
        """From now on no access token given so far is good."""
        self.live.clear()

    async def handle(self, request: Request) -> Reply:
        if request.path == "/token":
            return await self._token(request.form)
        self.seen.append(request.token)
        await self.api_gate()
        if self.api_status is not None:
            return Reply(self.api_status, {"error": {"code": "authentication-failed", "message": "the API says no"}})
        if request.token not in self.live:
            return Reply(401, {"error": {"code": "authentication-failed", "message": "expired"}})
        return Reply(body={"user": None, "token": request.token})

    async def _token(self, form: dict[str, str]) -> Reply:
        self.forms.append(form)
        reply = self._granted(form)
        await self.token_gate()
        if self.drop:
            self.drop -= 1
            raise Drop
        return self.replies.pop(0) if self.replies else reply

    def _granted(self, form: dict[str, str]) -> Reply:
        if self.replies and self.replies[0].status >= 400:
            return self.replies[0]  # the server failed before it acted
        if form["grant_type"] == "refresh_token":
            old = form["refresh_token"]
            if old not in self.refresh_tokens:
                uses = self.spent.get(old)
                if uses is None or uses > 1 or self.personality == "strict":
                    self.refused += 1
                    if uses is not None:
                        self.live.clear()
                        self.refresh_tokens.clear()
                    return Reply(400, {"error": "invalid_grant", "error_description": "no longer valid"})
            self.refresh_tokens.discard(old)
            self.spent[old] = self.spent.get(old, 0) + 1
        return Reply(body=self.new_pair())


class CountingStorage(MemoryTokenStorage):
    """Counts what is asked of it, fails as often as told; not readable while `unreadable`; gates hold what it does."""

    unreadable = False
    reading: Gate | None = None
    writing: Gate | None = None

    def __init__(self, tokens: Tokens | None = None) -> None:
        super().__init__(tokens)
        self.reads = 0
        self.writes: list[Tokens] = []
        self.clears = 0
        self.failures = 0

    @property
    def current(self) -> Tokens | None:
        return self._tokens

    async def get_tokens(self) -> Tokens | None:
        if self.unreadable:
            raise OSError("unreadable")
        self.reads += 1
        if self.reading is not None:
            await self.reading()
        return await super().get_tokens()

    async def set_tokens(self, tokens: Tokens) -> None:
        if self.writing is not None:
            await self.writing()
        if self.failures:
            self.failures -= 1
            raise OSError("no space left on device")
        self.writes.append(tokens)
        await super().set_tokens(tokens)

    async def clear_tokens(self) -> None:
        self.clears += 1
        await super().clear_tokens()


class SharedStorage(CountingStorage):
    """One that processes share; its lock cannot fail."""

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        yield

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        if not same(self._tokens, current):
            return False
        await self.set_tokens(tokens)
        return True

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        if not same(self._tokens, tokens):
            return False
        await self.clear_tokens()
        return True


def oauth_at(url: str, **options: Any) -> OAuthClient:
    return OAuthClient("client", "https://app.example/callback", auth_base_url=url, **options)


PATIENT = Patience(call=30)  # a call waits as long as a test holds what it waits for


def session_at(url: str, storage: TokenStorage, *, clock: FakeClock | None = None, **options: Any) -> OAuthSession:
    options = {"patience": PATIENT, **options}
    if clock is None:
        return OAuthSession(oauth_at(url), storage, **options)
    return OAuthSession(oauth_at(url, now=clock.now), storage, monotonic=clock.monotonic, **options)


def s256(verifier: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()

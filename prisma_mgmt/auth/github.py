"""Credentials for a workflow of GitHub Actions: its OIDC token is exchanged for a token of the API."""

import math
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from attrs import frozen

from prisma_mgmt.auth.closing import Unpickled
from prisma_mgmt.auth.endpoint import bearer
from prisma_mgmt.auth.renewal import Trouble
from prisma_mgmt.auth.sending import Sender, TransportArgument
from prisma_mgmt.auth.work import Work, ended
from prisma_mgmt.checks import checked_count, checked_kind, checked_origin, checked_seconds
from prisma_mgmt.environment import API_URL, variable
from prisma_mgmt.errors import AuthError, NetworkError
from prisma_mgmt.loops import LoopGuard
from prisma_mgmt.masks import Secret, bare

_LEEWAY = 60.0  # seconds before its expiry from which a token is renewed, but a tenth of its lifetime at most
_FRUITLESS = 10.0  # seconds in which a token that a renewal has just brought is not renewed again


@frozen
class _Minted:
    token: Secret
    renew_at: float  # Unix seconds
    good_until: float


class GitHubActionsCredentials(Unpickled):
    """The token that a workflow run gets from the API for its GitHub OIDC token, renewed when it is about to expire.

    The workflow needs `permissions: id-token: write`, and its repository has to be linked in the Prisma Console.

    base_url: the API's; by default PRISMA_MANAGEMENT_API_URL, or https://api.prisma.io.
    lifetime: seconds that each token is asked for, 3600 at most; None leaves it to the API.
    timeout: seconds for each of the two answers.

    If a renewal ahead of expiry fails, the token serves on for as long as it is good. After a failure nobody is asked
    again before Retry-After is over, or else 1, 2, 4 … 30 seconds; calls meanwhile fail at once with the same error.
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        lifetime: int | None = None,
        timeout: float = 30.0,
        ssl_context: ssl.SSLContext | None = None,
        transport: TransportArgument = None,
        allow_http: bool = False,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        base_url = base_url or variable(API_URL) or "https://api.prisma.io"
        self._base = checked_origin(base_url, "base_url", allow_http=allow_http)
        if lifetime is not None and checked_count(lifetime, "lifetime") > 3600:
            raise ValueError(f"lifetime must be at most 3600 seconds, not {lifetime!r}")
        checked_kind(now, Callable, "now", "a function")
        timeout = checked_seconds(timeout, "timeout", least=0.001)
        self._sender = Sender(timeout=timeout, transport=transport, ssl_context=ssl_context)
        self._lifetime, self._allow_http = lifetime, allow_http
        checked_kind(monotonic, Callable, "monotonic", "a function")
        self._now, self._monotonic = now, monotonic
        self._minted: _Minted | None = None
        self._minting: Work[_Minted] | None = None  # the latest exchange, which may have ended
        self._trouble: Trouble | None = None  # if that has failed
        self._fruitless_until = -math.inf
        self._loop = LoopGuard("GitHubActionsCredentials")

    async def access_token(self) -> str:
        """The token to send now. Raises AuthError if GitHub or the API gives none, and NetworkError."""
        with bare:
            self._loop.check()
            minted = self._minted
            try:
                if minted is None or self._now() >= minted.renew_at:
                    return await self._another()
            except (AuthError, NetworkError):
                if minted is None or self._now() >= minted.good_until:
                    raise
            return minted.token

    async def renew(self, rejected: str) -> str | None:
        """A token other than `rejected`, None if it has just been renewed; see access_token()."""
        with bare:
            self._loop.check()
            minted = self._minted
            if minted is not None and minted.token != rejected:
                return minted.token
            if self._monotonic() < self._fruitless_until:
                return None
            token = await self._another()
            self._fruitless_until = self._monotonic() + _FRUITLESS
            return token if token != rejected else None

    async def _another(self) -> Secret:
        """A new token. Callers at the same time share it, or its failure; so do those of the pause after a failure."""
        paused = self._trouble is not None and self._monotonic() < self._trouble.until
        if self._minting is None or not (self._minting.under_way or paused):
            self._minting = Work(self, partial(self._mint, *self._asked()), name="the exchange", lasting=False)
        return (await self._minting.wait()).token

    async def _mint(self, url: str, headers: dict[str, Secret]) -> _Minted:
        try:
            self._minted = await self._exchanged(url, headers)
        except Exception as error:  # a transport of the user's may raise anything
            failure = error if isinstance(error, AuthError | NetworkError) else ended("the exchange", error)
            self._trouble = Trouble.after(failure, self._trouble, self._monotonic())
            raise
        self._trouble = None
        return self._minted

    async def _exchanged(self, url: str, headers: dict[str, Secret]) -> _Minted:
        shown = await self._granted("GET", url, "GitHub gave no OIDC token", headers=headers)
        wanted = {"token": bearer(shown["value"])} | ({"expiresInSeconds": self._lifetime} if self._lifetime else {})
        refusal = "the API gave no token for this repository's workflow: is the repository linked?"
        minted = await self._granted("POST", f"{self._base}/v1/auth/github-actions/token", refusal, json=wanted)
        now, left = self._now(), self._left(minted.get("expiresAt"))
        return _Minted(bearer(minted["value"]), now + left - min(_LEEWAY, left / 10), now + left)

    async def _granted(self, method: str, url: str, refusal: str, **options: Any) -> dict[str, Any]:
        """What an answer holds, itself or under `data`; AuthError, saying `refusal`, if there is no `value` in it."""
        answer = await self._sender.send(method, url, **options)
        fields = answer.fields
        found = cast("dict[str, Any]", fields.get("data", fields))
        if answer.is_success and isinstance(found, dict) and isinstance(found.get("value"), str):  # pyright: ignore[reportUnnecessaryIsInstance]  # it is a server's
            return found
        raise answer.refusal(f"{refusal} ({answer.status})", self._now())

    def _asked(self) -> tuple[str, dict[str, Secret]]:
        """Where GitHub gives a token, and the headers of whoever asks there."""
        url, token = variable("ACTIONS_ID_TOKEN_REQUEST_URL"), Secret(variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN") or "")
        if not url or not token:
            missing = "ACTIONS_ID_TOKEN_REQUEST_URL, or no ACTIONS_ID_TOKEN_REQUEST_TOKEN"
            told = "this is not a GitHub Actions workflow, or it lacks `permissions: id-token: write`"
            raise AuthError(f"there is no {missing}: {told}")
        base, _, query = url.partition("?")
        checked_origin(base, "ACTIONS_ID_TOKEN_REQUEST_URL", allow_http=self._allow_http)
        return f"{base}?{query}&audience=prisma-cloud", {"Authorization": Secret(f"Bearer {bearer(token)}")}

    def _left(self, expires_at: object) -> float:
        """How long a token lives. What was asked for counts if the API does not say, or if it is over by this clock."""
        left = 0.0
        with suppress(ValueError):
            date = datetime.fromisoformat(str(expires_at))
            left = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - self._now()
        return left if left > 0 else self._lifetime or 1800

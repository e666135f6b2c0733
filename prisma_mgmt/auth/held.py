"""The tokens in use, and when they are to be renewed ahead of a call: one value, replaced and never changed."""

import math
from typing import Self

from attrs import evolve, frozen

from prisma_mgmt.auth.endpoint import sendable
from prisma_mgmt.auth.tokens import Tokens, same, workspace_of
from prisma_mgmt.errors import AuthError


@frozen
class Held:
    """What a session last knew of its user's tokens.

    tokens: None if nobody is logged in, or if nothing has been read yet.
    read_at: when that was, on the monotonic clock.
    renew_at: from when a token is renewed ahead of a call, in Unix seconds.
    switched: True if the access token is for another workspace than the one that the user chose.
    away: True if the storage could not be read again since.
    """

    tokens: Tokens | None = None
    read_at: float = -math.inf
    renew_at: float = math.inf
    switched: bool = False
    away: bool = False

    @property
    def expires_at(self) -> float | None:
        return None if self.tokens is None else self.tokens.expires_at

    def replaced(self, tokens: Tokens | None, *, read_at: float, now: float, leeway: float) -> Self:
        """The value after `tokens` were read or stored.

        A pair that stays keeps its time to renew, and the fields that a storage may not keep; but `extra` belongs to
        other programs, and is as it was read. A token is renewed `leeway` seconds before its expiry, or a tenth of what
        it had left when it was first seen. One that cannot be sent is renewed at once.
        """
        if same(tokens, self.tokens) and (tokens is None or tokens.expires_at in (None, self.expires_at)):
            kept = self.tokens and tokens and evolve(self.tokens, extra=tokens.extra)
            return evolve(self, tokens=kept, read_at=read_at, away=False)
        renew_at = math.inf
        if tokens is not None and not sendable(tokens.access_token):
            renew_at = -math.inf  # the API will never have a 401 for it
        elif tokens is not None and tokens.expires_at is not None and leeway:
            renew_at = tokens.expires_at - min(leeway, max(0.0, tokens.expires_at - now) / 10)
        return type(self)(tokens, read_at, renew_at, tokens is not None and switched(tokens))

    def postponed(self, until: float) -> Self:
        """The value after a renewal ahead of expiry has failed: the next one waits, but not past the expiry."""
        return evolve(self, renew_at=until if self.expires_at is None else min(until, self.expires_at))

    def fresh(self, now: float, ttl: float) -> bool:
        """Return True if the tokens may serve without another read of the storage; `now` is on the monotonic clock.

        What was read later than now was read by another clock: trio's begins anew in each event loop.
        """
        return self.tokens is not None and 0 <= now - self.read_at < ttl

    def due(self, now: float) -> bool:
        """Return True if the token is to be renewed before it is sent."""
        return now >= self.renew_at

    def outdates(self, token: str) -> bool:
        """Return True if `token` is not the one to send. Nothing is known before the first read."""
        return self.read_at > -math.inf and (self.tokens is None or token != self.tokens.access_token)


def good(tokens: Tokens, now: float) -> bool:
    """Return True unless the access token is known to have expired, or cannot be sent."""
    return (tokens.expires_at is None or now < tokens.expires_at) and sendable(tokens.access_token)


def switched(tokens: Tokens) -> bool:
    """Return True if the access token names another workspace than the one that the user chose."""
    return workspace_of(tokens.access_token) not in (None, tokens.workspace_id)


def refuse_switched(switched: bool) -> None:
    """Raise AuthError if a refresh has switched the workspace."""
    if switched:
        raise AuthError("a refresh gave tokens of another workspace than the session's; log in again")

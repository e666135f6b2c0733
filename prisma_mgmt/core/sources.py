"""Where the tokens of a client come from: given as they are or by credentials, the environment, or nowhere."""

import os
from collections.abc import Hashable
from inspect import iscoroutinefunction
from typing import NoReturn

from attrs import field, frozen

from prisma_mgmt.checks import checked_methods
from prisma_mgmt.credentials import Credentials, ServiceToken, TrackedCredentials
from prisma_mgmt.environment import SERVICE_TOKEN
from prisma_mgmt.errors import AuthError, LoginRequiredError


@frozen
class Auth:
    """Where the tokens of a client come from.

    `source` says it in the text of a 401. `who` is the same for the same credentials.
    """

    credentials: Credentials = field(repr=False)
    source: str
    tracked: TrackedCredentials | None = field(default=None, repr=False)
    who: Hashable = field(default=None, repr=False)


class _Lacking:
    """The credentials of those who have none: each call that wants a token gets an error of its own."""

    def __init__(self, kind: type[AuthError], told: str) -> None:
        self._kind = kind
        self._told = told

    async def access_token(self) -> NoReturn:
        raise self._kind(self._told)

    async def renew(self, rejected: str) -> None:
        """There is none, and there was none."""


NOBODY: Auth = Auth(_Lacking(LoginRequiredError, "no token: this view was made with auth=None"), "nobody's")


def from_environment() -> Auth:
    """The service token of the environment, read now; an error of the first call that wants it if there is none."""
    source = f"{SERVICE_TOKEN} of the environment"
    try:
        found = ServiceToken(os.environ[SERVICE_TOKEN], SERVICE_TOKEN)
    except KeyError:
        told = f"no token: pass auth= to the client, or set {SERVICE_TOKEN}"
        return Auth(_Lacking(LoginRequiredError, told), source)
    except ValueError as error:
        return Auth(_Lacking(AuthError, str(error)), source)
    return Auth(found, source, who=found)


def checked_auth(auth: Auth | str | Credentials) -> Auth:
    """The source of the tokens of `auth`; TypeError or ValueError if it can give none."""
    if isinstance(auth, Auth):
        return auth
    if isinstance(auth, str):
        given = ServiceToken(auth)
        return Auth(given, "given as auth=", who=given)
    if type(auth).__name__ == "SessionManager":  # which this layer does not know
        raise TypeError("auth must be the session of one user, such as sessions[user], not a SessionManager")
    checked_methods(auth, "auth, unless it is a token,", "access_token", "renew")
    tracked = None
    if any(hasattr(auth, name) for name in ("accepted", "outdated", "drain")):
        checked_methods(auth, "auth", "accepted", "outdated", "drain")
        if any(iscoroutinefunction(getattr(auth, name)) for name in ("accepted", "outdated")):
            raise TypeError("accepted and outdated of auth must be plain functions: nothing waits for them")
        tracked = auth if isinstance(auth, TrackedCredentials) else None
    # A bound method is equal to another one of the same object only, whatever that object is equal to, and keeps it.
    who = auth if isinstance(auth, ServiceToken) else auth.access_token
    return Auth(auth, f"given by {type(auth).__name__}", tracked=tracked, who=who)

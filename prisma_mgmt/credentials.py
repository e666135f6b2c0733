"""The seam between the API client and whatever gives it tokens."""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

SERVICE_TOKEN_VARIABLE = "PRISMA_SERVICE_TOKEN"  # noqa: S105  # its name, not a token


class Secret(str):
    """A string that does not show itself in a repr, and so in no traceback's locals and no log of an object."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'**********'" if self else "''"


def secret(value: str) -> Secret:
    """`value`, masked; TypeError for what is no string, such as the None of an empty column."""
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
        raise TypeError(f"a secret must be a string, not {type(value).__name__}")
    return Secret(value)


@runtime_checkable
class Credentials(Protocol):
    """What the client asks for a token: any object with these two methods will do.

    The client asks for a token, sends, and on a 401 calls `renew` once and sends again. Two more methods are called
    where they exist: `accepted(token)` with every token that the API took, and `outdated(token)` with one that waited
    for a connection; where that says True, the client calls `renew` before it sends.
    """

    async def access_token(self) -> str:
        """The token to send now."""
        ...

    async def renew(self, rejected: str) -> str | None:
        """A token other than `rejected`, or None when there is none to be had."""
        ...


class ServiceToken:
    """A workspace's service token: it does not expire, and there is nothing to renew it with.

    Raises ValueError for a token that is blank or could not stand in a header.
    """

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        token = Secret(token)
        self._token = checked_token(token, "the service token")

    async def access_token(self) -> str:
        return self._token

    async def renew(self, rejected: str) -> None:  # noqa: ARG002  # the seam's signature
        return None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "ServiceToken | None":
        """The token in PRISMA_SERVICE_TOKEN, or None where that is not set; set but blank is a ValueError."""
        if SERVICE_TOKEN_VARIABLE not in environ:
            return None
        return cls(checked_token(Secret(environ[SERVICE_TOKEN_VARIABLE]), SERVICE_TOKEN_VARIABLE))


def checked_token(token: str, name: str) -> Secret:
    """`token` without the white space around it; ValueError, naming `name`, where it cannot be sent in a header."""
    token = Secret(token.strip())
    if not token:
        raise ValueError(f"{name} is blank; give it a token, or leave it unset")
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ValueError(f"{name} holds spaces or characters that no token has")
    return token


def checked_origin(url: str, name: str, *, allow_http: bool = False) -> str:
    """`url` as a base to append paths to, without its trailing slash.

    Raises ValueError, naming `name`, unless it is https, or http to this machine (or `allow_http` was given).
    """
    if "@" in url:
        raise ValueError(f"{name} must not hold a user name or password")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{name} must be an http(s) URL such as https://api.prisma.io, not {url!r}")
    if parts.query or parts.fragment or re.search(r"[^\x21-\x7e]|\\", url):
        raise ValueError(f"{name} must be scheme, host and path only, not {url!r}")
    if parts.scheme == "http" and not (allow_http or _is_loopback(parts.hostname)):
        raise ValueError(f"{name} would send tokens over plain http to {parts.hostname}; use https")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

"""Writes and reads the headers of cookies (pure). sealing.py and asgi.py name the cookies and fill them."""

from typing import Literal, TypedDict
from urllib.parse import urlsplit

from prisma_mgmt.checks import is_loopback


class Cookie(TypedDict):
    """A cookie and its attributes, by the names that `set_cookie()` has for them."""

    key: str
    value: str
    max_age: int
    path: str
    secure: bool
    httponly: bool
    samesite: Literal["lax"]


def cookie(name: str, value: str, max_age: int, *, secure: bool) -> Cookie:
    """A cookie that no script reads, and that comes along when the login server sends the user back."""
    return Cookie(key=name, value=value, max_age=max_age, path="/", secure=secure, httponly=True, samesite="lax")


def is_secure(redirect_uri: str | None) -> bool:
    """Return True if cookies are for https only: always, but for an application on this machine."""
    parts = urlsplit(redirect_uri or "")
    return not (parts.scheme == "http" and is_loopback(parts.hostname or ""))


def header(it: Cookie) -> str:
    """A cookie as the value of a Set-Cookie header."""
    attributes = f"Max-Age={it['max_age']}; Path={it['path']}; HttpOnly; SameSite=Lax"
    return f"{it['key']}={it['value']}; {attributes}" + ("; Secure" if it["secure"] else "")


def sent(header: str) -> dict[str, str]:
    """The cookies in a request's Cookie header; the first of a name counts."""
    found: dict[str, str] = {}
    for one in header.split(";"):
        name, mark, value = one.partition("=")
        if mark:
            found.setdefault(name.strip(" \t"), value.strip().strip('"'))  # a name is one only to the letter
    return found

"""Checks of arguments, for all packages: headers, tokens, origins, seconds, counts, mappings, methods."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

from prisma_mgmt.masks import Secret

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2: a method, or a header's name

_LONGEST = 60_000  # characters of a base URL; httpx takes few more, with a path


def checked_kind(value: Any, kind: Any, name: str, wanted: str) -> Any:
    """`value`; TypeError, naming `name` and what is wanted, if it is not of this kind, or of one of several.

    Checks are made at the call itself, since callers may use no type checker.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")
    return value


def secret(value: str, name: str = "a secret") -> Secret:
    """`value`, masked; TypeError, naming it, for what is no string, such as the None of an empty column."""
    return Secret(str.__str__(checked_kind(value, str, name, "a string")))  # of an Enum its value, not its name


def checked_token(token: str, name: str) -> Secret:
    """`token` without the white space around it.

    Raises ValueError, naming `name`, if it cannot be sent in a header, and TypeError if it is no string.
    """
    token = Secret(secret(token, name).strip())
    if not token:
        raise ValueError(f"{name} is blank; give it a token, or leave it unset")
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        hint = "; leave out the word Bearer" if token.lower().startswith("bearer ") else ""
        raise ValueError(f"{name} holds spaces or characters that no token has{hint}")
    return token


def checked_origin(url: str, name: str, *, allow_http: bool = False) -> str:
    """`url` as a base to append paths to, without its trailing slash.

    Raises ValueError, naming `name`, unless it is https, or http to this machine (or `allow_http` was given).
    """
    if "@" in checked_kind(url, str, name, "a string such as https://api.prisma.io"):
        raise ValueError(f"{name} must not hold a user name or password")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # a port past 65535, half of an IPv6 literal
        raise ValueError(f"{name} has a host or port that cannot be: {url[:200]!r}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"{name} must be an http(s) URL such as https://api.prisma.io, not {url!r}")
    if re.search(r"[^\x21-\x7e]|[?#\\\"<>`]|/(\.|%2e){1,2}(/|$)", url, re.IGNORECASE):
        raise ValueError(f"{name} must be scheme, host and path only, not {url!r}")
    if port == 0 or len(url) > _LONGEST or not _is_host(host, "[" in parts.netloc):
        raise ValueError(f"{name} has a host or port that cannot be: {url[:200]!r}")
    if parts.scheme == "http" and not (allow_http or is_loopback(host)):
        raise ValueError(f"{name} would send tokens over plain http to {host}; use https")
    return url.rstrip("/")


def _is_host(host: str, literal: bool) -> bool:
    labels = host.removesuffix(".").split(".")
    if not literal and not labels[-1].isdecimal():
        return all(0 < len(label) < 64 for label in labels)
    return address_of(host) is not None


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """The address that `host` is; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """If `host` is this machine, by its name or by its address."""
    return host == "localhost" or bool(getattr(address_of(host), "is_loopback", False))


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The headers under their usual names, their values masked; TypeError or ValueError for what cannot be sent."""
    checked: dict[str, str] = {}
    for name, value in checked_mapping(headers, "headers").items():
        if not isinstance(name, str) or not TOKEN.fullmatch(name):  # pyright: ignore[reportUnnecessaryIsInstance]  # as above
            raise ValueError(f"{name!r} is no header name")
        value = Secret(secret(value, f"the value of the header {name}").strip())
        if name.lower() in ("content-length", "transfer-encoding"):
            raise ValueError(f"the header {name} comes with the body, and cannot be given")
        if not re.fullmatch(r"[\t\x20-\x7e]*", value):
            raise ValueError(f"the header {name} holds characters that no header can carry")
        checked[name.title()] = value
    return checked


def checked_seconds(value: Any, name: str, *, least: float = 0.0) -> float:
    """`value`, a number of seconds of at least `least`; TypeError or ValueError, naming `name`, for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not least <= value <= 1e300:
        raise ValueError(f"{name} must be at least {least:g} seconds and finite, not {value!r}")
    return float(value)


def checked_count(value: Any, name: str) -> int:
    """`value`, a whole number from 1 on; TypeError or ValueError, naming `name`, for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def checked_mapping(value: Any, name: str) -> Mapping[str, Any]:
    """`value`, an empty mapping for None; TypeError, naming `name`, for anything else."""
    given: Mapping[str, Any] = {} if value is None else value
    checked_kind(given, Mapping, name, "a mapping of names to values")
    return given


def checked_methods(value: Any, name: str, *methods: str) -> None:
    """TypeError, naming `name` and the methods, unless `value` is an object that has them all."""
    if isinstance(value, type) or not all(callable(getattr(value, method, None)) for method in methods):
        given = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise TypeError(f"{name} must be an object with the methods {', '.join(methods)}, not {given}")

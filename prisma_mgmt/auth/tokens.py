"""A user's tokens: their JSON, when they expire (`expires_in`), and what an access token says of itself, unverified."""

import json
import math
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, cast

from attrs import field, frozen

from prisma_mgmt.auth.arguments import checked_text
from prisma_mgmt.checks import checked_kind, secret
from prisma_mgmt.masks import bare

_LONGEST = 366 * 24 * 3600.0  # an access token that claims to live longer than a year claims nothing
_LATEST = 1e15  # Unix seconds, or even milliseconds
_DIGITS = 600  # of a whole number; Python may refuse one of more, and the whole text with it
_OURS = frozenset({"workspaceId", "accessToken", "refreshToken", "expiresAt", "scope"})


@frozen(init=False)
class Tokens:
    """What a login or a refresh gives.

    workspace_id: the workspace that the user chose.
    refresh_token: None if the login did not ask for `offline_access`, or was not granted it.
    expires_at: when the access token expires, in Unix seconds; None if that is not known.
    scope: the scopes granted, separated by spaces; None if the server did not say.
    extra: the other keys that stood beside these in a stored form, which other programs wrote. They are kept through
        `attrs.evolve` and the next write, and do not count when tokens are compared.
    """

    workspace_id: str
    access_token: str
    refresh_token: str | None = None
    expires_at: float | None = None
    scope: str | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any], eq=False, repr=False)

    def __init__(
        self,
        workspace_id: str,
        access_token: str,
        refresh_token: str | None = None,
        expires_at: float | None = None,
        scope: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        with bare:  # a traceback would show each of them if another is no good
            access_token = secret(access_token)
            refresh_token = None if refresh_token is None else secret(refresh_token) or None  # an empty one means none
            checked_kind(expires_at, int | float | None, "expires_at", "a number of Unix seconds, or None")
            checked_kind(scope, str | None, "scope", "text or None")
            if not checked_text(workspace_id, "workspace_id") or not access_token:
                raise ValueError("workspace_id and access_token must not be empty")
        self.__attrs_init__(workspace_id, access_token, refresh_token, expires_at, scope, dict(extra or {}))  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]  # attrs makes it

    def to_json(self) -> dict[str, Any]:
        """The stored form, a dict for json.dumps: the keys that Node programs use, two of our own, and `extra`.

        What is None is left out.
        """
        form = {
            "workspaceId": self.workspace_id,
            "accessToken": self.access_token,
            "refreshToken": self.refresh_token,
            "expiresAt": _number(self.expires_at, _LATEST, -_LATEST),
            "scope": self.scope,
        }
        known = {key: value for key, value in form.items() if value is not None}
        return known | {key: value for key, value in self.extra.items() if key not in _OURS}

    @classmethod
    def from_json(cls, form: object) -> "Tokens":
        """Tokens from their stored form, as json.loads gives it.

        What is optional and of another kind than ours counts as unknown: somebody else may have written it. Raises
        ValueError, without a value in its text, for anything else that holds no tokens.
        """
        with bare:
            if not isinstance(form, Mapping):
                raise ValueError(f"stored tokens must be a parsed JSON object, not {type(form).__name__}")
            values = cast("Mapping[str, Any]", form)
            version = str(values.get("version"))
            if version.isdecimal() and version.lstrip("0") != "1":
                raise ValueError("stored tokens are of a version that this release does not know")
            for key in ("workspaceId", "accessToken"):
                if not values.get(key) or not isinstance(values[key], str):
                    raise ValueError(f"stored tokens need a string {key}")
            return cls(
                values["workspaceId"],
                values["accessToken"],
                _text(values.get("refreshToken")),
                _number(values.get("expiresAt"), _LATEST, -_LATEST),
                _text(values.get("scope")),
                {key: value for key, value in values.items() if key not in _OURS},
            )


def loads(text: str, *, keep: bool = False) -> Any:
    """What a JSON text holds; ValueError or RecursionError if it holds nothing.

    Control characters may stand in texts, and zeros after it all. What is no number in JSON, or too large for one, is
    None, as Node would write it. With `keep`, a very long whole number is the text of its digits.
    """
    return json.loads(
        text.rstrip("\0"),
        strict=False,
        parse_int=lambda digits: int(digits) if len(digits) <= _DIGITS else digits if keep else None,
        parse_float=lambda digits: float(digits) if math.isfinite(float(digits)) else None,
        parse_constant=lambda _: None,
    )


def same(one: Tokens | None, other: Tokens | None) -> bool:
    """Returns True if two pairs are the same pair; a storage may keep no more of them than that."""
    if one is None or other is None:
        return one is other
    return one.access_token == other.access_token and one.refresh_token == other.refresh_token


def claims(access_token: str) -> dict[str, Any]:
    """The claims of a JWT, unverified; empty for a token that is no JWT."""
    try:
        _, payload, _ = access_token.split(".")
        found = loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode())
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def workspace_of(access_token: str) -> str | None:
    """The workspace that an access token names, in `workspace_id` or as `workspace:<id>` in `sub`."""
    found = claims(access_token)
    kind, _, named = (_text(found.get("sub")) or "").partition(":")
    return _text(found.get("workspace_id")) or (named if kind == "workspace" else "") or None


def expiry(expires_in: object, access_token: str, now: float) -> float | None:
    """When an access token that was given `now` (Unix seconds) expires; None if nothing believable says so.

    `expires_in` counts first, also as a text of digits, then the lifetime between the token's own `iat` and `exp`: both
    hold on a clock that is wrong.
    """
    lifetime = _number(float(expires_in) if isinstance(expires_in, str) and expires_in.isdecimal() else expires_in)
    if lifetime is None:
        found = claims(access_token)
        issued, expires = _number(found.get("iat"), _LATEST), _number(found.get("exp"), _LATEST)
        if expires is not None:
            lifetime = _number(expires - (now if issued is None else issued))
    return None if lifetime is None else now + lifetime


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object, most: float = _LONGEST, least: float = 1) -> float | None:
    """`value` if it is a number in between, which NaN, True and 10**400 are not; by default, of a token's seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        return None
    return float(value)

"""A user's tokens, and what can be read from an access token without verifying it."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, cast

from attrs import field, frozen
from attrs.converters import optional

from prisma_mgmt.masks import secret

_LONGEST = 366 * 24 * 3600.0  # an access token that claims to live longer than a year claims nothing
_LATEST = 1e15  # Unix seconds, or even milliseconds


@frozen
class Tokens:
    """What a login or a refresh gives.

    workspace_id: the workspace that the user chose.
    refresh_token: None where the login did not ask for `offline_access`.
    expires_at: when the access token expires, in Unix seconds; None where that is not known.
    scope: the scopes granted, separated by spaces; None where the server did not say.
    """

    workspace_id: str
    access_token: str = field(converter=secret)
    refresh_token: str | None = field(default=None, converter=optional(secret))
    expires_at: float | None = None
    scope: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The stored form: the keys that Node programs use, and two of our own; None is left out."""
        form = {
            "workspaceId": self.workspace_id,
            "accessToken": self.access_token,
            "refreshToken": self.refresh_token,
            "expiresAt": _number(self.expires_at, -_LATEST, _LATEST),
            "scope": self.scope,
        }
        return {key: value for key, value in form.items() if value is not None}

    @classmethod
    def from_json(cls, form: object) -> "Tokens":
        """Tokens from their stored form; ValueError, without a value in its text, for anything else."""
        if not isinstance(form, Mapping):
            raise ValueError("stored tokens must be a JSON object")
        values = cast("Mapping[str, Any]", form)
        if values.get("version", 1) != 1:
            raise ValueError("stored tokens are of a version that this release does not know")
        for key, required in (("workspaceId", True), ("accessToken", True), ("refreshToken", False), ("scope", False)):
            value = values.get(key)
            if (required and not value) or not (value is None or isinstance(value, str)):
                raise ValueError(f"stored tokens need a string {key}")
        expires_at = _number(values.get("expiresAt"), -_LATEST, _LATEST)
        if expires_at is None and values.get("expiresAt") is not None:
            raise ValueError("stored tokens need expiresAt as Unix seconds")
        return cls(
            values["workspaceId"], values["accessToken"], values.get("refreshToken"), expires_at, values.get("scope")
        )


def same(one: Tokens | None, other: Tokens | None) -> bool:
    """Whether two pairs are the same pair; a storage may keep no more of them than that."""
    if one is None or other is None:
        return one is other
    return one.access_token == other.access_token and one.refresh_token == other.refresh_token


def claims(access_token: str) -> dict[str, Any]:
    """The claims of a JWT, unverified; empty for a token that is no JWT."""
    try:
        _, payload, _ = access_token.split(".")
        found = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def workspace_of(access_token: str) -> str | None:
    """The workspace that an access token names, in `workspace_id` or as `workspace:<id>` in `sub`."""
    found = claims(access_token)
    workspace, subject = found.get("workspace_id"), found.get("sub")
    if isinstance(workspace, str) and workspace:
        return workspace
    if isinstance(subject, str) and subject.startswith("workspace:"):
        return subject.removeprefix("workspace:") or None
    return None


def expiry(expires_in: object, access_token: str, now: float) -> float | None:
    """When an access token that was given `now` (Unix seconds) expires; None where nothing believable says so.

    `expires_in` counts first, then the lifetime between the token's own `iat` and `exp`: both hold on a clock that
    is wrong.
    """
    lifetime = _seconds(expires_in)
    if lifetime is None:
        found = claims(access_token)
        issued, expires = _seconds(found.get("iat"), _LATEST), _seconds(found.get("exp"), _LATEST)
        if expires is not None:
            lifetime = _seconds(expires - (now if issued is None else issued))
    return None if lifetime is None else now + lifetime


def _seconds(value: object, most: float = _LONGEST) -> float | None:
    """`value` where it is a believable number of seconds."""
    return _number(value, 1, most)


def _number(value: object, least: float, most: float) -> float | None:
    """`value` where it is a number in between, which NaN, True and 10**400 are not."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        return None
    return float(value)

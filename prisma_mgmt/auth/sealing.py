"""Login state for a cookie, and stored tokens, sealed under keys of one's own (AES-256-GCM)."""

import json
import os
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from prisma_mgmt.auth.pkce import LoginRequest
from prisma_mgmt.errors import CallbackError
from prisma_mgmt.masks import Secret

_VERSION = "v1."
_NONCE = 12  # bytes
_AHEAD = 60.0  # seconds by which another machine's clock may be ahead
_RETURN_PATH = re.compile(r"/(?!/)[!-\[\]-~]{0,499}")  # printable ASCII without backslashes, and no second slash


def new_key() -> Secret:
    """A random key for TokenCipher or LoginSealer, as text for an environment variable."""
    return Secret(urlsafe_b64encode(os.urandom(32)).decode())


class _Key(bytes):
    """A key that does not show itself in a traceback's locals."""

    def __repr__(self) -> str:
        return "b'**********'"


class _Box:
    """Seals under the first key, opens with any."""

    def __init__(self, keys: Sequence[bytes | str]) -> None:
        if not keys:
            raise ValueError("keys must be a list of at least one key: the first seals, all open")
        self._keys = [AESGCM(_key_bytes(key)) for key in keys]

    def seal(self, text: str, bound_to: str) -> str:
        nonce = os.urandom(_NONCE)
        sealed = self._keys[0].encrypt(nonce, text.encode(), bound_to.encode())
        return _VERSION + urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, sealed: str, bound_to: str) -> Secret:
        """The text; ValueError, with the reason in words, for anything unsound."""
        if not sealed.startswith(_VERSION):
            raise ValueError("it is not sealed, or by another version")
        text = sealed.removeprefix(_VERSION)
        try:
            data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            data = b""
        if urlsafe_b64encode(data).rstrip(b"=") != text.encode("ascii", "replace"):  # there is one way to write it
            data = b""
        if len(data) > _NONCE:
            for key in self._keys:
                try:
                    return Secret(key.decrypt(data[:_NONCE], data[_NONCE:], bound_to.encode()).decode())
                except InvalidTag:
                    pass
        raise ValueError("it was sealed with another key or for another place, or was changed since")


class TokenCipher:
    """Seals stored tokens, bound to the place they are stored in: what is copied to another place does not open.

    keys: 32 random bytes each, or their base64 text as `new_key()` gives it. The first seals, all open: to
        change keys, put the new one first.
    """

    def __init__(self, keys: Sequence[bytes | str]) -> None:
        keys = _masked(keys)
        self._box = _Box(keys)

    def seal(self, text: str, place: str) -> str:
        return self._box.seal(text, f"prisma-mgmt tokens {place}")

    def open(self, sealed: str, place: str) -> str:
        """The text sealed for `place`; ValueError, with the reason in words, for anything else."""
        return self._box.open(sealed, f"prisma-mgmt tokens {place}")


class LoginSealer:
    """Seals a login's state and verifier for a cookie in the user's browser.

    Set the cookie with HttpOnly, Secure, SameSite=Lax and Max-Age=`ttl`, named `cookie_name(login)`, so that logins in
    several tabs do not overwrite each other. `keys` are those of TokenCipher; `ttl` is in seconds.
    """

    def __init__(
        self,
        keys: Sequence[bytes | str],
        *,
        ttl: float = 600,
        client_id: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        keys = _masked(keys)
        if not ttl > 0:
            raise ValueError(f"ttl must be more than 0 seconds, not {ttl!r}")
        self.ttl = ttl
        self._box = _Box(keys)
        self._purpose = f"prisma-mgmt login {client_id or ''}"
        self._now = now

    @staticmethod
    def cookie_name(login_or_state: LoginRequest | str | None) -> str:
        """The name of an attempt's cookie, from the login or from the `state` in the callback's query."""
        state = login_or_state.state if isinstance(login_or_state, LoginRequest) else login_or_state or ""
        return f"prisma_login_{sha256(state.encode(errors='replace')).hexdigest()[:16]}"

    def seal(self, login: LoginRequest, return_to: str | None = None) -> str:
        """The cookie's value, under 1 KiB. `return_to` is kept if it is a path in this application, dropped if not."""
        values = [login.state, login.verifier, _safe_path(return_to or login.return_to), self._now()]
        return self._box.seal(Secret(json.dumps(values)), self._purpose)

    def open(self, text: str | None) -> LoginRequest:
        """The login that was sealed, its `url` empty; CallbackError for anything unsound."""
        if not isinstance(text, str) or not text:
            raise CallbackError("the login's cookie is missing: it expired, was blocked, or is in another browser")
        try:
            opened = self._box.open(text, self._purpose)
            values: list[Any] = [Secret(one) if isinstance(one, str) else one for one in json.loads(opened)]
        except ValueError as error:
            reason = str(error)
        else:
            state, verifier, return_to, sealed_at = values
            if -_AHEAD <= self._now() - sealed_at <= self.ttl:
                return LoginRequest("", state, verifier, return_to and str(return_to))
            reason = "it expired"
        raise CallbackError(f"the login's cookie is no good: {reason}; start a new login")


def _masked(keys: Sequence[bytes | str]) -> Sequence[bytes | str]:
    """The keys of a list; none for a single key."""
    if isinstance(keys, bytes | str):
        return []
    return [Secret(key) if isinstance(key, str) else _Key(key) for key in keys]


def _key_bytes(key: bytes | str) -> bytes:
    """A key's 32 bytes; ValueError, without a part of the key in its text, for one of another size."""
    if isinstance(key, str):
        try:
            key = _Key(urlsafe_b64decode(key.strip() + "=" * (-len(key.strip()) % 4)))
        except ValueError:
            key = b""
    if len(key) != 32:
        raise ValueError("a key must be 32 bytes, or their base64 text, as new_key() gives it")
    return key


def _safe_path(path: str | None) -> str | None:
    return path if path and _RETURN_PATH.fullmatch(path) else None

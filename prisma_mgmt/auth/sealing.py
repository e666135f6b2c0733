"""LoginSealer keeps a login in a cookie until its callback, or its end; TokenCipher seals tokens (AES-256-GCM)."""

import json
import math
import os
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from string import punctuation
from typing import Any
from urllib.parse import quote, unquote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from prisma_mgmt.auth.arguments import checked_text
from prisma_mgmt.auth.callback import parameters
from prisma_mgmt.auth.cookies import Cookie, cookie, is_secure
from prisma_mgmt.auth.pkce import LoginRequest, base64url
from prisma_mgmt.checks import checked_kind, checked_seconds
from prisma_mgmt.errors import CallbackError
from prisma_mgmt.masks import Secret, SecretBytes, bare, masked

_VERSION = "v1."
_PREFIX = "prisma_login_"
_HOST = "__Host-"  # begins the names of cookies that no other host of the domain can set
_NONCE = 12  # bytes
_COOKIES = "a mapping of cookies by their names"
_AHEAD = 60.0  # seconds by which another machine's clock may be ahead
_RETURN_PATH = re.compile(r"/(?!/)[!-\[\]-~]{0,499}")  # printable ASCII without backslashes, and no second slash

_ELSEWHERE = re.compile(r"//|.*[\\\0-\x1f\x7f]|.*/\.\.?(/|$)", re.DOTALL)  # of what is no longer quoted


def new_key() -> Secret:
    """A random key for TokenCipher or LoginSealer, as text for an environment variable."""
    return Secret(urlsafe_b64encode(os.urandom(32)).decode())


class Box:
    """Seals under the first key, opens with any."""

    def __init__(self, keys: Sequence[bytes | str]) -> None:
        if not keys:
            raise ValueError("keys must be a list of at least one key, such as [new_key()]; the first one seals")
        self._keys = [AESGCM(_key_bytes(key)) for key in keys]

    def seal(self, text: str, bound_to: str) -> str:
        nonce = os.urandom(_NONCE)
        sealed = self._keys[0].encrypt(nonce, text.encode(errors="surrogatepass"), bound_to.encode())
        return _VERSION + base64url(nonce + sealed)

    def open(self, sealed: str, bound_to: str) -> Secret:
        """The text; ValueError, with the reason in words, for anything unsound."""
        if not sealed.startswith(_VERSION):
            raise ValueError("it is not sealed, or by another version")
        text = sealed.removeprefix(_VERSION)
        data = _decoded(text)
        if len(data) > _NONCE and base64url(data) == text:  # there is one way to write it
            for key in self._keys:
                with suppress(InvalidTag):
                    opened = key.decrypt(data[:_NONCE], data[_NONCE:], bound_to.encode())
                    return Secret(opened.decode(errors="surrogatepass"))
        raise ValueError("it was sealed with another key or for another place, or was changed since")

    def seal_json(self, values: list[Any], bound_to: str) -> str:
        return self.seal(Secret(json.dumps(values)), bound_to)

    def open_json(self, sealed: str, bound_to: str) -> list[Any]:
        """The values, texts masked; ValueError for anything unsound."""
        return list(masked(json.loads(self.open(sealed, bound_to))))


class TokenCipher:
    """Seals stored tokens, bound to the place they are stored in: what is copied to another place does not open.

    keys: 32 random bytes each, or their base64 text as `new_key()` gives it. The first seals, all open: to
        change keys, put the new one first.
    """

    def __init__(self, keys: Sequence[bytes | str]) -> None:
        keys = masked_keys(keys)
        self._box = Box(keys)

    def seal(self, text: str, place: str) -> str:
        """The text, sealed for `place`: open() needs the same place, and one of the keys."""
        with bare:
            return self._box.seal(text, f"prisma-mgmt tokens {place}")

    def open(self, sealed: str, place: str) -> str:
        """The text sealed for `place`; ValueError, with the reason in words, for anything else."""
        with bare:  # the text itself may have been stored, before there was a cipher
            return self._box.open(sealed, f"prisma-mgmt tokens {place}")


class LoginSealer:
    """Seals a login's state and verifier for a cookie in the user's browser.

    `cookie(login)` gives the whole cookie, `open_for(cookies, callback_url)` the login that a callback belongs to: each
    login has a cookie of its own, so that several tabs do not overwrite each other. `surplus(cookies)` names those to
    delete before another is set. `keys` are those of TokenCipher; `ttl` is in seconds.
    """

    def __init__(
        self,
        keys: Sequence[bytes | str],
        *,
        ttl: float = 600,
        client_id: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        keys = masked_keys(keys)
        if not checked_seconds(ttl, "ttl") > 0:
            raise ValueError(f"ttl must be more than 0 seconds, not {ttl!r}")
        checked_kind(client_id, str | None, "client_id", "text")
        checked_kind(now, Callable, "now", "a function")
        self.ttl = ttl
        self._box = Box(keys)
        self._purpose = f"prisma-mgmt login {client_id or ''}"
        self._now = now

    @staticmethod
    def cookie_name(login_or_state: LoginRequest | str | None) -> str:
        """The name of an attempt's cookie, from the login, or from its `state` if it comes back over https.

        It begins with `__Host-`, so that no other host of the domain can set it, if the cookie is for https only.
        """
        it = login_or_state if isinstance(login_or_state, LoginRequest) else LoginRequest("", login_or_state or "", "")
        name = _PREFIX + sha256(it.state.encode(errors="replace")).hexdigest()[:16]
        return _HOST + name if is_secure(it.redirect_uri) else name

    def cookie(self, login: LoginRequest, return_to: str | None = None) -> Cookie:
        """The login's cookie: what `set_cookie(**…)` of Starlette, FastAPI, Litestar and Django takes.

        It is for https only, unless the login comes back to this machine over http.
        """
        value = self.seal(login, return_to)
        return cookie(self.cookie_name(login), value, math.ceil(self.ttl), secure=is_secure(login.redirect_uri))

    def open_for(self, cookies: Mapping[str, str], callback_url: str) -> LoginRequest:
        """The login, of those in a browser's cookies, that a callback belongs to; CallbackError if there is none."""
        with bare:
            checked_kind(cookies, Mapping, "cookies", _COOKIES)
            checked_kind(callback_url, str, "the callback's URL", "text")
            state = parameters(Secret(callback_url)).get("state")
            if not state:
                raise CallbackError("the callback carries no state: it belongs to no login")
            name = self.cookie_name(state)
            login = self.open(cookies.get(name, cookies.get(name.removeprefix(_HOST))))
            return login if self.cookie_name(login) in cookies else self.open(None)  # another host has set that one

    def surplus(self, cookies: Mapping[str, str], *, keep: int = 2) -> list[str]:
        """The names of the login cookies to delete: those that have expired, and all but the newest `keep`.

        With one more set afterwards, a browser holds three. Another application's cookies are left alone. A browser
        deletes one whose name begins with `__Host-` only if it is told to with `secure=True`.
        """
        now, ages = self._now(), list[tuple[float, str]]()
        with bare:
            for name, text in checked_kind(cookies, Mapping, "cookies", _COOKIES).items():
                with suppress(ValueError):
                    login, sealed_at = self._opened(text)
                    if name == self.cookie_name(login):
                        ages.append((now - sealed_at, name))
        return [name for place, (age, name) in enumerate(sorted(ages)) if place >= keep or age > self.ttl]

    def seal(self, login: LoginRequest, return_to: str | None = None) -> str:
        """The cookie's value, about 300 characters. `return_to` is kept if it is a path in this application."""
        checked_kind(login, LoginRequest, "login", "the LoginRequest that login_url() gave")
        path = _safe_path(return_to or login.return_to)
        return self._box.seal_json([login.state, login.verifier, login.redirect_uri, path, self._now()], self._purpose)

    def open(self, text: str | None) -> LoginRequest:
        """The login that was sealed, its `url` empty; CallbackError for anything unsound."""
        with bare:
            if not isinstance(text, str) or not text:
                raise CallbackError("the login's cookie is missing: it expired, was blocked, or is in another browser")
            try:
                login, sealed_at = self._opened(text)
            except ValueError as error:
                reason = str(error)
            else:
                age = self._now() - sealed_at
                if -_AHEAD <= age <= self.ttl:
                    return login
                reason = "it expired" if age > 0 else "it was sealed in the future, by another machine's clock"
            raise CallbackError(f"the login's cookie is no good: {reason}; start a new login")

    def _opened(self, text: str) -> tuple[LoginRequest, float]:
        """A sealed login of any age, and when it was sealed; ValueError for anything else."""
        state, verifier, redirect_uri, return_to, sealed_at = self._box.open_json(text, self._purpose)
        login = LoginRequest("", state, verifier, redirect_uri and str(redirect_uri), return_to and str(return_to))
        return login, sealed_at


def masked_keys(keys: Sequence[bytes | str]) -> Sequence[bytes | str]:
    """The keys of a list, masked before anything can be wrong with them; none of what is no list."""
    if isinstance(keys, bytes | str) or not isinstance(keys, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
        return []
    return list(masked(list(keys)))


def _key_bytes(key: bytes | str) -> bytes:
    """A key's 32 bytes; ValueError, without a part of the key in its text, for one of another size."""
    found = _decoded(key.strip()) if isinstance(key, str) else checked_kind(key, bytes, "a key", "bytes or text")
    if len(found) != 32:
        raise ValueError("each of keys must be 32 bytes, or their base64 text, as new_key() gives it")
    return found


def _decoded(text: str) -> SecretBytes:
    """What is written as base64; nothing if it is none."""
    with suppress(ValueError):
        return SecretBytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return SecretBytes()


def _safe_path(path: str | None) -> str | None:
    """`path`, quoted, if it is one in this application, and leads nowhere else in any browser nor behind a server."""
    path = quote(checked_text(path or "", "return_to"), safe=punctuation, errors="backslashreplace")
    return path if _RETURN_PATH.fullmatch(path) and not _ELSEWHERE.match(unquote(re.split("[?#]", path)[0])) else None

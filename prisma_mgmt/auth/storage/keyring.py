"""KeyringTokenStorage: tokens in the keyring of the user's operating system."""

import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from attrs import asdict, field, frozen
from attrs.validators import instance_of, le

from prisma_mgmt.auth.storage.arguments import checked_name, checked_path
from prisma_mgmt.auth.storage.form import Cipher, Form
from prisma_mgmt.auth.storage.local import LocalStorage
from prisma_mgmt.auth.storage.locks import LONGEST_WAIT
from prisma_mgmt.auth.tokens import Tokens
from prisma_mgmt.checks import checked_methods
from prisma_mgmt.errors import AuthError
from prisma_mgmt.masks import Secret, bare

T = TypeVar("T")

_PART, _MOST = 1200, 1000  # characters, of which Windows takes 2,560 bytes in UTF-16 at most; and parts
_PART_NAME = re.compile(r".* part [ab][0-9]+", re.DOTALL)


@frozen
class _Manifest:
    """What says where the tokens are: in `parts` entries of one of two slots, used in turn."""

    slot: str
    parts: int = field(validator=[instance_of(int), le(_MOST)])
    sha256: str


def _manifest_of(text: str, slot: str) -> _Manifest:
    return _Manifest(slot, -(-len(text) // _PART), sha256(text.encode()).hexdigest())


def _parts(key: str, slot: str, first: int, last: int) -> list[str]:
    return [f"{key} part {slot}{number}" for number in range(first, last + 1)]


class KeyringTokenStorage(LocalStorage):
    """Keeps tokens in the keyring of the operating system, in parts that every keyring takes.

    service, key: name the entries; the user may see both.
    lock_folder: where the lock files go that keep two processes apart; by default a folder in the user's cache
        (XDG_CACHE_HOME or ~/.cache): give it if programs of the user differ in that variable.
    backend: a keyring backend to use instead of the one that the keyring package chooses.
    allow_plain_text: keep tokens in a backend that keeps plain text, such as keyrings.alt's, even without a cipher.
    patience: seconds to wait for the lock; 25 by default.

    The tokens count as stored when an entry that lists the parts is written, after they have been read back. Raises
    AuthError if there is no keyring, or one that keeps plain text; nothing is ever written elsewhere instead.
    """

    def __init__(
        self,
        service: str,
        *,
        key: str,
        cipher: Cipher | None = None,
        lock_folder: str | os.PathLike[str] | None = None,
        backend: Any = None,
        allow_plain_text: bool = False,
        patience: float = LONGEST_WAIT,
    ) -> None:
        self._service = checked_name(service, "service")
        self._key = checked_name(key, "key")
        if _PART_NAME.fullmatch(key):
            raise ValueError("key must not be the name of a part of another key's tokens")
        self._plain_text = allow_plain_text or cipher is not None
        self._backend: Any = backend
        if backend is not None:
            checked_methods(backend, "backend", "get_password", "set_password", "delete_password")
            if isinstance(backend, ModuleType):  # which could write to any
                raise TypeError("backend must be a keyring, such as keyring.get_keyring() gives, not a module")
            self._refuse_plain_text(backend)
        folder = checked_path(_cache() if lock_folder is None else lock_folder, "lock_folder")
        if not folder.is_absolute():  # or processes in two folders would not keep each other out
            raise ValueError("lock_folder must be an absolute path, the same for every process")
        locks = folder / sha256(f"{service}\0{key}".encode()).hexdigest()[:32]
        super().__init__(Form(f"keyring:{service}:{key}", cipher), locks, patience)

    async def _run(self, function: Callable[[], T]) -> T:
        """Run a function on the keyring in a thread, which may have to ask the user; a caller may give up on it."""
        return await super()._run(lambda: self._explained(function))

    def _explained(self, function: Callable[[], T]) -> T:
        """Run a function on the keyring; AuthError if there is none."""
        try:
            import keyring.errors
        except ImportError:
            raise ImportError("KeyringTokenStorage needs keyring: install prisma-mgmt[keyring]") from None
        try:
            if self._backend is None:
                self._backend = self._refuse_plain_text(keyring.get_keyring())
            with bare:  # the frames of a keyring hold what it keeps as plain bytes
                return function()
        except keyring.errors.NoKeyringError as error:
            raise AuthError("this machine has no keyring: set one up, or use FileTokenStorage") from error

    def _refuse_plain_text(self, backend: Any) -> Any:
        """`backend`; AuthError if it would keep plain text, and that was not allowed."""
        if not self._plain_text and (plain := _plain(backend)):
            told = "set up another, or give the storage a cipher or allow_plain_text=True"
            raise AuthError(f"the keyring {plain} keeps plain text: {told}")
        return backend

    def _read(self) -> Tokens | None:
        for _ in range(3):  # while another process writes
            manifest = self._manifest()
            if manifest is None:
                return None
            names = _parts(self._key, manifest.slot, 1, manifest.parts)
            text = Secret("".join(self._get(name) or "" for name in names))
            if _manifest_of(text, manifest.slot) == manifest:
                return self._form.read(text)
        raise self._form.empty("a part is missing or was changed")

    def _put(self, tokens: Tokens) -> None:
        text, slot = self._form.write(tokens), "a"
        with suppress(AuthError):  # what lists no parts is there to be replaced
            slot = "b" if (before := self._manifest()) and before.slot == "a" else "a"
        manifest = _manifest_of(text, slot)
        for number, name in enumerate(_parts(self._key, slot, 1, manifest.parts)):
            self._set(name, text[number * _PART : (number + 1) * _PART])
        self._set(self._key, json.dumps(asdict(manifest)))
        self._trim(slot, manifest.parts)
        self._trim("a" if slot == "b" else "b", 0)

    def _delete(self) -> None:
        self._forget(self._key)
        self._trim("a", 0)
        self._trim("b", 0)

    def _trim(self, slot: str, parts: int) -> None:
        """Delete what a slot holds beyond its parts, whoever left it there."""
        names = _parts(self._key, slot, parts + 1, _MOST)
        for name in reversed(list(takewhile(lambda name: self._get(name) is not None, names))):
            self._forget(name)  # the last first: should this end midway, the rest is found again

    def _manifest(self) -> _Manifest | None:
        if (found := self._get(self._key)) is None:
            return None
        with suppress(ValueError, TypeError, RecursionError):
            return _Manifest(**json.loads(found))
        raise self._form.empty("its entry lists no parts")

    def _get(self, name: str) -> Secret | None:
        found = self._backend.get_password(self._service, name)
        return None if found is None else Secret(found)

    def _set(self, name: str, text: str) -> None:
        self._backend.set_password(self._service, name, text)
        if self._get(name) != text:
            raise AuthError("the keyring did not keep what it was given")

    def _forget(self, name: str) -> None:
        if self._get(name) is not None:
            self._backend.delete_password(self._service, name)


def _plain(backend: Any) -> str | None:
    """The name of a backend that keeps plain text, or of one in a chain or a wrapper that would write to it."""
    if any("plaintext" in kind.__name__.lower() for kind in type(backend).__mro__):
        return f"{type(backend).__module__}.{type(backend).__name__}"
    chained = getattr(backend, "backends", None)
    inner: list[Any] = [*(chained if isinstance(chained, Iterable) else ()), getattr(backend, "_keyring", None)]
    return next(filter(None, (_plain(one) for one in inner if hasattr(one, "set_password"))), None)


def _cache() -> Path:
    """The user's own folder for what may be lost."""
    name, usual = ("LOCALAPPDATA", "~") if os.name == "nt" else ("XDG_CACHE_HOME", "~/.cache")
    found = Path(os.environ.get(name, ""))
    return (found if found.is_absolute() else Path(usual)) / "prisma-mgmt"

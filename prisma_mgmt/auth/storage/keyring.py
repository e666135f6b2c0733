"""Tokens in the keyring of the user's operating system."""

import json
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from hashlib import sha256
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio import to_thread
from attrs import asdict, field, frozen
from attrs.validators import instance_of, le

from prisma_mgmt.auth.storage.form import Cipher, Form
from prisma_mgmt.auth.storage.locks import file_lock, held_file
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.errors import AuthError
from prisma_mgmt.masks import Secret

T = TypeVar("T")

_PART = 1200  # characters; Windows takes 2,560 bytes of UTF-16 at most
_READINGS = 3  # while another process writes
_WRITING = 5.0  # seconds to wait for another process to finish its write


@frozen
class _Manifest:
    """What says where the tokens are: in `parts` entries of one of two slots, used in turn."""

    slot: str
    parts: int = field(validator=[instance_of(int), le(1000)])
    sha256: str

    @classmethod
    def of(cls, text: str, slot: str) -> "_Manifest":
        return cls(slot, -(-len(text) // _PART), sha256(text.encode()).hexdigest())

    def names(self, key: str) -> list[str]:
        return [f"{key} {self.slot}{number}" for number in range(1, self.parts + 1)]


class KeyringTokenStorage:
    """Keeps tokens in the keyring of the operating system, in parts that every keyring takes.

    service, key: name the entries; the user may see both.
    lock_folder: where the lock files go that keep two processes apart; by default a folder in the user's cache.
    backend: a keyring backend to use instead of the one that the keyring package chooses.

    The tokens count as stored when an entry that lists the parts is written, after they have been read back. Raises
    AuthError where there is no keyring; nothing is ever written elsewhere instead.
    """

    def __init__(
        self,
        service: str,
        *,
        key: str,
        cipher: Cipher | None = None,
        lock_folder: str | os.PathLike[str] | None = None,
        backend: Any = None,
    ) -> None:
        if not service or not key:
            raise ValueError("service and key must not be empty")
        self._service = service
        self._key = key
        self._backend = backend
        self._folder = _cache() if lock_folder is None else Path(lock_folder)
        self._form = Form(f"keyring:{service}:{key}", cipher)
        self._lock = sha256(self._form.place.encode()).hexdigest()[:32]
        self._limiter = anyio.CapacityLimiter(1)  # a keyring may ask the user, and must not hold up other threads

    async def get_tokens(self) -> Tokens | None:
        return await self._run(self._read)

    async def set_tokens(self, tokens: Tokens) -> None:
        await self._run(lambda: self._write(tokens))

    async def clear_tokens(self) -> None:
        await self._run(lambda: self._remove(None))

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        return await self._run(lambda: self._remove(tokens))

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncGenerator[None]:
        """Held by one process of the user's at a time; the kernel releases it when its process dies."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with held_file(self._folder / f"{self._lock}.refresh.lock", self._form.place):
            yield

    async def _run(self, function: Callable[[], T]) -> T:
        return await to_thread.run_sync(lambda: self._explained(function), limiter=self._limiter)

    def _explained(self, function: Callable[[], T]) -> T:
        """Run a function on the keyring; AuthError where there is none."""
        try:
            keyring, errors = import_module("keyring"), import_module("keyring.errors")
        except ImportError:
            raise ImportError("KeyringTokenStorage needs keyring: install prisma-mgmt[keyring]") from None
        try:
            if self._backend is None:
                self._backend = keyring.get_keyring()
            return function()
        except errors.NoKeyringError as error:
            raise AuthError("this machine has no keyring: set one up, or use FileTokenStorage") from error

    def _read(self) -> Tokens | None:
        for _ in range(_READINGS):
            manifest = self._manifest()
            if manifest is None:
                return None
            text = Secret("".join(self._get(name) or "" for name in manifest.names(self._key)))
            if _Manifest.of(text, manifest.slot) == manifest:
                return self._form.read(text)
        raise AuthError(f"{self._form.place} holds no tokens: a part is missing or was changed")

    def _write(self, tokens: Tokens) -> None:
        text = self._form.write(tokens)
        with self._writing():
            try:
                before = self._manifest()
            except AuthError:
                before = None  # what lists no parts is there to be replaced
            manifest = _Manifest.of(text, "b" if before is not None and before.slot == "a" else "a")
            for number, name in enumerate(manifest.names(self._key)):
                self._set(name, Secret(text[number * _PART : (number + 1) * _PART]))
            self._set(self._key, json.dumps(asdict(manifest)))
            self._trim(manifest.slot, manifest.parts)
            self._trim("a" if manifest.slot == "b" else "b", 0)

    def _remove(self, only: Tokens | None) -> bool:
        """Remove the tokens, if they are `only` where that is given; whether they were."""
        with self._writing():
            if only is not None and not same(self._read(), only):
                return False
            self._delete(self._key)
            self._trim("a", 0)
            self._trim("b", 0)
            return True

    def _trim(self, slot: str, parts: int) -> None:
        """Delete what a slot holds beyond its parts, whoever left it there."""
        for number in count(parts + 1):
            name = f"{self._key} {slot}{number}"
            if self._get(name) is None:
                return
            self._delete(name)

    def _manifest(self) -> _Manifest | None:
        found = self._get(self._key)
        if found is None:
            return None
        try:
            return _Manifest(**json.loads(found))
        except (ValueError, TypeError):
            pass
        raise AuthError(f"{self._form.place} holds no tokens: its entry lists no parts")

    def _writing(self) -> AbstractContextManager[object]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return file_lock(self._folder / f"{self._lock}.write.lock").acquire(timeout=_WRITING)

    def _get(self, name: str) -> Secret | None:
        found = self._backend.get_password(self._service, name)
        return None if found is None else Secret(found)

    def _set(self, name: str, text: str) -> None:
        self._backend.set_password(self._service, name, text)
        if self._get(name) != text:
            raise AuthError("the keyring did not keep what it was given")

    def _delete(self, name: str) -> None:
        if self._get(name) is not None:
            self._backend.delete_password(self._service, name)


def _cache() -> Path:
    """The user's own folder for what may be lost."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "prisma-mgmt"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prisma-mgmt"

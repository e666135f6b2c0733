"""Tokens in a file of one's own."""

import os
import stat
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from anyio import to_thread

from prisma_mgmt.auth.storage.form import Cipher, Form
from prisma_mgmt.auth.storage.locks import file_lock, held_file
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.errors import AuthError
from prisma_mgmt.masks import Secret

_POSIX = os.name == "posix"
_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)
_SAFELY: int = _NO_LINK | getattr(os, "O_NONBLOCK", 0)  # a pipe would wait for its writer
_LARGEST = 4_000_000  # bytes
_WRITING = 5.0  # seconds to wait for another process to finish its write
_REPLACINGS = 1 if _POSIX else 20  # Windows refuses to replace a file that somebody is just reading


class FileTokenStorage:
    """Keeps tokens in a JSON file that only its owner can read and that is never half written; processes may share it.

    Without a cipher, Node programs that keep `workspaceId`, `accessToken` and `refreshToken` can read it. With one, the
    file is bound to its absolute path. Two lock files stay beside it. Raises AuthError for a file that holds no tokens,
    is a symbolic link or can be read by every user, and leaves it as it is.
    """

    def __init__(self, path: str | os.PathLike[str], *, cipher: Cipher | None = None) -> None:
        self.path = Path(path).absolute()
        self._staging = self.path.with_name(f".{self.path.name}.next")
        self._writing = self.path.with_name(f".{self.path.name}.tmp")
        self._form = Form(str(self.path), cipher)

    async def get_tokens(self) -> Tokens | None:
        return await to_thread.run_sync(self._read)

    async def set_tokens(self, tokens: Tokens) -> None:
        await to_thread.run_sync(self._write, tokens)

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        staged = self._stage(tokens, current)  # before anything is waited for: a kill from here on loses no pair
        return await to_thread.run_sync(self._write, tokens, current, staged)

    async def clear_tokens(self) -> None:
        await to_thread.run_sync(self._remove, None)

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        return await to_thread.run_sync(self._remove, tokens)

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncGenerator[None]:
        """Held by one process at a time; the kernel releases it when its process dies."""
        await to_thread.run_sync(self._make_folder)
        async with held_file(self._lock_path("refresh"), self._form.place):
            yield

    def _lock_path(self, purpose: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{purpose}.lock")

    def _make_folder(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _read(self) -> Tokens | None:
        """What the file holds, or what is staged to replace just that: its writer may have died before it could."""
        text = self._text_at(self.path)
        if text is None:
            return None
        found = self._form.read(text)
        return self._staged(found) or found

    def _staged(self, current: Tokens) -> Tokens | None:
        """The pair that is staged to replace `current`, if it is whole."""
        try:
            text, mark = self._text_at(self._staging), _mark(current)
            return self._form.read(text.removeprefix(mark)) if text and text.startswith(mark) else None
        except (AuthError, OSError):
            return None

    def _stage(self, tokens: Tokens, current: Tokens) -> bool:
        """Leave `tokens` beside the file, to count for as long as that holds `current`; whether it could be done."""
        try:
            _create(self._staging, Secret(_mark(current) + self._form.write(tokens)))
        except FileExistsError:  # a dead writer's, which the write that follows settles
            return False
        except OSError:  # the write that follows will say it
            self._staging.unlink(missing_ok=True)
            return False
        return True

    def _text_at(self, path: Path) -> Secret | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | _SAFELY)
        except FileNotFoundError:
            return None
        except OSError:
            self._refuse_link()
            raise
        try:
            self._refuse(os.fstat(descriptor))
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return Secret(file.read(_LARGEST).decode())
        except UnicodeDecodeError:
            pass
        finally:
            os.close(descriptor)
        raise AuthError(f"{self.path} holds no tokens: it is no UTF-8 text")

    def _refuse(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise AuthError(f"{self.path} is no regular file")
        if _POSIX and found.st_mode & stat.S_IRWXO:
            raise AuthError(f"{self.path} is open to every user of this machine: chmod 600 it")

    def _refuse_link(self) -> None:
        if self.path.is_symlink():
            raise AuthError(f"{self.path} is a symbolic link; give the path of the file itself")

    def _write(self, tokens: Tokens, only: Tokens | None = None, staged: bool = False) -> bool:
        """Write the file, if it holds `only` where that is given, or `tokens` already; whether it did."""
        self._make_folder()
        with file_lock(self._lock_path("write")).acquire(timeout=_WRITING):
            if only is not None and not (same(found := self._read(), only) or same(found, tokens)):
                if staged:
                    self._staging.unlink(missing_ok=True)
                return False
            self._refuse_link()
            self._writing.unlink(missing_ok=True)
            try:
                _create(self._writing, self._form.write(tokens), sync=True)
                _replace(self._writing, self.path)
            except BaseException:
                self._writing.unlink(missing_ok=True)
                raise
            self._staging.unlink(missing_ok=True)
            _sync_folder(self.path.parent)
            return True

    def _remove(self, only: Tokens | None) -> bool:
        """Remove the file, if it holds `only` where that is given; whether it did."""
        if not self.path.parent.is_dir():
            return False
        with file_lock(self._lock_path("write")).acquire(timeout=_WRITING):
            if only is not None and not same(self._read(), only):
                return False
            for path in (self.path, self._staging, self._writing):  # the first takes what is staged its effect
                path.unlink(missing_ok=True)
            return True


def _mark(tokens: Tokens) -> str:
    """The first line of what is staged to replace `tokens`."""
    return sha256(f"{tokens.access_token}\0{tokens.refresh_token}".encode()).hexdigest() + "\n"


def _create(path: Path, text: Secret, *, sync: bool = False) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600)
    try:
        rest = memoryview(text.encode())  # which a traceback does not show
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(source: Path, target: Path) -> None:
    for left in reversed(range(_REPLACINGS)):
        try:
            source.replace(target)
        except PermissionError:
            if not left:
                raise
            time.sleep(0.05)
        else:
            return


def _sync_folder(folder: Path) -> None:
    """Make a file's new name outlive a power failure, where folders can be opened."""
    if _POSIX:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""FileTokenStorage: tokens in a JSON file that only its owner can read, and that is never half written."""

import errno
import os
import re
import stat
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from prisma_mgmt.auth.ledger import mark
from prisma_mgmt.auth.storage.arguments import checked_path
from prisma_mgmt.auth.storage.form import Cipher, Form
from prisma_mgmt.auth.storage.local import LocalStorage
from prisma_mgmt.auth.storage.locks import LONGEST_WAIT, WRITING
from prisma_mgmt.auth.tokens import Tokens
from prisma_mgmt.errors import AuthError
from prisma_mgmt.masks import Secret, bare

_POSIX = os.name == "posix"
_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)
_LARGEST = 4_000_000  # bytes
_READINGS, _PAUSE = 4, 0.005  # how often a file is read again, and after how many seconds
_REPLACINGS = 1 if _POSIX else 20  # Windows refuses to replace a file that somebody is just reading
_BESIDE = re.compile(r"\..+\.(next|tmp|refresh\.lock|write\.lock)")  # what is kept beside a file of tokens


class FileTokenStorage(LocalStorage):
    """Keeps tokens in a JSON file that only its owner can read and that is never half written; processes may share it.

    path: the file; `~` is the user's home. Two lock files stay beside it. Let all programs that use it run as one user:
        what another one writes, such as root, its owner can no longer read.
    cipher: seals the tokens, for this absolute path only. Without one, Node programs that use the keys `workspaceId`,
        `accessToken` and `refreshToken` can read the file. Some file systems keep no modes (Windows' drives in WSL,
        vfat, CIFS), so every user of the machine could read it there: without a cipher the first write is an AuthError.
    patience: seconds to wait for the lock; 25 by default.

    Raises AuthError, and leaves the file as it is, if it holds no tokens or is a symbolic link, or if every user can
    read it and there is no cipher.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, cipher: Cipher | None = None, patience: float = LONGEST_WAIT
    ) -> None:
        self.path: Path = checked_path(path, "path").absolute()
        if not self.path.name or _BESIDE.fullmatch(self.path.name):
            raise ValueError("path must name a file, and not one of those that a storage keeps beside its own")
        self._staging = self.path.with_name(f".{self.path.name}.next")
        self._writing = self.path.with_name(f".{self.path.name}.tmp")
        super().__init__(Form(str(self.path), cipher), self.path.with_name(f".{self.path.name}"), patience)

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        staged = self._stage(tokens, current)  # before anything is waited for: a kill from here on loses no pair
        done = await super().set_tokens_if_current(tokens, current)
        if staged and not done:
            self._staging.unlink(missing_ok=True)
        return done

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncGenerator[None]:
        """Held by one process of the user's at a time; the kernel releases it when its process dies.

        Raises OSError or AuthError if the file could not take a new pair: no refresh token is to be spent for it then.
        """
        async with super().refresh_lock():
            await self._run(self._write_again)
            yield

    def _write_again(self) -> None:
        """Write what is stored, or staged by a dead writer: the disk may be full, or nothing may replace the file."""
        with self._lock("write").acquire(timeout=WRITING):
            found, text = None, self._text_at(self.path)
            with suppress(AuthError):  # the session meets that as well, and may know the tokens
                found = self._read()
            if found is not None:
                self._put(found, text)
            self._staging.unlink(missing_ok=True)

    def _read(self, again: int = _READINGS) -> Tokens | None:
        """What the file holds, or what is staged to replace just that: its writer may have died before it could.

        What holds no tokens is read again after a moment: a Node program may be writing it in place.
        """
        if (text := self._text_at(self.path)) is None:
            return None
        try:
            found = self._form.read(text)
        except AuthError:
            if not again:
                raise
        else:
            return self._staged(found) or found
        time.sleep(_PAUSE)
        return self._read(again - 1)

    def _staged(self, current: Tokens) -> Tokens | None:
        """The pair that is staged to replace `current`, if it is whole."""
        with suppress(AuthError, OSError):
            text, first = self._text_at(self._staging), f"{mark(current).hex()}\n"
            return self._form.read(text.removeprefix(first)) if text and text.startswith(first) else None
        return None

    def _stage(self, tokens: Tokens, current: Tokens) -> bool:
        """Leave `tokens` beside the file, to count for as long as that holds `current`; False if it cannot be done."""
        text = self._form.write(tokens)
        try:
            self._create(self._staging, Secret(f"{mark(current).hex()}\n{text}"))
        except (AuthError, OSError) as error:  # the write that follows will say it
            if not isinstance(error, FileExistsError):  # a dead writer's, which the write that follows settles
                with suppress(OSError):
                    self._staging.unlink()
            return False
        return True

    def _text_at(self, path: Path) -> Secret | None:
        self._refuse_other()
        with suppress(FileNotFoundError), bare, open(path, "rb", opener=_open_safely) as file:
            if self._is_open(os.fstat(file.fileno())):
                told = "if its file system keeps no modes give the storage a cipher, or a path elsewhere"
                raise AuthError(f"{self.path} is open to every user of this machine: chmod 600 it, or {told}")
            return self._form.decoded(file.read(_LARGEST))
        return None

    def _is_open(self, found: os.stat_result) -> bool:
        """Return True if every user can read a file, or write it, and it matters: what is sealed nobody can read."""
        return _POSIX and self._form.cipher is None and bool(found.st_mode & stat.S_IRWXO)

    def _refuse_other(self) -> None:
        """Raise AuthError if something stands there that is no file."""
        with suppress(FileNotFoundError):
            mode = self.path.lstat().st_mode  # asked for once, since another process may remove it between two looks
            if stat.S_ISLNK(mode):
                raise AuthError(f"{self.path} is a symbolic link; give the path of the file itself")
            if not stat.S_ISREG(mode):
                raise AuthError(f"{self.path} is no regular file")

    def _put(self, tokens: Tokens, only: Secret | None = None) -> None:
        """Write the file for whoever writes alone: it is the old one or the new one, whole, at every moment.

        It stays as it is if it does not hold the text `only` by then: a Node program may have written it in place.
        """
        with self._changing():
            self._writing.unlink(missing_ok=True)  # a dead writer's
            try:
                self._create(self._writing, self._form.write(tokens), sync=True)
                if only is None or self._text_at(self.path) == only:
                    replace(self._writing, self.path)
            finally:
                self._writing.unlink(missing_ok=True)
            self._staging.unlink(missing_ok=True)

    def _write(self, tokens: Tokens | None, only: Tokens | None = None) -> bool:
        if tokens is None and not self.path.parent.is_dir():  # which a lock file would make
            return False
        return super()._write(tokens, only)

    def _delete(self) -> None:
        with self._changing():
            for path in (self.path, self._staging, self._writing):  # the first takes what is staged its effect
                path.unlink(missing_ok=True)

    @contextmanager
    def _changing(self) -> Generator[None]:
        """Let what is done to the file inside of this outlive a power failure; AuthError if nothing can replace it."""
        self._refuse_other()
        try:
            yield
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise AuthError(f"{self.path} is mounted by itself: mount the folder that it is in") from error
        _sync_folder(self.path.parent)

    def _create(self, path: Path, text: Secret, *, sync: bool = False) -> None:
        """Make a new file of `text`; AuthError, with nothing of it written, if every user could read it."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600)
        try:
            if self._is_open(os.fstat(descriptor)):
                told = "open to every user of this machine: give the storage a cipher, or a path elsewhere"
                raise AuthError(f"{path.parent} is on a file system without modes: {self.path.name} would be {told}")
            rest = memoryview(text.encode())  # which a traceback does not show
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace(source: Path, target: Path, times: int = _REPLACINGS, pause: Callable[[float], None] = time.sleep) -> Path:
    """Give a file the name of another, which Windows refuses for as long as somebody reads that."""
    for _ in range(times - 1):
        with suppress(PermissionError):
            return source.replace(target)
        pause(0.05)
    return source.replace(target)


def _open_safely(path: str, flags: int) -> int:
    """Follow no link, and wait for no writer, as a pipe would."""
    return os.open(path, flags | _NO_LINK | getattr(os, "O_NONBLOCK", 0))


def _sync_folder(folder: Path) -> None:
    """Make a file's new name outlive a power failure, if its file system can do that."""
    with suppress(OSError):  # the file is there all the same
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

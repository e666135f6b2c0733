"""The kit that says what a storage must keep to, and the storages in memory and in a file."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from prisma_mgmt import AuthError
from prisma_mgmt.auth import SharedTokenStorage, TokenCipher, Tokens, TokenStorage
from prisma_mgmt.auth.storage import FileTokenStorage, MemoryTokenStorage
from prisma_mgmt.auth.storage import file as file_module
from prisma_mgmt.auth.storage.testing import check_storage

pytestmark = pytest.mark.anyio

TOKENS = Tokens("wksp_1", "canary-access", "canary-refresh", 1_800_000_000.0)
NEWER = Tokens("wksp_1", "canary-access-2", "canary-refresh-2")
CIPHER = TokenCipher([b"k" * 32])
ciphers = pytest.mark.parametrize("cipher", [None, CIPHER], ids=["plain", "sealed"])


# The contract


async def test_memory_keeps_the_contract() -> None:
    storage = MemoryTokenStorage()
    await check_storage(lambda: storage)


@ciphers
async def test_a_file_keeps_the_contract(tmp_path: Path, cipher: TokenCipher | None) -> None:
    await check_storage(lambda: FileTokenStorage(tmp_path / "tokens.json", cipher=cipher))
    assert isinstance(FileTokenStorage(tmp_path / "tokens.json"), SharedTokenStorage)


class Broken(MemoryTokenStorage):
    """A storage that is shared, but for what a test takes from it."""

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        yield

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        self._tokens = None
        return True


class KeepsAccessOnly(MemoryTokenStorage):
    async def set_tokens(self, tokens: Tokens) -> None:
        self._tokens = Tokens(tokens.workspace_id, tokens.access_token)


class NeverForgets(MemoryTokenStorage):
    async def clear_tokens(self) -> None:
        pass


class ClearsCarefully(Broken):
    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        current = self._tokens is not None and self._tokens.access_token == tokens.access_token
        if current:
            self._tokens = None
        return current


class HoldsForEver(ClearsCarefully):
    def __init__(self) -> None:
        super().__init__()
        self.semaphore = anyio.Semaphore(1)

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        await self.semaphore.acquire()
        yield
        self.semaphore.release()


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (KeepsAccessOnly, "every field"),
        (NeverForgets, "clear_tokens() forgets"),
        (Broken, "False where nothing is"),
        (ClearsCarefully, "one at a time"),
        (HoldsForEver, "free again"),
    ],
)
async def test_the_kit_names_the_broken_rule(
    kind: Callable[[], TokenStorage], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prisma_mgmt.auth.storage.testing._PATIENCE", 3.0)
    broken = kind()
    with pytest.raises((AssertionError, ExceptionGroup)) as caught:
        await check_storage(lambda: broken)
    found = caught.value.exceptions[0] if isinstance(caught.value, ExceptionGroup) else caught.value
    assert rule in str(found)


# Files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_file_and_its_folder_are_the_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = tmp_path / "new" / "deep" / "tokens.json"
        await FileTokenStorage(path).set_tokens(TOKENS)
        assert mode(path) == 0o600
        assert mode(path.parent) == 0o700
        async with FileTokenStorage(path).refresh_lock():
            assert {mode(one) for one in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(old)


async def test_node_programs_can_read_the_file_and_write_it(path: Path) -> None:
    await FileTokenStorage(path).set_tokens(TOKENS)
    assert json.loads(path.read_text()) == {
        "workspaceId": "wksp_1",
        "accessToken": "canary-access",
        "refreshToken": "canary-refresh",
        "expiresAt": 1_800_000_000.0,
    }
    path.write_text('{\n  "accessToken": "a",\n  "refreshToken": "r",\n  "workspaceId": "w"\n}\n')
    assert await FileTokenStorage(path).get_tokens() == Tokens("w", "a", "r")


BAD = {
    "empty": b"",
    "truncated": b'{"workspaceId": "w", "accessToken": "canary',
    "a list": b"[]",
    "null": b"null",
    "text": b"canary",
    "foreign": b'{"token": "canary"}',
    "newer": b'{"version": 99, "workspaceId": "w", "accessToken": "canary"}',
    "no utf-8": b'\xff\xfe{"accessToken": "canary"}',
    "nested": b"[" * 100_000,
    "giant": b" " * 5_000_000,
    "sealed": CIPHER.seal("{}", "elsewhere").encode(),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
@ciphers
async def test_a_file_without_tokens_is_an_error_that_names_it_and_stays_as_it_is(
    path: Path, content: bytes, cipher: TokenCipher | None
) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    before = path.stat()
    kept = FileTokenStorage(path, cipher=cipher)
    for call in (kept.get_tokens, lambda: kept.clear_tokens_if_current(TOKENS)):
        with pytest.raises(AuthError, match="holds no tokens") as caught:
            await call()
        assert str(path) in str(caught.value)
        assert "canary" not in str(caught.value)
        assert not caught.value.refresh_token_invalid
    assert path.read_bytes() == content
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    await kept.set_tokens(TOKENS)
    assert await kept.get_tokens() == TOKENS


async def test_what_is_wrong_with_a_sealed_file(path: Path) -> None:
    await FileTokenStorage(path, cipher=CIPHER).set_tokens(TOKENS)
    assert b"canary" not in path.read_bytes()
    with pytest.raises(AuthError, match="give the storage its cipher"):
        await FileTokenStorage(path).get_tokens()
    with pytest.raises(AuthError, match="another key"):
        await FileTokenStorage(path, cipher=TokenCipher([b"x" * 32])).get_tokens()
    await FileTokenStorage(path, cipher=TokenCipher([b"x" * 32, b"k" * 32])).get_tokens()
    other = path.with_name("other.json")
    path.rename(other)
    with pytest.raises(AuthError, match="another place"):
        await FileTokenStorage(other, cipher=CIPHER).get_tokens()


async def test_a_plain_file_is_not_taken_for_a_sealed_one(path: Path) -> None:
    await FileTokenStorage(path).set_tokens(TOKENS)
    with pytest.raises(AuthError, match="not sealed"):
        await FileTokenStorage(path, cipher=CIPHER).get_tokens()


@pytest.mark.parametrize("open_to_all", [0o604, 0o602, 0o644, 0o666, 0o777])
async def test_a_file_that_every_user_can_read_or_write_is_refused(path: Path, open_to_all: int) -> None:
    await FileTokenStorage(path).set_tokens(TOKENS)
    path.chmod(open_to_all)
    with pytest.raises(AuthError, match="chmod 600"):
        await FileTokenStorage(path).get_tokens()
    assert mode(path) == open_to_all
    await FileTokenStorage(path).set_tokens(NEWER)
    assert mode(path) == 0o600


async def test_a_symbolic_link_is_refused_and_its_target_left_alone(path: Path) -> None:
    target = path.with_name("target.json")
    await FileTokenStorage(target).set_tokens(TOKENS)
    path.symlink_to(target)
    kept = FileTokenStorage(path)
    for call in (kept.get_tokens, lambda: kept.set_tokens(NEWER)):
        with pytest.raises(AuthError, match="symbolic link"):
            await call()
    assert await FileTokenStorage(target).get_tokens() == TOKENS


async def test_what_is_no_file_is_refused(path: Path) -> None:
    path.mkdir(mode=0o700)
    with pytest.raises(AuthError, match="no regular file"):
        await FileTokenStorage(path).get_tokens()
    os.mkfifo(pipe := path.with_name("pipe"), 0o600)
    with pytest.raises(AuthError, match="no regular file"):
        await FileTokenStorage(pipe).get_tokens()


async def test_reading_writes_nothing(tmp_path: Path, path: Path) -> None:
    assert await FileTokenStorage(tmp_path / "none" / "tokens.json").get_tokens() is None
    await FileTokenStorage(tmp_path / "none" / "tokens.json").clear_tokens()
    assert await FileTokenStorage(path).get_tokens() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
async def test_a_failed_write_leaves_the_old_tokens_and_nothing_else(
    path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = FileTokenStorage(path)
    await kept.set_tokens(TOKENS)
    before = sorted(path.parent.iterdir())

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        where: Any = {"write": (os, "write"), "fsync": (os, "fsync"), "replace": (Path, "replace")}[step]
        patch.setattr(*where, fail)
        with pytest.raises(OSError, match="No space"):
            await kept.set_tokens(NEWER)
    assert sorted(path.parent.iterdir()) == before
    assert await kept.get_tokens() == TOKENS


class Killed(BaseException):
    """What a SIGKILL would end."""


def staged(path: Path) -> Path:
    return path.with_name(f".{path.name}.next")


async def killed_while_storing(kept: FileTokenStorage, tokens: Tokens, current: Tokens) -> None:
    """Store a rotated pair, as a process does that is killed the moment it would wait for anything."""

    async def die(*_: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr("anyio.to_thread.run_sync", die)
        await kept.set_tokens_if_current(tokens, current)


@ciphers
async def test_a_writer_killed_at_once_has_stored_its_pair(path: Path, cipher: TokenCipher | None) -> None:
    kept = FileTokenStorage(path, cipher=cipher)
    await kept.set_tokens(TOKENS)
    await killed_while_storing(kept, NEWER, TOKENS)
    other = FileTokenStorage(path, cipher=cipher)
    assert await other.get_tokens() == NEWER
    assert not await other.clear_tokens_if_current(TOKENS)
    assert not await other.set_tokens_if_current(TOKENS, TOKENS), "TOKENS is no longer current"
    assert await other.get_tokens() == NEWER
    newest = evolve(NEWER, access_token="newest")
    assert await other.set_tokens_if_current(newest, NEWER)
    assert await kept.get_tokens() == newest
    assert not staged(path).exists()


@pytest.mark.parametrize("length", [0, 10, 65, -1])
async def test_what_a_killed_writer_left_torn_does_not_count(path: Path, length: int) -> None:
    kept = FileTokenStorage(path)
    await kept.set_tokens(TOKENS)
    await killed_while_storing(kept, NEWER, TOKENS)
    staged(path).write_text(staged(path).read_text()[:length])
    assert await kept.get_tokens() == TOKENS
    assert await kept.set_tokens_if_current(NEWER, TOKENS)
    assert not staged(path).exists()
    assert await kept.get_tokens() == NEWER


async def test_what_a_killed_writer_left_undoes_neither_a_logout_nor_a_login(path: Path) -> None:
    kept, other = FileTokenStorage(path), FileTokenStorage(path)
    await kept.set_tokens(TOKENS)
    await other.clear_tokens()
    await killed_while_storing(kept, NEWER, TOKENS)
    assert await other.get_tokens() is None
    theirs = evolve(TOKENS, access_token="theirs")
    path.write_text(json.dumps(theirs.to_json()))  # as a Node program does
    path.chmod(0o600)
    assert await kept.get_tokens() == theirs
    await other.set_tokens(theirs)
    assert not staged(path).exists(), "it is swept with the next write"


async def test_a_pair_that_came_too_late_leaves_nothing(path: Path) -> None:
    kept = FileTokenStorage(path)
    await kept.set_tokens(TOKENS)
    before = sorted(path.parent.iterdir())
    assert not await kept.set_tokens_if_current(NEWER, evolve(TOKENS, access_token="older"))
    assert await kept.get_tokens() == TOKENS
    assert sorted(path.parent.iterdir()) == before


async def test_windows_may_refuse_a_replacement_for_a_while(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [PermissionError(13, "Access is denied")] * 2
    replace = Path.replace

    def refuse_twice(source: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return replace(source, target)

    monkeypatch.setattr(file_module.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(file_module, "_REPLACINGS", 3)
    monkeypatch.setattr(Path, "replace", refuse_twice)
    await FileTokenStorage(path).set_tokens(TOKENS)
    assert await FileTokenStorage(path).get_tokens() == TOKENS


async def test_a_lock_that_is_never_freed_is_an_error_and_no_hang(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prisma_mgmt.auth.storage.locks.LONGEST_WAIT", 0.05)
    async with FileTokenStorage(path).refresh_lock():
        with pytest.raises(AuthError, match="another process has held the refresh lock"):
            async with FileTokenStorage(path).refresh_lock():
                pytest.fail("two holders")


def test_naming_a_storage_is_what_loads_it() -> None:
    code = """
import sys
import prisma_mgmt.auth.storage as storage
heavy = {"redis", "asyncpg", "keyring", "filelock", "cryptography"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
for name in storage.__all__:
    getattr(storage, name)
assert heavy & set(sys.modules) == {"filelock"}, heavy & set(sys.modules)
assert not hasattr(storage, "NoSuchStorage")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
async def test_a_disk_that_is_full_leaves_the_old_tokens(path: Path) -> None:
    """A real refusal of the kernel: no file may grow past a few bytes."""
    import resource
    import signal

    kept = FileTokenStorage(path)
    await kept.set_tokens(TOKENS)
    before = sorted(path.parent.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            await kept.set_tokens(NEWER)
        with pytest.raises(OSError, match="too large"):
            await kept.set_tokens_if_current(NEWER, TOKENS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert await kept.get_tokens() == TOKENS
    assert sorted(path.parent.iterdir()) == before

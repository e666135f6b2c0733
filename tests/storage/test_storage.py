"""The kit that says what a storage must keep to, and the storages in memory and in a file."""

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from prisma_mgmt import AuthError
from prisma_mgmt.auth import SharedTokenStorage, TokenCipher, Tokens, TokenStorage
from prisma_mgmt.auth.storage import FileTokenStorage, MemoryTokenStorage
from prisma_mgmt.auth.storage import file as file_module
from prisma_mgmt.auth.storage.form import shallow
from prisma_mgmt.auth.storage.testing import check_storage
from prisma_mgmt.auth.storage.threads import Alone
from prisma_mgmt.auth.tokens import same
from prisma_mgmt.masks import Secret
from tests.kit.canaries import leaks
from tests.kit.login import Prisma, session_at
from tests.kit.rig import serve

pytestmark = pytest.mark.anyio

TOKENS = Tokens("wksp_1", "canary-access", "canary-refresh", 1_800_000_000.0)
NEWER = Tokens("wksp_1", "canary-access-2", "canary-refresh-2")
CIPHER = TokenCipher([b"k" * 32])
ciphers = pytest.mark.parametrize("cipher", [None, CIPHER], ids=["plain", "sealed"])


# The contract


async def test_memory_keeps_the_contract() -> None:
    storage = MemoryTokenStorage()
    await check_storage(lambda: storage, refresh=0.1)


@ciphers
async def test_a_file_keeps_the_contract(tmp_path: Path, cipher: TokenCipher | None) -> None:
    await check_storage(lambda: FileTokenStorage(tmp_path / "tokens.json", cipher=cipher), refresh=0.1)
    assert isinstance(FileTokenStorage(tmp_path / "tokens.json"), SharedTokenStorage)


class Broken(MemoryTokenStorage):
    """A storage that is shared, but for what a test takes from it."""

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        yield

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        self._tokens = tokens
        return True

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        self._tokens = None
        return True


class KeepsAccessOnly(MemoryTokenStorage):
    async def set_tokens(self, tokens: Tokens) -> None:
        self._tokens = Tokens(tokens.workspace_id, tokens.access_token)


class NeverForgets(MemoryTokenStorage):
    async def clear_tokens(self) -> None:
        pass


class LacksOne(MemoryTokenStorage):
    refresh_lock = Broken.refresh_lock
    clear_tokens_if_current = Broken.clear_tokens_if_current


class ClearsCarefully(Broken):
    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        current = self._tokens is not None and self._tokens.access_token == tokens.access_token
        if current:
            self._tokens = None
        return current


class SwapsCarefully(ClearsCarefully):
    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        found = self._tokens is not None and same(self._tokens, current)
        if found:
            self._tokens = tokens
        return found


class SwapsInTwoSteps(ClearsCarefully):
    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        found = self._tokens is not None and same(self._tokens, current)
        await anyio.sleep(0)
        if found:
            self._tokens = tokens
        return found


class HoldsForEver(SwapsCarefully):
    def __init__(self) -> None:
        super().__init__()
        self.semaphore = anyio.Semaphore(1)

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        await self.semaphore.acquire()
        yield
        self.semaphore.release()

    async def got(self, *, tries: int) -> bool:
        """Return True if it was free in one of so many tries; a machine may stand still in one of them."""
        for _ in range(tries):
            with anyio.move_on_after(0.01):
                await self.semaphore.acquire()
                return True
        return False


class HoldsForAMoment(HoldsForEver):
    """Its lock ends by itself, as a lease does that nobody extends."""

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        mine = await self.got(tries=40)
        try:
            yield
        finally:
            if mine:
                self.semaphore.release()


class GivesUpFirst(HoldsForEver):
    """Whoever waits gives up once, and then has it: its lock has ended by itself meanwhile."""

    gave_up = False

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        mine = await self.got(tries=25)
        if not mine and not self.gave_up:
            self.gave_up = True
            raise TimeoutError
        try:
            yield
        finally:
            if mine:
                self.semaphore.release()


class SaysNone(SwapsCarefully):
    """Gives what a database driver gives: None if there was no row."""

    async def clear_tokens_if_current(self, tokens: Tokens) -> Any:
        return await super().clear_tokens_if_current(tokens) or None


class SwapsUnderItsLock(HoldsForEver):
    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        async with self.semaphore:
            yield

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        async with self.semaphore:
            return await super().set_tokens_if_current(tokens, current)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (KeepsAccessOnly, "every field"),
        (NeverForgets, "clear_tokens() forgets"),
        (Broken, "False where nothing is"),
        (LacksOne, "has refresh_lock, set_tokens_if_current, clear_tokens_if_current"),
        (ClearsCarefully, "set_tokens_if_current() is False where nothing is"),
        (SwapsInTwoSteps, "of several set_tokens_if_current() at once one is True"),
        (SwapsCarefully, "one at a time"),
        (HoldsForEver, "free again"),
        (HoldsForAMoment, "for as long as its holder needs it, such as 1 s"),
        (GivesUpFirst, "for as long as its holder needs it, such as 1 s"),
        (SaysNone, "clear_tokens_if_current() is False where nothing is"),
        (SwapsUnderItsLock, "every call comes to an end"),
    ],
)
async def test_the_kit_names_the_broken_rule(kind: Callable[[], TokenStorage], rule: str) -> None:
    broken = kind()
    with pytest.raises(AssertionError) as caught:
        await check_storage(lambda: broken, patience=3.0, refresh=1.0)
    assert rule in str(caught.value)


# Files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_what_was_stored_before_there_was_a_cipher_can_be_sealed(path: Path) -> None:
    await FileTokenStorage(path).set_tokens(TOKENS)
    sealed = FileTokenStorage(path, cipher=CIPHER)
    with pytest.raises(AuthError, match="holds no tokens: it is not sealed"):
        await sealed.get_tokens()
    found = await FileTokenStorage(path).get_tokens()
    assert found
    await sealed.set_tokens(found)  # as the documents say
    assert await sealed.get_tokens() == TOKENS


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


async def test_a_sealed_file_may_end_in_a_newline_as_editors_put_it(path: Path) -> None:
    await FileTokenStorage(path, cipher=CIPHER).set_tokens(TOKENS)
    path.write_bytes(path.read_bytes() + b"\n")
    assert await FileTokenStorage(path, cipher=CIPHER).get_tokens() == TOKENS


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


async def test_what_is_sealed_may_be_open_to_all(path: Path) -> None:
    await FileTokenStorage(path, cipher=CIPHER).set_tokens(TOKENS)
    path.chmod(0o666)
    assert await FileTokenStorage(path, cipher=CIPHER).get_tokens() == TOKENS


@pytest.fixture
def no_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that makes every file open to all and takes no chmod, as Windows' drives in WSL, vfat and CIFS."""
    real = os.open

    def opened(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        descriptor = real(path, flags, mode, **options)
        if flags & os.O_CREAT:
            os.fchmod(descriptor, 0o777)
        return descriptor

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "chmod", lambda *_, **__: None)


@pytest.mark.usefixtures("no_modes")
async def test_a_file_system_without_modes_keeps_what_is_sealed(path: Path) -> None:
    kept = FileTokenStorage(path, cipher=CIPHER)
    await kept.set_tokens(TOKENS)
    async with kept.refresh_lock():
        assert await kept.set_tokens_if_current(NEWER, TOKENS)
    assert await FileTokenStorage(path, cipher=CIPHER).get_tokens() == NEWER
    assert mode(path) == 0o777


@pytest.mark.usefixtures("no_modes")
async def test_a_file_system_without_modes_is_told_at_the_first_write(path: Path) -> None:
    """Rather than take tokens that it never gives back."""
    kept = FileTokenStorage(path)
    for call in (lambda: kept.set_tokens(TOKENS), lambda: kept.set_tokens(NEWER)):
        with pytest.raises(
            AuthError, match=r"file system without modes.*give the storage a cipher, or a path elsewhere"
        ):
            await call()
        assert await kept.get_tokens() is None
    assert [one.name for one in path.parent.iterdir()] == [".tokens.json.write.lock"], "nothing was written"
    path.write_text(json.dumps(TOKENS.to_json()))
    path.chmod(0o777)
    with pytest.raises(AuthError, match="keeps no modes give the storage a cipher"):
        await kept.get_tokens()


async def test_the_users_home_is_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("~/deep/tokens.json", Path("~/deep/tokens.json")):
        assert FileTokenStorage(path).path == tmp_path / "deep" / "tokens.json"
    await FileTokenStorage("~/tokens.json").set_tokens(TOKENS)
    assert (tmp_path / "tokens.json").exists()


@pytest.mark.parametrize("path", ["~/tokens.json", "~nobody-here/tokens.json"])
def test_a_user_without_a_home_needs_another_path(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(ValueError, match="path begins with ~, and this user has no home folder: give an absolute path"):
        FileTokenStorage(path)


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"path": None}, TypeError, "path"),
        ({"path": b"tokens.json"}, TypeError, "path"),
        ({"path": 3}, TypeError, "path"),
        ({"path": ""}, ValueError, "path"),
        ({"path": "a\0b"}, ValueError, "path"),
        ({"path": "/"}, ValueError, "path"),
        ({"path": "/tmp/.tokens.json.refresh.lock"}, ValueError, "path"),
        ({"path": "/tmp/.tokens.json.next"}, ValueError, "path"),
        ({"cipher": Path("key")}, TypeError, "cipher"),
        ({"cipher": TokenCipher}, TypeError, "cipher"),
        ({"patience": None}, TypeError, "patience"),
    ],
)
def test_a_wrong_option_is_an_error_that_names_it(options: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=f"^{named} must"):
        FileTokenStorage(**{"path": "tokens.json", **options})


def test_tokens_in_memory_are_tokens() -> None:
    with pytest.raises(TypeError, match="tokens must be Tokens or None, not dict"):
        MemoryTokenStorage({"accessToken": "canary"})  # type: ignore[arg-type]


async def test_what_is_no_tokens_is_not_stored(path: Path) -> None:
    with pytest.raises(TypeError, match="a storage keeps Tokens, not dict"):
        await FileTokenStorage(path).set_tokens({"accessToken": "canary"})  # type: ignore[arg-type]
    with pytest.raises(AuthError, match="are longer than 1000000 characters") as caught:
        await FileTokenStorage(path).set_tokens(Tokens("w", "canary" * 200_000))
    assert leaks(caught.value) == []
    assert not path.exists()


async def test_other_programs_keys_stay_through_a_refresh(path: Path) -> None:
    theirs = {"accessToken": "a", "workspaceId": "w", "refreshToken": "", "user": {"id": 7}, "version": "1"}
    path.write_text("\ufeff" + json.dumps({**theirs, "expiresAt": "2027-01-15", "scope": ["workspace:admin"]}))
    path.chmod(0o600)
    kept = FileTokenStorage(path)
    found = await kept.get_tokens()
    assert found == Tokens("w", "a")
    async with kept.refresh_lock():
        assert await kept.set_tokens_if_current(evolve(found, access_token="b", refresh_token="r"), found)
    assert json.loads(path.read_text()) == {**theirs, "accessToken": "b", "refreshToken": "r"}


async def test_a_very_long_number_of_another_program_costs_nothing_and_keeps_its_digits(path: Path) -> None:
    digits = "7" * 5000  # Python refuses to read such a number
    path.write_text(f'{{"workspaceId": "w", "accessToken": "a", "theirs": {digits}}}')
    path.chmod(0o600)
    kept = FileTokenStorage(path)
    found = await kept.get_tokens()
    assert found == Tokens("w", "a")
    await kept.set_tokens(found)
    assert digits in path.read_text()


def nested(depth: int) -> str:
    """JSON of so many levels, with brackets in its text and not in its text."""
    return '{"[{": ' * (depth - 1) + '["\\"]}"]' + "}" * (depth - 1)


@pytest.mark.parametrize("depth", [985, 5000, 20_000])
@ciphers
async def test_what_another_program_nested_too_deep_costs_nobody_the_login(
    path: Path, depth: int, cipher: TokenCipher | None
) -> None:
    """It may be read and yet be too deep to be written, which would lose the pair of a refresh."""
    text = f'{{"workspaceId": "w", "accessToken": "a", "theirs": [{nested(depth)}, {nested(depth)}, 7]}}'
    path.write_text(text if cipher is None else cipher.seal(text, str(path)))
    path.chmod(0o600)
    kept = FileTokenStorage(path, cipher=cipher)
    found = await kept.get_tokens()
    assert found == Tokens("w", "a")
    assert await kept.set_tokens_if_current(evolve(found, access_token="b"), found)
    again = await kept.get_tokens()
    assert again is not None
    assert again.access_token == "b"
    assert again.extra == found.extra
    assert again.extra["theirs"][2] == 7


@given(st.text(alphabet='[]{}"\\,:a1 \n\0', max_size=80))
def test_no_text_at_all_is_changed_that_is_not_too_deep(text: str) -> None:
    wide = "[]" * 101 + text
    assert shallow(Secret(wide)) == wide


async def test_what_another_program_nested_a_hundred_levels_deep_is_kept(path: Path) -> None:
    path.write_text(f'{{"workspaceId": "w", "accessToken": "a", "theirs": [{nested(98)}, {nested(98)}]}}')
    path.chmod(0o600)
    kept = FileTokenStorage(path)
    found = await kept.get_tokens()
    assert found is not None
    await kept.set_tokens(found)
    assert json.loads(path.read_text())["theirs"] == [json.loads(nested(98))] * 2


async def test_what_other_programs_kept_stays_json(path: Path) -> None:
    path.write_text('{"workspaceId": "w", "accessToken": "a", "limit": 1e999, "rates": [NaN, -Infinity, 0.5]}')
    path.chmod(0o600)
    kept = FileTokenStorage(path)
    found = await kept.get_tokens()
    assert found is not None
    await kept.set_tokens(found)

    def no_json(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(path.read_text(), parse_constant=no_json)["rates"] == [None, None, 0.5]


async def test_a_symbolic_link_is_refused_and_its_target_left_alone(path: Path) -> None:
    target = path.with_name("target.json")
    await FileTokenStorage(target).set_tokens(TOKENS)
    path.symlink_to(target)
    kept = FileTokenStorage(path)
    for call in (kept.get_tokens, lambda: kept.set_tokens(NEWER), kept.clear_tokens):
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
    for call in (lambda: FileTokenStorage(pipe).set_tokens(TOKENS), FileTokenStorage(pipe).clear_tokens):
        with pytest.raises(AuthError, match="no regular file"):
            await call()
    assert pipe.is_fifo()


async def test_a_file_that_is_removed_while_it_is_read_is_none(path: Path) -> None:
    kept, elsewhere, over = FileTokenStorage(path), path.with_name("elsewhere"), threading.Event()
    await kept.set_tokens(TOKENS)
    path.rename(elsewhere)

    def come_and_go() -> None:
        while not over.is_set():
            path.hardlink_to(elsewhere)
            path.unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        found = [await kept.get_tokens() for _ in range(300)]
    finally:
        over.set()
        other.join()
    assert None in found
    assert TOKENS in found


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
        patch.setattr(Alone, "run", die)
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


@ciphers
async def test_one_writer_killed_after_another_loses_no_pair(path: Path, cipher: TokenCipher | None) -> None:
    """The lock is where what the first has left is finished, so that the next pair can be staged too."""
    kept = FileTokenStorage(path, cipher=cipher)
    await kept.set_tokens(TOKENS)
    current = TOKENS
    for number in range(3):
        fresh = evolve(TOKENS, access_token=f"access-{number}", refresh_token=f"refresh-{number}")
        async with FileTokenStorage(path, cipher=cipher).refresh_lock():
            assert not staged(path).exists()
            await killed_while_storing(kept, fresh, current)
        current = fresh
        assert await FileTokenStorage(path, cipher=cipher).get_tokens() == fresh


@ciphers
async def test_a_kill_at_any_step_of_a_write_leaves_one_pair_or_the_other(
    path: Path, cipher: TokenCipher | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the rotated pair is staged, it is there for whoever comes next."""
    for operation in ("write", "fsync", "replace", "unlink"):
        for nth in range(1, 5):
            kept = FileTokenStorage(path, cipher=cipher)
            await kept.set_tokens(TOKENS)
            with monkeypatch.context() as patch:
                done = die_at(patch, operation, nth)
                with suppress(Killed):
                    await kept.set_tokens_if_current(NEWER, TOKENS)
            found = await FileTokenStorage(path, cipher=cipher).get_tokens()
            assert found in ((TOKENS, NEWER) if operation == "write" and nth == 1 else (NEWER,)), (operation, nth, done)
            async with FileTokenStorage(path, cipher=cipher).refresh_lock():
                assert await FileTokenStorage(path, cipher=cipher).get_tokens() == found
            await kept.clear_tokens()
            assert {one.name.split(".")[-1] for one in path.parent.iterdir()} == {"lock"}


def die_at(patch: pytest.MonkeyPatch, operation: str, nth: int) -> list[str]:
    """From the n-th time that an operation is asked for, nothing is done to any file: the process is dead."""
    done: list[str] = []

    def dying(name: str, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if done.count("dead") or (name == operation and done.count(name) == nth - 1):
                done.append("dead")
                raise Killed
            done.append(name)
            return real(*arguments, **options)

        return call

    patch.setattr(os, "write", dying("write", os.write))
    patch.setattr(os, "fsync", dying("fsync", os.fsync))
    patch.setattr(Path, "replace", dying("replace", Path.replace))
    patch.setattr(Path, "unlink", dying("unlink", Path.unlink))
    return done


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


class Slow:
    """A cipher that a test holds up, as a key server may be held up, or that opens at the n-th time."""

    def __init__(self, *, opens_at: int = 1) -> None:
        self.held, self.begun, self.opened, self.opens_at = threading.Event(), threading.Event(), 0, opens_at
        self.held.set()

    def seal(self, text: str, place: str) -> str:
        return text

    def open(self, sealed: str, place: str) -> str:
        self.begun.set()
        self.held.wait()
        self.opened += 1
        if self.opened < self.opens_at:
            raise ValueError("it is half written")
        return sealed


async def test_a_file_that_a_node_program_is_writing_in_place_is_read_again(path: Path) -> None:
    cipher = Slow(opens_at=3)
    await FileTokenStorage(path).set_tokens(TOKENS)
    assert await FileTokenStorage(path, cipher=cipher).get_tokens() == TOKENS
    assert cipher.opened == 3
    cipher.opens_at = 1000
    with pytest.raises(AuthError, match="half written"):
        await FileTokenStorage(path, cipher=cipher).get_tokens()
    assert cipher.opened == 8, "it is not waited for without end"


async def test_a_file_that_blocks_is_not_waited_for_past_a_deadline_and_holds_up_no_other_thread(path: Path) -> None:
    await FileTokenStorage(path).set_tokens(TOKENS)
    cipher = Slow()
    cipher.held.clear()
    blocked = [FileTokenStorage(path, cipher=cipher) for _ in range(50)]
    async with anyio.create_task_group() as group:
        for one in blocked:
            group.start_soon(one.get_tokens)
        await anyio.to_thread.run_sync(cipher.begun.wait)
        assert await FileTokenStorage(path).get_tokens() == TOKENS
        group.cancel_scope.cancel()
    cipher.held.set()
    assert await blocked[0].get_tokens() == TOKENS, "what was begun comes to its end first"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_child_forked_while_a_file_is_read_can_read_it(path: Path) -> None:
    await FileTokenStorage(path).set_tokens(TOKENS)
    cipher = Slow()
    cipher.held.clear()
    kept = FileTokenStorage(path, cipher=cipher)
    async with anyio.create_task_group() as group:
        group.start_soon(kept.get_tokens)
        await anyio.to_thread.run_sync(cipher.begun.wait)
        if (child := os.fork()) == 0:
            code = 1
            try:
                cipher.held = threading.Event()
                cipher.held.set()
                with suppress(BaseException):
                    code = int(asyncio.run(asyncio.wait_for(kept.get_tokens(), 10)) != TOKENS)
            finally:
                os._exit(code)
        status = await anyio.to_thread.run_sync(os.waitpid, child, 0)
        cipher.held.set()
    assert os.waitstatus_to_exitcode(status[1]) == 0


FORKING = """
import asyncio, os, signal, sys
from prisma_mgmt.auth.storage import FileTokenStorage

async def main():
    async with FileTokenStorage(sys.argv[1]).refresh_lock():
        if os.fork() == 0:
            os.read(0, 1)  # until the test ends
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
async def test_a_worker_forked_under_a_lock_does_not_keep_it_when_its_parent_dies(path: Path) -> None:
    command = [sys.executable, "-c", FORKING, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.wait(30) == -signal.SIGKILL
        async with FileTokenStorage(path, patience=5.0).refresh_lock():  # the worker lives until `process` is closed
            pass


async def test_windows_may_refuse_a_replacement_for_a_while(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [PermissionError(13, "Access is denied")] * 2
    replace = Path.replace

    def refuse_twice(source: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", refuse_twice)
    paused: list[float] = []
    path.with_name("new").write_text("new")
    file_module.replace(path.with_name("new"), path, 3, paused.append)
    assert (path.read_text(), len(paused)) == ("new", 2)
    refusals += [PermissionError(13, "Access is denied")] * 3
    path.with_name("new").write_text("newer")
    with pytest.raises(PermissionError):
        file_module.replace(path.with_name("new"), path, 3, paused.append)


async def test_a_lock_that_is_never_freed_is_an_error_and_no_hang(path: Path) -> None:
    async with FileTokenStorage(path).refresh_lock():
        with pytest.raises(AuthError, match="another process has held the refresh lock"):
            async with FileTokenStorage(path, patience=0.05).refresh_lock():
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


@contextmanager
def full_disk() -> Generator[None]:
    """A real refusal of the kernel: no file may grow past a few bytes."""
    import resource
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


async def test_the_lock_leaves_alone_what_a_node_program_writes_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = FileTokenStorage(path)
    await kept.set_tokens(TOKENS)
    login = json.dumps(NEWER.to_json())

    def sync(descriptor: int) -> None:  # the one moment in which this may happen
        path.write_text(login)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        async with kept.refresh_lock():
            pass
    assert path.read_text() == login
    assert await kept.get_tokens() == NEWER


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
async def test_a_disk_that_is_full_leaves_the_old_tokens(path: Path) -> None:
    kept = FileTokenStorage(path)
    await kept.set_tokens(TOKENS)
    before = sorted(path.parent.iterdir())
    with full_disk():
        with pytest.raises(OSError, match="too large"):
            await kept.set_tokens(NEWER)
        with pytest.raises(OSError, match="too large"):
            await kept.set_tokens_if_current(NEWER, TOKENS)
    assert await kept.get_tokens() == TOKENS
    assert sorted(path.parent.iterdir()) == before


MOUNTED = """
import subprocess, sys
import anyio
from prisma_mgmt import AuthError
from prisma_mgmt.auth import Tokens
from prisma_mgmt.auth.storage import FileTokenStorage

outside, inside = sys.argv[1:]
subprocess.run(["mount", "--bind", outside, inside], check=True)
storage = FileTokenStorage(inside)

async def write():
    await storage.set_tokens(Tokens("wksp_1", "access"))

async def lock():
    async with storage.refresh_lock():
        print("locked")

for use in (write, lock, storage.clear_tokens):
    try:
        anyio.run(use)
    except AuthError as error:
        print(error)
"""


def may_mount() -> bool:
    return shutil.which("unshare") is not None and not subprocess.run(["unshare", "-m", "true"], check=False).returncode


@pytest.mark.skipif(sys.platform != "linux" or not may_mount(), reason="this user may not mount anything")
async def test_a_file_that_is_mounted_by_itself_is_refused_before_a_refresh_token_is_spent(path: Path) -> None:
    await FileTokenStorage(path).set_tokens(TOKENS)
    inside = path.with_name("inside.json")
    inside.touch()
    command = ["unshare", "-m", sys.executable, "-c", MOUNTED, str(path), str(inside)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=40, check=True).stdout.splitlines()
    assert told == [f"{inside} is mounted by itself: mount the folder that it is in"] * 3
    assert await FileTokenStorage(path).get_tokens() == TOKENS


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
async def test_no_refresh_token_is_spent_for_a_pair_that_a_full_disk_could_not_take(path: Path) -> None:
    """The program may end before the disk has room again, and then the pair would be lost."""
    prisma = Prisma("strict")
    async with serve(prisma.handle) as server:
        await FileTokenStorage(path).set_tokens(prisma.tokens())
        session = session_at(server.url, FileTokenStorage(path))
        old = await session.access_token()
        prisma.expire()
        with full_disk(), pytest.raises(AuthError, match="refresh lock failed: OSError"):
            await session.renew(old)
        assert prisma.refreshes == 0
        assert sorted(one.suffix for one in path.parent.iterdir()) == [".json", ".lock", ".lock"]
        assert await session.renew(old) in prisma.live

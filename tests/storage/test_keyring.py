"""Tokens in the operating system's keyring: in parts, read back, published last."""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import keyring
import keyring.backends.fail
import keyring.backends.null
import pytest
from attrs import define, field

from prisma_mgmt import AuthError
from prisma_mgmt.auth import SharedTokenStorage, TokenCipher, Tokens
from prisma_mgmt.auth.storage import KeyringTokenStorage
from prisma_mgmt.auth.storage.testing import check_storage
from tests.kit.canaries import (
    MARK,
    by_loguru,
    by_rich,
    by_sentry,
    by_structlog,
    by_the_standard_library,
    canary,
    leaks,
)

pytestmark = pytest.mark.anyio

SHORT = Tokens("wksp_1", "canary-access", "canary-refresh")
LONG = Tokens("wksp_1", "canary" * 500, "r" * 1000, 1_800_000_000.0)


@define
class Ring:
    """A keyring that takes no more than Windows does, and fails when told."""

    entries: dict[str, str] = field(factory=dict)
    failing: int = 0  # at the n-th write from here
    written: list[str] = field(factory=list)

    def get_password(self, service: str, name: str) -> str | None:
        return self.entries.get(name)

    def set_password(self, service: str, name: str, value: str) -> None:
        self.failing -= 1
        if not self.failing:
            raise OSError("the keyring is locked")
        if len(value.encode("utf-16-le")) > 2560:
            raise OSError("the entry is too long")
        self.written.append(name)
        self.entries[name] = value

    def delete_password(self, service: str, name: str) -> None:
        del self.entries[name]


@pytest.fixture
def ring() -> Ring:
    return Ring()


@pytest.fixture
def kept(ring: Ring, tmp_path: Path) -> KeyringTokenStorage:
    return storage_of(ring, tmp_path)


def storage_of(ring: Any, folder: Path, **options: Any) -> KeyringTokenStorage:
    return KeyringTokenStorage("prisma", key="ada", lock_folder=folder, backend=ring, **options)


@pytest.mark.parametrize("cipher", [None, TokenCipher([b"k" * 32])], ids=["plain", "sealed"])
async def test_a_keyring_keeps_the_contract(ring: Ring, tmp_path: Path, cipher: TokenCipher | None) -> None:
    await check_storage(lambda: storage_of(ring, tmp_path / "locks", cipher=cipher), refresh=0.1)
    assert ring.entries == {}
    assert isinstance(storage_of(ring, tmp_path), SharedTokenStorage)


async def test_long_tokens_go_in_parts_and_the_list_of_them_comes_last(kept: KeyringTokenStorage, ring: Ring) -> None:
    await kept.set_tokens(LONG)
    assert ring.written == ["ada part a1", "ada part a2", "ada part a3", "ada part a4", "ada"]
    assert max(map(len, ring.entries.values())) == 1200
    assert "canary" not in ring.entries["ada"]
    await kept.set_tokens(SHORT)
    assert sorted(ring.entries) == ["ada", "ada part b1"]
    assert await kept.get_tokens() == SHORT


@pytest.mark.parametrize("failing", [1, 2, 3, 4, 5])
async def test_a_write_that_fails_midway_keeps_the_old_login(
    kept: KeyringTokenStorage, ring: Ring, failing: int
) -> None:
    await kept.set_tokens(SHORT)
    ring.failing = failing
    with pytest.raises(OSError, match="locked"):
        await kept.set_tokens(LONG)
    assert await kept.get_tokens() == SHORT
    await kept.set_tokens(LONG)
    assert await kept.get_tokens() == LONG
    await kept.clear_tokens()
    assert ring.entries == {}, "and nothing of the failed write is left"


@pytest.mark.parametrize("part", ["ada part a1", "ada part a4"])
async def test_a_missing_or_changed_part_is_an_error_that_names_the_place(
    kept: KeyringTokenStorage, ring: Ring, part: str
) -> None:
    for spoil in (lambda: ring.entries.pop(part), lambda: ring.entries.update({part: "canary"})):
        await kept.clear_tokens()
        await kept.set_tokens(SHORT)
        await kept.clear_tokens()
        await kept.set_tokens(LONG)
        before = spoil() and dict(ring.entries)
        with pytest.raises(AuthError, match="keyring:prisma:ada holds no tokens: a part") as caught:
            await kept.get_tokens()
        assert "canary" not in str(caught.value)
        assert not before or ring.entries == before


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "canary",
        "[]",
        "[" * 99_999,
        "null",
        "{}",
        '{"slot": "a", "parts": 1e9, "sha256": ""}',
        '{"slot": 1, "parts": 9999}',
    ],
)
async def test_an_entry_of_somebody_else_is_an_error_and_a_login_mends_it(
    kept: KeyringTokenStorage, ring: Ring, entry: str
) -> None:
    ring.entries["ada"] = entry
    with pytest.raises(AuthError, match="lists no parts") as caught:
        await kept.get_tokens()
    assert "canary" not in str(caught.value)
    assert ring.entries == {"ada": entry}
    await kept.set_tokens(SHORT)
    assert await kept.get_tokens() == SHORT


async def test_a_reader_sees_a_whole_pair_while_another_process_writes(ring: Ring, tmp_path: Path) -> None:
    """A write between the reading of the list and of the parts: the reader starts again."""

    class Slow(Ring):
        def get_password(self, service: str, name: str) -> str | None:
            found = super().get_password(service, name)
            if name == "ada" and others:
                for tokens in others.pop():
                    writer._write(tokens)
            return found

    others = [[SHORT], [SHORT, Tokens("wksp_1", "another" * 500)]]
    writer = storage_of(ring, tmp_path)
    reader = storage_of(Slow(ring.entries), tmp_path)
    await writer.set_tokens(LONG)
    assert await reader.get_tokens() == SHORT


async def test_a_machine_without_a_keyring(tmp_path: Path) -> None:
    storage = storage_of(keyring.backends.fail.Keyring(), tmp_path)
    for call in (storage.get_tokens, storage.clear_tokens, lambda: storage.set_tokens(SHORT)):
        with pytest.raises(AuthError, match="no keyring"):
            await call()


async def test_a_keyring_that_keeps_nothing_is_found_out(tmp_path: Path) -> None:
    storage = storage_of(keyring.backends.null.Keyring(), tmp_path)
    with pytest.raises(AuthError, match="did not keep"):
        await storage.set_tokens(SHORT)


async def test_a_keyring_that_has_every_entry_is_not_asked_without_end(tmp_path: Path) -> None:
    """Some give an empty text where there is nothing; others ask a service that answers to every name."""

    class Full(Ring):
        def get_password(self, service: str, name: str) -> str | None:
            if len(asked) > 5000:
                pytest.fail("asked without end")
            asked.append(name)
            return super().get_password(service, name) or ""

    asked: list[str] = []
    with pytest.raises(KeyError):  # it cannot delete what it does not have
        await storage_of(Full(), tmp_path).set_tokens(SHORT)


async def test_the_keyring_packages_choice_is_the_default(
    ring: Ring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "get_keyring", lambda: ring)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    storage = KeyringTokenStorage("prisma", key="ada")
    await storage.set_tokens(SHORT)
    assert json.loads(ring.entries["ada"])["parts"] == 1
    async with storage.refresh_lock():
        assert len(list((tmp_path / "prisma-mgmt").iterdir())) == 2


async def test_without_the_keyring_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ImportError, match=r"prisma-mgmt\[keyring\]"):
        await storage_of(None, tmp_path).get_tokens()


async def test_a_keyring_that_asks_the_user_holds_up_no_other_thread(tmp_path: Path) -> None:
    ring = Asking()
    storage = storage_of(ring, tmp_path)
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(storage.get_tokens)
        await ring.wait_until_asked()
        assert await anyio.to_thread.run_sync(lambda: 1) == 1
        ring.answered.set()


@define
class Asking(Ring):
    """A keyring that waits for its user to answer."""

    asked: threading.Event = field(factory=threading.Event)
    answered: threading.Event = field(factory=threading.Event)
    threads: set[str] = field(factory=set)

    def get_password(self, service: str, name: str) -> str | None:
        self.asked.set()
        self.threads.add(threading.current_thread().name)
        self.answered.wait()
        return self.entries.get(name)

    async def wait_until_asked(self) -> None:
        await anyio.to_thread.run_sync(self.asked.wait)


async def test_a_caller_may_give_up_on_a_keyring_that_blocks(tmp_path: Path) -> None:
    """What was begun comes to its end, and what is asked after it comes after it."""
    ring = Asking()
    storage = storage_of(ring, tmp_path)
    before = threading.active_count()
    with anyio.move_on_after(0.2) as scope:
        await storage.set_tokens(SHORT)
    assert scope.cancelled_caught
    for _ in range(5):
        with anyio.move_on_after(0.02) as scope:
            await storage.set_tokens(LONG)
        assert scope.cancelled_caught
    assert threading.active_count() <= before + 1, "no thread waits for a thread"
    assert ring.entries == {}
    ring.answered.set()
    assert await storage.get_tokens() == SHORT
    await storage.set_tokens(LONG)
    assert await storage.get_tokens() == LONG


def test_a_program_ends_though_its_keyring_blocks(tmp_path: Path) -> None:
    code = """
import sys, threading, anyio
from prisma_mgmt.auth.storage import KeyringTokenStorage

class Ring:
    def get_password(self, service, name): threading.Event().wait()
    def set_password(self, service, name, value): pass
    def delete_password(self, service, name): pass

async def main():
    with anyio.move_on_after(0.1):
        await KeyringTokenStorage("prisma", key="ada", lock_folder=sys.argv[1], backend=Ring()).get_tokens()

anyio.run(main)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=20)


async def test_the_storage_serves_more_than_one_event_loop(kept: KeyringTokenStorage) -> None:
    await kept.set_tokens(SHORT)
    assert await anyio.to_thread.run_sync(lambda: anyio.run(kept.get_tokens)) == SHORT


@pytest.mark.parametrize("step", range(1, 14))
async def test_a_kill_at_any_step_leaves_nothing_that_the_next_does_not_sweep(
    ring: Ring, tmp_path: Path, step: int
) -> None:
    """A process that dies in the middle of a write or of a logout."""

    class Killed(BaseException):
        pass

    class Dying(Ring):
        left = step

        def live(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise Killed

        def set_password(self, service: str, name: str, value: str) -> None:
            self.live()
            super().set_password(service, name, value)

        def delete_password(self, service: str, name: str) -> None:
            self.live()
            super().delete_password(service, name)

    for call in ("write", "remove"):
        await storage_of(ring, tmp_path).set_tokens(LONG)
        dying = storage_of(Dying(ring.entries), tmp_path)
        with suppress(Killed):
            await (dying.set_tokens_if_current(SHORT, LONG) if call == "write" else dying.clear_tokens())
        found = await storage_of(ring, tmp_path).get_tokens()
        assert found in ((LONG, SHORT) if call == "write" else (LONG, None))
        await storage_of(ring, tmp_path).clear_tokens()
        assert ring.entries == {}


class PlaintextKeyring(Ring):
    """As keyrings.alt has one, and so named."""


@define
class Chain(Ring):
    backends: list[Any] = field(factory=lambda: [Ring(), PlaintextKeyring()])


class Generated(Ring):
    @property
    def backends(self) -> Any:
        return (one for one in [Ring(), PlaintextKeyring()])


@define
class Wrapper(Ring):
    _keyring: Any = field(factory=PlaintextKeyring)


@pytest.mark.parametrize("plain", ["keyrings.alt", PlaintextKeyring, Chain, Generated, Wrapper])
async def test_a_keyring_that_keeps_plain_text_is_refused(
    plain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if plain == "keyrings.alt":
        plain = pytest.importorskip("keyrings.alt.file").PlaintextKeyring
    with pytest.raises(AuthError, match=r"Plaintext.* keeps plain text: set up another, or give the storage a cipher"):
        storage_of(plain(), tmp_path)
    monkeypatch.setattr(keyring, "get_keyring", plain)
    storage = storage_of(None, tmp_path)

    async def lock() -> None:
        async with storage.refresh_lock():
            pytest.fail("held")

    for call in (lock, storage.get_tokens, lambda: storage.set_tokens(SHORT)):
        with pytest.raises(AuthError, match="keeps plain text"):
            await call()


async def test_plain_text_may_be_asked_for_or_sealed(tmp_path: Path) -> None:
    ring = PlaintextKeyring()
    await storage_of(ring, tmp_path, allow_plain_text=True).set_tokens(SHORT)
    assert "canary" in "".join(ring.entries.values())
    sealed = storage_of(ring, tmp_path, cipher=TokenCipher([b"k" * 32]))
    await sealed.set_tokens(SHORT)
    assert "canary" not in "".join(ring.entries.values())
    assert await sealed.get_tokens() == SHORT


async def test_two_users_whose_keys_look_alike_do_not_meet(ring: Ring, tmp_path: Path) -> None:
    one, other = (
        KeyringTokenStorage("prisma", key=key, lock_folder=tmp_path, backend=ring) for key in ("ada", "ada a1")
    )
    await one.set_tokens(LONG)
    await other.set_tokens(SHORT)
    assert (await one.get_tokens(), await other.get_tokens()) == (LONG, SHORT)
    with pytest.raises(ValueError, match="must not be the name of a part"):
        KeyringTokenStorage("prisma", key="ada part a1", lock_folder=tmp_path, backend=ring)
    one, other = (
        KeyringTokenStorage(service, key=key, lock_folder=tmp_path, backend=ring)
        for service, key in (("a:b", "c"), ("a", "b:c"))
    )
    async with one.refresh_lock(), other.refresh_lock():
        pass


@pytest.mark.parametrize("name", ["XDG_CACHE_HOME", "LOCALAPPDATA"])
async def test_a_cache_that_depends_on_the_working_directory_is_not_used(
    ring: Ring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(name, "cache")
    monkeypatch.chdir(tmp_path)
    async with KeyringTokenStorage("prisma", key="ada", backend=ring).refresh_lock():
        assert [one.name for one in tmp_path.iterdir()] == [".cache"]


def test_a_user_without_a_home_gives_a_folder_for_the_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)

    def no_home(self: Path) -> Path:
        if str(self).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return self

    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(ValueError, match=r"lock_folder.*has no home folder"):
        KeyringTokenStorage("prisma", key="ada", backend=Ring())
    storage_of(Ring(), tmp_path)


async def test_an_error_of_a_keyring_shows_no_token(ring: Ring, tmp_path: Path) -> None:
    storage = storage_of(ring, tmp_path)
    for failing in range(1, 6):
        ring.failing = failing
        with pytest.raises(OSError, match="locked") as caught:
            await storage.set_tokens(LONG)
        assert leaks(caught.value) == []


async def test_a_keyring_that_cannot_write_shows_no_token(tmp_path: Path) -> None:
    """Its own frames hold what it was given as plain bytes, and so do those of the libraries below it."""
    ring = pytest.importorskip("keyrings.alt.file").PlaintextKeyring()
    ring.file_path = str(tmp_path)  # which is a folder
    storage = KeyringTokenStorage("prisma", key="ada", backend=ring, allow_plain_text=True, lock_folder=tmp_path)
    with pytest.raises(OSError, match="Is a directory") as caught:
        await storage.set_tokens(Tokens("wksp_1", canary(100), canary(2000)))
    for told in (by_the_standard_library, by_rich, by_structlog, by_sentry, by_loguru):
        assert MARK not in told(caught.value), told.__name__


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"service": ""}, ValueError, "service"),
        ({"service": None}, TypeError, "service"),
        ({"key": ""}, ValueError, "key"),
        ({"key": 7}, TypeError, "key"),
        ({"cipher": Path("key")}, TypeError, "cipher"),
        ({"lock_folder": 7}, TypeError, "lock_folder"),
        ({"lock_folder": "locks"}, ValueError, "lock_folder"),
        ({"backend": "keyring.backends.null"}, TypeError, "backend"),
        ({"backend": Ring}, TypeError, "backend"),
        ({"backend": keyring}, TypeError, "backend"),
        ({"patience": "1"}, TypeError, "patience"),
    ],
)
def test_a_wrong_option_is_an_error_that_names_it(options: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=f"^{named} must"):
        KeyringTokenStorage(**{"service": "prisma", "key": "ada", **options})

"""Tokens in the operating system's keyring: in parts, read back, published last."""

import json
import sys
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
    await check_storage(lambda: storage_of(ring, tmp_path / "locks", cipher=cipher))
    assert ring.entries == {}
    assert isinstance(storage_of(ring, tmp_path), SharedTokenStorage)


async def test_long_tokens_go_in_parts_and_the_list_of_them_comes_last(kept: KeyringTokenStorage, ring: Ring) -> None:
    await kept.set_tokens(LONG)
    assert ring.written == ["ada a1", "ada a2", "ada a3", "ada a4", "ada"]
    assert max(map(len, ring.entries.values())) == 1200
    assert "canary" not in ring.entries["ada"]
    await kept.set_tokens(SHORT)
    assert sorted(ring.entries) == ["ada", "ada b1"]
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


@pytest.mark.parametrize("part", ["ada a1", "ada a4"])
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
    ["", "canary", "[]", "null", "{}", '{"slot": "a", "parts": 1e9, "sha256": ""}', '{"slot": 1, "parts": 9999}'],
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
    asked, answered = anyio.Event(), anyio.Event()

    class Asking(Ring):
        def get_password(self, service: str, name: str) -> str | None:
            anyio.from_thread.run_sync(asked.set)
            anyio.from_thread.run(answered.wait)
            return None

    storage = storage_of(Asking(), tmp_path)
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(storage.get_tokens)
        await asked.wait()
        assert await anyio.to_thread.run_sync(lambda: 1) == 1
        answered.set()


@pytest.mark.parametrize("names", [("", "ada"), ("prisma", "")])
def test_entries_need_a_name(names: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="empty"):
        KeyringTokenStorage(names[0], key=names[1])

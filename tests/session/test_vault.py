"""A vault: what becomes of tokens while their storage fails, hangs, or is written by others."""

import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from weakref import ref

import anyio
import pytest

from prisma_mgmt import AuthError
from prisma_mgmt.auth import SharedTokenStorage, Tokens, TokenStorage, vault
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.auth.tokens import same
from prisma_mgmt.auth.vault import Vault
from tests.kit.login import CountingStorage

pytestmark = pytest.mark.anyio

OLD, NEW, OTHER = (Tokens("wksp_1", f"access-{name}", f"refresh-{name}") for name in ("old", "new", "other"))


class Owner:
    pass


class FaultyStorage(CountingStorage):
    """Fails whatever it is asked while `down`."""

    down = False

    async def get_tokens(self) -> Tokens | None:
        self._check()
        return await super().get_tokens()

    async def set_tokens(self, tokens: Tokens) -> None:
        self._check()
        await super().set_tokens(tokens)

    async def clear_tokens(self) -> None:
        self._check()
        await super().clear_tokens()

    def _check(self) -> None:
        if self.down:
            raise ConnectionError("canary")


class SharedFaultyStorage(FaultyStorage):
    """With a lock that can fail at either end."""

    fails_at = ""

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        if self.fails_at == "enter":
            raise ConnectionError
        yield
        if self.fails_at == "exit":
            raise ConnectionError

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        self._check()
        current = same(self._tokens, tokens)
        if current:
            self._tokens = None
        return current


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def storage() -> FaultyStorage:
    return FaultyStorage(OLD)


@pytest.fixture
def kept(storage: FaultyStorage, owner: Owner) -> Vault:
    return Vault(storage, owner)


async def test_a_storages_fault_is_an_auth_error_that_names_its_kind(kept: Vault, storage: FaultyStorage) -> None:
    storage.down = True
    calls: list[Callable[[], Awaitable[Any]]] = [
        kept.read,
        kept.clear,
        lambda: kept.put(NEW),
        lambda: kept.clear_refused(OLD),
    ]
    for call in calls:
        with pytest.raises(AuthError, match="the token storage failed: ConnectionError") as caught:
            await call()
        assert "canary" not in str(caught.value)
        assert isinstance(caught.value.__cause__, ConnectionError)
        assert not caught.value.refresh_token_invalid


async def test_an_auth_error_of_the_storage_is_passed_on(owner: Owner) -> None:
    class Refusing(MemoryTokenStorage):
        async def get_tokens(self) -> Tokens | None:
            raise AuthError("tokens.json holds no tokens")

    with pytest.raises(AuthError, match=r"tokens\.json holds no tokens"):
        await Vault(Refusing(), owner).read()


async def test_a_pair_that_cannot_be_stored_serves_and_is_stored_at_the_next_read(
    kept: Vault, storage: FaultyStorage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.failures = 2
    await kept.keep(OLD, NEW)
    assert storage.current == OLD
    assert await kept.read() == NEW
    assert storage.current == OLD
    assert await kept.read() == NEW
    assert storage.current == NEW
    records = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert records == ["new tokens could not be stored; they are kept in memory (OSError)"] * 2


async def test_a_pair_in_memory_serves_while_the_storage_is_down(kept: Vault, storage: FaultyStorage) -> None:
    storage.down = True
    await kept.keep(OLD, NEW)
    assert await kept.read() == NEW
    storage.down = False
    assert await kept.read() == NEW
    assert storage.current == NEW


async def test_a_second_pair_in_memory_replaces_the_first(kept: Vault, storage: FaultyStorage) -> None:
    storage.failures = 2
    await kept.keep(OLD, OTHER)
    assert await kept.holds(OTHER), "the storage holds what OTHER could not yet replace"
    await kept.keep(OTHER, NEW)
    assert await kept.read() == NEW
    assert storage.current == NEW


async def test_what_somebody_else_stored_meanwhile_wins_over_a_pair_in_memory(
    kept: Vault, storage: FaultyStorage
) -> None:
    storage.failures = 1
    await kept.keep(OLD, NEW)
    await storage.set_tokens(OTHER)
    assert not await kept.holds(OLD)
    assert await kept.read() == OTHER
    assert await kept.read() == OTHER
    assert storage.current == OTHER


@pytest.mark.parametrize("all_down", [False, True])
async def test_a_login_that_cannot_be_stored_is_an_error_and_serves(
    kept: Vault, storage: FaultyStorage, all_down: bool
) -> None:
    storage.failures, storage.down = 1, all_down
    with pytest.raises(AuthError, match="storage failed"):
        await kept.put(NEW)
    storage.failures, storage.down = 0, False
    assert await kept.read() == NEW
    assert storage.current == NEW


@pytest.mark.parametrize("forget", [lambda kept: kept.clear(), lambda kept: kept.clear_refused(OLD)])
async def test_forgetting_forgets_a_pair_in_memory_too(kept: Vault, storage: FaultyStorage, forget: Any) -> None:
    storage.failures = 1
    await kept.keep(OLD, NEW)
    await forget(kept)
    assert await kept.read() is None
    assert storage.current is None


async def test_a_logout_beats_a_read_that_would_store_the_pair_in_memory(kept: Vault, storage: FaultyStorage) -> None:
    storage.failures = 1
    await kept.keep(OLD, NEW)
    async with anyio.create_task_group() as group, kept.writing:
        group.start_soon(kept.read)
        await anyio.wait_all_tasks_blocked()
        await kept.clear()
    assert storage.current is None


@pytest.mark.parametrize("kind", [FaultyStorage, SharedFaultyStorage])
async def test_only_the_refused_pair_is_cleared(kind: type[FaultyStorage], owner: Owner) -> None:
    storage = kind(NEW)
    await Vault(storage, owner).clear_refused(OLD)
    assert storage.current == NEW
    await Vault(storage, owner).clear_refused(NEW)
    assert storage.current is None


async def test_closing_stores_what_is_left_or_says_that_it_cannot(kept: Vault, storage: FaultyStorage) -> None:
    await kept.flush()
    assert storage.writes == []
    storage.failures = 2
    await kept.keep(OLD, NEW)
    with pytest.raises(AuthError):
        await kept.flush()
    await kept.flush()
    assert storage.current == NEW


@pytest.mark.parametrize("stored", [OTHER, None])
async def test_closing_leaves_alone_what_somebody_else_has_done_since(
    kept: Vault, storage: FaultyStorage, stored: Tokens | None
) -> None:
    storage.failures = 1
    await kept.keep(OLD, NEW)
    await storage.clear_tokens()
    if stored is not None:
        await storage.set_tokens(stored)
    await kept.flush()
    assert storage.current == stored
    assert await kept.read() == stored


async def test_closing_says_that_a_storage_cannot_be_read_and_loses_nothing(
    kept: Vault, storage: FaultyStorage
) -> None:
    storage.down = True
    await kept.keep(OLD, NEW)
    with pytest.raises(AuthError, match="ConnectionError"):
        await kept.flush()
    storage.down = False
    await storage.set_tokens(OTHER)
    await kept.flush()
    assert storage.current == OTHER


async def test_an_owner_lives_for_as_long_as_a_pair_is_in_memory_only(storage: FaultyStorage) -> None:
    owner = Owner()
    kept, gone = Vault(storage, owner), ref(owner)
    storage.failures = 1
    await kept.keep(OLD, NEW)
    del owner
    gc.collect()
    assert gone() is not None
    await kept.read()
    gc.collect()
    assert gone() is None


async def test_a_storage_that_hangs_is_a_storage_that_fails(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, anyio_backend_name: str
) -> None:
    class Hanging(FaultyStorage):
        hangs = False

        def _check(self) -> None:
            pass

        async def get_tokens(self) -> Tokens | None:
            if self.hangs:
                await anyio.sleep_forever()
            return await super().get_tokens()

        async def set_tokens(self, tokens: Tokens) -> None:
            await self.get_tokens()
            await super().set_tokens(tokens)

    monkeypatch.setattr(vault, "_PATIENCE", 0.01)
    storage = Hanging(OLD)
    kept = Vault(storage, owner)
    storage.hangs = True
    with pytest.raises(AuthError, match="TimeoutError"):
        await kept.read()
    await kept.keep(OLD, NEW)
    assert await kept.read() == NEW
    storage.hangs = False
    assert await kept.read() == NEW
    assert storage.current == NEW


# The refresh lock


async def test_a_storage_of_ones_own_needs_no_lock(kept: Vault) -> None:
    async with kept.refresh_lock() as others:
        assert not others


async def test_a_lock_that_cannot_be_had_is_an_auth_error(owner: Owner) -> None:
    storage = SharedFaultyStorage(OLD)
    storage.fails_at = "enter"
    with pytest.raises(AuthError, match="ConnectionError"):
        async with Vault(storage, owner).refresh_lock():
            pytest.fail("the lock was not held")


async def test_a_lock_that_cannot_be_released_costs_nobody_the_refresh(
    owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    storage = SharedFaultyStorage(OLD)
    storage.fails_at = "exit"
    async with Vault(storage, owner).refresh_lock() as others:
        assert others
    assert "the refresh lock could not be released (ConnectionError)" in caplog.messages


def test_three_methods_make_a_storage_and_two_more_a_shared_one() -> None:
    assert isinstance(MemoryTokenStorage(), TokenStorage)
    assert not isinstance(MemoryTokenStorage(), SharedTokenStorage)
    assert isinstance(SharedFaultyStorage(), SharedTokenStorage)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (None, None, True),
        (OLD, None, False),
        (OLD, NEW, False),
        (OLD, Tokens("another", "access-old", "refresh-old", 5.0, "scope"), True),
        (OLD, Tokens("wksp_1", "access-old"), False),
    ],
)
def test_two_pairs_are_the_same_by_their_tokens(one: Tokens | None, other: Tokens | None, expected: bool) -> None:
    assert same(one, other) is same(other, one) is expected


async def test_a_storage_that_swaps_in_one_step_is_asked_to() -> None:
    swaps: list[tuple[Tokens, Tokens]] = []

    class Swapping(MemoryTokenStorage):
        current = True

        async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
            swaps.append((tokens, current))
            if self.current is None:
                raise OSError("down")
            return self.current

    storage = Swapping()
    old, new = Tokens("wksp_1", "access-1", "refresh-1"), Tokens("wksp_1", "access-2", "refresh-2")
    vault = Vault(storage, storage)
    assert await vault.replace(old, new)
    storage.current = False
    assert not await vault.replace(old, new)
    storage.current = None  # type: ignore[assignment]  # a storage that is down
    assert await vault.replace(old, new), "the pair is kept"
    assert swaps == [(new, old)] * 3
    await storage.set_tokens(old)
    assert await vault.read() == new, "and stored at the next chance"
    assert await storage.get_tokens() == new

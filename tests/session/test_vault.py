"""A vault: what becomes of tokens while their storage fails, hangs, or is written by others."""

import gc
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary, ref

import anyio
import pytest
from attrs import evolve

from prisma_mgmt import AuthError
from prisma_mgmt.auth import SharedTokenStorage, Tokens, TokenStorage
from prisma_mgmt.auth.ledger import Ledger, ledger_of
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.auth.tokens import same
from prisma_mgmt.auth.vault import Patience, Vault
from tests.kit.login import CountingStorage, SharedStorage

pytestmark = pytest.mark.anyio

OLD, NEW, OTHER, THEIRS = (
    Tokens("wksp_1", f"access-{name}", f"refresh-{name}") for name in ("old", "new", "other", "theirs")
)


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


class SharedFaultyStorage(FaultyStorage, SharedStorage):
    """With a lock that can fail at either end."""

    fails_at = ""

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        if self.fails_at == "enter":
            raise ConnectionError
        yield
        if self.fails_at == "exit":
            raise ConnectionError


async def replace(kept: Vault, old: Tokens, new: Tokens) -> bool:
    async with kept.writing():
        return await kept.replace(old, new)


@pytest.fixture
def storage() -> FaultyStorage:
    return FaultyStorage(OLD)


@pytest.fixture
def kept(storage: FaultyStorage) -> Vault:
    return Vault(storage)


async def test_a_storages_fault_is_an_auth_error_that_names_its_kind(kept: Vault, storage: FaultyStorage) -> None:
    storage.down = True
    calls: list[Callable[[], Awaitable[Any]]] = [
        kept.read,
        lambda: kept.put(None),
        lambda: kept.put(NEW),
        lambda: kept.clear_refused(OLD),
    ]
    for call in calls:
        with pytest.raises(AuthError, match=r"the token storage failed: ConnectionError \(FaultyStorage\)") as caught:
            await call()
        assert "canary" not in str(caught.value)
        assert isinstance(caught.value.__cause__, ConnectionError)
        assert not caught.value.refresh_token_invalid


async def test_an_auth_error_of_the_storage_is_passed_on() -> None:
    class Refusing(MemoryTokenStorage):
        async def get_tokens(self) -> Tokens | None:
            raise AuthError("tokens.json holds no tokens")

    with pytest.raises(AuthError, match=r"tokens\.json holds no tokens"):
        await Vault(Refusing()).read()


async def test_a_pair_that_cannot_be_stored_serves_and_is_stored_at_the_next_read(
    kept: Vault, storage: FaultyStorage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.failures = 2
    await replace(kept, OLD, NEW)
    assert storage.current == OLD
    assert await kept.read() == NEW
    assert storage.current == OLD
    assert await kept.read() == NEW
    assert storage.current == NEW
    records = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert records == ["new tokens could not be stored; they are kept in memory (OSError)"] * 2


async def test_a_pair_in_memory_serves_while_the_storage_is_down(kept: Vault, storage: FaultyStorage) -> None:
    storage.down = True
    await replace(kept, OLD, NEW)
    assert await kept.read() == NEW
    storage.down = False
    assert await kept.read() == NEW
    assert storage.current == NEW


async def test_a_second_pair_in_memory_replaces_the_first(kept: Vault, storage: FaultyStorage) -> None:
    storage.failures = 2
    await replace(kept, OLD, OTHER)
    assert storage.current == OLD, "the storage holds what OTHER could not yet replace"
    await replace(kept, OTHER, NEW)
    assert await kept.read() == NEW
    assert storage.current == NEW


async def test_what_somebody_else_stored_meanwhile_wins_over_a_pair_in_memory(
    kept: Vault, storage: FaultyStorage
) -> None:
    storage.failures = 1
    await replace(kept, OLD, NEW)
    await storage.set_tokens(OTHER)
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


@pytest.mark.parametrize("forget", [lambda kept: kept.put(None), lambda kept: kept.clear_refused(NEW)])
async def test_forgetting_forgets_a_pair_in_memory_too(kept: Vault, storage: FaultyStorage, forget: Any) -> None:
    storage.failures = 1
    await replace(kept, OLD, NEW)
    await forget(kept)
    assert await kept.read() is None
    assert storage.current is None


async def test_a_logout_beats_a_read_that_would_store_the_pair_in_memory(kept: Vault, storage: FaultyStorage) -> None:
    storage.failures = 1
    await replace(kept, OLD, NEW)
    async with anyio.create_task_group() as group, kept.writing():
        group.start_soon(kept.read)
        await anyio.wait_all_tasks_blocked()
        await kept.put(None)
    assert storage.current is None


@pytest.mark.parametrize("kind", [FaultyStorage, SharedFaultyStorage])
async def test_only_the_refused_pair_is_cleared(kind: type[FaultyStorage]) -> None:
    storage = kind(NEW)
    await Vault(storage).clear_refused(OLD)
    assert storage.current == NEW
    await Vault(storage).clear_refused(NEW)
    assert storage.current is None


async def test_closing_stores_what_is_left_or_says_that_it_cannot(kept: Vault, storage: FaultyStorage) -> None:
    await kept.flush()
    assert storage.writes == []
    storage.failures = 2
    await replace(kept, OLD, NEW)
    with pytest.raises(AuthError):
        await kept.flush()
    await kept.flush()
    assert storage.current == NEW


@pytest.mark.parametrize("stored", [OTHER, None])
async def test_closing_leaves_alone_what_somebody_else_has_done_since(
    kept: Vault, storage: FaultyStorage, stored: Tokens | None
) -> None:
    storage.failures = 1
    await replace(kept, OLD, NEW)
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
    await replace(kept, OLD, NEW)
    with pytest.raises(AuthError, match="ConnectionError"):
        await kept.flush()
    storage.down = False
    await storage.set_tokens(OTHER)
    await kept.flush()
    assert storage.current == OTHER


@pytest.mark.parametrize(("workspace", "kept_there"), [("wksp_1", {"theme": "dark"}), ("wksp_2", {})])
async def test_what_other_programs_keep_beside_the_tokens_outlives_a_login_of_the_same_workspace(
    workspace: str, kept_there: dict[str, str]
) -> None:
    storage = FaultyStorage(evolve(OLD, extra={"theme": "dark"}))
    await Vault(storage).put(evolve(NEW, workspace_id=workspace))
    assert storage.current is not None
    assert storage.current.extra == kept_there


async def test_a_login_in_another_event_loop_that_could_not_be_stored_yet_outlives_a_refresh(
    storage: FaultyStorage,
) -> None:
    ledger = Ledger()
    mine, other = Vault(storage, ledger), Vault(storage, ledger)
    storage.down = True
    async with other.writing():
        with pytest.raises(AuthError):
            await other.put(OTHER)
    storage.down = False
    assert not await replace(mine, OLD, NEW)
    async with mine.writing():
        assert await mine.clear_refused(OLD) == OTHER
    assert await mine.read() == storage.current == OTHER


async def test_a_ledger_lives_for_as_long_as_a_pair_is_in_memory_only_or_the_storage_may_lag(
    storage: FaultyStorage,
) -> None:
    keep: OrderedDict[Ledger, None] = OrderedDict()
    ledgers: WeakValueDictionary[str, Ledger] = WeakValueDictionary()

    def found(*, later: float = 0.0) -> Ledger:
        gc.collect()
        return ledger_of("ada", ledgers, keep, time.monotonic() + later)

    gone = ref(found())
    assert found() is not gone(), "nobody needs it"
    storage.failures = 1
    await replace(Vault(storage, kept := found()), OLD, NEW)
    gone = ref(kept)
    del kept
    assert found(later=1000) is gone() is not None
    await Vault(storage, found()).read()
    assert found(later=50) is gone() is not None, "the storage may still give the pair before"
    assert found(later=2000) is not gone()
    assert gone() is None


async def test_nobody_waits_for_thousands_of_ledgers_to_be_let_go_of() -> None:
    keep: OrderedDict[Ledger, None] = OrderedDict.fromkeys(Ledger() for _ in range(1000))
    ledgers: WeakValueDictionary[str, Ledger] = WeakValueDictionary()
    for _ in range(10):
        before = len(keep)
        ledger_of("ada", ledgers, keep, time.monotonic() + 1000)
        assert before - 100 <= len(keep) < before
    assert not keep


async def test_a_storage_that_hangs_is_a_storage_that_fails() -> None:
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

    storage = Hanging(OLD)
    kept = Vault(storage, patience=Patience(storage=0.01))
    storage.hangs = True
    with pytest.raises(AuthError, match="TimeoutError"):
        await kept.read()
    await replace(kept, OLD, NEW)
    assert await kept.read() == NEW
    storage.hangs = False
    assert await kept.read() == NEW
    assert storage.current == NEW


# The refresh lock


async def test_a_storage_of_ones_own_needs_no_lock(kept: Vault, storage: FaultyStorage) -> None:
    storage.down = True
    async with kept.refresh_lock(OLD):
        assert storage.reads == 0, "it is not even asked"


async def test_a_lock_that_cannot_be_had_is_an_auth_error() -> None:
    storage = SharedFaultyStorage(OLD)
    storage.fails_at = "enter"
    with pytest.raises(AuthError, match="ConnectionError"):
        async with Vault(storage).refresh_lock(OLD):
            pytest.fail("the lock was not held")


async def test_a_lock_that_cannot_be_released_costs_nobody_the_refresh(caplog: pytest.LogCaptureFixture) -> None:
    storage = SharedFaultyStorage(OLD)
    storage.fails_at = "exit"
    refreshed = False
    async with Vault(storage).refresh_lock(OLD):
        refreshed = True
    assert refreshed
    assert "the refresh lock could not be released (ConnectionError)" in caplog.messages


def test_three_methods_make_a_storage_and_three_more_a_shared_one() -> None:
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

    class Swapping(SharedStorage):
        answer: bool | None = True

        async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
            swaps.append((tokens, current))
            if self.answer is None:
                raise OSError("down")
            await self.set_tokens(tokens if self.answer else THEIRS)
            return self.answer

    storage = Swapping(OLD)
    vault = Vault(storage)
    assert await replace(vault, OLD, NEW)
    storage.answer = False
    assert not await replace(vault, NEW, OTHER)
    await storage.set_tokens(NEW)
    storage.answer = None
    assert await replace(vault, NEW, OTHER), "the pair is kept"
    assert swaps == [(NEW, OLD), (OTHER, NEW), (OTHER, NEW)]
    storage.answer = True
    assert await vault.read() == OTHER, "and stored at the next chance"
    assert await storage.get_tokens() == OTHER


async def test_a_pair_that_a_storage_refuses_though_nobody_has_stored_another_is_kept() -> None:
    class Behind(SharedStorage):
        behind = True

        async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
            return not self.behind and await super().set_tokens_if_current(tokens, current)

    storage = Behind(OLD)
    vault = Vault(storage)
    assert await replace(vault, OLD, NEW)
    assert await vault.read() == NEW
    storage.behind = False
    assert await vault.read() == NEW
    assert await storage.get_tokens() == NEW

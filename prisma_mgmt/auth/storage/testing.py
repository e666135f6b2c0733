"""Does a storage of your own keep the contract? Run `check_storage` against it.

```python
@pytest.mark.anyio
async def test_my_storage(tmp_path):
    await check_storage(lambda: MyStorage(tmp_path / "tokens"))
```
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio

from prisma_mgmt.auth.storage.protocol import TokenStorage
from prisma_mgmt.auth.tokens import Tokens

_SHARED = ("refresh_lock", "set_tokens_if_current", "clear_tokens_if_current")
_LOGINS = [
    Tokens("wksp_1", "access-1", "refresh-1", 1_800_000_000.5, "workspace:admin offline_access"),
    Tokens("wksp_1", "access-2", "refresh-2"),
    Tokens("wksp_1", "access-3"),
    Tokens("wksp_1", "a" * 6000, "r" * 3000, 1_800_000_000.0, "x" * 200),
    Tokens("wksp_ünï", 'access-"4"\\\n\u2028', "refresh-é-😀", None, "workspace:admin"),
]
_ONE, _OTHER, _THIRD = _LOGINS[:3]


async def check_storage(
    storage_for: Callable[[], TokenStorage], *, patience: float = 60.0, refresh: float = 15.0
) -> None:
    """Check a storage against the contract; AssertionError, with the broken rule in words, if it breaks it.

    `storage_for` gives a storage object over one place, which is empty at first: several objects are made, as several
    processes would make them, unless the storage keeps its tokens in the object itself and gives the same one again.
    A storage that has what SharedTokenStorage asks for is checked as one that processes share. `refresh` is
    for how many seconds a lock is held: over a read, a refresh, which may take ten, and a write. `patience` is how many
    seconds all the rest may take.
    """
    with anyio.move_on_after(patience + refresh) as scope:
        await _check_keeping(storage_for(), storage_for())
        storage, other = storage_for(), storage_for()
        found = [name for name in _SHARED if hasattr(storage, name)]
        if found:
            _expect(len(found) == len(_SHARED), f"a storage that processes share has {', '.join(_SHARED)}")
            for check in (_check_clearing, _check_swapping, _check_swapping_at_once, _check_lock):
                await check(storage, other)
            await _check_lock_survives(storage, other, patience / 6)
            await _check_lock_lasts(storage, other, refresh)
        await storage.clear_tokens()
    _expect(not scope.cancelled_caught, "every call comes to an end")


async def _check_keeping(storage: TokenStorage, other: TokenStorage) -> None:
    _expect(await storage.get_tokens() is None, "get_tokens() gives None where there are no tokens")
    await storage.clear_tokens()
    for tokens in _LOGINS:
        await storage.set_tokens(tokens)
        _expect(await storage.get_tokens() == tokens, "get_tokens() gives every field that set_tokens() was given")
        _expect(await other.get_tokens() == tokens, "tokens are kept for every object of the same place")
    async with anyio.create_task_group() as group:
        for tokens in _LOGINS:
            group.start_soon(other.set_tokens, tokens)
    _expect(await storage.get_tokens() in _LOGINS, "of several writes at once one wins whole")
    await other.clear_tokens()
    _expect(await storage.get_tokens() is None, "clear_tokens() forgets the tokens, for every object")
    _expect(await other.get_tokens() is None, "clear_tokens() forgets the tokens")
    await other.clear_tokens()


async def _check_clearing(storage: Any, other: Any) -> None:
    clear = other.clear_tokens_if_current
    _expect(await clear(_ONE) is False, "clear_tokens_if_current() is False where nothing is")
    await storage.set_tokens(_OTHER)
    _expect(await clear(_ONE) is False, "clear_tokens_if_current() is False for replaced tokens")
    _expect(await storage.get_tokens() == _OTHER, "clear_tokens_if_current() leaves newer tokens alone")
    _expect(await clear(_OTHER) is True, "clear_tokens_if_current() is True for the current tokens")
    _expect(await storage.get_tokens() is None, "clear_tokens_if_current() forgets the current tokens")
    await storage.set_tokens(_ONE)
    only_the_pair = Tokens(_ONE.workspace_id, _ONE.access_token, _ONE.refresh_token)
    _expect(await clear(only_the_pair) is True, "tokens are current by their pair, not by their expiry")


async def _check_swapping(storage: Any, other: Any) -> None:
    swap = other.set_tokens_if_current
    _expect(await swap(_OTHER, _ONE) is False, "set_tokens_if_current() is False where nothing is")
    await storage.set_tokens(_ONE)
    _expect(await swap(_OTHER, _ONE) is True, "set_tokens_if_current() is True for the current tokens")
    _expect(await storage.get_tokens() == _OTHER, "set_tokens_if_current() stores the new tokens")
    await storage.set_tokens(_ONE)
    _expect(await swap(_THIRD, _OTHER) is False, "set_tokens_if_current() is False for replaced tokens")
    _expect(await other.get_tokens() == _ONE, "set_tokens_if_current() leaves newer tokens alone")
    await storage.clear_tokens()
    _expect(await swap(_OTHER, _ONE) is False, "set_tokens_if_current() brings nothing back after clear_tokens()")
    _expect(await storage.get_tokens() is None, "set_tokens_if_current() stores nothing that is not current")


async def _check_swapping_at_once(storage: Any, other: Any) -> None:
    await storage.set_tokens(_ONE)
    done: list[Tokens] = []

    async def swap(one: Any, tokens: Tokens) -> None:
        if await one.set_tokens_if_current(tokens, _ONE):
            done.append(tokens)

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(swap, (storage, other)[number % 2], Tokens("wksp_1", f"access-{number}", "refresh-3"))
    _expect(len(done) == 1, "of several set_tokens_if_current() at once one is True, and the others are False")
    _expect(await storage.get_tokens() == done[0], "the tokens of the set_tokens_if_current() that was True are kept")
    await storage.clear_tokens()


async def _check_lock(storage: Any, other: Any) -> None:
    inside, found = list[Any](), list[tuple[int, bool]]()

    async def take(one: Any) -> None:
        async with one.refresh_lock():
            inside.append(one)
            await one.set_tokens(_ONE)
            await one.clear_tokens_if_current(_OTHER)
            usable = await one.set_tokens_if_current(_ONE, _ONE) and await one.get_tokens() == _ONE
            await anyio.sleep(0.02)
            found.append((len(inside), usable))
            inside.remove(one)

    async with anyio.create_task_group() as group:
        for one in (storage, other, storage, other):
            group.start_soon(take, one)
    _expect(all(holders == 1 for holders, _ in found), "refresh_lock() is held by one at a time")
    _expect(
        all(usable for _, usable in found),
        "a storage can be used, by all of its methods, while its own refresh_lock() is held",
    )
    await storage.clear_tokens()


async def _check_lock_survives(storage: Any, other: Any, patience: float) -> None:
    """An error or a cancellation, of its holder or of one who waits, leaves the lock free."""
    with suppress(KeyError):
        async with storage.refresh_lock():
            raise KeyError
    await _check_free(other, "an error", patience)
    async with storage.refresh_lock():
        with anyio.move_on_after(0.05) as waiting:
            async with other.refresh_lock():
                pass
        _expect(waiting.cancelled_caught, "refresh_lock() waits for its holder, and can be cancelled meanwhile")
        await other.set_tokens(_OTHER)  # a login or a logout does not wait for a refresh
        await other.clear_tokens()
    with anyio.move_on_after(0.05):
        async with other.refresh_lock():
            await anyio.sleep_forever()
    await _check_free(storage, "a cancellation", patience)


async def _check_lock_lasts(storage: Any, other: Any, refresh: float) -> None:
    taken = False
    async with storage.refresh_lock():
        with anyio.move_on_after(refresh):
            while not taken:
                with suppress(Exception):  # who waits may give up by itself, and ask again
                    async with other.refresh_lock():
                        taken = True
                await anyio.sleep(0.02)
    _expect(not taken, f"refresh_lock() is held for as long as its holder needs it, such as {refresh:g} s")


async def _check_free(storage: Any, after: str, patience: float) -> None:
    with anyio.move_on_after(patience) as waiting:
        async with storage.refresh_lock():
            pass
    _expect(not waiting.cancelled_caught, f"refresh_lock() is free again after {after}")


def _expect(kept: bool, rule: str) -> None:
    if not kept:
        raise AssertionError(f"the storage breaks the contract: {rule}")

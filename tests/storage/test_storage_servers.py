"""Storages on real servers: Redis, and PostgreSQL with and without a pooler before it; what becomes of tokens when a
server is killed.
"""

import json
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from attrs import evolve

from prisma_mgmt import AuthError
from prisma_mgmt.auth import SharedTokenStorage, TokenCipher, Tokens
from prisma_mgmt.auth.storage.testing import check_storage
from tests.kit.canaries import leaks
from tests.kit.login import Prisma, session_at
from tests.kit.rig import Gate, serve
from tests.storage.places import CIPHER, NEWER, TOKENS, Place

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # as are both servers' clients


@pytest.mark.parametrize("cipher", [None, CIPHER], ids=["plain", "sealed"])
async def test_it_keeps_the_contract(place: Place, cipher: TokenCipher | None) -> None:
    await check_storage(lambda: place.storage(cipher=cipher, lease=1.0), refresh=1.5)
    assert isinstance(place.storage(), SharedTokenStorage)


async def test_what_stands_there_is_sealed_with_a_cipher(place: Place) -> None:
    await place.storage().set_tokens(TOKENS)
    assert "canary" in str(await place.read())
    await place.storage(cipher=CIPHER).set_tokens(TOKENS)
    assert "canary" not in str(await place.read())
    with pytest.raises(AuthError, match="give the storage its cipher"):
        await place.storage().get_tokens()
    with pytest.raises(AuthError, match="another key"):
        await place.storage(cipher=TokenCipher([b"x" * 32])).get_tokens()


async def test_sealed_tokens_are_bound_to_their_key(place: Place) -> None:
    await place.storage(cipher=CIPHER).set_tokens(TOKENS)
    sealed = await place.read()
    await place.storage(cipher=CIPHER).clear_tokens()
    bob = place.storage(cipher=CIPHER, key="bob")
    await bob.set_tokens(TOKENS)
    await place.storage(cipher=CIPHER).set_tokens(NEWER)
    assert await bob.get_tokens() == TOKENS
    await bob.clear_tokens()
    assert sealed


@pytest.mark.parametrize("text", ["", "canary", "[]", '{"accessToken": "canary"}', "v1.canary", "\x7f"])
async def test_what_holds_no_tokens_is_an_error_that_names_the_place(place: Place, text: str) -> None:
    await place.storage().set_tokens(TOKENS)
    await place.write(text)
    for call in (place.storage().get_tokens, lambda: place.storage().clear_tokens_if_current(TOKENS)):
        with pytest.raises(AuthError, match=r"(redis|postgres):.*ada holds no tokens") as caught:
            await call()
        assert "canary" not in str(caught.value)
    assert await place.read() in (text, text.encode())


async def test_users_have_places_of_their_own(place: Place) -> None:
    ada, bob = place.storage(key="ada"), place.storage(key="bob")
    await ada.set_tokens(TOKENS)
    await bob.set_tokens(NEWER)
    async with ada.refresh_lock(), bob.refresh_lock():
        assert await ada.get_tokens() == TOKENS
        await bob.set_tokens(NEWER)
        await ada.set_tokens(TOKENS)
    await bob.clear_tokens()
    assert await ada.get_tokens() == TOKENS
    await ada.clear_tokens()


async def test_a_lock_is_waited_for_with_an_end(place: Place) -> None:
    async with place.storage().refresh_lock():
        with pytest.raises(AuthError, match=r"another process has held the refresh lock of (redis|postgres):.* 0\.2 s"):
            async with place.storage(patience=0.2).refresh_lock():
                pytest.fail("two holders")


async def test_a_lock_lasts_for_as_long_as_it_is_held(place: Place) -> None:
    async with place.storage(lease=0.3).refresh_lock():
        with pytest.raises(AuthError, match="has held the refresh lock"):
            async with place.storage(patience=1.0).refresh_lock():
                pytest.fail("two holders")


async def test_whoever_lost_a_lock_stores_nothing_over_what_came_after(place: Place) -> None:
    """As a process that was stopped for longer than its lease."""
    await place.storage().set_tokens(TOKENS)
    slow, other = place.storage(), place.storage()
    async with slow.refresh_lock():
        await place.steal()
        assert await other.set_tokens_if_current(NEWER, TOKENS)
        assert not await slow.set_tokens_if_current(evolve(TOKENS, access_token="late"), TOKENS)
    assert await place.storage().get_tokens() == NEWER
    with pytest.raises(AuthError, match="has held the refresh lock"):  # it is not released for its new holder
        async with place.storage(patience=0.1).refresh_lock():
            pytest.fail("two holders")
    await place.steal(ends=True)


async def test_what_is_read_under_a_lock_that_was_lost_is_read_under_it_again(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a process that was too slow would send a refresh token that another one has just sent."""
    slow, other = place.storage(lease=0.7), place.storage()
    await other.set_tokens(TOKENS)
    async with slow.refresh_lock():
        assert await slow.get_tokens() == TOKENS
        await place.steal()
        while "was lost" not in caplog.text:
            await anyio.sleep(0.01)
        with anyio.move_on_after(0.2) as waiting:
            await slow.get_tokens()
        assert waiting.cancelled_caught, "it waits for the lock"
        assert await other.set_tokens_if_current(NEWER, TOKENS)
        await place.steal(ends=True)
        assert await slow.get_tokens() == NEWER
        with pytest.raises(AuthError, match="has held the refresh lock"):
            async with place.storage(patience=0.1).refresh_lock():
                pytest.fail("two holders")
    assert await slow.get_tokens() == NEWER


async def test_whose_lock_is_free_waits_for_none_whose_locks_are_held(place: Place) -> None:
    waiting, got = 0, 0

    async def wait(number: int) -> None:
        nonlocal waiting, got
        waiting += 1
        async with place.storage(key=f"user:{number}").refresh_lock():
            got += 1

    async with AsyncExitStack() as held, anyio.create_task_group() as group:
        for number in range(50):
            await held.enter_async_context(place.storage(key=f"user:{number}").refresh_lock())
            group.start_soon(wait, number)
        while waiting < 50:
            await anyio.sleep(0)
        with anyio.fail_after(5):
            async with place.storage(key="free").refresh_lock():
                assert got == 0
        group.cancel_scope.cancel()


async def test_one_holds_a_lock_at_a_time_however_many_want_it(place: Place) -> None:
    inside = 0

    async def take() -> None:
        nonlocal inside
        async with place.storage().refresh_lock():
            inside += 1
            assert inside == 1
            await place.storage().get_tokens()
            inside -= 1

    async with anyio.create_task_group() as group:
        for _ in range(24):
            group.start_soon(take)


async def test_a_cancelled_caller_leaves_no_lock_behind(place: Place) -> None:
    """Cancelled at many moments: while it asks, while it waits, while it holds the lock and while it gives it back."""

    async def cancel_after(steps: int, scope: anyio.CancelScope) -> None:
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    for moment in range(0, 160, 4):
        async with anyio.create_task_group() as group:
            group.start_soon(cancel_after, moment, group.cancel_scope)
            async with place.storage().refresh_lock():
                await place.storage().set_tokens(TOKENS)
            group.cancel_scope.cancel()
    async with place.storage(patience=2.0).refresh_lock():
        assert await place.storage().get_tokens() in (TOKENS, None)


async def test_other_programs_keys_stay_through_a_refresh(place: Place) -> None:
    await place.storage().set_tokens(TOKENS)
    theirs = {**TOKENS.to_json(), "user": {"id": 7}, "expiresAt": "soon", "scope": ["a"], "version": "1"}
    await place.write("\ufeff" + json.dumps(theirs))
    storage = place.storage()
    found = await storage.get_tokens()
    assert found == Tokens(TOKENS.workspace_id, TOKENS.access_token, TOKENS.refresh_token)
    assert await storage.set_tokens_if_current(evolve(found, access_token="canary-3"), found)
    assert json.loads(await place.read()) == {
        **Tokens("wksp_1", "canary-3", "canary-refresh").to_json(),
        "user": {"id": 7},
        "version": "1",
    }


async def test_an_error_of_a_storage_shows_no_token(place: Place) -> None:
    """With a server that is away, and with what cannot be read."""
    storage = place.storage()
    await storage.set_tokens(TOKENS)
    await place.write('{"workspaceId": "w", "accessToken": "canary')
    calls = [
        storage.get_tokens,
        lambda: storage.set_tokens(NEWER),
        lambda: storage.set_tokens_if_current(NEWER, TOKENS),
        lambda: storage.clear_tokens_if_current(TOKENS),
        storage.clear_tokens,
    ]
    errors = [await raised(call) for call in calls if call is not calls[1] and call is not calls[4]]
    place.process.kill()
    try:
        errors += [await raised(call) for call in calls]
    finally:
        await place.start()
    assert [leaks(error) for error in errors] == [[]] * 8


async def raised(call: Any) -> BaseException:
    try:
        await call()
    except Exception as error:
        return error
    pytest.fail("no error")


async def test_a_pair_that_could_not_be_stored_is_not_outrun(place: Place) -> None:
    """Whoever gets the lock next would send the refresh token again that the pair which is not stored yet replaced."""
    prisma = Prisma("strict", token_gate=Gate())
    await place.storage().set_tokens(prisma.tokens())
    async with serve(prisma.handle) as server:
        one, other = (session_at(server.url, place.storage(patience=patience)) for patience in (25, 0.01))
        old = await one.access_token()
        renewed: list[str | None] = []

        async def renew() -> None:
            renewed.append(await one.renew(old))

        async with anyio.create_task_group() as group:
            group.start_soon(renew)
            await prisma.token_gate.arrived.wait()
            await place.refuse(True)
            prisma.token_gate.release()
        with pytest.raises(AuthError, match="another process has held the refresh lock"):
            await other.renew(old)
        await place.refuse(False)
        await one.aclose()  # which stores the pair
        assert await other.renew(old) == renewed[0] != old
    assert (prisma.refreshes, prisma.refused) == (1, 0)


async def test_a_lock_that_was_left_is_nobodys_until_its_lease_ends(place: Place) -> None:
    """Not even of others in the same process: only who was refused has the pair that is still to be stored."""
    storage, other = (place.storage(patience=0.01, lease=60) for _ in range(2))
    await storage.set_tokens(TOKENS)
    async with storage.refresh_lock():
        assert await storage.get_tokens() == TOKENS
        await place.refuse(True)
        await raised(lambda: storage.set_tokens_if_current(NEWER, TOKENS))
        await place.refuse(False)
    for one in (storage, other):
        with pytest.raises(AuthError, match="another process has held the refresh lock"):
            async with one.refresh_lock():
                pytest.fail("held")
    assert await storage.set_tokens_if_current(NEWER, TOKENS)
    await place.steal(ends=True)
    async with other.refresh_lock():
        assert await other.get_tokens() == NEWER


async def test_sessions_of_several_processes_spend_the_refresh_token_once(place: Place) -> None:
    prisma = Prisma("strict")
    async with serve(prisma.handle) as server:
        sessions = [session_at(server.url, place.storage()) for _ in range(2)]
        await place.storage().set_tokens(prisma.tokens())
        for count in range(1, 4):
            prisma.expire()
            old = await sessions[0].access_token()
            renewed: set[str | None] = set()

            async def renew(session: Any, old: str = old, renewed: set[str | None] = renewed) -> None:
                renewed.add(token := await session.renew(old))
                session.accepted(token)

            async with anyio.create_task_group() as group:
                for session in sessions * 10:
                    group.start_soon(renew, session)
            assert renewed == prisma.live
            assert prisma.refreshes == count


async def test_a_server_killed_during_a_refresh_loses_no_session(place: Place) -> None:
    """The pair stays in memory and serves; when the server is back, it is stored."""
    prisma = Prisma("strict", token_gate=Gate())
    async with serve(prisma.handle) as server:
        storage = place.storage()
        await storage.set_tokens(prisma.tokens())
        session = session_at(server.url, storage, snapshot_ttl=0)
        old = await session.access_token()
        results: list[str | None] = []

        async def renew() -> None:
            results.append(await session.renew(old))

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(renew)
                await prisma.token_gate.arrived.wait()
                place.process.kill()
                prisma.token_gate.release()
            assert results == [await session.access_token()]
        finally:
            await place.start()
        assert await session.access_token() == results[0]
        stored = await place.storage().get_tokens()
        assert stored is not None
        assert (stored.access_token, stored.refresh_token) == (results[0], "refresh-2")

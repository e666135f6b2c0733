"""S5, S10 and S13: storages that fail, hang or lie, at a refusal, at a logout and at the end."""

import asyncio
from typing import Any

import anyio
import pytest

from prisma_mgmt import AuthError, LoginRequiredError, NetworkError
from prisma_mgmt.auth import OAuthSession, Tokens
from prisma_mgmt.auth.ledger import Ledger
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.auth.vault import Patience
from tests.conftest import FakeClock
from tests.kit.canaries import leaks
from tests.kit.login import CountingStorage, Prisma, SharedStorage, oauth_at, session_at
from tests.kit.rig import Gate, until
from tests.kit.world import World, during_a_refresh, started

pytestmark = pytest.mark.anyio


class Faulty(CountingStorage):
    """Fails the next `bad_clears` clears."""

    bad_clears = 0

    async def clear_tokens(self) -> None:
        if self.bad_clears:
            self.bad_clears -= 1
            raise OSError("read-only")
        await super().clear_tokens()


class SharedFaulty(Faulty, SharedStorage):
    pass


# Closing


@pytest.mark.parametrize("logged_in", [True, False])
async def test_closing_undoes_nothing_that_another_process_did(world: World, logged_in: bool) -> None:
    async with session_at(world.server.url, world.storage) as mine:
        world.storage.failures = 1
        await mine.renew(await mine.access_token())
        newer = world.prisma.tokens() if logged_in else None
        world.storage._tokens = newer
    assert world.storage.current == newer


async def test_closing_says_that_the_storage_hangs(world: World) -> None:
    storage = Faulty(world.storage.current)
    mine = session_at(world.server.url, storage, patience=Patience(storage=0.05, drain=0.05))
    storage.failures = 1
    await mine.renew(await mine.access_token())
    storage.writing = Gate()
    with pytest.raises(AuthError, match="Faulty did not take the tokens within"):
        await mine.aclose()
    storage.writing = None
    await mine.aclose()
    assert [tokens.refresh_token for tokens in storage.writes] == ["refresh-2"]


# Refusals


@pytest.mark.parametrize("kind", [Faulty, SharedFaulty])
async def test_a_refused_pair_that_cannot_be_cleared_signs_out_once_and_is_cleared_later(
    prisma: Prisma, kind: type[Faulty], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    async with started(prisma) as world:
        storage = kind(world.storage.current)
        mine = session_at(world.server.url, storage, clock=clock, on_signed_out=lambda: told.append("out"))
        old = await mine.access_token()
        prisma.refresh_tokens.clear()
        storage.bad_clears = 2
        with pytest.raises(LoginRequiredError) as caught:
            await mine.renew(old)
        assert caught.value.refresh_token_invalid
        assert "the tokens could not be cleared; that is tried again (OSError)" in caplog.messages
        clock.time += 1
        with pytest.raises(LoginRequiredError):
            await mine.access_token()
        assert storage.current is not None, "the second try failed too"
        with pytest.raises(LoginRequiredError):
            await mine.access_token()
        assert storage.current is None
        with pytest.raises(LoginRequiredError):
            await mine.renew(old)
        await mine.aclose()
    assert told == ["out"]
    assert prisma.refreshes == 1


async def test_a_refusal_signs_nobody_out_while_the_storage_cannot_be_read(prisma: Prisma) -> None:
    told: list[str] = []
    async with started(prisma) as world:
        storage = Faulty(world.storage.current)
        mine = session_at(world.server.url, storage, on_signed_out=lambda: told.append("out"))
        old = await mine.access_token()
        prisma.refresh_tokens.clear()
        async with during_a_refresh(world, lambda: mine.renew(old)) as results:
            storage.unreadable = True
        assert isinstance(results[0], AuthError)
        assert "OSError" in str(results[0])
        assert told == []
        storage.unreadable = False
        assert storage.current is not None
        with pytest.raises(LoginRequiredError):
            await mine.renew(old)
        await mine.aclose()
    assert storage.current is None
    assert told == ["out"]


# Logouts


async def test_a_logout_forgets_though_the_storage_cannot_be_read(world: World) -> None:
    storage = Faulty(world.storage.current)
    mine = session_at(world.server.url, storage)
    await mine.access_token()
    storage.unreadable = True
    with pytest.raises(AuthError, match="OSError"):
        await mine.logout(revoke=True)
    assert storage.current is None
    storage.unreadable = False
    with pytest.raises(LoginRequiredError):
        await mine.access_token()


@pytest.mark.parametrize("revoke", [True, False])
async def test_a_logout_that_cannot_clear_the_storage_is_made_up_for(world: World, revoke: bool) -> None:
    storage = Faulty(world.storage.current)
    mine = session_at(world.server.url, storage)
    await mine.access_token()
    storage.bad_clears = 2
    with pytest.raises(AuthError, match="OSError"):
        await mine.logout(revoke=revoke)
    for _ in range(2):
        with pytest.raises(LoginRequiredError):
            await mine.access_token()
    assert storage.current is None


async def test_a_login_elsewhere_outlives_a_logout_that_could_not_clear_the_storage(world: World) -> None:
    storage = Faulty(world.storage.current)
    mine = session_at(world.server.url, storage)
    await mine.access_token()
    storage.bad_clears = 1
    with pytest.raises(AuthError):
        await mine.logout()
    await storage.set_tokens(newer := world.prisma.tokens())
    assert await mine.tokens() == newer
    await mine.aclose()
    assert storage.current == newer


# What a storage gives


@pytest.mark.parametrize("found", [{"accessToken": "canary-access"}, "canary-token", ("canary-access", None)])
async def test_what_is_no_tokens_is_refused_by_its_type_and_not_shown(world: World, found: Any) -> None:
    class Wrong(MemoryTokenStorage):
        async def get_tokens(self) -> Tokens | None:
            return found  # type: ignore[no-any-return]  # the very mistake

    mine = session_at(world.server.url, Wrong())
    for call in (mine.access_token, mine.tokens, lambda: mine.renew("canary-old")):
        with pytest.raises(AuthError, match=f"must give Tokens or None, not {type(found).__name__}") as caught:
            await call()
        assert leaks(caught.value) == []


# Logins and logouts while the storage is down


class Down(CountingStorage):
    """Fails whatever it is asked while `down`."""

    down = False

    def _check(self) -> None:
        if self.down:
            raise ConnectionError("down")

    async def get_tokens(self) -> Tokens | None:
        self._check()
        return await super().get_tokens()

    async def set_tokens(self, tokens: Tokens) -> None:
        self._check()
        await super().set_tokens(tokens)

    async def clear_tokens(self) -> None:
        self._check()
        await super().clear_tokens()


class SharedDown(Down, SharedStorage):
    pass


async def _log_in(world: World, mine: OAuthSession) -> None:
    login = oauth_at(world.server.url).login_url()
    with pytest.raises(AuthError, match="ConnectionError"):
        await mine.handle_callback(f"/callback?code=abc&state={login.state}", login)


@pytest.mark.parametrize("kind", [Down, SharedDown])
async def test_a_pair_that_a_refresh_brings_outlives_a_login_that_a_storage_could_not_take(
    world: World, kind: type[Down]
) -> None:
    storage = kind(world.storage.current)
    mine = session_at(world.server.url, storage, snapshot_ttl=0)
    await mine.access_token()
    storage.down = True
    await _log_in(world, mine)
    assert storage.current is not None
    assert storage.current.refresh_token == "refresh-1"
    old = await mine.access_token()
    async with during_a_refresh(world, lambda: mine.renew(old)) as results:
        storage.down = False
    assert results == [await mine.access_token()]
    assert storage.current is not None
    assert storage.current.refresh_token == "refresh-3"
    mine.accepted(results[0])
    assert await mine.renew(results[0]) != results[0]
    assert world.prisma.refused == 0


@pytest.mark.parametrize("kind", [Down, SharedDown])
async def test_a_logout_after_a_login_leaves_nobody_logged_in_though_the_storage_took_neither(
    world: World, kind: type[Down]
) -> None:
    storage = kind(world.storage.current)
    mine = session_at(world.server.url, storage, snapshot_ttl=0)
    storage.down = True
    await _log_in(world, mine)
    with pytest.raises(AuthError, match="ConnectionError"):
        await mine.logout()
    with pytest.raises(LoginRequiredError):
        await mine.access_token()
    storage.down = False
    assert await mine.tokens() is None
    assert storage.current is None


@pytest.mark.parametrize("kind", [Down, SharedDown])
@pytest.mark.parametrize("anew", [False, True], ids=["logout", "login"])
async def test_what_another_event_loop_has_stored_during_a_refresh_stands_though_the_storage_fails_then(
    world: World, kind: type[Down], anew: bool
) -> None:
    storage, ledger, newer = kind(world.storage.current), Ledger(), None
    mine, other = (session_at(world.server.url, storage, ledger=ledger) for _ in range(2))
    old = await mine.access_token()
    async with during_a_refresh(world, lambda: mine.renew(old)) as results:
        if anew:
            login = oauth_at(world.server.url).login_url()
            world.prisma.token_gate, gate = Gate(open_=True), world.prisma.token_gate
            newer = await other.handle_callback(f"/callback?code=abc&state={login.state}", login)
            world.prisma.token_gate = gate
        else:
            await other.logout()
        storage.down = True
    assert [type(result) for result in results] == [AuthError]
    storage.down = False
    assert await mine.tokens() == await other.tokens() == newer
    assert storage.current == newer


async def test_a_pair_is_kept_though_another_event_loop_had_to_drop_one_meanwhile(world: World) -> None:
    storage, ledger, first, second = SharedStorage(world.storage.current), Ledger(), Gate(), Gate()
    mine, other = (session_at(world.server.url, storage, ledger=ledger) for _ in range(2))
    old = await other.access_token()
    async with anyio.create_task_group() as group:
        world.prisma.token_gate = first
        group.start_soon(other.renew, old)
        await first.arrived.wait()
        await storage.set_tokens(theirs := world.prisma.tokens())  # another process
        world.prisma.token_gate = second
        group.start_soon(mine.renew, theirs.access_token)
        await second.arrived.wait()
        first.release()
        await other.drain()
        second.release()
    assert storage.current is not None
    assert storage.current != theirs
    assert storage.current.refresh_token in world.prisma.refresh_tokens


# What a storage raises


class Gone(BaseException):
    """What no `except Exception` catches, as pytest.fail() raises it."""


class Raising(CountingStorage):
    """Raises what it is given, once, at the next read or the next write."""

    at_read: BaseException | None = None
    at_write: BaseException | None = None

    async def get_tokens(self) -> Tokens | None:
        error, self.at_read = self.at_read, None
        if error is not None:
            raise error
        return await super().get_tokens()

    async def set_tokens(self, tokens: Tokens) -> None:
        error, self.at_write = self.at_write, None
        if error is not None:
            raise error
        await super().set_tokens(tokens)


class SharedRaising(Raising, SharedStorage):
    pass


def raised(backend: str) -> list[BaseException]:
    """On asyncio a storage may wait for a task of its own that is cancelled; trio has no such thing.

    And an asynchronous generator that a storage closes may meet an error when it gives its connection back.
    """
    stray: list[BaseException] = [asyncio.CancelledError()] if backend == "asyncio" else []
    closing = OSError("reset by peer")
    closing.__context__ = GeneratorExit()
    return [NetworkError("no answer"), Gone(), closing, *stray]


async def test_a_shared_storage_that_refuses_a_rotated_pair_is_asked_again_though_nobody_calls(prisma: Prisma) -> None:
    """Another process would spend the refresh token once more as soon as the lock ends."""
    async with started(prisma) as world:
        storage = SharedRaising(prisma.tokens())
        mine = session_at(world.server.url, storage)
        old = await mine.access_token()
        storage.at_write = OSError("reset by peer")
        new = await mine.renew(old)
        assert storage.current is not None
        assert storage.current.access_token == old
        await until(lambda: storage.current is not None and storage.current.access_token == new)


@pytest.mark.parametrize("kind", [Raising, SharedRaising])
async def test_whatever_a_storage_raises_at_a_write_costs_no_rotated_pair(
    prisma: Prisma, kind: type[Raising], anyio_backend: str
) -> None:
    async with started(prisma) as world:
        for error in raised(anyio_backend):
            storage = kind(prisma.tokens())
            mine = session_at(world.server.url, storage)
            old = await mine.access_token()
            storage.at_write = error
            assert await mine.renew(old) != old
            await mine.aclose()
            assert storage.current is not None
            assert storage.current.refresh_token in prisma.refresh_tokens
    assert prisma.refused == 0


async def test_whatever_a_storage_raises_at_a_read_costs_no_login(world: World, anyio_backend: str) -> None:
    for error in raised(anyio_backend):
        storage = Raising()
        mine = session_at(world.server.url, storage)
        login = oauth_at(world.server.url).login_url()
        storage.at_read = error
        tokens = await mine.handle_callback(f"/callback?code=c&state={login.state}", login)
        assert storage.current == tokens


class OneAtATime(CountingStorage):
    """Has all its reads made by one task, which hands on what they raise."""

    async def serve(self) -> None:
        self.asking, asked = anyio.create_memory_object_stream[tuple[anyio.Event, list[Any]]]()
        with self.asking, asked:
            async for answered, answer in asked:
                try:
                    answer.append(self._read())
                except AuthError as error:
                    answer.append(error)
                answered.set()

    def _read(self) -> Tokens | None:
        if self.unreadable:
            raise AuthError("locked")
        return self.current

    async def get_tokens(self) -> Tokens | None:
        answered, answer = anyio.Event(), list[Any]()
        await self.asking.send((answered, answer))
        await answered.wait()
        if isinstance(answer[0], AuthError):
            raise answer[0]
        return answer[0]  # type: ignore[no-any-return]  # tokens, or None


async def test_a_task_of_the_storage_that_hands_on_an_error_lives_on(world: World) -> None:
    storage = OneAtATime(world.storage.current)
    mine = session_at(world.server.url, storage, patience=Patience(storage=1))
    async with anyio.create_task_group() as group:
        group.start_soon(storage.serve)
        await anyio.lowlevel.checkpoint()
        storage.unreadable = True
        with pytest.raises(AuthError, match="locked"):
            await mine.access_token()
        storage.unreadable = False
        assert await mine.access_token() in world.prisma.live
        group.cancel_scope.cancel()


@pytest.mark.parametrize("said", [None, "canary"])
async def test_a_storage_that_does_not_say_whether_it_has_replaced_the_tokens_is_told_so(
    world: World, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Mute(SharedStorage):
        async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> Any:
            return said

    storage = Mute(world.storage.current)
    mine = session_at(world.server.url, storage, patience=Patience(storage=0.2))
    old = await mine.access_token()
    assert await mine.renew(old) in world.prisma.live
    assert "new tokens could not be stored; they are kept in memory (AuthError)" in caplog.messages
    with pytest.raises(AuthError, match="must say True if it has replaced the tokens, else False, not") as caught:
        await mine.aclose()
    assert leaks(caught.value) == []

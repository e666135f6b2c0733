"""S9 and S10: what comes in another event loop while a refresh or a read is under way, and a storage that is away.

Two sessions with one ledger stand for the sessions that two event loops have of one user. And what one request has
seen, the next one knows, though each asks for a session of its own.
"""

import gc
import logging
import weakref
from typing import Any

import anyio
import pytest
from attrs import evolve, frozen

from prisma_mgmt import AuthError, LoginRequiredError
from prisma_mgmt.auth import OAuthSession, SessionManager, Tokens
from prisma_mgmt.auth.ledger import Ledger
from prisma_mgmt.auth.tokens import same
from prisma_mgmt.auth.vault import Patience
from tests.conftest import FakeClock
from tests.kit.login import CountingStorage, Prisma, SharedStorage, oauth_at, session_at
from tests.kit.rig import Gate
from tests.kit.world import World, log_in, started, together

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", [CountingStorage, SharedStorage])
@pytest.mark.parametrize("anew", [True, False], ids=["login", "logout"])
async def test_a_refusal_of_the_pair_before_ends_no_login_of_another_event_loop(
    kind: type[CountingStorage], anew: bool
) -> None:
    told: list[str] = []
    async with started(Prisma("strict")) as world:
        prisma, storage, ledger = world.prisma, kind(world.storage.current), Ledger()
        mine, other = (
            session_at(world.server.url, storage, ledger=ledger, on_signed_out=lambda: told.append("out"))
            for _ in range(2)
        )
        old = await mine.access_token()
        prisma.refresh_tokens.clear()  # a new login revokes the one before
        prisma.token_gate, results = Gate(), list[Any]()

        async def renew() -> None:
            results.extend(await together(1, lambda: mine.renew(old)))

        async with anyio.create_task_group() as group:
            group.start_soon(renew)
            held = prisma.token_gate
            await held.arrived.wait()
            prisma.token_gate = Gate(open_=True)
            newer = await log_in(world, other) if anew else await other.logout()
            held.release()
        assert prisma.refused == 1
        assert told == []
        if newer is None:
            assert isinstance(results[0], LoginRequiredError)
            assert storage.current is None
        else:
            assert results == [newer.access_token]
            assert storage.current == newer
            assert await mine.access_token() == newer.access_token


async def test_a_refused_pair_that_another_process_has_rotated_since_is_cleared_where_nobody_logged_in(
    world: World,
) -> None:
    """What was written here, long ago, is no login of another event loop."""
    storage, ledger = SharedStorage(world.storage.current), Ledger()
    session = session_at(world.server.url, storage, ledger=ledger, snapshot_ttl=0)
    old = await session.access_token()
    assert await session.renew(old)
    rotated = world.prisma.tokens()
    await storage.set_tokens(rotated)
    world.prisma.refresh_tokens.clear()
    with pytest.raises(LoginRequiredError):
        await session.renew(await session.access_token())
    assert storage.current is None


class Slow(CountingStorage):
    """Says what it held when it was asked, when its gate lets it."""

    async def get_tokens(self) -> Tokens | None:
        found = self.current
        if self.reading is not None:
            await self.reading()
        return found


@pytest.mark.parametrize("how", ["access_token", "tokens"])
async def test_a_call_after_a_login_elsewhere_joins_no_read_from_before(world: World, how: str) -> None:
    storage, ledger = Slow(), Ledger()
    mine, other = (session_at(world.server.url, storage, ledger=ledger) for _ in range(2))
    storage.reading = held = Gate()
    results: list[Any] = []

    async def ask() -> None:
        results.extend(await together(1, mine.access_token if how == "access_token" else mine.tokens))

    async with anyio.create_task_group() as group:
        group.start_soon(mine.tokens)
        await held.arrived.wait()
        storage.reading = None
        newer = await log_in(world, other)
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        held.release()
    assert results == [newer.access_token if how == "access_token" else newer]


async def test_a_logout_that_revokes_has_what_a_refresh_of_another_event_loop_brings_revoked_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked: list[str | None] = []
    oauth = oauth_at(world.server.url)

    async def revoke(tokens: Tokens) -> bool:
        revoked.append(tokens.refresh_token)
        return True

    monkeypatch.setattr(oauth, "revoke", revoke)
    ledger = Ledger()
    mine, other = (OAuthSession(oauth, world.storage, ledger=ledger) for _ in range(2))
    old = await mine.access_token()
    world.prisma.token_gate = Gate()
    async with anyio.create_task_group() as group:
        group.start_soon(together, 1, lambda: mine.renew(old))
        await world.prisma.token_gate.arrived.wait()
        await other.logout(revoke=True)
        world.prisma.token_gate.release()
    await mine.aclose()
    assert revoked == ["refresh-1", "refresh-2"]


# Calls with a good token


class Lagging(SharedStorage):
    """Gives what it held before for a while, and says that it has taken what is there already."""

    lags: Tokens | None = None

    async def get_tokens(self) -> Tokens | None:
        await super().get_tokens()
        return self.lags or self.current

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        self.writes.append(tokens)
        return same(self.current, tokens) or await super().set_tokens_if_current(tokens, current)


async def test_a_shared_storage_that_lags_is_brought_up_to_date_once_for_each_read(world: World) -> None:
    storage = Lagging(world.storage.current)
    session = session_at(world.server.url, storage, snapshot_ttl=0)
    old = storage.current
    new = await session.renew(await session.access_token())
    storage.lags, storage.reads, storage.writes = old, 0, []
    for calls in (1, 2, 3):
        assert await session.access_token() == new
        assert (storage.reads, len(storage.writes)) == (2 * calls, calls)


@pytest.mark.parametrize("silent", [False, True], ids=["it fails", "it says nothing"])
async def test_a_good_token_serves_on_for_half_a_minute_while_the_storage_is_away(
    clock: FakeClock, silent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    ledger, hasty = Ledger(), Patience(call=0.05, storage=0.3)
    async with started(Prisma(), clock=clock, ledger=ledger, patience=hasty) as world:
        token = await world.session.access_token()
        world.storage.unreadable, world.storage.reading = not silent, Gate() if silent else None
        for _ in range(3):
            clock.time += 9
            assert await world.session.access_token() == token
            await world.session.drain()  # the storage's silence is a fault by then
        assert caplog.text.count("the tokens could not be read; those that were read before are used") == 1
        clock.time += 9
        with pytest.raises(AuthError, match="the token storage failed"):
            await world.session.access_token()
        world.storage.unreadable, world.storage.reading = False, None
        assert await world.session.access_token() == token


async def test_no_token_serves_on_that_has_expired_or_was_rejected_or_logged_out(clock: FakeClock) -> None:
    ledger = Ledger()
    async with started(Prisma(), clock=clock, ledger=ledger, leeway=0) as world:
        await world.storage.set_tokens(world.prisma.tokens(expires_at=clock.time + 5))
        token = await world.session.access_token()
        clock.time += 2
        world.storage.unreadable = True
        assert await world.session.access_token() == token
        with pytest.raises(AuthError, match="the token storage failed"):
            await world.session.renew(token)
        await session_at(world.server.url, world.storage, clock=clock, ledger=ledger).logout()
        with pytest.raises(AuthError, match="the token storage failed"):
            await world.session.access_token()
        world.storage.unreadable = False
        await world.storage.set_tokens(world.prisma.tokens(expires_at=clock.time + 5))
        assert await world.session.access_token() != token
        world.storage.unreadable = True
        clock.time += 6
        with pytest.raises(AuthError, match="the token storage failed"):
            await world.session.access_token()


async def test_with_a_snapshot_of_zero_seconds_nothing_serves_on(world: World) -> None:
    session = session_at(world.server.url, world.storage, snapshot_ttl=0)
    assert await session.access_token()
    world.storage.unreadable = True
    with pytest.raises(AuthError, match="the token storage failed"):
        await session.access_token()


# Requests that ask for a session each


@frozen
class Requests:
    """An application that asks its manager for the session at each request, and holds none in between."""

    manager: SessionManager[str]

    @property
    def session(self) -> OAuthSession:
        gc.collect(0)  # on PyPy it collects all, so that there too nothing of the request before is left
        return self.manager["ada"]


def requests(world: World, clock: FakeClock, **options: Any) -> Requests:
    oauth = oauth_at(world.server.url, now=clock.now)
    return Requests(SessionManager(oauth, lambda _: world.storage, monotonic=clock.monotonic, **options))


async def test_requests_that_ask_for_a_session_each_read_the_storage_once_a_second(clock: FakeClock) -> None:
    async with started(Prisma(), clock=clock) as world:
        app = requests(world, clock)
        gone = weakref.ref(app.session)
        for seconds, reads in ((0.0, 1), (0.9, 1), (0.2, 2), (0.9, 2)):
            clock.time += seconds
            assert await app.session.access_token()
            assert world.storage.reads == reads
        assert gone() is None
        await world.storage.clear_tokens()  # in another process
        clock.time += 1.0
        with pytest.raises(LoginRequiredError):
            await app.session.access_token()


async def test_requests_that_ask_for_a_session_each_are_served_while_the_storage_is_away(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    async with started(Prisma(), clock=clock) as world:
        app = requests(world, clock)
        token = await app.session.access_token()
        world.storage.unreadable = True
        for _ in range(3):
            clock.time += 9
            assert await app.session.access_token() == token
        assert caplog.text.count("the tokens could not be read; those that were read before are used") == 1
        clock.time += 9
        with pytest.raises(AuthError, match="the token storage failed"):
            await app.session.access_token()


async def test_requests_that_ask_for_a_session_each_renew_a_token_a_minute_before_its_end(clock: FakeClock) -> None:
    async with started(Prisma(), clock=clock) as world:
        await world.storage.set_tokens(world.prisma.tokens(expires_at=clock.time + 3600))
        app = requests(world, clock)
        token = await app.session.access_token()
        for _ in range(117):
            clock.time += 30
            assert await app.session.access_token() == token
        clock.time += 30
        assert await app.session.access_token() != token


async def test_a_request_is_a_chance_to_store_what_the_one_before_could_not(clock: FakeClock) -> None:
    async with started(Prisma(), clock=clock) as world:
        app = requests(world, clock)
        world.storage.failures = 1
        newer = await app.session.renew(await app.session.access_token())
        assert world.storage.current is not None
        assert world.storage.current.access_token != newer
        assert await app.session.access_token() == newer
        assert world.storage.current.access_token == newer


async def test_a_session_that_begins_during_a_login_elsewhere_gives_the_new_token_after_it(world: World) -> None:
    ledger = Ledger()
    mine, other = (session_at(world.server.url, world.storage, ledger=ledger) for _ in range(2))
    assert await mine.access_token()
    world.storage.writing = held = Gate()
    newer: list[Tokens] = []

    async def log_in_elsewhere() -> None:
        newer.append(await log_in(world, other))

    async with anyio.create_task_group() as group:
        group.start_soon(log_in_elsewhere)
        await held.arrived.wait()
        begun = session_at(world.server.url, world.storage, ledger=ledger)
        held.release()
    assert await begun.access_token() == newer[0].access_token


@pytest.mark.parametrize("requests_only", [True, False], ids=["a session each", "one session"])
async def test_what_other_programs_keep_beside_the_tokens_is_as_new_as_the_read(
    clock: FakeClock, requests_only: bool
) -> None:
    async with started(Prisma(), clock=clock) as world:
        app = requests(world, clock)
        held = None if requests_only else app.session
        before = await app.session.tokens()
        assert before is not None
        for theme in ("dark", "light"):
            await world.storage.set_tokens(evolve(before, expires_at=None, extra={"theme": theme}))
            found = await app.session.tokens()
            assert found == before
            assert found.extra == {"theme": theme}
        assert held is None or held is app.session


async def test_a_clock_that_begins_anew_keeps_no_old_tokens_in_use(clock: FakeClock) -> None:
    """As trio's does in each of its event loops."""
    async with started(Prisma(), clock=clock) as world:
        app = requests(world, clock)
        assert await app.session.access_token()
        await world.storage.clear_tokens()  # in another process
        for seconds in (-500, 500):
            clock.time += seconds
            with pytest.raises(LoginRequiredError):
                await app.session.access_token()


async def test_what_another_event_loop_read_earlier_is_no_beginning_for_a_session(
    world: World, clock: FakeClock
) -> None:
    ledger = Ledger()

    def begun() -> OAuthSession:
        return session_at(world.server.url, world.storage, clock=clock, ledger=ledger)

    other = begun()
    token = await other.access_token()
    await world.storage.clear_tokens()  # in another process
    clock.time += 2
    with pytest.raises(LoginRequiredError):
        await begun().access_token()
    world.storage.unreadable = True
    assert await other.access_token() == token, "which knows no better"
    with pytest.raises(AuthError, match="the token storage failed"):
        await begun().access_token()


async def test_a_write_that_keeps_failing_is_tried_once_a_second_whoever_asks(clock: FakeClock) -> None:
    async with started(Prisma(), clock=clock) as world:
        app = requests(world, clock)
        world.storage.failures = 10
        newer = await app.session.renew(await app.session.access_token())
        for seconds, failures in ((0.1, 8), (0.1, 8), (0.1, 8), (1.0, 7), (0.1, 7)):
            clock.time += seconds
            assert await app.session.access_token() == newer
            assert world.storage.failures == failures

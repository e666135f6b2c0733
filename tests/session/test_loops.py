"""S10 and S11: a manager in many event loops, threads and processes; sessions that nobody holds; wrong arguments."""

import asyncio
import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar
from weakref import ref

import anyio
import pytest

from prisma_mgmt import AuthError, LoginRequiredError
from prisma_mgmt.auth import GitHubActionsCredentials, OAuthSession, SessionManager, Tokens
from prisma_mgmt.auth.storage import MemoryTokenStorage, PostgresTokenStorage, RedisTokenStorage
from tests.kit.login import CountingStorage, Prisma, SharedStorage, oauth_at, session_at
from tests.kit.rig import Gate
from tests.kit.world import World, started, together

T = TypeVar("T")


class Rotating:
    """A login server without a network, for any event loop: takes nothing twice, and holds answers at `gate`."""

    gate: Gate | None = None

    def __init__(self) -> None:
        self.prisma = Prisma("strict")
        self.storage = CountingStorage(self.prisma.tokens())
        self.spent: list[str] = []

    def now(self) -> float:
        return 0.0

    async def refresh(self, tokens: Tokens) -> Tokens:
        assert tokens.refresh_token not in self.spent, "replayed"
        self.spent.append(str(tokens.refresh_token))
        new = self.prisma.tokens()
        with anyio.fail_after(60):  # as the real one has it, which must not be left in another task
            if self.gate is not None:
                await self.gate()
            await anyio.sleep(0.01)
        return new

    async def revoke(self, tokens: Tokens) -> bool:
        return True

    async def exchange_callback(self, *_: Any, **__: Any) -> Tokens:
        return self.prisma.tokens()


def manager_of(oauth: Rotating, **options: Any) -> SessionManager:
    return SessionManager(oauth, lambda _: oauth.storage, **options)  # type: ignore[arg-type]  # it does what one does


async def renewed(manager: SessionManager) -> str:
    session = manager["ada"]
    token = await session.access_token()
    session.accepted(token)
    return str(await session.renew(token))


def in_threads(count: int, function: Callable[[], None]) -> None:
    """Run a function in so many threads at once, and wait for them."""
    threads = [threading.Thread(target=function) for _ in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)


# Event loops


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_manager_serves_one_event_loop_after_another(backend: str) -> None:
    oauth = Rotating()
    manager = manager_of(oauth)
    kept = []

    async def job() -> str:
        kept.append(manager["ada"])  # so that nothing is collected in between
        return await renewed(manager)

    tokens = [anyio.run(job, backend=backend) for _ in range(3)]
    assert len(set(tokens)) == len(oauth.spent) == 3
    assert len(set(kept)) == 3


def test_threads_with_event_loops_of_their_own_spend_a_refresh_token_once() -> None:
    oauth = Rotating()
    manager = manager_of(oauth, snapshot_ttl=0)
    old = str(oauth.storage.current and oauth.storage.current.access_token)
    barrier, results = threading.Barrier(20), []

    async def job() -> None:
        session = manager["ada"]
        results.append(await session.renew(old))

    def thread() -> None:
        barrier.wait(20)
        anyio.run(job, backend="asyncio")

    in_threads(20, thread)
    assert len(results) == 20
    assert len(set(results)) == 1
    assert len(oauth.spent) == 1


def test_threads_that_ask_before_any_loop_runs_get_sessions_of_their_own() -> None:
    oauth = Rotating()
    manager = manager_of(oauth)
    barrier, results = threading.Barrier(2), list[str]()

    def view() -> None:
        session = manager["ada"]
        barrier.wait(20)
        results.append(asyncio.run(session.access_token()))

    in_threads(2, view)
    assert len(results) == 2
    assert manager["ada"] is manager["ada"]


def test_a_loop_that_was_closed_in_the_middle_of_a_refresh_holds_up_nobody() -> None:
    oauth = Rotating()
    manager = manager_of(oauth)
    session, gate = manager["ada"], Gate()
    oauth.gate = gate
    loop = asyncio.new_event_loop()

    async def job() -> None:
        task = asyncio.ensure_future(renewed(manager))
        await gate.arrived.wait()
        task.cancel()

    loop.run_until_complete(job())
    loop.close()
    oauth.gate, oauth.spent = None, []  # the answer was lost with the loop; here the server forgives that
    assert anyio.run(renewed, manager) == str(oauth.storage.current and oauth.storage.current.access_token)
    assert session is not None


def test_what_a_closed_loop_left_in_the_middle_is_let_go_when_the_next_one_comes() -> None:
    oauth = Rotating()
    manager, gate = manager_of(oauth), Gate()
    oauth.gate = gate
    loop = asyncio.new_event_loop()

    async def job() -> Any:
        task = asyncio.ensure_future(renewed(manager))
        await gate.arrived.wait()
        task.cancel()
        return ref(manager["ada"])

    gone = loop.run_until_complete(job())
    loop.close()
    del loop
    oauth.gate, oauth.spent = None, []
    anyio.run(renewed, manager)
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("shared", [False, True])
def test_a_loop_that_was_closed_in_the_middle_of_a_write_hands_its_pair_on(shared: bool) -> None:
    oauth, gate = Rotating(), Gate()
    if shared:
        oauth.storage = SharedStorage(oauth.storage.current)
    manager = manager_of(oauth)
    oauth.storage.writing = gate
    loop = asyncio.new_event_loop()

    async def job() -> None:
        task = asyncio.ensure_future(renewed(manager))
        await gate.arrived.wait()
        task.cancel()

    async def next_job() -> str:
        return await manager["ada"].access_token()

    loop.run_until_complete(job())
    loop.close()
    oauth.storage.writing = None
    token = anyio.run(next_job)
    assert [tokens.access_token for tokens in oauth.storage.writes] == [token]


class Scoped(CountingStorage):
    """One that meets an error of its own if its event loop is closed in the middle, and says so in its own way."""

    async def in_scope(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            with anyio.fail_after(60):
                return await call()
        except RuntimeError as error:
            raise AuthError("the storage is away") from error

    async def get_tokens(self) -> Tokens | None:
        return await self.in_scope(super().get_tokens)

    async def set_tokens(self, tokens: Tokens) -> None:
        await self.in_scope(partial(super().set_tokens, tokens))


class Grouped(Scoped):
    """One that waits for tasks of its own, even if its event loop was closed."""

    async def in_scope(self, call: Callable[[], Awaitable[T]]) -> T:
        async with anyio.create_task_group():
            return await call()


@pytest.mark.parametrize("kind", [CountingStorage, Scoped, Grouped])
@pytest.mark.parametrize("begun", ["login", "refresh"])
@pytest.mark.parametrize("at", ["reading", "writing"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what closing does to a group of tasks
def test_what_a_closed_loop_left_in_the_middle_does_not_come_back_after_a_logout(
    kind: type[CountingStorage], begun: str, at: str
) -> None:
    oauth, other, gate = Rotating(), CountingStorage(), Gate()
    oauth.storage = kind(oauth.storage.current)
    manager = SessionManager(oauth, lambda user: oauth.storage if user == "ada" else other)  # type: ignore[arg-type]  # it does what one does
    living, closing = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def read_for_long() -> None:
        other.reading = Gate()
        task = asyncio.ensure_future(manager["bob"].tokens())
        await other.reading.arrived.wait()
        task.cancel()

    async def leave_in_the_middle() -> None:
        session = manager["ada"]
        token = await session.access_token()
        setattr(oauth.storage, at, gate)
        call = session.renew(token) if begun == "refresh" else session.handle_callback("/callback")
        task = asyncio.ensure_future(call)
        await gate.arrived.wait()
        task.cancel()

    async def log_out() -> None:
        await manager["ada"].logout()

    async def ask(user: str) -> None:
        with pytest.raises(LoginRequiredError):
            await manager[user].access_token()

    living.run_until_complete(read_for_long())
    closing.run_until_complete(leave_in_the_middle())
    closing.close()
    setattr(oauth.storage, at, None)
    living.run_until_complete(log_out())
    other.reading = None
    asyncio.run(ask("eve"))  # a new event loop, in which what the closed one left is let go of
    living.run_until_complete(ask("ada"))
    living.close()
    assert oauth.storage.current is None


@pytest.mark.parametrize("kind", [CountingStorage, SharedStorage])
@pytest.mark.parametrize("after", ["login", "logout"])
def test_what_a_loop_that_stood_still_in_the_middle_wrote_gives_way_to_a_login_or_a_logout(
    kind: type[CountingStorage], after: str
) -> None:
    oauth, gate = Rotating(), Gate()
    oauth.storage = kind(oauth.storage.current)
    manager = manager_of(oauth)
    stopped, living = asyncio.new_event_loop(), asyncio.new_event_loop()
    counts: list[Tokens | None] = []

    async def stop_in_the_middle() -> OAuthSession:
        session = manager["ada"]
        token = await session.access_token()
        oauth.storage.writing = gate
        task = asyncio.ensure_future(session.renew(token))
        await gate.arrived.wait()
        task.cancel()
        for claim in vars(session)["_vault"].ledger._claims.values():
            claim.since -= 11  # seconds, for which it stands still
        return session

    async def overtake() -> None:
        counts.append(await manager["ada"].handle_callback("/callback") if after == "login" else None)
        if after == "logout":
            await manager["ada"].logout()

    async def ask() -> None:
        assert await manager["ada"].tokens() == counts[0]

    session = stopped.run_until_complete(stop_in_the_middle())
    oauth.storage.writing = None
    living.run_until_complete(overtake())
    gate.release()
    stopped.run_until_complete(session.drain())
    for loop in (stopped, living):
        loop.run_until_complete(ask())
        loop.close()
    assert oauth.storage.current == counts[0]


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("from_a_task", [True, False])
@pytest.mark.parametrize("word", [None, "Cancelled by SIGTERM"])
def test_who_cancels_every_task_cuts_no_refresh(begun: bool, from_a_task: bool, word: str | None) -> None:
    oauth, gate = Rotating(), Gate()
    oauth.gate = gate
    manager = manager_of(oauth)

    def cancel(mine: asyncio.Task[Any] | None) -> None:
        for task in asyncio.all_tasks() - {mine}:
            task.cancel(word)

    async def job() -> None:
        session, mine = manager["ada"], asyncio.current_task()
        old = await session.access_token()
        waiting = asyncio.ensure_future(session.renew(old))
        await (gate.arrived.wait() if begun else asyncio.sleep(0))
        if from_a_task:
            cancel(mine)
        else:
            asyncio.get_running_loop().call_soon(cancel, mine)
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        gate.release()
        async with asyncio.timeout(10):
            assert await session.renew(old) != old
        assert len(oauth.spent) == len(oauth.storage.writes) == 1

    asyncio.run(job())


class InATask(CountingStorage):
    """Writes in a task of its own, as drivers do that limit their time."""

    async def set_tokens(self, tokens: Tokens) -> None:
        await asyncio.gather(super().set_tokens(tokens))


class InAGroup(CountingStorage):
    """Writes in a group of tasks, which does not mind if one of them is cancelled."""

    async def set_tokens(self, tokens: Tokens) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(super().set_tokens(tokens))


@pytest.mark.parametrize("kind", [CountingStorage, InATask, InAGroup])
@pytest.mark.parametrize("who", ["a task", "a signal's handler", "the end of the program"])
def test_who_cancels_every_task_cuts_no_write_of_a_rotated_pair(kind: type[CountingStorage], who: str) -> None:
    oauth, gate = Rotating(), Gate()
    oauth.storage = kind(oauth.storage.current)
    oauth.storage.writing = gate
    manager = manager_of(oauth)

    def cancel(mine: asyncio.Task[Any] | None) -> None:
        for task in asyncio.all_tasks() - {mine}:
            task.cancel()
        gate.release()

    async def job() -> None:
        loop, waiting = asyncio.get_running_loop(), asyncio.ensure_future(renewed(manager))
        await gate.arrived.wait()
        if who == "the end of the program":
            loop.call_soon(gate.release)
            return
        if who == "a task":
            cancel(asyncio.current_task())
        else:
            loop.call_soon(cancel, asyncio.current_task())
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        await manager["ada"].drain()
        assert oauth.storage.writes

    asyncio.run(job())
    assert len(oauth.spent) == len(set(oauth.storage.writes)) == 1


def test_a_write_whose_group_of_tasks_fails_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    oauth, tried = Rotating(), list[Tokens]()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("no space left on device")

    async def write(tokens: Tokens) -> None:
        tried.append(tokens)
        async with asyncio.TaskGroup() as group:  # which cancels whoever waits for it
            group.create_task(fail())

    monkeypatch.setattr(oauth.storage, "set_tokens", write)
    asyncio.run(renewed(manager_of(oauth)))
    assert len(tried) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_a_read_that_cancels_its_own_task_each_time_is_made_three_times(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    oauth, tried = Rotating(), list[Tokens | None]()

    async def read() -> Tokens | None:
        tried.append(oauth.storage.current)
        task = asyncio.current_task()
        if task is not None and len(tried) < 50:  # or the test would never end
            task.cancel()
        if fails:
            raise OSError("down")
        return oauth.storage.current

    async def job() -> str | None:
        return await manager_of(oauth)["ada"].renew("an older token")

    monkeypatch.setattr(oauth.storage, "get_tokens", read)
    with pytest.raises(AuthError, match="OSError") if fails else nullcontext():
        assert asyncio.run(job()) == str(oauth.storage.current and oauth.storage.current.access_token)
    assert len(tried) == 3


def test_a_write_that_is_cancelled_each_time_ends_as_the_storages_fault(caplog: pytest.LogCaptureFixture) -> None:
    oauth, tried = Rotating(), list[Tokens]()

    async def job() -> str:
        loop = asyncio.get_running_loop()
        write = oauth.storage.set_tokens

        async def cut(tokens: Tokens) -> None:
            tried.append(tokens)
            task = asyncio.current_task()
            if task is not None and len(tried) < 50:
                loop.call_soon(task.cancel)  # as the handler of a signal does
            await anyio.sleep(0.01)
            await write(tokens)

        oauth.storage.set_tokens = cut  # type: ignore[method-assign]
        return await renewed(manager_of(oauth))

    token = asyncio.run(job())
    assert {tokens.access_token for tokens in tried} == {token}
    assert len(tried) == 3
    assert "new tokens could not be stored; they are kept in memory (CancelledError)" in caplog.messages


class RefusesOnce(SharedStorage):
    """Its first write of a new pair fails, or does nothing and says so."""

    def __init__(self, tokens: Tokens | None, fails: bool) -> None:
        super().__init__(tokens)
        self.fails = fails
        self.refused = False

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        if self.refused:
            return await super().set_tokens_if_current(tokens, current)
        self.refused = True
        if self.fails:
            raise OSError("reset by peer")
        return False


@pytest.mark.parametrize("fails", [True, False])
def test_a_program_that_ends_in_mid_refresh_has_a_refused_write_made_again(fails: bool) -> None:
    oauth, gate = Rotating(), Gate()
    oauth.gate = gate
    storage = oauth.storage = RefusesOnce(oauth.storage.current, fails)
    old = storage.current

    async def job() -> None:
        task = asyncio.ensure_future(renewed(manager_of(oauth)))
        await gate.arrived.wait()
        task.cancel()
        asyncio.get_running_loop().call_soon(gate.release)

    asyncio.run(job())
    assert storage.refused
    assert storage.current != old


class SlowToAnswer(SharedStorage):
    """Has replaced the tokens before it says so."""

    answering: Gate

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        replaced = await super().set_tokens_if_current(tokens, current)
        await self.answering()
        return replaced


def test_a_write_that_is_made_again_is_still_the_sessions_own() -> None:
    oauth = Rotating()
    storage = oauth.storage = SlowToAnswer(oauth.storage.current)
    told: list[Tokens] = []
    manager = manager_of(oauth, on_refreshed=told.append)

    async def job() -> None:
        storage.answering = Gate()
        refresh = asyncio.ensure_future(renewed(manager))
        await storage.answering.arrived.wait()
        for task in asyncio.all_tasks() - {asyncio.current_task(), refresh}:
            task.cancel()
        storage.answering.release()
        assert await refresh == str(storage.current and storage.current.access_token)

    asyncio.run(job())
    assert told == storage.writes
    assert len(told) == 1


def test_a_loop_that_stopped_in_the_middle_of_a_refresh_is_waited_for_no_longer_than_a_refresh_may_take() -> None:
    oauth = Rotating()
    manager = manager_of(oauth)
    session, gate = manager["ada"], Gate()
    oauth.gate = gate
    stopped = asyncio.new_event_loop()

    async def job() -> None:
        task = asyncio.ensure_future(renewed(manager))
        await gate.arrived.wait()
        task.cancel()

    async def waited_for(seconds: float) -> bool:
        claims = vars(session)["_vault"].ledger._claims.values()
        for claim in claims:
            claim.since -= seconds
        return [claim.lives() for claim in claims] == [True]

    async def next_job() -> None:
        assert not await waited_for(2)
        await renewed(manager)

    stopped.run_until_complete(job())
    oauth.gate, oauth.spent = None, []
    assert stopped.run_until_complete(waited_for(9)), "it runs"
    anyio.run(next_job)
    gate.release()
    stopped.run_until_complete(session.drain())
    stopped.close()


ENDS = [("asyncio", SystemExit), ("asyncio", KeyboardInterrupt), ("asyncio", GeneratorExit), ("trio", GeneratorExit)]


@pytest.mark.parametrize(("backend", "error"), ENDS)
def test_a_pair_outlives_a_program_that_ends_while_its_storage_writes(
    backend: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    oauth = Rotating()
    manager = manager_of(oauth)

    async def end(_: Tokens) -> None:
        raise error

    async def next_job() -> str:
        return await manager["ada"].access_token()

    with monkeypatch.context() as patch, pytest.raises((error, AuthError)):
        patch.setattr(oauth.storage, "set_tokens", end)
        anyio.run(renewed, manager, backend=backend)
    gc.collect()
    token = anyio.run(next_job, backend=backend)
    assert [tokens.access_token for tokens in oauth.storage.writes] == [token]
    assert len(oauth.spent) == 1
    assert "never retrieved" not in caplog.text


PROGRAM = """
import sys, anyio
from prisma_mgmt.auth import OAuthClient, OAuthSession

class Hanging:
    async def get_tokens(self): await anyio.sleep_forever()
    async def set_tokens(self, tokens): pass
    async def clear_tokens(self): pass

async def main():
    with anyio.move_on_after(0.1):
        await OAuthSession(OAuthClient("client", "https://app.example/callback"), Hanging()).access_token()

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_program_with_nothing_to_lose_ends_though_its_storage_hangs(backend: str) -> None:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", PROGRAM, backend], check=True, timeout=60)
    assert time.monotonic() - began < 10, "the storage's patience"


def test_what_a_dead_loop_could_not_store_is_handed_on() -> None:
    oauth = Rotating()
    manager = manager_of(oauth)

    async def job() -> str:
        oauth.storage.failures = 1
        return await renewed(manager)

    async def next_job() -> str:
        return await manager["ada"].access_token()

    token = anyio.run(job)
    gc.collect()
    assert oauth.storage.writes == []
    assert anyio.run(next_job) == token
    assert [tokens.access_token for tokens in oauth.storage.writes] == [token]
    anyio.run(job)
    anyio.run(manager.aclose)
    assert len(oauth.storage.writes) == 2, "closing does it too"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_during_a_refresh_has_sessions_that_work() -> None:
    oauth = Rotating()
    manager = manager_of(oauth)

    async def job() -> int:
        gate = oauth.gate = Gate()
        async with anyio.create_task_group() as group:
            group.start_soon(renewed, manager)
            await gate.arrived.wait()
            if (child := os.fork()) == 0:
                _exit_with(lambda: in_child(oauth, manager))
            status = await anyio.to_thread.run_sync(os.waitpid, child, 0)
            gate.release()
        return os.waitstatus_to_exitcode(status[1])

    assert anyio.run(job) == 0


def in_child(oauth: Rotating, manager: SessionManager) -> None:
    oauth.gate, oauth.spent = None, []  # the parent's answer is the parent's

    async def job() -> None:
        with anyio.fail_after(10):
            await renewed(manager)

    asyncio.run(job())


def _exit_with(work: Any) -> None:
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def test_a_session_that_was_asked_for_before_any_loop_ran_is_the_one_of_the_first_loop() -> None:
    oauth = Rotating()
    manager = manager_of(oauth)
    session = manager["ada"]
    assert manager["ada"] is session

    async def ask() -> OAuthSession:
        return manager["ada"]

    assert anyio.run(ask) is session
    assert anyio.run(ask) is not session


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_closing_a_manager_binds_no_session_that_nobody_has_used_yet(backend: str) -> None:
    oauth = Rotating()
    manager = manager_of(oauth)
    session = manager["ada"]
    anyio.run(manager.aclose, backend=backend)
    assert anyio.run(session.access_token, backend=backend) == str(
        oauth.storage.current and oauth.storage.current.access_token
    )


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_closing_a_manager_waits_for_the_refreshes_of_all_sessions_of_a_user(backend: str, which: int) -> None:
    """Threads that run no event loop, as FastAPI's for plain functions, have asked for them."""
    oauth = Rotating()
    manager, sessions = manager_of(oauth), list[OAuthSession]()
    barrier = threading.Barrier(3)

    def thread() -> None:
        sessions.append(manager["ada"])
        barrier.wait(20)

    in_threads(3, thread)
    assert len({id(one) for one in sessions}) == 3
    old = str(oauth.storage.current and oauth.storage.current.access_token)

    async def program() -> None:
        for session in sessions:
            assert await session.access_token() == old
        oauth.gate = Gate()
        async with anyio.create_task_group() as group:
            group.start_soon(sessions[which].renew, old)
            await oauth.gate.arrived.wait()
            group.cancel_scope.cancel()
        async with anyio.create_task_group() as group:
            group.start_soon(manager.aclose)
            await anyio.wait_all_tasks_blocked()
            oauth.gate.release()
        assert len(oauth.storage.writes) == 1

    anyio.run(program, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_error_of_a_second_event_loop_shows_no_secret(backend: str) -> None:
    session = session_at("https://auth.example", MemoryTokenStorage())
    anyio.run(session.tokens)
    secret = "yranac"[::-1]  # or the lines of this file would show it

    async def call_back() -> None:
        await session.handle_callback(f"/?code={secret}", verifier=secret, expected_state=secret)

    async def renew() -> None:
        await session.renew(secret)

    for call in (call_back, renew):
        with pytest.raises(RuntimeError, match="serves that event loop only") as caught:
            anyio.run(call, backend=backend)
        frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
        shown = [frame.locals for frame in frames if "prisma_mgmt" in frame.filename]
        assert shown
        assert secret not in str(shown)


# What is left of a session


@contextmanager
def without_the_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _renew(session: OAuthSession, world: World) -> None:
    await session.renew(await session.access_token())


async def _fail(session: OAuthSession, world: World) -> None:
    world.prisma.refresh_tokens.clear()
    for _ in range(2):
        with suppress(AuthError):
            await _renew(session, world)


async def _log_in_and_out(session: OAuthSession, world: World) -> None:
    login = oauth_at(world.server.url).login_url()
    await session.handle_callback(f"/callback?code=abc&state={login.state}", login)
    await session.logout()


async def _bad_storage(session: OAuthSession, world: World) -> None:
    world.storage.unreadable = True
    for _ in range(2):
        with suppress(AuthError):
            await session.access_token()


@pytest.mark.anyio
@pytest.mark.parametrize("use", [_renew, _fail, _log_in_and_out, _bad_storage])
async def test_no_cycle_keeps_a_session_that_nobody_holds(use: Any) -> None:
    async with started(Prisma()) as world:
        with without_the_collector():
            session = session_at(world.server.url, world.storage)
            await use(session, world)
            await session.drain()
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            gone = ref(session)
            del session
            await anyio.lowlevel.checkpoint()
            assert gone() is None


@pytest.mark.parametrize(
    "thing",
    [
        oauth_at("http://127.0.0.1:1", client_secret="secret"),
        OAuthSession(oauth_at("http://127.0.0.1:1"), MemoryTokenStorage()),
        manager_of(Rotating()),
        MemoryTokenStorage(),
        PostgresTokenStorage("postgresql://ada:secret@db", key="ada"),
        GitHubActionsCredentials(),
    ],
    ids=lambda thing: type(thing).__name__,
)
@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_holds_secrets_is_neither_pickled_nor_copied(thing: Any, how: Any) -> None:
    with pytest.raises(TypeError, match="can be neither pickled nor copied"):
        how(thing)


# What cannot be right


@pytest.mark.parametrize("key", [None, "", b"", ()])
def test_a_key_must_name_a_user(key: Any) -> None:
    with pytest.raises(ValueError, match="a key must name one user"):
        manager_of(Rotating())[key]


class Half(MemoryTokenStorage):
    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        return True


OAUTH = oauth_at("http://127.0.0.1:1")
WRONG: list[tuple[str, Any]] = [
    ("oauth must be an object with the methods", lambda: OAuthSession("client-id", MemoryTokenStorage())),  # type: ignore[arg-type]
    ("storage must be an object with the methods", lambda: OAuthSession(OAUTH, "tokens.json")),  # type: ignore[arg-type]
    ("storage must be an object with the methods", lambda: OAuthSession(OAUTH, MemoryTokenStorage)),  # type: ignore[arg-type]
    ("since processes share it, must be", lambda: OAuthSession(OAUTH, Half())),
    ("on_refreshed must be a function", lambda: OAuthSession(OAUTH, MemoryTokenStorage(), on_refreshed=7)),  # type: ignore[arg-type]
    ("leeway must be a number of seconds", lambda: OAuthSession(OAUTH, MemoryTokenStorage(), leeway="60")),  # type: ignore[arg-type]
    ("oauth must be an object with the methods", lambda: SessionManager("client-id", lambda _: MemoryTokenStorage())),  # type: ignore[arg-type]
    ("storage_for must be a function", lambda: SessionManager(OAUTH, MemoryTokenStorage())),  # type: ignore[arg-type]
    ("monotonic must be a function", lambda: SessionManager(OAUTH, lambda _: MemoryTokenStorage(), monotonic=5)),  # type: ignore[arg-type]
    ("patience must be a Patience", lambda: OAuthSession(OAUTH, MemoryTokenStorage(), patience=0)),  # type: ignore[arg-type]
    ("ledger must be", lambda: OAuthSession(OAUTH, MemoryTokenStorage(), ledger="x")),  # type: ignore[arg-type]
    ("rejected must be text", lambda: anyio.run(OAuthSession(OAUTH, MemoryTokenStorage()).renew, None)),
    ("leeway must be a number", lambda: SessionManager(OAUTH, lambda _: MemoryTokenStorage(), leeway="60")),  # type: ignore[arg-type]
    ("what storage_for gives must be", lambda: SessionManager(OAUTH, lambda _: None)["ada"]),  # type: ignore[arg-type, return-value]
]


@pytest.mark.parametrize(("said", "make"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_what_cannot_be_right_is_a_type_error_where_it_is_given(said: str, make: Any) -> None:
    with pytest.raises(TypeError, match=said):
        make()


# How much is asked of a storage at once


class Client:
    """A Redis whose pool raises an error at its limit, as redis-py's does."""

    def __init__(self, limit: int) -> None:
        self.connection_pool = SimpleNamespace(max_connections=limit)
        self.used, self.most = 0, 0
        self.texts: dict[str, str] = {}

    async def _connect(self) -> None:
        self.used += 1
        self.most = max(self.most, self.used)
        try:
            if self.used > self.connection_pool.max_connections:
                raise ConnectionError("Too many connections")
            await anyio.lowlevel.checkpoint()
        finally:
            self.used -= 1

    async def get(self, key: str) -> str | None:
        await self._connect()
        return self.texts.get(key)

    async def set(self, key: str, text: str) -> None:
        await self._connect()
        self.texts[key] = text

    async def delete(self, key: str) -> None:
        await self._connect()
        self.texts.pop(key, None)

    async def eval(self, script: str, keys: int, key: str, *arguments: Any) -> int:
        await self._connect()
        if key in self.texts:  # a swap; the others are about locks, which nobody else has
            self.texts[key] = arguments[1]
        return 1


@pytest.mark.anyio
async def test_a_worker_thread_gets_the_session_of_the_event_loop_that_waits_for_it() -> None:
    sessions = manager_of(Rotating())
    mine = sessions["ada"]
    await mine.access_token()
    assert await anyio.to_thread.run_sync(sessions.__getitem__, "ada") is mine
    first = await anyio.to_thread.run_sync(sessions.__getitem__, "eve")
    await first.access_token()
    assert sessions["eve"] is first


@pytest.mark.anyio
async def test_five_hundred_users_at_once_stay_below_the_limit_of_a_pool() -> None:
    client, oauth = Client(100), Rotating()
    for user in range(500):
        await RedisTokenStorage(client, key=f"user:{user}").set_tokens(oauth.prisma.tokens())
    manager: SessionManager[int] = SessionManager(oauth, lambda user: RedisTokenStorage(client, key=f"user:{user}"))  # type: ignore[arg-type]
    results: list[Any] = []

    async def call(user: int) -> None:
        session = manager[user]
        results.extend(await together(1, lambda: _renew_only(session)))

    with anyio.fail_after(50):
        async with anyio.create_task_group() as group:
            for user in range(500):
                group.start_soon(call, user)
    assert [result for result in results if isinstance(result, Exception)] == []
    assert len(oauth.spent) == 500
    assert 1 < client.most <= 100


async def _renew_only(session: OAuthSession) -> str | None:
    return await session.renew(await session.access_token())


@pytest.mark.anyio
async def test_nobody_is_logged_in_is_no_reason_to_refresh() -> None:
    oauth = Rotating()
    await oauth.storage.clear_tokens()
    with pytest.raises(LoginRequiredError):
        await manager_of(oauth)["ada"].renew("anything")
    assert oauth.spent == []

"""What keeps a lease alive, whatever becomes of the server; on both event loops."""

from contextlib import nullcontext
from weakref import ref

import anyio
import pytest
from attrs import define, field

from prisma_mgmt import AuthError
from prisma_mgmt.auth.storage import locks
from prisma_mgmt.auth.storage.locks import LEASE, LONGEST_PAUSE, LONGEST_WAIT, LeaseLock, until
from prisma_mgmt.auth.storage.rooms import holding, place, room
from tests.kit.rig import Gate

pytestmark = pytest.mark.anyio


@define
class Server:
    """Keeps one lease, and does what a test says when it is asked to extend it."""

    extending: list[bool | Exception] = field(factory=list)
    holder: str | None = None
    extended: anyio.Event = field(factory=anyio.Event)
    asked: int = 0
    refused: int = 0

    async def take(self, owner: str) -> bool:
        self.holder = self.holder or owner
        self.refused += self.holder != owner
        return self.holder == owner

    async def extend(self, owner: str) -> bool:
        self.asked += 1
        answer = self.extending.pop(0)
        if not self.extending:
            self.extended.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def release(self, owner: str) -> None:
        if self.holder == owner:
            self.holder = None


def lock_of(server: Server, seconds: float, patience: float) -> LeaseLock:
    return LeaseLock("there", seconds, patience, nullcontext, server.take, server.extend, server.release)


async def test_a_server_that_is_away_for_a_moment_costs_no_lock(caplog: pytest.LogCaptureFixture) -> None:
    server = Server([ConnectionError("canary"), True, TimeoutError(), True])
    async with lock_of(server, 0.03, 1.0).held():
        await server.extended.wait()
        assert server.holder is not None
    assert server.holder is None
    assert caplog.messages == [
        "the refresh lock of there could not be extended (ConnectionError)",
        "the refresh lock of there could not be extended (TimeoutError)",
    ]


async def test_a_lost_lock_is_reported_and_not_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    server = Server([True, False])
    async with lock_of(server, 0.03, 1.0).held():
        await server.extended.wait()
        server.holder = "another"
        await anyio.wait_all_tasks_blocked()
    assert server.holder == "another"
    assert server.asked == 2
    assert caplog.messages == ["the refresh lock of there was lost"]


async def test_what_was_read_counts_only_if_the_lock_was_held_all_the_time() -> None:
    """A machine may be too busy to extend it: then it is taken again, and whoever reads is to read again."""

    class Away(Server):
        async def extend(self, owner: str) -> bool:
            await anyio.sleep_forever()
            return True

    server = Away()
    lock = lock_of(server, 0.2, 5.0)
    assert await lock.sure(), "nobody holds it"
    async with lock.held():
        owner = server.holder
        assert await lock.sure()
        await anyio.sleep(0.25)
        server.holder = "another"
        async with anyio.create_task_group() as group:
            group.start_soon(freed_after_a_look, server)
            assert not await lock.sure(), "it had to be taken again"
        assert server.holder == owner
        assert await lock.sure()
    assert await lock.sure()
    assert server.holder is None


async def freed_after_a_look(server: Server) -> None:
    with anyio.fail_after(5):
        while not server.refused:
            await anyio.sleep(0)
    server.holder = None


async def test_a_task_that_outlives_a_lock_does_not_take_it_again() -> None:
    server, released = Server(), anyio.Event()
    lock = lock_of(server, 0.1, 5.0)

    async def read_later() -> None:  # in a copy of the holder's context
        await released.wait()
        await anyio.sleep(0.15)
        assert await lock.sure()

    async with anyio.create_task_group() as group:
        async with lock.held():
            server.extending = [True] * 20
            group.start_soon(read_later)
        released.set()
    assert server.holder is None


async def test_a_lock_that_was_lost_is_known_to_be_so_though_its_time_is_not_over() -> None:
    server = Server([False])
    lock = lock_of(server, 0.5, 5.0)
    async with lock.held():
        server.holder = None
        await server.extended.wait()
        await anyio.wait_all_tasks_blocked()
        assert not await lock.sure()
        assert server.holder is not None


async def test_what_is_raised_under_a_lock_passes_unchanged() -> None:
    server, mine = Server(), KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with lock_of(server, 5.0, 1.0).held():
            raise mine
    assert caught.value is mine
    assert server.holder is None


async def test_an_answer_that_was_not_waited_for_leaves_no_lock_behind() -> None:
    """The caller is cancelled after the server has given the lock, and before it knows."""

    class Slow(Server):
        async def take(self, owner: str) -> bool:
            self.holder = owner
            scope.cancel()
            await anyio.sleep_forever()
            return True

    server = Slow()
    with anyio.CancelScope() as scope:
        async with lock_of(server, 0.3, 1.0).held():
            pytest.fail("held")
    assert server.holder is None


async def test_a_server_that_does_not_answer_to_a_release_is_not_waited_for_longer_than_its_lease() -> None:
    class Silent(Server):
        async def release(self, owner: str) -> None:
            await anyio.sleep_forever()

    with anyio.fail_after(10):
        async with lock_of(Silent(), 0.05, 1.0).held():
            pass


async def test_a_long_lease_makes_nobody_wait_longer_for_a_server_that_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither for the lock, past the patience of whoever asks, nor for its release."""
    monkeypatch.setattr(locks, "LEASE", 0.05)

    class Deaf(Server):
        async def take(self, owner: str) -> bool:
            await anyio.sleep_forever()
            return True

    class Silent(Server):
        async def release(self, owner: str) -> None:
            await anyio.sleep_forever()

    began = anyio.current_time()
    with pytest.raises(AuthError, match=r"for 0\.1 s"):
        async with lock_of(Deaf(), 5.0, 0.1).held():
            pytest.fail("held")
    async with lock_of(Silent(), 5.0, 1.0).held():
        pass
    assert anyio.current_time() - began < 4


async def test_waiting_has_an_end_that_names_the_place() -> None:
    async def never() -> None:
        return None

    with pytest.raises(AuthError, match=r"another process has held the refresh lock of there for 0\.05 s"):
        await until(never, "there", 0.05)


async def test_a_room_is_the_same_for_all_who_ask_in_one_event_loop() -> None:
    assert room("redis", 3) is room("redis", 3)
    assert room("redis", 3) is not room("redis", 4)


async def test_a_room_is_kept_by_those_who_are_in_it_or_wait_for_it_and_by_nobody_else() -> None:
    gate = Gate()

    async def enter() -> None:
        async with room("redis", 1):
            await gate()

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(enter)
        await anyio.wait_all_tasks_blocked()
        kept = ref(room("redis", 1))
        assert kept() is room("redis", 1)
        assert room("redis", 1).statistics().tasks_waiting == 1
        gate.release()
    assert kept() is None


async def test_a_place_that_is_given_back_while_who_waited_for_it_is_cancelled_is_free_for_the_next() -> None:
    """Before anyio 4.14 all who came later waited for ever."""
    kept = room("redis", 1)
    await kept.acquire()

    async def enter(scope: anyio.CancelScope) -> None:
        with scope:
            await kept.acquire()

    async with anyio.create_task_group() as group:
        group.start_soon(enter, scope := anyio.CancelScope())
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        kept.release()
        with anyio.fail_after(1):
            await kept.acquire()


def test_another_event_loop_has_rooms_of_its_own() -> None:
    async def one() -> anyio.CapacityLimiter:
        return room("redis", 3)

    assert anyio.run(one) is not anyio.run(one)


def test_a_lease_ends_while_the_login_server_still_forgives() -> None:
    """And somebody has noticed by then."""
    assert LEASE + LONGEST_PAUSE <= 8.0 < LONGEST_WAIT


async def test_whoever_waits_looks_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pauses(jitter: float, most: int) -> list[float]:
        slept = list[float]()

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        async def attempt() -> bool | None:
            return True if len(slept) == most else None

        monkeypatch.setattr(anyio, "sleep", sleep)
        await until(attempt, "a place", 60.0, lambda: jitter)
        return slept

    in_step = await pauses(1.0, 7)
    assert in_step == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert await pauses(0.0, 2) == [0.025, 0.05]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("size", [1, 3])
async def test_whoever_holds_a_lock_goes_before_all_who_wait_for_theirs(size: int) -> None:
    """Hundreds who ask again and again must not keep a holder from extending its own in time."""
    gate, order = Gate(), list[str]()

    async def call(name: str) -> None:
        if name == "holder":
            holding.set(object())
        async with place("a server", size):
            await gate()
            order.append(name)

    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(call, f"waiting {number}")
        await gate.arrived.wait()
        await anyio.wait_all_tasks_blocked()
        group.start_soon(call, "holder")
        await anyio.wait_all_tasks_blocked()
        gate.release()
    assert order.index("holder") <= size
    assert len(order) == 51

"""What keeps a lease alive, whatever becomes of the server; on both event loops."""

import anyio
import pytest
from attrs import define, field

from prisma_mgmt import AuthError
from prisma_mgmt.auth.storage.locks import LEASE, LONGEST_WAIT, Lease, until
from prisma_mgmt.auth.storage.rooms import room

pytestmark = pytest.mark.anyio


@define
class Server:
    """Keeps one lease, and does what a test says when it is asked to extend it."""

    extending: list[bool | Exception] = field(factory=list)
    holder: str | None = None
    extended: anyio.Event = field(factory=anyio.Event)
    asked: int = 0

    async def take(self, owner: str) -> bool:
        self.holder = self.holder or owner
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


async def test_a_server_that_is_away_for_a_moment_costs_no_lock(caplog: pytest.LogCaptureFixture) -> None:
    server = Server([ConnectionError("canary"), True, TimeoutError(), True])
    async with Lease("there", 0.03, 1.0).held(server):
        await server.extended.wait()
        assert server.holder is not None
    assert server.holder is None
    assert caplog.messages == [
        "the refresh lock of there could not be extended (ConnectionError)",
        "the refresh lock of there could not be extended (TimeoutError)",
    ]


async def test_a_lost_lock_is_reported_and_not_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    server = Server([True, False])
    async with Lease("there", 0.03, 1.0).held(server):
        await server.extended.wait()
        server.holder = "another"
        await anyio.wait_all_tasks_blocked()
    assert server.holder == "another"
    assert server.asked == 2
    assert caplog.messages == ["the refresh lock of there was lost"]


async def test_whoever_waits_for_a_lease_leaves_the_server_to_those_who_hold_one() -> None:
    """Hundreds who ask again and again must not keep a holder from extending its own in time."""
    asking, most = 0, 0

    class Busy(Server):
        async def take(self, owner: str) -> bool:
            nonlocal asking, most
            asking += 1
            most = max(most, asking)
            await anyio.sleep(0)
            asking -= 1
            return await super().take(owner)

    server = Busy()

    async def use() -> None:
        async with Lease("there", 5.0, 10.0).held(server):
            await anyio.sleep(0)

    async with anyio.create_task_group() as group:
        for _ in range(30):
            group.start_soon(use)
    assert most == 2


async def test_what_is_raised_under_a_lock_passes_unchanged() -> None:
    server, mine = Server(), KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with Lease("there", 5.0, 1.0).held(server):
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
        async with Lease("there", 5.0, 1.0).held(server):
            pytest.fail("held")
    assert server.holder is None


async def test_a_server_that_does_not_answer_to_a_release_is_not_waited_for_longer_than_its_lease() -> None:
    class Silent(Server):
        async def release(self, owner: str) -> None:
            await anyio.sleep_forever()

    with anyio.fail_after(10):
        async with Lease("there", 0.05, 1.0).held(Silent()):
            pass


async def test_waiting_has_an_end_that_names_the_place() -> None:
    async def never() -> None:
        return None

    with pytest.raises(AuthError, match=r"another process has held the refresh lock of there for 0\.05 s"):
        await until(never, "there", 0.05)


async def test_a_room_is_the_same_for_all_who_ask_in_one_event_loop() -> None:
    assert room("redis", 3) is room("redis", 3)
    assert room("redis", 3) is not room("redis", 4)


def test_another_event_loop_has_rooms_of_its_own() -> None:
    async def one() -> anyio.CapacityLimiter:
        return room("redis", 3)

    assert anyio.run(one) is not anyio.run(one)


def test_a_lease_ends_while_the_login_server_still_forgives() -> None:
    assert LEASE <= 5.0 < LONGEST_WAIT

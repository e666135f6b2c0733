"""SessionManager: one live session for each user, and nobody gets another's tokens."""

import gc
import inspect
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from attrs import define, field

from prisma_mgmt import AuthError, ManagementClient, RetryPolicy
from prisma_mgmt.auth import OAuthSession, SessionManager, Tokens
from prisma_mgmt.auth.manager import SessionOptions
from prisma_mgmt.auth.tokens import workspace_of
from prisma_mgmt.auth.vault import Patience
from tests.kit.login import CountingStorage, Prisma, oauth_at
from tests.kit.rig import Gate, Reply, Request, serve

pytestmark = pytest.mark.anyio


@define
class World:
    """A server that gives every user tokens of their own workspace, and a manager over storages kept by user."""

    prisma: Prisma
    url: str = ""
    storages: dict[str, CountingStorage] = field(factory=dict)
    owners: dict[str, str] = field(factory=dict)  # refresh token -> workspace
    manager: SessionManager[str] = field(init=False)

    def storage_for(self, user: str) -> CountingStorage:
        return self.storages.setdefault(user, CountingStorage())

    async def log_in(self, user: str) -> None:
        await self.storage_for(user).set_tokens(self.tokens(f"wksp_{user}"))

    def tokens(self, workspace: str) -> Tokens:
        pair = self.prisma.new_pair(workspace)
        self.owners[pair["refresh_token"]] = workspace
        return Tokens(workspace, pair["access_token"], pair["refresh_token"])

    async def handle(self, request: Request) -> Reply:
        if request.path != "/token":
            return await self.prisma.handle(request)
        await self.prisma.token_gate()
        self.prisma.forms.append(request.form)
        new = self.tokens(self.owners.pop(request.form["refresh_token"]))
        form = {"access_token": new.access_token, "refresh_token": new.refresh_token, "token_type": "Bearer"}
        return Reply(body=form)


@asynccontextmanager
async def started() -> AsyncIterator[World]:
    world = World(Prisma())
    with anyio.fail_after(30):
        async with serve(lambda request: world.handle(request)) as server:
            world.url = server.url
            world.manager = SessionManager(oauth_at(server.url), world.storage_for, snapshot_ttl=0)
            async with world.manager:
                yield world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with started() as world:
        yield world


async def test_a_user_has_one_session_while_anyone_holds_it(world: World) -> None:
    session = world.manager["ada"]
    assert world.manager["ada"] is session
    assert world.manager["bob"] is not session
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None
    assert isinstance(world.manager["ada"], OAuthSession)


async def test_any_hashable_names_a_user() -> None:
    asked: list[Any] = []
    manager: SessionManager[tuple[str, int]] = SessionManager(
        oauth_at("https://auth.example"), lambda key: asked.append(key) or CountingStorage(), leeway=0
    )
    session = manager["ada", 1]
    assert manager["ada", 1] is session
    assert asked == [("ada", 1)]
    with pytest.raises(ValueError, match="leeway must be at least 0 seconds"):
        SessionManager(oauth_at("https://auth.example"), lambda _: CountingStorage(), leeway=-1)["ada"]


async def test_two_users_at_once_never_mix_tokens(world: World) -> None:
    users = ["ada", "bob", "eve"]
    for user in users:
        await world.log_in(user)
    world.prisma.expire()
    seen: dict[str, set[str | None]] = {user: set() for user in users}

    async with (
        ManagementClient(world.manager["ada"], base_url=world.url, retry=RetryPolicy(attempts=1)) as client,
        anyio.create_task_group() as group,
    ):

        async def call(user: str) -> None:
            mine = client.with_options(auth=world.manager[user])
            response = await mine.request("GET", "/v1/me")
            seen[user].add(workspace_of(response.body["token"]))

        for _ in range(20):
            for user in users:
                group.start_soon(call, user)
    assert seen == {user: {f"wksp_{user}"} for user in users}
    assert world.prisma.refreshes == 3
    for user in users:
        stored = await world.storages[user].get_tokens()
        assert stored is not None
        assert workspace_of(stored.access_token) == stored.workspace_id == f"wksp_{user}"


async def test_one_users_slow_refresh_holds_up_nobody_else(world: World) -> None:
    for user in ("ada", "bob"):
        await world.log_in(user)
    ada, bob = world.manager["ada"], world.manager["bob"]
    gate = world.prisma.token_gate = Gate()
    async with anyio.create_task_group() as group:
        group.start_soon(ada.renew, await ada.access_token())
        await gate.arrived.wait()
        assert workspace_of(await bob.access_token()) == "wksp_bob"
        gate.release()


async def test_a_session_that_everybody_dropped_finishes_its_refresh(world: World) -> None:
    await world.log_in("ada")
    gate = world.prisma.token_gate = Gate()
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as inner:
                inner.start_soon(world.manager["ada"].renew, await world.manager["ada"].access_token())
                await gate.arrived.wait()
                scope.cancel()
        gc.collect()
        group.start_soon(world.manager.aclose)
        gate.release()
    assert len(world.storages["ada"].writes) == 2


async def test_a_pair_that_could_not_be_stored_is_not_lost_with_its_session(world: World) -> None:
    """S10, though nobody holds the session: it lives until the pair is stored."""
    await world.log_in("ada")
    storage = world.storages["ada"]
    storage.failures = 1
    renewed = await world.manager["ada"].renew(await world.manager["ada"].access_token())
    gc.collect()
    assert storage.current is not None
    assert storage.current.access_token != renewed
    assert await world.manager["ada"].access_token() == renewed
    assert storage.current.access_token == renewed
    gone = weakref.ref(world.manager["ada"])
    gc.collect()
    assert gone() is None


async def test_closing_stores_what_could_not_be_stored(world: World) -> None:
    for user in ("ada", "bob"):
        await world.log_in(user)
        world.storages[user].failures = 1
        await world.manager[user].renew(await world.manager[user].access_token())
    await world.manager.aclose()
    assert [len(storage.writes) for storage in world.storages.values()] == [2, 2]


async def test_closing_goes_on_past_a_failure_and_tells_of_it(world: World) -> None:
    for user in ("ada", "bob"):
        await world.log_in(user)
        world.storages[user].failures = 2
        await world.manager[user].renew(await world.manager[user].access_token())
    world.storages["bob"].failures = 0
    with pytest.raises(AuthError, match="storage failed"):
        await world.manager.aclose()
    assert len(world.storages["bob"].writes) == 2


async def test_closing_waits_for_all_storages_at_once(world: World) -> None:
    arrived, everybody = list[str](), anyio.Event()

    class Slow(CountingStorage):
        user = ""

        async def get_tokens(self) -> Tokens | None:
            if self.user:
                arrived.append(self.user)
                if len(arrived) == 2:
                    everybody.set()
                await everybody.wait()
            return await super().get_tokens()

    manager = SessionManager(oauth_at(world.url), world.storage_for, patience=Patience(storage=3))
    for user in ("ada", "bob"):
        world.storages[user] = Slow()
        await world.log_in(user)
        world.storages[user].failures = 1
        await manager[user].renew(await manager[user].access_token())
    held = manager["ada"]  # bob's session is gone
    for user, storage in world.storages.items():
        assert isinstance(storage, Slow)
        storage.user = user
    await manager.aclose()
    assert sorted(arrived) == ["ada", "bob"]
    assert held is manager["ada"]


async def test_closing_goes_on_though_a_users_storage_is_gone(world: World) -> None:
    manager = SessionManager(oauth_at(world.url), lambda user: world.storages[user])
    for user in ("ada", "bob"):
        await world.log_in(user)
        world.storages[user].failures = 1
        await manager[user].renew(await manager[user].access_token())
    gc.collect()
    del world.storages["ada"]
    with pytest.raises(KeyError, match="ada"):
        await manager.aclose()
    assert len(world.storages["bob"].writes) == 2


def test_an_option_that_no_session_has_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="takes no leewy"):
        SessionManager(oauth_at("http://127.0.0.1:1"), lambda _: CountingStorage(), leewy=4)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a mistake


def test_a_manager_takes_what_a_session_takes() -> None:
    named = inspect.signature(OAuthSession).parameters.values()
    options = {one.name for one in named if one.kind is one.KEYWORD_ONLY}
    assert set(SessionOptions.__annotations__) == options - {"ledger"}, "which the manager gives"

"""GitHubActionsCredentials: a workflow's proof becomes a token, once for all who ask, and again before it expires."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx
import pytest
from attrs import define, field

from prisma_mgmt import AuthError, Credentials, ManagementClient, NetworkError
from prisma_mgmt.auth import GitHubActionsCredentials
from tests.conftest import FakeClock
from tests.kit.canaries import leaks
from tests.kit.rig import Gate, Reply, Request, Server, serve

pytestmark = pytest.mark.anyio


@define
class World:
    """GitHub and the API in one server."""

    clock: FakeClock
    server: Server | None = None
    query: dict[str, str] = field(factory=lambda: {"api-version": "2"})
    github: Reply = field(factory=lambda: Reply(body={"count": 7, "value": "canary-proof"}))
    refusal: Reply | None = None
    zone: str = "Z"
    gate: Gate = field(factory=lambda: Gate(open_=True))
    minted: int = 0
    live: set[str] = field(factory=set)

    async def handle(self, request: Request) -> Reply:
        if request.path == "/github":
            assert request.token == "canary-request-token"
            assert request.query == {**self.query, "audience": "prisma-cloud"}
            return self.github
        if request.path == "/v1/auth/github-actions/token":
            assert request.token is None, "the exchange needs no token, and is sent none"
            return await self.mint(request)
        if request.token not in self.live:
            return Reply(401, {"error": {"code": "authentication-failed", "message": "expired"}})
        return Reply(body={"data": request.token})

    async def mint(self, request: Request) -> Reply:
        await self.gate()
        assert request.json["token"] == "canary-proof"
        if self.refusal is not None:
            return self.refusal
        self.minted += 1
        self.live = {f"canary-token-{self.minted}"}
        lifetime = request.json.get("expiresInSeconds", 1800)
        expires_at = datetime.fromtimestamp(self.clock.time + lifetime, UTC).isoformat().replace("+00:00", self.zone)
        data = {"id": "x", "type": "serviceToken", "value": f"canary-token-{self.minted}", "expiresAt": expires_at}
        return Reply(201, {"data": {**data, "workspaceId": "wksp_1"}})


@asynccontextmanager
async def workflow(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock, **options: Any
) -> AsyncIterator[tuple[World, GitHubActionsCredentials]]:
    world = World(clock)
    with anyio.fail_after(30):
        async with serve(world.handle) as world.server:
            monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{world.server.url}/github?api-version=2")
            monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary-request-token")
            options = {"now": clock.now, "monotonic": clock.monotonic, **options}
            yield world, GitHubActionsCredentials(base_url=world.server.url, **options)


async def test_a_client_of_a_workflow(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    async with workflow(monkeypatch, clock) as (world, credentials):
        assert isinstance(credentials, Credentials)
        assert world.server is not None
        async with ManagementClient(credentials, base_url=world.server.url) as prisma:
            for _ in range(3):
                assert (await prisma.request("GET", "/v1/me")).body == {"data": "canary-token-1"}
            world.live.clear()
            assert (await prisma.request("GET", "/v1/me")).body == {"data": "canary-token-2"}
    assert world.minted == 2


@pytest.mark.parametrize("lifetime", [None, 600])
async def test_a_token_is_renewed_a_minute_before_it_expires(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock, lifetime: int | None
) -> None:
    async with workflow(monkeypatch, clock, lifetime=lifetime) as (_, credentials):
        await credentials.access_token()
        clock.time += (lifetime or 1800) - 61
        assert await credentials.access_token() == "canary-token-1"
        clock.time += 1
        assert await credentials.access_token() == "canary-token-2"


async def test_all_who_ask_at_once_share_one_exchange(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    async with workflow(monkeypatch, clock) as (world, credentials):
        world.gate = Gate()
        tokens: list[str] = []

        async def ask() -> None:
            tokens.append(await credentials.access_token())

        async with anyio.create_task_group() as group:
            first = anyio.CancelScope()

            async def leave() -> None:
                with first:
                    await ask()

            group.start_soon(leave)
            await world.gate.arrived.wait()
            for _ in range(20):
                group.start_soon(ask)
            first.cancel()  # whoever began the exchange may leave
            world.gate.release()
        assert set(tokens) == {"canary-token-1"} or set(tokens) == {"canary-token-2"}
        assert len(tokens) == 20


async def test_all_who_ask_at_once_share_what_went_wrong(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    async with workflow(monkeypatch, clock) as (world, credentials):
        world.gate, world.refusal = Gate(), Reply(503, headers={"retry-after": "60"})
        failed: list[AuthError] = []

        async def ask() -> None:
            with pytest.raises(AuthError, match=r"gave no token.*503") as caught:
                await credentials.access_token()
            failed.append(caught.value)

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)
            await world.gate.arrived.wait()
            await anyio.wait_all_tasks_blocked()
            world.gate.release()
        assert world.server is not None
        assert len(world.server.requests) == 2
        assert len({id(error) for error in failed}) == len(failed) == 20
        assert {error.retry_after for error in failed} == {60}
        world.refusal = None
        clock.time += 59
        with pytest.raises(AuthError, match=r"gave no token.*503") as caught:
            await credentials.access_token()
        assert caught.value not in failed, "each has an error of its own"
        assert len(world.server.requests) == 2
        clock.time += 1
        assert await credentials.access_token() == "canary-token-1"


@pytest.mark.parametrize("failing", ["github", "the API"])
async def test_who_fails_is_asked_again_after_a_pause_that_doubles(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock, failing: str
) -> None:
    async with workflow(monkeypatch, clock) as (world, credentials):
        good, world.refusal = world.github, Reply(503)
        each = 2
        if failing == "github":
            world.github, each = Reply(503), 1
        assert world.server is not None
        for times, pause in enumerate([1, 2, 4, 8, 16, 30, 30], start=1):
            for passed in (0, pause - 0.5):
                clock.time += passed
                with pytest.raises(AuthError, match="503"):
                    await credentials.access_token()
                with pytest.raises(AuthError, match="503"):
                    await credentials.renew("an older one")
            assert len(world.server.requests) == times * each
            clock.time += 0.5
        world.github, world.refusal = good, None
        assert await credentials.access_token() == "canary-token-1"
        world.refusal = Reply(503)
        for _ in range(5):
            with pytest.raises(AuthError, match="503"):
                await credentials.renew("canary-token-1")
            assert await credentials.access_token() == "canary-token-1"
        assert len(world.server.requests) == 7 * each + 4
        clock.time, world.refusal = clock.time + 1, None
        assert await credentials.renew("canary-token-1") == "canary-token-2"


async def test_whatever_a_transport_of_the_callers_raises_is_followed_by_a_pause(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    asked: list[httpx.Request] = []

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request)
            raise KeyError("canary")

    async with workflow(monkeypatch, clock, transport=Transport()) as (_, credentials):
        for times in (1, 2):
            for _ in range(3):
                with pytest.raises(AuthError, match="the exchange ended with KeyError") as caught:
                    await credentials.access_token()
                assert isinstance(caught.value.__cause__, KeyError)
            assert len(asked) == times
            clock.time += 1


async def test_a_token_that_is_still_good_serves_on_if_its_renewal_fails(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    async with workflow(monkeypatch, clock) as (world, credentials):
        await credentials.access_token()
        world.refusal = Reply(503)
        clock.time += 1741
        assert await credentials.access_token() == "canary-token-1"
        assert world.server is not None
        asked = len(world.server.requests)
        assert await credentials.access_token() == "canary-token-1"
        assert len(world.server.requests) == asked, "not each call asks a server that fails"
        clock.time += 59
        with pytest.raises(AuthError, match="503"):
            await credentials.access_token()


async def test_an_expiry_without_a_zone_is_meant_as_utc(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        async with workflow(monkeypatch, clock) as (world, credentials):
            world.zone = ""
            assert await credentials.access_token() == "canary-token-1"
            clock.time += 1739
            assert await credentials.access_token() == "canary-token-1"
            clock.time += 1
            assert await credentials.access_token() == "canary-token-2"
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_a_clock_that_is_set_back_keeps_no_token_from_being_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, clock = FakeClock(), FakeClock()
    async with workflow(monkeypatch, clock, now=wall.now) as (_, credentials):
        await credentials.access_token()
        assert await credentials.renew("canary-token-1") == "canary-token-2"
        assert await credentials.renew("canary-token-2") is None
        wall.time -= 7200
        clock.time += 11
        assert await credentials.renew("canary-token-2") == "canary-token-3"


async def test_a_rejected_token_that_was_replaced_already_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    async with workflow(monkeypatch, clock) as (world, credentials):
        await credentials.access_token()
        assert await credentials.renew("an older one") == "canary-token-1"
        assert await credentials.renew("canary-token-1") == "canary-token-2"
        assert world.minted == 2


async def test_github_may_be_asked_at_a_url_without_a_query(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    async with workflow(monkeypatch, clock) as (world, credentials):
        assert world.server is not None
        world.query = {}
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{world.server.url}/github")
        assert await credentials.access_token() == "canary-token-1"


@pytest.mark.parametrize("missing", ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
async def test_outside_of_a_workflow_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock, missing: str
) -> None:
    async with workflow(monkeypatch, clock) as (_, credentials):
        with monkeypatch.context() as outside:
            outside.setenv(missing, " ")
            with pytest.raises(AuthError, match="id-token: write"):
                await credentials.access_token()
        assert await credentials.access_token() == "canary-token-1", "nobody failed, so there is no pause"


async def test_githubs_token_goes_over_https_only(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    async with workflow(monkeypatch, clock) as (_, credentials):
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://github.example/x")
        with pytest.raises(ValueError, match="ACTIONS_ID_TOKEN_REQUEST_URL would send tokens over plain http"):
            await credentials.access_token()


async def test_no_refusal_shows_a_secret(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    async with workflow(monkeypatch, clock) as (world, credentials):
        for reply in (
            Reply(503, headers={"retry-after": "7"}),
            Reply(content=b"canary"),
            Reply(body={"value": ["canary"]}),
        ):
            world.github = reply
            with pytest.raises(AuthError, match="GitHub gave no OIDC token") as caught:
                await credentials.access_token()
            assert leaks(caught.value) == []
            assert caught.value.retry_after == (7 if reply.status == 503 else None)
            clock.time += 30  # no pause is longer unless it is asked for
        world.github = Reply(body={"value": "canary-\ud800"})  # UTF-8 cannot carry it to the API
        with pytest.raises(AuthError, match="no bearer token") as caught:
            await credentials.access_token()
        assert leaks(caught.value) == []
        clock.time += 30
        world.github = Reply(body={"value": "canary-proof"})
        for reply in (
            Reply(401, {"error": {"message": "canary"}}),
            Reply(201, {"data": {"value": None, "x": "canary"}}),
        ):
            world.refusal = reply
            with pytest.raises(AuthError, match="is the repository linked") as caught:
                await credentials.access_token()
            assert leaks(caught.value) == []
            clock.time += 30
        world.refusal = Reply(201, {"data": {"value": "canary canary"}})
        with pytest.raises(AuthError, match="no bearer token") as caught:
            await credentials.access_token()
        assert leaks(caught.value) == []
        clock.time += 30
    with pytest.raises(NetworkError) as unreachable:
        await credentials.access_token()
    assert leaks(unreachable.value) == []


@pytest.mark.parametrize("ahead", [0, 7200])
async def test_a_short_lifetime_or_a_clock_that_is_ahead_costs_one_token_and_not_one_a_call(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock, ahead: float
) -> None:
    async with workflow(monkeypatch, clock, lifetime=60) as (world, credentials):
        clock.time += ahead
        world.clock = FakeClock(clock.time - ahead)
        for _ in range(10):
            assert await credentials.access_token() == "canary-token-1"
        clock.time += 55
        assert await credentials.access_token() == "canary-token-2"


async def test_an_api_that_says_401_for_ever_costs_one_renewal(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    async with workflow(monkeypatch, clock) as (world, credentials):
        for _ in range(10):
            token = await credentials.access_token()
            await credentials.renew(token)
        assert world.minted == 2
        clock.time += 10
        assert await credentials.renew(token) == "canary-token-3"


@pytest.mark.parametrize(
    "options", [{"lifetime": 3601}, {"lifetime": 0}, {"base_url": "http://api.example"}, {"timeout": 0}]
)
def test_arguments_that_cannot_be_right(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        GitHubActionsCredentials(**options)


@pytest.mark.parametrize("options", [{"lifetime": 0.5}, {"lifetime": "60"}, {"now": 5}, {"timeout": "1"}])
def test_arguments_of_a_wrong_type(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        GitHubActionsCredentials(**options)

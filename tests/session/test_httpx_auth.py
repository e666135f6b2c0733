"""A session as the auth of any httpx.AsyncClient."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from attrs import define, evolve

from prisma_mgmt import LoginRequiredError, ServiceToken
from prisma_mgmt.auth import OAuthSession
from prisma_mgmt.auth.httpx_auth import SessionAuth
from tests.kit.login import CountingStorage, Prisma, session_at
from tests.kit.rig import Gate, Request, Server, serve
from tests.kit.world import rounds, together

pytestmark = pytest.mark.anyio


@define
class World:
    prisma: Prisma
    server: Server
    storage: CountingStorage
    session: OAuthSession
    client: httpx.AsyncClient

    def sent_to(self, path: str) -> list[Request]:
        return [request for request in self.server.requests if request.path == path]

    async def get(self) -> httpx.Response:
        return await self.client.get("/v1/me")


@asynccontextmanager
async def started(prisma: Prisma, **options: Any) -> AsyncIterator[World]:
    with anyio.fail_after(30):
        storage = CountingStorage(prisma.tokens())
        async with serve(prisma.handle) as server, session_at(server.url, storage) as session:
            options = {"base_url": server.url, "auth": session.httpx_auth(origin=server.url), **options}
            async with httpx.AsyncClient(**options) as client:
                yield World(prisma, server, storage, session, client)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with started(Prisma()) as world:
        yield world


async def test_the_sessions_token_goes_with_every_request(world: World) -> None:
    token = await world.session.access_token()
    assert (await world.get()).json()["token"] == token
    assert world.prisma.seen == [token]


async def test_a_401_is_renewed_and_sent_again_once(world: World) -> None:
    world.prisma.expire()
    response = await world.get()
    assert response.status_code == 200
    assert response.json()["token"] in world.prisma.live
    assert (world.prisma.refreshes, len(world.prisma.seen)) == (1, 2)


async def test_a_stored_token_with_white_space_around_it_is_renewed(world: World) -> None:
    stored = world.prisma.tokens()
    await world.storage.set_tokens(evolve(stored, access_token=f" {stored.access_token}\n"))
    assert (await world.get()).json()["token"] == stored.access_token
    world.prisma.expire()
    assert (await world.get()).status_code == 200
    assert world.prisma.refreshes == 1


async def test_a_token_that_was_taken_is_worth_a_refresh_when_it_is_rejected_later(world: World) -> None:
    for count in range(1, 4):
        world.prisma.expire()
        assert (await world.get()).status_code == 200
        assert world.prisma.refreshes == count


@pytest.mark.parametrize("status", [400, 408, 429, 503])
async def test_what_a_gateway_may_say_before_anybody_has_looked_proves_no_token(world: World, status: int) -> None:
    for answer in (401, status, 401):
        world.prisma.api_status = answer
        assert (await world.get()).status_code == answer
    assert world.prisma.refreshes == 1


async def test_a_401_for_ever_surfaces_after_one_refresh(world: World) -> None:
    world.prisma.api_status = 401
    for _ in range(3):
        response = await world.get()
        assert response.status_code == 401
        assert response.json()["error"]["message"] == "the API says no"
    assert world.prisma.refreshes == 1
    assert len(world.prisma.seen) == 4


async def test_a_body_of_bytes_is_sent_again(world: World) -> None:
    world.prisma.expire()
    response = await world.client.post("/v1/projects", json={"name": "shop"})
    assert response.status_code == 200
    assert [request.json for request in world.server.requests if request.path == "/v1/projects"] == [
        {"name": "shop"}
    ] * 2


async def test_a_streamed_body_is_not_sent_again_but_the_token_is_renewed(world: World) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"part one, "
        yield b"part two"

    world.prisma.expire()
    assert (await world.client.post("/v1/builds", content=body())).status_code == 401
    assert [request.body for request in world.server.requests if request.path == "/v1/builds"] == [
        b"part one, part two"
    ]
    assert world.prisma.refreshes == 1
    assert (await world.client.post("/v1/builds", content=body())).status_code == 200


async def test_a_multipart_body_is_not_sent_again(world: World) -> None:
    world.prisma.expire()
    assert (await world.client.post("/v1/builds", files={"file": b"content"})).status_code == 401
    assert world.server.count("/v1/builds") == 1


async def test_a_streamed_answer_is_given_as_it_comes(world: World) -> None:
    world.prisma.expire()
    async with world.client.stream("GET", "/v1/me") as response:
        assert response.status_code == 200
        assert not response.is_stream_consumed
        assert await response.aread()


async def test_whoever_waits_for_a_refresh_holds_no_connection() -> None:
    """With a pool of one, a second request goes out while the first waits for its new token."""
    prisma = Prisma(token_gate=Gate())
    async with started(prisma, limits=httpx.Limits(max_connections=1)) as world:
        prisma.expire()
        statuses: list[int] = []

        async def call() -> None:
            async with world.client.stream("GET", "/v1/me") as response:
                statuses.append(response.status_code)
                await response.aread()

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await prisma.token_gate.arrived.wait()
            group.start_soon(call)
            while len(prisma.seen) < 2:
                await anyio.lowlevel.checkpoint()
            prisma.token_gate.release()
    assert statuses == [200, 200]
    assert prisma.refreshes == 1


@pytest.mark.parametrize("anew", [False, True], ids=["logout", "login"])
async def test_a_request_that_waits_for_a_connection_when_a_login_ends_is_not_sent_with_its_token(anew: bool) -> None:
    prisma, steps = Prisma(api_gate=Gate()), list[str]()

    async def follow(event: str, _: Mapping[str, Any]) -> None:
        steps.append(event)

    async with started(prisma, limits=httpx.Limits(max_connections=1)) as world:
        old, results = await world.session.access_token(), list[Any]()

        async def wait() -> None:
            call = partial(world.client.get, "/v1/projects", extensions={"trace": follow})
            results.extend(await together(1, call))

        async with anyio.create_task_group() as group:
            group.start_soon(world.get)
            await prisma.api_gate.arrived.wait()
            group.start_soon(wait)
            await rounds()
            await world.session.logout()
            if anew:
                await world.storage.set_tokens(prisma.tokens())
            prisma.api_gate.release()
        assert prisma.seen.count(old) == 1, "the one that was under way"
        if anew:
            assert results[0].json()["token"] == (await world.session.access_token())
            assert "http11.send_request_headers.started" in steps, "a user's own trace goes on"
        else:
            assert isinstance(results[0], LoginRequiredError)
            assert (await world.client.get("/v1/me", auth=None)).status_code == 401, "the pool is whole"


async def test_nothing_is_sent_without_a_token(world: World) -> None:
    await world.session.logout()
    with pytest.raises(LoginRequiredError):
        await world.get()
    assert world.prisma.seen == []


async def test_a_refused_refresh_reaches_the_caller_and_leaves_the_pool_whole() -> None:
    async with started(Prisma(), limits=httpx.Limits(max_connections=1)) as world:
        world.prisma.expire()
        world.prisma.refresh_tokens.clear()
        with pytest.raises(LoginRequiredError):
            await world.get()
        assert (await world.client.get("/v1/me", auth=lambda request: request)).status_code == 401


async def test_any_credentials_will_do(world: World) -> None:
    world.prisma.live.add("service-token")
    auth = SessionAuth(ServiceToken("service-token"), origin=world.server.url)
    assert (await world.client.get("/v1/me", auth=auth)).status_code == 200
    world.prisma.expire()
    assert (await world.client.get("/v1/me", auth=auth)).status_code == 401
    assert world.prisma.forms == []


async def test_a_redirect_to_another_host_takes_no_token_along(world: World) -> None:
    transport, auth = httpx.MockTransport(elsewhere), world.session.httpx_auth(origin="https://api.example")
    async with httpx.AsyncClient(transport=transport, follow_redirects=True, auth=auth) as client:
        assert (await client.get("https://api.example/v1/me")).text == "no authorization"


async def test_a_request_may_be_sent_again_for_somebody_else(world: World) -> None:
    """The one whom it was sent for before has another token by now, and then none; neither concerns it any more."""
    other = session_at(world.server.url, CountingStorage(world.prisma.tokens()))
    request = world.client.build_request("GET", "/v1/me")
    first = await world.session.access_token()
    for _ in range(50):
        await world.client.send(request)
    assert await world.session.renew(first) != first
    theirs = await other.access_token()
    for ended in (False, True):
        if ended:
            await world.session.logout()
        answer = await world.client.send(request, auth=other.httpx_auth(origin=world.server.url))
        assert answer.json()["token"] == theirs


class AsOverHttp2(httpx.AsyncBaseTransport):
    """Tells what it is about to do as httpcore does over HTTP/2, where nobody may wait: others would go out before."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        told = request.extensions["trace"]("http2.send_request_headers.started", {"request": request, "stream_id": 1})
        with pytest.raises(StopIteration):
            told.send(None)
        return httpx.Response(200)


async def test_nobody_is_waited_for_over_http2(world: World) -> None:
    session = session_at(world.server.url, world.storage, snapshot_ttl=0)
    auth = session.httpx_auth(origin="https://api.example")
    async with httpx.AsyncClient(transport=AsOverHttp2(), auth=auth) as client:
        assert (await client.get("https://api.example/v1/me")).status_code == 200


async def test_a_401_of_another_host_after_a_redirect_is_no_reason_to_renew(world: World) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401) if request.url.host == "elsewhere.example" else elsewhere(request)

    auth = world.session.httpx_auth(origin="https://api.example")
    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse), follow_redirects=True, auth=auth) as client:
        assert (await client.get("https://api.example/v1/me")).status_code == 401
    assert world.prisma.refreshes == 0


def elsewhere(request: httpx.Request) -> httpx.Response:
    if request.url.host == "api.example":
        return httpx.Response(302, headers={"location": "https://elsewhere.example/"})
    return httpx.Response(200, text=request.headers.get("authorization", "no authorization"))


def test_a_synchronous_client_is_told_so() -> None:
    auth = session_at("http://127.0.0.1:1", CountingStorage()).httpx_auth()
    with httpx.Client(auth=auth) as client, pytest.raises(RuntimeError, match=r"httpx\.AsyncClient"):
        client.get("http://127.0.0.1:1/")

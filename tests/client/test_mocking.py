"""The libraries that users of httpx mock it with see our requests too: nothing of ours has to be told."""

from functools import wraps
from typing import Any

import httpcore
import httpx
import pytest
import respx
from pytest_httpx import HTTPXMock

from prisma_mgmt import ManagementClient, NotFoundError
from tests.kit.script import CONNECTION

pytestmark = pytest.mark.anyio

URL = "https://api.prisma.io/v1/connections/con_1"


async def test_respx() -> None:
    with respx.mock() as router:
        route = router.get(URL).mock(return_value=httpx.Response(200, json={"data": CONNECTION}))
        router.get("https://api.prisma.io/v1/connections/none").respond(404)
        async with ManagementClient("token") as client:
            assert (await client.connections.get("con_1")).name == "n"
            with pytest.raises(NotFoundError):
                await client.connections.get("none")
    assert route.calls.last.request.headers["authorization"] == "Bearer token"


async def test_pytest_httpx(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(url=URL, json={"data": CONNECTION})
    httpx_mock.add_response(url="https://api.prisma.io/v1/connections/none", status_code=404)
    async with ManagementClient("token") as client:
        assert (await client.connections.get("con_1")).name == "n"
        with pytest.raises(NotFoundError):
            await client.connections.get("none")
    first, _ = httpx_mock.get_requests()
    assert first.headers["authorization"] == "Bearer token"


class Wrapper:
    """What stands for a function as wrapt's wrappers do: whoever looks at it sees the function."""

    def __init__(self, wrapped: Any) -> None:
        self.__wrapped__ = wrapped
        self.__module__ = wrapped.__module__
        self.urls: list[str] = []

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        return self if instance is None else self.__call__

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.urls.append(str(request.url))
        return httpx.Response(200, json={"data": CONNECTION})


async def test_what_instruments_httpx_sees_our_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = Wrapper(httpx.AsyncHTTPTransport.handle_async_request)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", wrapper)
    async with ManagementClient("token") as client:
        assert (await client.connections.get("con_1")).name == "n"
    assert wrapper.urls == [URL]


async def test_what_plays_recordings_to_httpcore_sees_our_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = httpx.Response(200, json={"data": CONNECTION})
    urls: list[bytes] = []

    @wraps(httpcore.AsyncConnectionPool.handle_async_request)  # as vcrpy does
    async def play(pool: Any, request: httpcore.Request) -> httpcore.Response:
        urls.append(bytes(request.url))
        return httpcore.Response(200, headers=recorded.headers.raw, content=recorded.content)

    monkeypatch.setattr(httpcore.AsyncConnectionPool, "handle_async_request", play)
    async with ManagementClient("token") as client:
        assert (await client.connections.get("con_1")).name == "n"
    assert urls == [URL.encode()]


async def test_a_mock_transport() -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer token"
        return httpx.Response(200, json={"data": CONNECTION})

    async with ManagementClient("token", transport=httpx.MockTransport(reply)) as client:
        assert (await client.connections.get("con_1")).name == "n"

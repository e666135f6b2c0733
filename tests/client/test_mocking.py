"""The libraries that users of httpx mock it with see our requests too: nothing of ours has to be told."""

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


async def test_a_mock_transport() -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer token"
        return httpx.Response(200, json={"data": CONNECTION})

    async with ManagementClient("token", transport=httpx.MockTransport(reply)) as client:
        assert (await client.connections.get("con_1")).name == "n"

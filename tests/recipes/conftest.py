"""A sandbox for the recipes, and a client whose answers can be given another state."""

import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from attrs import define, field

from prisma_mgmt import ManagementClient
from prisma_mgmt.management.projects import CreatedProject
from prisma_mgmt.sandbox import Sandbox


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.reset()
    return running


_NOTHING_KEPT = httpx.Limits(max_keepalive_connections=0)  # nobody closes a transport that was lent


@define(eq=False)
class Saying(httpx.AsyncBaseTransport):
    """Gives whatever is looked up the states that a test says, one after the other; the last one stays."""

    key: str
    states: list[str]
    below: httpx.AsyncHTTPTransport = field(factory=lambda: httpx.AsyncHTTPTransport(limits=_NOTHING_KEPT))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.below.handle_async_request(request)
        if request.method != "GET":
            return answer
        body = json.loads(await answer.aread())
        if isinstance(body.get("data"), dict) and self.key in body["data"]:
            body["data"][self.key] = self.states[0]
            del self.states[: len(self.states) > 1]
        return httpx.Response(answer.status_code, json=body)


@define(eq=False)
class Empty(httpx.AsyncBaseTransport):
    """Deletes a service only if no deployment is left, not even a stopped one, as the API was seen to do."""

    below: httpx.AsyncHTTPTransport = field(factory=lambda: httpx.AsyncHTTPTransport(limits=_NOTHING_KEPT))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE" and request.url.path.startswith("/v1/services/"):
            left = httpx.Request("GET", f"{request.url}/deployments", headers=request.headers)
            answer = await self.below.handle_async_request(left)
            if json.loads(await answer.aread())["data"]:
                return httpx.Response(409, json={"error": {"code": "client-error", "message": "deployments exist"}})
        return await self.below.handle_async_request(request)


@pytest.fixture
async def client(sandbox: Sandbox, anyio_backend: str) -> AsyncIterator[ManagementClient]:
    async with sandbox.client() as client:
        yield client


@pytest.fixture
async def project(client: ManagementClient) -> CreatedProject:
    return await client.projects.create(name="shop", region="us-east-1")

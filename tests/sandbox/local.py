"""The three APIs of a sandbox without its socket and its login server, asked in process and in time."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from prisma_mgmt.sandbox.api import Application
from prisma_mgmt.sandbox.description import describe
from prisma_mgmt.sandbox.state import World
from prisma_mgmt.sandbox.tokens import Client, Tokens

APIS = ("management", "postgres", "data_platform")
BASE = "http://sandbox.test"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class InProcess(httpx.BaseTransport):
    """Asks an ASGI application, in an event loop of its own for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def ask() -> httpx.Response:
            answer = await self._app.handle_async_request(
                httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
            )
            await answer.aread()
            return answer

        with asyncio.Runner() as runner:
            answer = runner.run(ask())
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


class Local:
    """A world of its own on a clock that stands still, with one workspace and its service token."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.world = World(self.clock)
        self.tokens = Tokens(self.world, "strict", 3600.0)
        self.user = self.world.create_user("Sandbox Developer")
        self.workspace_id = self.world.create_workspace("Sandbox", self.user).id
        self.token = self.tokens.issue_service_token(self.workspace_id)
        self.apps = {api: Application(self.tokens, describe(api)) for api in APIS}

    def client(self, api: str = "management", token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        return httpx.Client(transport=InProcess(self.apps[api]), base_url=f"{BASE}/v1", headers=headers)

    def log_in(self, client_id: str = "sandbox-app") -> str:
        """An access token, as the login server gives it to an app."""
        client, workspace = Client(client_id, "Sandbox app", ()), self.world.things("workspaces")[self.workspace_id]
        code = self.tokens.issue_code(client, workspace, self.user, "workspace:admin", {"redirect_uri": "uri"})
        return str(self.tokens.redeem(client, code, "uri", None)["access_token"])


@pytest.fixture
def local() -> Local:
    return Local()


@pytest.fixture
def api(local: Local) -> Iterator[httpx.Client]:
    with local.client() as client:
        yield client


@pytest.fixture
def postgres(local: Local) -> Iterator[httpx.Client]:
    with local.client("postgres") as client:
        yield client


@pytest.fixture
def platform(local: Local) -> Iterator[httpx.Client]:
    with local.client("data_platform") as client:
        yield client


def assert_error(response: httpx.Response, status: int, code: str, words: str = "") -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == code
    assert words in error["message"] + error.get("hint", "")
    return error


def make_project(api: httpx.Client, **body: object) -> dict[str, Any]:
    return made(api.post("/projects", json=body))


def read(api: httpx.Client, path: str) -> Any:
    """What a path tells."""
    response = api.get(path)
    assert response.status_code == 200, response.text
    answer = response.json()
    return answer.get("data", answer)


def made(response: httpx.Response) -> dict[str, Any]:
    """What a request has made."""
    assert response.status_code in {200, 201, 202}, response.text
    answer: dict[str, Any] = response.json()
    data: dict[str, Any] = answer.get("data", answer)
    return data

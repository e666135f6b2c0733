"""Answers in the order that a test writes them, and a payload to answer with: for tests that need no socket."""

from typing import Any, TypeVar

import httpx

from prisma_mgmt import ManagementClient
from tests.conftest import FakeClock

CONNECTION: dict[str, Any] = {
    "id": "con_1",
    "type": "connection",
    "url": "https://api.prisma.io/v1/connections/con_1",
    "name": "n",
    "createdAt": "2026-01-01T00:00:00.000Z",
    "kind": "postgres",
    "endpoints": {},
    "database": {"id": "db_1", "url": "u", "name": "d"},
}


def answer(status: int = 200, body: Any = None, **headers: str) -> httpx.Response:
    """An answer; `retry_after="1"` is its header Retry-After."""
    named = {"x-request-id": "req_1", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if isinstance(body, bytes):
        return httpx.Response(status, headers=named, content=body)
    return httpx.Response(status, headers=named, json={"data": CONNECTION} if body is None and status < 300 else body)


class Script(httpx.AsyncBaseTransport):
    """Gives the written answers, one a request; a written exception is raised, and the last one is repeated."""

    def __init__(self, *steps: httpx.Response | Exception) -> None:
        self.steps = list(steps)
        self.requests: list[httpx.Request] = []
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise type(step)(*step.args)
        return httpx.Response(step.status_code, headers=step.headers, content=step.content)

    async def aclose(self) -> None:
        self.closed = True

    @property
    def tokens(self) -> list[str]:
        return [request.headers["authorization"].removeprefix("Bearer ") for request in self.requests]


ScriptT = TypeVar("ScriptT", bound=Script)


def scripted(*steps: httpx.Response | Exception, clock: FakeClock | None = None, **options: Any) -> tuple[Any, Script]:
    """A client over a Script, and the Script."""
    return over(Script(*steps), clock, **options)


def over(script: ScriptT, clock: FakeClock | None = None, **options: Any) -> tuple[Any, ScriptT]:
    """A client over a Script of any kind, and that."""
    auth = options.pop("auth", "token")
    return ManagementClient(auth, transport=script, _clock=clock or FakeClock(), **options), script


class Renewing:
    """Credentials that give the tokens they were made with, the next one at each renewal."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.renewals: list[str] = []
        self.taken: list[str] = []

    async def access_token(self) -> str:
        return self.tokens[0]

    async def renew(self, rejected: str) -> str | None:
        self.renewals.append(rejected)
        if len(self.tokens) == 1:
            return None
        self.tokens.pop(0)
        return self.tokens[0]

    def accepted(self, token: str) -> None:
        self.taken.append(token)

    def outdated(self, token: str) -> bool:
        return False

    async def drain(self) -> None:
        self.drained = True

    drained = False

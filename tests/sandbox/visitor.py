"""A visitor of the sandbox: plain httpx, so that whatever our own client does is no part of the sandbox's tests."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from prisma_mgmt.sandbox import Sandbox

REDIRECT_URI = "http://127.0.0.1:53124/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SCOPE = "workspace:admin offline_access"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["strict"])
def sandbox(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(personality=request.param, clock=clock) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """One sandbox for the tests that leave no mark on it."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def shared_web(shared: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared.auth_url) as client:
        yield client


@pytest.fixture
def web(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """A browser and a token client in one."""
    with httpx.Client(base_url=sandbox.auth_url) as client:
        yield client


both = pytest.mark.parametrize("sandbox", ["strict", "grace"], indirect=True)
strict = pytest.mark.parametrize("sandbox", ["strict"], indirect=True)
grace = pytest.mark.parametrize("sandbox", ["grace"], indirect=True)


def connect(sandbox: Sandbox, token: str) -> httpx.Client:
    return httpx.Client(base_url=sandbox.api_url + "/v1", headers={"Authorization": f"Bearer {token}"})


def status_of(sandbox: Sandbox, token: str) -> int:
    return httpx.get(f"{sandbox.api_url}/v1/me", headers={"Authorization": f"Bearer {token}"}).status_code


def question(sandbox: Sandbox, **changes: str | None) -> dict[str, str]:
    asked: dict[str, str | None] = {
        "client_id": sandbox.client_id,
        "redirect_uri": REDIRECT_URI,
        "response_type": "code",
        "scope": SCOPE,
        "state": "st&te",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return {key: value for key, value in asked.items() if value is not None}


def callback(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 303, response.text
    return dict(parse_qsl(urlsplit(response.headers["location"]).query))


def get_code(web: httpx.Client, sandbox: Sandbox, **changes: str | None) -> str:
    return callback(web.get("/authorize", params=question(sandbox, **changes)))["code"]


def exchange(web: httpx.Client, sandbox: Sandbox, code: str, /, **changes: str | None) -> httpx.Response:
    form: dict[str, str | None] = {
        "grant_type": "authorization_code",
        "client_id": sandbox.client_id,
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": VERIFIER,
        **changes,
    }
    return web.post("/token", data={key: value for key, value in form.items() if value is not None})


def log_in(web: httpx.Client, sandbox: Sandbox, **changes: str | None) -> dict[str, Any]:
    response = exchange(web, sandbox, get_code(web, sandbox, **changes))
    assert response.status_code == 200, response.text
    tokens: dict[str, Any] = response.json()
    return tokens


def refresh(web: httpx.Client, sandbox: Sandbox, token: str, **changes: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "client_id": sandbox.client_id, "refresh_token": token, **changes}
    return web.post("/token", data=form)


def assert_refused(response: httpx.Response, status: int, error: str) -> None:
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert set(response.json()) == {"error", "error_description"}
    assert response.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in response.headers) is (status == 401)


def assert_error(response: httpx.Response, status: int, code: str, words: str = "") -> None:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    assert words in error["message"] + error.get("hint", "")
    assert response.headers["x-request-id"]


def claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found

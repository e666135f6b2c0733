"""C4: `httpx_auth()` sends a session's token to one origin, and shows it nowhere."""

import logging
from typing import Any

import httpx
import pytest

from prisma_mgmt import AuthError
from prisma_mgmt.auth.httpx_auth import SessionAuth
from tests.kit.canaries import leaks, logged

pytestmark = pytest.mark.anyio


class Fixed:
    """Credentials with one token."""

    def __init__(self, token: Any = "token") -> None:
        self.token = token
        self.renewed: list[str] = []

    async def access_token(self) -> Any:
        return self.token

    async def renew(self, rejected: str) -> str | None:
        self.renewed.append(rejected)
        return None


def echo(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text=request.headers.get("authorization", "none"))


async def get(url: str, auth: httpx.Auth) -> str:
    async with httpx.AsyncClient(transport=httpx.MockTransport(echo), auth=auth) as client:
        return (await client.get(url)).text


@pytest.mark.parametrize(
    "url", ["https://api.prisma.io/v1/me", "https://API.prisma.io/", "https://api.prisma.io:443/v1"]
)
async def test_by_default_the_token_goes_to_the_api(url: str) -> None:
    assert await get(url, SessionAuth(Fixed())) == "Bearer token"


async def test_the_environment_says_where_the_api_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMA_MANAGEMENT_API_URL", "https://api.example/base/")
    assert await get("https://api.example/v1/me", SessionAuth(Fixed())) == "Bearer token"


async def test_another_origin_may_be_given() -> None:
    auth = SessionAuth(Fixed(), origin="http://127.0.0.1:8080")
    assert await get("http://127.0.0.1:8080/v1/me", auth) == "Bearer token"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "http://api.prisma.io/",
        "https://api.prisma.io:8443/",
        "https://api.prisma.io.evil.example/",
        "https://api.prisma.io@evil.example/",
        "https://[::1]/",
    ],
)
async def test_to_any_other_origin_it_goes_never(url: str) -> None:
    credentials = Fixed()
    with pytest.raises(ValueError, match=r"goes to https://api\.prisma\.io only, not to"):
        await get(url, SessionAuth(credentials))


@pytest.mark.parametrize("origin", [1, "api.prisma.io", "http://api.example", "ftp://x"])
def test_an_origin_that_is_none(origin: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="origin"):
        SessionAuth(Fixed(), origin=origin)


@pytest.mark.parametrize("token", ["canary\r\nX: y", "canary é", "canary canary", "\ud800canary", "canary\x00" * 300])
async def test_a_token_that_fits_no_header_is_one_error_that_does_not_show_it(
    caplog: pytest.LogCaptureFixture, token: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AuthError, match="no bearer token") as caught:
        await get("https://api.prisma.io/", SessionAuth(Fixed(token)))
    assert leaks(caught.value) == []
    assert logged(caplog.records) == []


@pytest.mark.parametrize("token", [b"token", None, 7])
async def test_a_token_that_is_no_text_is_a_type_error(token: Any) -> None:
    with pytest.raises(TypeError, match="the access token must be a string"):
        await get("https://api.prisma.io/", SessionAuth(Fixed(token)))

"""Revocation (RFC 7009), where the login server's metadata (RFC 8414) publishes a way to."""

from typing import Any

import pytest

from prisma_mgmt import AuthError
from prisma_mgmt.auth import Tokens
from tests.kit.login import oauth_at
from tests.kit.rig import Reply, Request, serve

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("endpoint", [None, 7, ["canary"], {}])
async def test_without_a_published_endpoint_nothing_is_revoked(endpoint: Any) -> None:
    async def handle(request: Request) -> Reply:
        assert request.method == "GET"
        return Reply(body={"issuer": server.url, "revocation_endpoint": endpoint})

    async with serve(handle) as server:
        assert not await oauth_at(server.url).revoke(Tokens("w", "a", "r"))


@pytest.mark.parametrize(
    "endpoint", ["https://evil.example/revoke", "http://[", "/revoke", "", "{url}.evil.example/", "{url}/a\nb"]
)
async def test_no_token_goes_to_an_endpoint_on_another_host(endpoint: str) -> None:
    async def handle(request: Request) -> Reply:
        assert request.method == "GET"
        return Reply(body={"issuer": server.url, "revocation_endpoint": endpoint.replace("{url}", server.url)})

    async with serve(handle) as server:
        with pytest.raises(AuthError, match="another server's"):
            await oauth_at(server.url).revoke(Tokens("w", "a", "r"))


@pytest.mark.parametrize(("refresh_token", "hint"), [("r", "refresh_token"), (None, "access_token")])
async def test_a_revocation_and_its_form(refresh_token: str | None, hint: str) -> None:
    async def handle(request: Request) -> Reply:
        if request.method == "GET":
            return Reply(body={"issuer": server.url, "revocation_endpoint": f"{server.url}/revoke"})
        return Reply(503 if len(server.requests) > 2 else 200, content=b"")

    async with serve(handle) as server:
        oauth = oauth_at(server.url, client_secret="secret")
        assert await oauth.revoke(Tokens("w", "a", refresh_token))
        form = {
            "token": refresh_token or "a",
            "token_type_hint": hint,
            "client_id": "client",
            "client_secret": "secret",
        }
        assert server.requests[-1].form == form
        with pytest.raises(AuthError, match="503"):
            await oauth.revoke(Tokens("w", "a", refresh_token))


async def test_the_metadata_of_a_server_under_a_path_stands_before_that_path() -> None:
    async def handle(request: Request) -> Reply:
        if request.path == "/.well-known/oauth-authorization-server/realms/x":
            return Reply(body={"issuer": base, "revocation_endpoint": f"{base}/revoke"})
        return Reply(200 if request.path == "/realms/x/revoke" else 404, content=b"")

    async with serve(handle) as server:
        base = f"{server.url}/realms/x"
        assert await oauth_at(base).revoke(Tokens("w", "a", "r"))


@pytest.mark.parametrize("path", ["", "/realms/x"])
async def test_metadata_may_be_where_openid_has_it(path: str) -> None:
    async def handle(request: Request) -> Reply:
        if request.path == f"{path}/.well-known/openid-configuration":
            return Reply(body={"issuer": issuer, "revocation_endpoint": f"{base}/revoke"})
        return Reply(200 if request.path == f"{path}/revoke" else 404, content=b"")

    async with serve(handle) as server:
        base = issuer = f"{server.url}{path}"
        assert await oauth_at(base).revoke(Tokens("w", "a", "r"))
        issuer = server.url + "/elsewhere"
        with pytest.raises(AuthError, match="another server's"):
            await oauth_at(base).revoke(Tokens("w", "a", "r"))


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_cannot_tell_now_is_none_without_a_way(status: int) -> None:
    async def handle(_: Request) -> Reply:
        return Reply(status, content=b"", headers={"retry-after": "7"})

    async with serve(handle) as server:
        with pytest.raises(AuthError, match=str(status)) as caught:
            await oauth_at(server.url).revoke(Tokens("w", "a", "r"))
        assert caught.value.retry_after == 7
        assert len(server.requests) == 1


@pytest.mark.parametrize("error", ["unsupported_token_type", "invalid_request"])
@pytest.mark.parametrize("refresh_token", ["r", None])
async def test_a_server_may_revoke_no_access_tokens(refresh_token: str | None, error: str) -> None:
    """RFC 7009 §2 asks it to revoke refresh tokens only, and those that are JWTs outlive a revocation."""

    async def handle(request: Request) -> Reply:
        if request.method == "GET":
            return Reply(body={"issuer": server.url, "revocation_endpoint": f"{server.url}/revoke"})
        return Reply(400, {"error": error})

    async with serve(handle) as server:
        oauth, tokens = oauth_at(server.url), Tokens("w", "a", refresh_token)
        if refresh_token is None and error == "unsupported_token_type":
            assert not await oauth.revoke(tokens)
        else:
            with pytest.raises(AuthError, match=error):
                await oauth.revoke(tokens)
        assert len(server.requests) == 2

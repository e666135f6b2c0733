"""A login from its URL to its logout, through the sandbox: both personalities, public and confidential clients."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio
import httpx
import pytest
from attrs import define

from prisma_mgmt import AuthError, CallbackError, LoginRequiredError, ManagementClient
from prisma_mgmt.auth import LoginRequest, LoginSealer, OAuthClient, OAuthSession, SessionManager, Tokens, new_key
from prisma_mgmt.auth.storage import FileTokenStorage, MemoryTokenStorage
from prisma_mgmt.sandbox import Sandbox

pytestmark = pytest.mark.anyio

REDIRECT_URI = "http://127.0.0.1:8765/callback"


@pytest.fixture(params=["strict", "grace"], scope="module")
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(personality=request.param) as sandbox:
        yield sandbox


@define
class App:
    """An application at the sandbox, and a browser that says yes."""

    sandbox: Sandbox
    oauth: OAuthClient
    session: OAuthSession

    async def approve(self, login: LoginRequest) -> str:
        """The callback URL to which the login server sends the user's browser."""
        async with httpx.AsyncClient() as browser:
            answer = await browser.get(login.url)
        assert answer.status_code == 303
        return answer.headers["location"]

    async def log_in(self, **options: Any) -> Tokens:
        login = self.oauth.login_url(**options)
        return await self.session.handle_callback(await self.approve(login), login)

    def client(self) -> ManagementClient:
        return ManagementClient(self.session, base_url=self.sandbox.api_url)

    def counted(self, name: str) -> int:
        return self.sandbox.counts[name]


@pytest.fixture(params=["public", "confidential"])
async def app(sandbox: Sandbox, request: pytest.FixtureRequest) -> AsyncIterator[App]:
    confidential = request.param == "confidential"
    oauth = OAuthClient(
        sandbox.confidential_client_id if confidential else sandbox.client_id,
        REDIRECT_URI,
        client_secret=sandbox.client_secret if confidential else None,
        auth_base_url=sandbox.auth_url,
    )
    with anyio.fail_after(30):
        async with OAuthSession(oauth, MemoryTokenStorage()) as session:
            yield App(sandbox, oauth, session)


async def test_from_login_to_logout(app: App) -> None:
    with pytest.raises(LoginRequiredError):
        await app.session.access_token()
    tokens = await app.log_in()
    assert tokens.workspace_id == app.sandbox.workspace_id
    assert tokens.scope == "workspace:admin offline_access"
    async with app.client() as client:
        assert [workspace.id async for workspace in client.workspaces.list()]
        refreshes = app.counted("refresh")
        app.sandbox.expire_access_tokens()
        await client.workspaces.list()
        assert app.counted("refresh") == refreshes + 1
        renewed = await app.session.tokens()
        assert renewed is not None
        assert renewed.refresh_token != tokens.refresh_token
        assert renewed.workspace_id == tokens.workspace_id
        await app.session.logout()
        with pytest.raises(LoginRequiredError, match="nobody is logged in"):
            await client.workspaces.list()


async def test_a_login_without_offline_access(app: App) -> None:
    tokens = await app.log_in(scope="workspace:admin")
    assert tokens.refresh_token is None
    async with app.client() as client:
        await client.workspaces.list()
        app.sandbox.expire_access_tokens()
        with pytest.raises(LoginRequiredError, match="no refresh token"):
            await client.workspaces.list()


async def test_a_refused_refresh_token_asks_for_a_login_and_a_login_mends_it(app: App) -> None:
    await app.log_in()
    app.sandbox.expire_access_tokens()
    app.sandbox.revoke_refresh_tokens()
    async with app.client() as client:
        with pytest.raises(LoginRequiredError) as caught:
            await client.workspaces.list()
        assert caught.value.refresh_token_invalid
        assert await app.session.tokens() is None
        await app.log_in()
        await client.workspaces.list()


async def test_a_replayed_refresh_token_at_either_server(app: App) -> None:
    """What the two personalities are for: a second use is forgiven once, or ends the login."""
    old = await app.log_in()
    await app.oauth.refresh(old)
    if app.sandbox._tokens._personality == "grace":
        second = await app.oauth.refresh(old)
        assert await app.oauth.refresh(second)
    with pytest.raises(LoginRequiredError) as caught:
        await app.oauth.refresh(old)
    assert caught.value.error == "invalid_grant"


async def test_a_callback_serves_once(app: App) -> None:
    login = app.oauth.login_url()
    callback = await app.approve(login)
    await app.session.handle_callback(callback, login)
    exchanges = app.counted("exchange")
    with pytest.raises(CallbackError, match="exchanged already"):
        await app.session.handle_callback(callback, login)
    assert app.counted("exchange") == exchanges
    assert await app.session.tokens() is not None


async def test_another_logins_state_or_verifier_does_not_fit(app: App) -> None:
    login, other = app.oauth.login_url(), app.oauth.login_url()
    callback = await app.approve(login)
    with pytest.raises(CallbackError, match="state"):
        await app.session.handle_callback(callback, other)
    with pytest.raises(AuthError, match="invalid_grant") as caught:
        await app.session.handle_callback(callback, verifier=other.verifier, expected_state=login.state)
    assert type(caught.value) is AuthError, "a refused code is no refused refresh token"
    assert await app.session.tokens() is None


async def test_a_sealed_cookie_passed_unopened_is_a_clear_type_error(app: App) -> None:
    cookie: Any = LoginSealer([new_key()]).seal(app.oauth.login_url())
    with pytest.raises(TypeError, match=r"not str; a sealed cookie is opened with LoginSealer\.open\(\)"):
        await app.session.handle_callback("/callback?code=c&state=s", cookie)


async def test_a_callback_of_another_issuer_is_refused(app: App) -> None:
    login = app.oauth.login_url()
    parts = urlsplit(await app.approve(login))
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert query["iss"] == app.oauth.issuer == app.sandbox.auth_url
    with pytest.raises(CallbackError, match="issuer"):
        await app.session.handle_callback(f"?{urlencode({**query, 'iss': 'https://evil.example'})}", login)


async def test_a_user_who_says_no(app: App) -> None:
    with Sandbox(auto_approve=False) as sandbox:
        oauth = OAuthClient(sandbox.client_id, REDIRECT_URI, auth_base_url=sandbox.auth_url)
        login = oauth.login_url()
        async with httpx.AsyncClient() as browser:
            assert "Sandbox app" in (await browser.get(login.url)).text
            answer = await browser.post(login.url, data={"decision": "deny"})
        with pytest.raises(CallbackError, match="access_denied") as caught:
            await oauth.exchange_callback(answer.headers["location"], login)
    assert caught.value.error_description == "The user said no."


async def test_a_wrong_client_secret_signs_nobody_out(app: App, sandbox: Sandbox) -> None:
    storage = MemoryTokenStorage(await app.log_in())
    client_id = app.oauth.client_id
    wrong = OAuthClient(client_id, REDIRECT_URI, client_secret="wrong", auth_base_url=sandbox.auth_url)
    async with OAuthSession(wrong, storage) as session:
        with pytest.raises(AuthError, match="invalid_client") as caught:
            await session.renew(await session.access_token())
    assert type(caught.value) is AuthError
    assert await storage.get_tokens() is not None


async def test_a_second_login_replaces_the_first(app: App) -> None:
    first = await app.log_in()
    second = await app.log_in()
    assert await app.session.access_token() == second.access_token != first.access_token


async def test_users_of_one_application(app: App, tmp_path: Path) -> None:
    manager = SessionManager(app.oauth, lambda user: FileTokenStorage(tmp_path / f"{user}.json"))
    pairs = {}
    async with manager:
        for user in ("ada", "bob"):
            login = app.oauth.login_url()
            pairs[user] = await manager[user].handle_callback(await app.approve(login), login)
        for user, tokens in pairs.items():
            assert await manager[user].access_token() == tokens.access_token
    assert pairs["ada"].access_token != pairs["bob"].access_token
    async with SessionManager(app.oauth, lambda user: FileTokenStorage(tmp_path / f"{user}.json")) as restarted:
        assert await restarted["bob"].tokens() == pairs["bob"]

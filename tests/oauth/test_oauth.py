"""OAuthClient: login URLs, exchanges and refreshes, against a loopback login server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import httpx
import pytest

from prisma_mgmt import AuthError, CallbackError, LoginRequiredError, NetworkError
from prisma_mgmt.auth import LoginRequest, OAuthClient, Tokens
from prisma_mgmt.auth.pkce import challenge
from prisma_mgmt.auth.storage import MemoryTokenStorage
from tests.conftest import FakeClock
from tests.kit.login import Prisma, jwt, oauth_at
from tests.kit.rig import Gate, Reply, Request, serve

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def login_server(prisma: Prisma | None = None, **options: Any) -> AsyncIterator[tuple[Prisma, OAuthClient]]:
    prisma = prisma or Prisma()
    with anyio.fail_after(30):
        async with serve(prisma.handle) as server, oauth_at(server.url, **options) as oauth:
            yield prisma, oauth


LOGIN = OAuthClient("client", "https://app.example/callback").login_url()


def callback_of(login: LoginRequest, **parameters: str) -> str:
    extra = "".join(f"&{name}={value}" for name, value in parameters.items())
    return f"https://app.example/callback?code=the-code&state={login.state}{extra}"


# The client


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"client_id": " "}, "blank"),
        ({"client_secret": ""}, "blank"),
        ({"client_secret": "\n"}, "blank"),
        ({"redirect_uri": "/callback"}, "absolute"),
        ({"redirect_uri": ""}, "absolute"),
        ({"redirect_uri": "https://app.example/callback#x"}, "fragment"),
        ({"auth_base_url": "http://auth.prisma.io"}, "plain http"),
        ({"auth_base_url": "http://localhost.evil.example"}, "plain http"),
        ({"auth_base_url": "http://127.0.0.1.evil.example"}, "plain http"),
        ({"auth_base_url": "auth.prisma.io"}, "http"),
        ({"auth_base_url": "ftp://auth.prisma.io"}, "http"),
        ({"auth_base_url": "https://user:pass@auth.prisma.io"}, "user name"),
        ({"auth_base_url": "https://auth.prisma.io?x=1"}, "only"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": 10}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
    ],
)
def test_arguments_that_cannot_be_right(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        OAuthClient(**{"client_id": "client", "redirect_uri": "https://app.example/callback", **options})


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "https://a.example/x"])
def test_login_servers_that_tokens_may_be_sent_to(url: str) -> None:
    assert oauth_at(url).issuer == oauth_at(url + "/").issuer == url


def test_http_to_another_machine_only_when_asked() -> None:
    assert oauth_at("http://auth.internal", allow_http=True).issuer == "http://auth.internal"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"client_id": 7}, "client_id must be text, not int"),
        ({"client_id": MemoryTokenStorage()}, "client_id must be text"),
        ({"redirect_uri": None}, "redirect_uri must be text, not NoneType"),
        ({"redirect_uri": httpx.URL("https://app.example")}, "redirect_uri must be text"),
        ({"client_secret": b"secret"}, "client_secret must be text, not bytes"),
        ({"auth_base_url": 1}, "auth_base_url must be"),
        ({"issuer": 1}, "issuer must be text"),
        ({"timeout": "9"}, "timeout must be a number of seconds"),
        ({"timeout": True}, "timeout must be a number of seconds"),
        ({"ssl_context": True}, "ssl_context must be an ssl.SSLContext, not bool"),
        ({"transport": httpx.AsyncClient}, "transport must be an httpx.AsyncBaseTransport"),
        ({"transport": httpx.HTTPTransport()}, "transport must be an httpx.AsyncBaseTransport"),
        ({"allow_http": "false"}, "allow_http must be True or False"),
        ({"now": 1.0}, "now and new_secret functions"),
    ],
)
def test_arguments_of_a_wrong_type(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        OAuthClient(**{"client_id": "client", "redirect_uri": "https://app.example/callback", **options})


# From the environment


def test_a_client_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMA_CLIENT_ID", " client\n")
    monkeypatch.setenv("PRISMA_REDIRECT_URI", "https://app.example/callback")
    oauth = OAuthClient.from_environment()
    assert (oauth.client_id, oauth.redirect_uri) == ("client", "https://app.example/callback")
    assert oauth.issuer == "https://auth.prisma.io"
    assert oauth._form({}) == {"client_id": "client"}
    monkeypatch.setenv("PRISMA_CLIENT_SECRET", "secret")
    monkeypatch.setenv("PRISMA_AUTH_URL", "http://localhost:8000/auth/")
    oauth = OAuthClient.from_environment("http://127.0.0.1/callback", timeout=3, issuer="x")
    assert oauth.redirect_uri == "http://127.0.0.1/callback"
    assert oauth.login_url().url.startswith("http://localhost:8000/auth/authorize?")
    assert oauth._form({})["client_secret"] == "secret"
    assert oauth.issuer == "x"


@pytest.mark.parametrize("blank", [None, "", " "])
@pytest.mark.parametrize("name", ["PRISMA_CLIENT_ID", "PRISMA_REDIRECT_URI"])
def test_the_environment_must_name_the_client(monkeypatch: pytest.MonkeyPatch, name: str, blank: str | None) -> None:
    monkeypatch.setenv("PRISMA_CLIENT_ID", "client")
    monkeypatch.setenv("PRISMA_REDIRECT_URI", "https://app.example/callback")
    monkeypatch.setenv("PRISMA_CLIENT_SECRET", "")
    assert OAuthClient.from_environment(), "a blank secret is none"
    monkeypatch.delenv(name) if blank is None else monkeypatch.setenv(name, blank)
    with pytest.raises(ValueError, match=f"set {name} in the environment"):
        OAuthClient.from_environment()


# Login URLs


def query_of(login: LoginRequest) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(login.url).query, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@pytest.mark.parametrize("secret", [None, "a secret"])
def test_a_login_url_asks_for_a_code_with_s256_always(secret: str | None) -> None:
    oauth = OAuthClient("client id", "myapp://callback?x=1&y=ä", client_secret=secret)
    login = oauth.login_url()
    assert login.url.startswith("https://auth.prisma.io/authorize?")
    assert query_of(login) == {
        "response_type": "code",
        "client_id": "client id",
        "redirect_uri": "myapp://callback?x=1&y=ä",
        "scope": "workspace:admin offline_access",
        "state": login.state,
        "code_challenge": challenge(login.verifier),
        "code_challenge_method": "S256",
    }
    assert login.verifier not in login.url


def test_every_login_is_another() -> None:
    oauth = OAuthClient("client", "https://app.example/callback")
    logins = [oauth.login_url() for _ in range(100)]
    secrets = {login.state for login in logins} | {login.verifier for login in logins}
    assert len(secrets) == 200


def test_scope_and_further_parameters() -> None:
    login = OAuthClient("client", "https://app.example/callback").login_url(
        scope="workspace:admin", extra_params={"utm source": "a&b", "prompt": "login"}
    )
    query = query_of(login)
    assert (query["scope"], query["utm source"], query["prompt"]) == ("workspace:admin", "a&b", "login")


@pytest.mark.parametrize("scope", ["", []])
def test_without_a_scope_the_server_takes_its_own(scope: Any) -> None:
    """An empty one would be none (RFC 6749 §3.3)."""
    login = OAuthClient("client", "https://app.example/callback").login_url(scope=scope)
    assert "scope=" not in login.url


@pytest.mark.parametrize("scope", [["workspace:admin", "offline_access"], ("workspace:admin", "offline_access")])
def test_a_scope_may_be_a_sequence(scope: Any) -> None:
    login = OAuthClient("client", "https://app.example/callback").login_url(scope=scope)
    assert query_of(login)["scope"] == "workspace:admin offline_access"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"scope": None}, "scope must be text, not NoneType"),
        ({"scope": 1}, "scope must be text"),
        ({"scope": b"workspace:admin"}, "scope must be text"),
        ({"scope": ["workspace:admin", None]}, "each of scope must be text, not NoneType"),
        ({"scope": {"workspace:admin"}}, "scope must be text, not set"),
        ({"extra_params": {"prompt": None}}, "prompt in extra_params must be text, not NoneType"),
        ({"extra_params": {"max_age": 1}}, "max_age in extra_params must be text"),
        ({"extra_params": {1: "x"}}, "a name in extra_params must be text"),
        ({"extra_params": [("prompt", "login")]}, "extra_params must be a mapping"),
        ({"redirect_uri": 1}, "redirect_uri must be text"),
    ],
)
def test_nothing_but_text_goes_into_a_login_url(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        OAuthClient("client", "https://app.example/callback").login_url(**options)


def test_states_and_verifiers_come_from_whoever_is_told_to_give_them() -> None:
    given = iter(["s" * 43, "v" * 43])
    login = OAuthClient("client", "https://app.example/callback", new_secret=lambda: next(given)).login_url()
    assert (login.state, login.verifier) == ("s" * 43, "v" * 43)


RESERVED = [
    *("client_id", "client_secret", "code_challenge", "code_challenge_method", "code_verifier", "redirect_uri"),
    *("request", "request_uri", "response_mode", "response_type", "scope", "state"),
]


@pytest.mark.parametrize("name", RESERVED)
def test_the_protocols_own_parameters_cannot_be_replaced(name: str) -> None:
    oauth = OAuthClient("client", "https://app.example/callback")
    with pytest.raises(ValueError, match=f"not replace {name}"):
        oauth.login_url(extra_params={name: "x", "prompt": "login"})


@pytest.mark.parametrize("name", ["State", "STATE", "state[]", " state", "state.x"])
def test_nor_can_they_by_a_name_that_lax_servers_take_for_theirs(name: str) -> None:
    with pytest.raises(ValueError, match="not replace state"):
        OAuthClient("client", "https://app.example/callback").login_url(extra_params={name: "x"})


@pytest.mark.parametrize("redirect_uri", [" https://app.example/callback", "https://", "https:///callback"])
def test_a_redirect_uri_that_no_server_knows_is_refused(redirect_uri: str) -> None:
    with pytest.raises(ValueError, match="an absolute URL such as"):
        OAuthClient("client", redirect_uri)


def test_a_blank_issuer_counts_as_none() -> None:
    oauth = OAuthClient("client", "https://app.example/callback", auth_base_url="https://login.example", issuer=" ")
    assert oauth.issuer == "https://login.example"


@pytest.mark.parametrize("base", ["/auth", "/auth/", "/auth//"])
async def test_a_trailing_slash_makes_no_difference(base: str) -> None:
    paths: list[str] = []

    async def handle(request: Request) -> Reply:
        paths.append(request.target)
        return Reply(body=Prisma().new_pair())

    async with serve(handle) as server:
        oauth = oauth_at(server.url + base)
        login = oauth.login_url()
        await oauth.exchange_callback(callback_of(login), login)
    assert paths == ["/auth/token"]
    assert urlsplit(login.url).path == "/auth/authorize"


# Exchanging a callback


@pytest.mark.parametrize("secret", [None, " s€cret+ "])
async def test_the_form_of_an_exchange(secret: str | None) -> None:
    async with login_server(client_secret=secret) as (prisma, oauth):
        login = oauth.login_url()
        await oauth.exchange_callback(callback_of(login), login)
    expected = {
        "grant_type": "authorization_code",
        "code": "the-code",
        "redirect_uri": "https://app.example/callback",
        "code_verifier": str(login.verifier),
        "client_id": "client",
    }
    assert prisma.forms == [expected | ({"client_secret": "s€cret+"} if secret else {})]


async def test_what_goes_over_the_wire() -> None:
    requests: list[Request] = []

    async def handle(request: Request) -> Reply:
        requests.append(request)
        return Reply(body=Prisma().new_pair())

    async with serve(handle) as server:
        oauth = oauth_at(server.url, client_secret="secret")
        login = oauth.login_url()
        await oauth.exchange_callback(callback_of(login), login)
    [request] = requests
    assert (request.method, request.target) == ("POST", "/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["accept"] == "application/json"
    assert "authorization" not in request.headers
    assert "cookie" not in request.headers


async def test_the_tokens_of_an_exchange(clock: FakeClock) -> None:
    async with login_server(now=clock.now) as (_, oauth):
        login = oauth.login_url()
        tokens = await oauth.exchange_callback(f"/callback?code=c&state={login.state}", login)
    assert tokens.workspace_id == "wksp_1"
    assert tokens.refresh_token == "refresh-1"
    assert tokens.expires_at == clock.time + 3600
    assert tokens.scope == "workspace:admin offline_access"


async def test_what_was_kept_can_be_given_apart() -> None:
    async with login_server() as (prisma, oauth):
        login = oauth.login_url()
        kept = {"verifier": str(login.verifier), "expected_state": str(login.state)}
        assert await oauth.exchange_callback(callback_of(login), **kept)
        assert prisma.forms[0]["code_verifier"] == login.verifier


@pytest.mark.parametrize("kept", [{}, {"verifier": "v" * 43}, {"expected_state": "", "verifier": "v" * 43}])
async def test_without_the_kept_state_nothing_is_exchanged(kept: dict[str, str]) -> None:
    async with login_server() as (prisma, oauth):
        with pytest.raises(CallbackError, match="no state was kept"):
            await oauth.exchange_callback("/callback?code=c&state=", **kept)
    assert prisma.forms == []


@pytest.mark.parametrize("verifier", [None, "", "null", "v" * 42])
async def test_without_a_verifier_nothing_is_exchanged(verifier: str | None) -> None:
    async with login_server() as (prisma, oauth):
        with pytest.raises(ValueError, match="verifier"):
            await oauth.exchange_callback("/callback?code=c&state=s", verifier=verifier, expected_state="s")
    assert prisma.forms == []


@pytest.mark.parametrize(
    ("callback", "login", "kept", "problem"),
    [
        (None, LOGIN, {}, "callback_url must be text, not NoneType"),
        (b"/callback", LOGIN, {}, "callback_url must be text"),
        ("/callback", "v1.sealed", {}, "LoginSealer.open"),
        ("/callback", {"state": "s"}, {}, "login must be the LoginRequest"),
        ("/callback", None, {"verifier": 1, "expected_state": "s"}, "verifier must be text"),
        ("/callback", None, {"verifier": "v" * 43, "expected_state": b"s"}, "expected_state must be text"),
    ],
)
async def test_what_is_no_callback_and_no_login_is_a_type_error(
    callback: Any, login: Any, kept: dict[str, Any], problem: str
) -> None:
    async with login_server() as (prisma, oauth):
        with pytest.raises(TypeError, match=problem):
            await oauth.exchange_callback(callback, login, **kept)
    assert prisma.forms == []


@pytest.mark.parametrize("tokens", [None, "refresh-token", {"refreshToken": "r"}])
async def test_only_tokens_are_refreshed_and_revoked(tokens: Any) -> None:
    oauth = OAuthClient("client", "https://app.example/callback")
    for call in (oauth.refresh, oauth.revoke):
        with pytest.raises(TypeError, match="tokens must be Tokens"):
            await call(tokens)


@pytest.mark.parametrize("failed", [None, Reply(400, {"error": "invalid_grant"}), Reply(503), Reply(content=b"{")])
async def test_a_callback_is_exchanged_once_whatever_came_of_it(failed: Reply | None) -> None:
    async with login_server() as (prisma, oauth):
        prisma.replies = [failed] if failed else []
        login = oauth.login_url()
        with pytest.raises(AuthError) if failed else nullcontext() as caught:
            await oauth.exchange_callback(callback_of(login), login)
        assert not caught or type(caught.value) is AuthError
        with pytest.raises(CallbackError, match="exchanged already"):
            await oauth.exchange_callback(callback_of(login), login)
    assert len(prisma.forms) == 1


async def test_a_callback_is_exchanged_once_though_it_comes_twice_together() -> None:
    async with login_server(Prisma(token_gate=Gate())) as (prisma, oauth):
        login = oauth.login_url()
        results: list[Tokens] = []

        async def exchange() -> None:
            results.append(await oauth.exchange_callback(callback_of(login), login))

        async with anyio.create_task_group() as group:
            group.start_soon(exchange)
            await prisma.token_gate.arrived.wait()
            with pytest.raises(CallbackError, match="exchanged already"):
                await oauth.exchange_callback(callback_of(login), login)
            prisma.token_gate.release()
    assert len(results) == len(prisma.forms) == 1


async def test_a_lost_answer_to_an_exchange_is_not_asked_for_again() -> None:
    async with login_server(Prisma(drop=1)) as (prisma, oauth):
        login = oauth.login_url()
        with pytest.raises(NetworkError):
            await oauth.exchange_callback(callback_of(login), login)
        with pytest.raises(CallbackError, match="exchanged already"):
            await oauth.exchange_callback(callback_of(login), login)
    assert len(prisma.forms) == 1


async def test_a_callback_that_never_reached_the_server_can_be_exchanged_again() -> None:
    async with serve(Prisma().handle) as gone:
        oauth = oauth_at(gone.url)
    login = oauth.login_url()
    for _ in range(2):
        with pytest.raises(NetworkError) as caught:
            await oauth.exchange_callback(callback_of(login), login)
        assert caught.value.unsent
        assert caught.value.url == f"{gone.url}/token"


async def test_a_thousand_callbacks_are_remembered() -> None:
    oauth = oauth_at("https://auth.example", transport=httpx.MockTransport(lambda _: httpx.Response(400)))
    for _ in range(1001):
        login = oauth.login_url()
        with pytest.raises(AuthError, match="refused"):
            await oauth.exchange_callback(callback_of(login), login)
    assert len(oauth._exchanged) == 1000


@pytest.mark.parametrize("access_token", ["opaque", jwt(sub="usr_1"), jwt(workspace_id=None)])
async def test_a_login_whose_token_names_no_workspace(access_token: str) -> None:
    async with login_server(Prisma(grant={"access_token": access_token})) as (_, oauth):
        login = oauth.login_url()
        with pytest.raises(AuthError, match="names no workspace"):
            await oauth.exchange_callback(callback_of(login), login)


async def test_a_login_without_offline_access() -> None:
    async with login_server(Prisma(grant={"refresh_token": None, "expires_in": None, "scope": None})) as (_, oauth):
        login = oauth.login_url(scope="workspace:admin")
        tokens = await oauth.exchange_callback(callback_of(login), login)
        assert (tokens.refresh_token, tokens.expires_at, tokens.scope) == (None, None, None)
        with pytest.raises(LoginRequiredError, match="not asked for, or not granted"):
            await oauth.refresh(tokens)

"""The token endpoint: what is sent, by which way, and which of its answers are believed."""

import gzip
import json
import logging
import ssl
import threading
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlencode

import anyio
import httpx
import pytest
from attrs import evolve

from prisma_mgmt import AuthError, CallbackError, LoginRequiredError, NetworkError, RequestTimeoutError
from prisma_mgmt._version import __version__
from prisma_mgmt.auth import OAuthClient, OAuthSession, Tokens
from tests.conftest import FakeClock
from tests.kit.canaries import leaks, logged
from tests.kit.engines import needs_new_anyio
from tests.kit.login import CountingStorage, jwt, oauth_at
from tests.kit.rig import Drop, Gate, Reply, Request, Server, serve
from tests.kit.tls import certificate

pytestmark = pytest.mark.anyio

ACCESS = jwt(workspace_id="wksp_1", jti=2)
GRANT = {"access_token": ACCESS, "refresh_token": "refresh-2", "token_type": "Bearer"}
OLD = Tokens("wksp_1", jwt(workspace_id="wksp_1"), "refresh-1", scope="workspace:admin")


@pytest.fixture(autouse=True)
def _no_network_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@asynccontextmanager
async def answering(*replies: Reply | Drop) -> AsyncIterator[tuple[Server, OAuthClient]]:
    """A login server that gives these answers in turn, the last one for ever."""
    left = list(replies)

    async def handle(request: Request) -> Reply:
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, Drop):
            raise reply
        return reply

    with anyio.fail_after(30):
        async with serve(handle) as server:
            yield server, oauth_at(server.url)


# Which answers are grants


ODD: list[dict[str, Any]] = [
    {"token_type": None},
    {"token_type": "bearer "},
    {"token_type": ""},
    {"token_type": 7},
    {"token_type": ["DPoP"]},
    {"error": None},
    {"error": ""},
    {"error": " "},
    {"error": False},
    {"expires_in": "soon"},
    {"scope": {"a": 1}},
    {"access_token": f" {ACCESS}\n"},
    {"id_token": {"nested": ["x"]}},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
@pytest.mark.parametrize("status", [200, 201])
async def test_a_pair_is_kept_whatever_else_is_odd_in_its_grant(odd: dict[str, Any], status: int) -> None:
    async with answering(Reply(status, {**GRANT, **odd})) as (_, oauth):
        new = await oauth.refresh(OLD)
    assert (new.access_token, new.refresh_token, new.scope) == (ACCESS, "refresh-2", "workspace:admin")
    assert new.expires_at is None


async def test_a_grant_without_a_token_type_is_kept() -> None:
    grant = {key: value for key, value in GRANT.items() if key != "token_type"}
    async with answering(Reply(body=grant)) as (_, oauth):
        assert (await oauth.refresh(OLD)).refresh_token == "refresh-2"


async def test_bytes_that_are_no_utf_8_beside_a_pair_do_not_cost_it() -> None:
    grant = json.dumps({**GRANT, "note": "?"}).encode().replace(b'"?"', b'"\xff\xfe"')
    async with answering(Reply(content=grant)) as (_, oauth):
        assert (await oauth.refresh(OLD)).refresh_token == "refresh-2"


async def test_an_answer_that_is_nested_too_deep_is_no_grant() -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        for depth in (400, 700, 5000):
            nested = opening * depth + "1" + closing * depth
            async with answering(Reply(content=f'{{"note": {nested}}}'.encode())) as (_, oauth):
                with pytest.raises(AuthError, match="no grant"):
                    await oauth.refresh(OLD)


async def test_a_scope_may_be_a_list() -> None:
    async with answering(Reply(body={**GRANT, "scope": ["workspace:admin", 1, "offline_access"]})) as (_, oauth):
        assert (await oauth.refresh(OLD)).scope == "workspace:admin offline_access"


@pytest.mark.parametrize("token", ["", " ", None, 1, ["x"]])
async def test_without_an_access_token_nothing_is_granted(token: Any) -> None:
    async with answering(Reply(body={**GRANT, "access_token": token})) as (_, oauth):
        with pytest.raises(AuthError, match="no grant") as caught:
            await oauth.refresh(OLD)
    assert type(caught.value) is AuthError


@pytest.mark.parametrize("error", ["slow_down", {"code": 1}, True])
async def test_an_error_beside_a_token_wins(error: Any) -> None:
    async with answering(Reply(body={**GRANT, "error": error})) as (_, oauth):
        with pytest.raises(AuthError, match="refused"):
            await oauth.refresh(OLD)


UNFIT = [
    {"token_type": "DPoP"},
    {"token_type": "MAC"},
    {"access_token": "canary\u00e9"},
    {"access_token": "canary\r\nX-Other: 1"},
    {"access_token": "canary token"},
]


@pytest.mark.parametrize("leeway", [60, 0])
@pytest.mark.parametrize("unfit", UNFIT, ids=str)
async def test_a_pair_is_stored_though_its_access_token_cannot_be_sent(
    unfit: dict[str, str], leeway: float, clock: FakeClock
) -> None:
    """It is one AuthError, no request leaves with it, and after a pause the pair's refresh token is used."""
    async with answering(Reply(body={**GRANT, **unfit}), Reply(body={**GRANT, "refresh_token": "refresh-3"})) as (
        server,
        oauth,
    ):
        storage = CountingStorage(OLD)
        async with OAuthSession(oauth, storage, leeway=leeway, monotonic=clock.monotonic) as session:
            with pytest.raises(AuthError, match="no bearer token") as caught:
                await session.renew(OLD.access_token)
            assert type(caught.value) is AuthError
            assert "canary" not in str(caught.value)
            assert storage.current is not None
            assert storage.current.refresh_token == "refresh-2"
            clock.time += 1
            assert await session.access_token() == ACCESS
        assert [request.form["refresh_token"] for request in server.requests] == ["refresh-1", "refresh-2"]


@pytest.mark.parametrize("unfit", UNFIT, ids=str)
async def test_a_login_whose_access_token_cannot_be_sent_is_refused(unfit: dict[str, str]) -> None:
    async with answering(Reply(body={**GRANT, **unfit})) as (_, oauth):
        login = oauth.login_url()
        with pytest.raises(AuthError, match="no bearer token"):
            await oauth.exchange_callback(f"/callback?code=c&state={login.state}", login)


# Refusals


@pytest.mark.parametrize("refresh_token", ["r", "invalid", "grant", "_", "invalid_grant"])
@pytest.mark.parametrize("secret", ["id", "invalid_grant", None])
async def test_a_refused_refresh_token_is_known_by_the_code_as_it_came(refresh_token: str, secret: str | None) -> None:
    async with answering(Reply(400, {"error": "invalid_grant"})) as (server, _):
        oauth = oauth_at(server.url, client_secret=secret)
        with pytest.raises(LoginRequiredError) as caught:
            await oauth.refresh(Tokens("w", "a", refresh_token))
    assert caught.value.refresh_token_invalid
    assert caught.value.error == "invalid_grant"


@pytest.mark.parametrize("code", ["invalid_grant ", "INVALID_GRANT", "invalid_grants", ["invalid_grant"], None])
async def test_no_other_code_signs_out(code: Any) -> None:
    async with answering(Reply(400, {"error": code})) as (_, oauth):
        with pytest.raises(AuthError) as caught:
            await oauth.refresh(OLD)
    assert type(caught.value) is AuthError


async def test_a_refused_code_signs_nobody_out() -> None:
    async with answering(Reply(400, {"error": "invalid_grant"})) as (_, oauth):
        login = oauth.login_url()
        with pytest.raises(AuthError) as caught:
            await oauth.exchange_callback(f"/callback?code=c&state={login.state}", login)
    assert type(caught.value) is AuthError


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_token_follows_a_redirect_and_the_error_says_so(status: int) -> None:
    async with answering(Reply(status, GRANT, headers={"location": "/elsewhere"})) as (server, oauth):
        with pytest.raises(AuthError, match=f"{status} without an error code: no redirect is followed"):
            await oauth.refresh(OLD)
        assert [request.path for request in server.requests] == ["/token"]


@pytest.mark.parametrize("empty", [None, ""])
async def test_an_empty_refresh_token_is_none(empty: str | None) -> None:
    async with answering(Reply(body=GRANT)) as (server, oauth):
        with pytest.raises(LoginRequiredError, match="no refresh token"):
            await oauth.refresh(Tokens("w", "a", empty))
    assert server.requests == []


@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_may_be_asked_for_in_seconds_or_as_a_date(clock: FakeClock, status: int) -> None:
    for header in ("60", formatdate(clock.time + 60, usegmt=True)):
        async with answering(Reply(status, headers={"retry-after": header})) as (server, _):
            with pytest.raises(AuthError) as caught:
                await oauth_at(server.url, now=clock.now).refresh(OLD)
        assert caught.value.retry_after == 60
    past = formatdate(clock.time - 60, usegmt=True)
    async with answering(Reply(status, headers={"retry-after": past})) as (server, _):
        with pytest.raises(AuthError) as caught:
            await oauth_at(server.url, now=clock.now).refresh(OLD)
    assert caught.value.retry_after == 0


async def test_a_pause_until_a_date_is_measured_by_the_servers_own_clock(clock: FakeClock) -> None:
    headers = {name: formatdate(clock.time + at, usegmt=True) for name, at in (("date", 0), ("retry-after", 60))}
    async with answering(Reply(503, headers=headers), Reply(body=GRANT)) as (server, _):
        oauth, storage = oauth_at(server.url, now=lambda: clock.time + 7200), CountingStorage(OLD)
        async with OAuthSession(oauth, storage, monotonic=clock.monotonic) as session:
            for seconds in (0, 59, 1):
                clock.time += seconds
                asked = len(server.requests)
                if seconds == 1:
                    assert await session.renew(OLD.access_token) == ACCESS
                else:
                    with pytest.raises(AuthError, match="503") as caught:
                        await session.renew(OLD.access_token)
                    assert caught.value.retry_after == 60
        assert (asked, len(server.requests)) == (1, 2)


@pytest.mark.parametrize(
    "header", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 +9999999999"]
)
async def test_a_pause_that_cannot_be_read_is_none(header: str) -> None:
    async with answering(Reply(429, headers={"retry-after": header})) as (_, oauth):
        with pytest.raises(AuthError, match="429") as caught:
            await oauth.refresh(OLD)
    assert caught.value.retry_after is None


async def test_a_packed_answer_takes_no_more_memory_than_another() -> None:
    bomb = gzip.compress(json.dumps(GRANT).encode() + b" " * 10_000_000)
    async with answering(Reply(content=bomb, headers={"content-encoding": "x-gzip"})) as (_, oauth):
        with pytest.raises(AuthError, match="no grant"):
            await oauth.refresh(OLD)


async def test_an_answer_that_is_not_packed_though_it_says_so_is_read(clock: FakeClock) -> None:
    reply = Reply(content=json.dumps(GRANT).encode(), headers={"content-encoding": "gzip"})
    async with answering(reply) as (server, oauth):
        assert (await oauth.refresh(OLD)).refresh_token == "refresh-2"
        assert len(server.requests) == 1


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "gzip, identity"])
async def test_a_packed_answer_is_unpacked(coding: str) -> None:
    reply = Reply(content=gzip.compress(json.dumps(GRANT).encode()), headers={"content-encoding": coding})
    async with answering(reply) as (_, oauth):
        assert (await oauth.refresh(OLD)).refresh_token == "refresh-2"


@pytest.mark.parametrize("head", [zlib.MAX_WBITS, -zlib.MAX_WBITS], ids=["with zlib's head", "without"])
async def test_a_deflated_answer_is_unpacked(head: int) -> None:
    packer = zlib.compressobj(wbits=head)
    content = packer.compress(json.dumps(GRANT).encode()) + packer.flush()
    async with answering(Reply(content=content, headers={"content-encoding": "deflate"})) as (_, oauth):
        assert (await oauth.refresh(OLD)).refresh_token == "refresh-2"


@pytest.mark.parametrize(("text", "oddly"), [("offline_access", "offline\taccess"), ("}", "}\0")])
async def test_odd_characters_beside_a_pair_do_not_cost_it(text: str, oddly: str) -> None:
    grant = {**GRANT, "scope": "offline_access"}
    async with answering(Reply(content=json.dumps(grant).replace(text, oddly).encode())) as (server, oauth):
        assert (await oauth.refresh(OLD)).refresh_token == "refresh-2"
        assert len(server.requests) == 1


FRAMINGS = [
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\ncanary-size\r\n",
    b"HTTP/1.1 200 canary-\xff\r\ncanary-header\r\n\r\n",
    b'{"access_token": "canary-access"}\r\n\r\n',
]


@pytest.mark.parametrize("raw", FRAMINGS)
async def test_no_log_quotes_an_answer_that_is_no_http(raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with answering(Drop(raw)) as (_, oauth):
        with pytest.raises(NetworkError) as caught:
            await oauth.refresh(OLD)
    assert [record.name for record in caplog.records if "failed" in record.getMessage()]
    assert logged(caplog.records) == leaks(caught.value) == []


async def test_an_answer_that_cannot_be_unpacked_is_asked_for_again() -> None:
    broken = Reply(content=b"canary", headers={"content-encoding": "gzip"})
    async with answering(broken, Reply(body=GRANT)) as (server, oauth):
        assert (await oauth.refresh(OLD)).refresh_token == "refresh-2"
    async with answering(broken) as (server, oauth):
        with pytest.raises(NetworkError, match="tried 2 times"):
            await oauth.refresh(OLD)
        assert len(server.requests) == 2


# What a refusal shows

SECRET = 'canary-/refresh+tok"en=' * 2
ECHOES = [
    SECRET,
    SECRET.upper(),
    SECRET[:30],
    SECRET[5:30],
    quote(SECRET, safe=""),
    quote_plus(SECRET)[:30],
    urlencode({"token": SECRET}),
    json.dumps(SECRET).replace("/", "\\/"),
]


@pytest.mark.parametrize("echo", ECHOES, ids=range(len(ECHOES)))
@pytest.mark.parametrize("name", ["error", "error_description"])
async def test_a_refusal_that_echoes_a_secret_shows_none(echo: str, name: str) -> None:
    reply = Reply(400, {"error": "invalid_request", name: f"the body was refresh_token={echo} and no good"})
    async with answering(reply) as (_, oauth):
        with pytest.raises(AuthError) as caught:
            await oauth.refresh(evolve(OLD, refresh_token=SECRET))
    shown = f"{caught.value} {caught.value.error} {caught.value.error_description}".lower()
    assert "canary" not in shown
    assert "refresh+tok" not in unquote(shown)


async def test_what_a_refusal_of_a_long_secret_shows_is_known_at_once() -> None:
    """No more than a few milliseconds of the event loop: to look for each piece of it anew took seconds."""
    reply = Reply(400, {"error": "invalid_request", "error_description": "no good " * 60})
    async with answering(reply) as (_, oauth):
        started = time.process_time()
        with pytest.raises(AuthError, match="invalid_request"):
            await oauth.refresh(evolve(OLD, refresh_token="canary-0123456789" * 3000))
        assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("reply", "problem"), [(Reply(503, {"error": "slow_down"}), "503 slow_down"), (Reply(body=[]), "no grant")]
)
async def test_an_error_of_the_login_server_names_the_call_and_how_often_it_was_made(
    reply: Reply, problem: str
) -> None:
    async with answering(reply) as (server, oauth):
        login = oauth.login_url()
        for call in (
            lambda: oauth.refresh(OLD),
            lambda: oauth.exchange_callback(f"/callback?code=c&state={login.state}", login),
        ):
            with pytest.raises(AuthError, match=f"{problem}.*: POST {server.url}/token$"):
                await call()
    async with answering(Reply(503)) as (server, oauth):
        with pytest.raises(AuthError, match=f": GET {server.url}/.well-known/oauth-authorization-server$"):
            await oauth.revoke(OLD)
    broken = Reply(content=b"packed", headers={"content-encoding": "gzip"})
    async with answering(broken, reply) as (server, oauth):
        with pytest.raises(AuthError, match=rf": POST {server.url}/token \(tried 2 times\)$"):
            await oauth.refresh(OLD)


async def test_a_refusal_that_echoes_nothing_is_shown_whole() -> None:
    words = "100% of the tokens\\names of this family + client were revoked"
    async with answering(Reply(400, {"error": "invalid_request", "error_description": words})) as (_, oauth):
        with pytest.raises(AuthError) as caught:
            await oauth.refresh(evolve(OLD, refresh_token=SECRET))
    assert caught.value.error_description == words


# What is sent


async def test_every_request_says_who_asks() -> None:
    async def handle(request: Request) -> Reply:
        if request.method == "GET":
            return Reply(body={"issuer": server.url, "revocation_endpoint": f"{server.url}/revoke"})
        return Reply(body=GRANT)

    async with serve(handle) as server:
        oauth = oauth_at(server.url)
        await oauth.refresh(OLD)
        await oauth.revoke(OLD)
    assert len(server.requests) == 3
    for request in server.requests:
        assert request.headers["user-agent"] == f"prisma_mgmt/{__version__}"
        assert request.headers["accept-encoding"] == "identity"


async def test_the_redirect_uri_of_a_login_is_that_of_its_exchange() -> None:
    async with answering(Reply(body=GRANT)) as (server, oauth):
        login = oauth.login_url(redirect_uri="https://other.example/back")
        assert login.redirect_uri == "https://other.example/back"
        await oauth.exchange_callback(f"/back?code=c&state={login.state}", login)
        login = oauth.login_url()
        await oauth.exchange_callback(
            f"/?code=c&state={login.state}", verifier=login.verifier, expected_state=login.state
        )
    sent = [request.form["redirect_uri"] for request in server.requests]
    assert sent == ["https://other.example/back", "https://app.example/callback"]


async def test_an_issuer_may_end_in_a_slash() -> None:
    async def handle(request: Request) -> Reply:
        if request.method == "GET":
            return Reply(body={"issuer": f"{server.url}/", "revocation_endpoint": f"{server.url}/revoke"})
        return Reply(body=GRANT)

    async with serve(handle) as server:
        for issuer, fits in ((None, False), (f"{server.url}/", True)):
            oauth = oauth_at(server.url, issuer=issuer)
            login = oauth.login_url()
            callback = f"/?code=c&state={login.state}&iss={server.url}/"
            if fits:
                assert await oauth.exchange_callback(callback, login)
                assert await oauth.revoke(OLD)
                continue
            with pytest.raises(CallbackError, match="another issuer"):
                await oauth.exchange_callback(callback, login)
            with pytest.raises(AuthError, match=r"another server's.*see issuer="):
                await oauth.revoke(OLD)


HALF = "canary-" * 3 + "\ud800"  # JSON can carry half of a surrogate pair, and UTF-8 cannot


async def test_a_token_that_is_no_utf_8_is_sent_and_refused_like_any_other() -> None:
    """An error that said which character cannot be encoded would hold the whole token."""
    async with answering(Reply(body={**GRANT, "refresh_token": HALF}), Reply(400, {"error": "invalid_grant"})) as (
        server,
        oauth,
    ):
        session = OAuthSession(oauth, CountingStorage(OLD))
        assert await session.renew(OLD.access_token) == ACCESS
        session.accepted(ACCESS)
        with pytest.raises(LoginRequiredError) as caught:
            await session.renew(ACCESS)
        await session.aclose()
    assert caught.value.refresh_token_invalid
    assert "canary" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert server.requests[-1].headers["content-type"] == "application/x-www-form-urlencoded"
    assert server.requests[-1].body.endswith(b"-%ED%A0%80&client_id=client")


# Which way it goes


BROKEN = {
    "HTTP_PROXY": ["ftp://proxy.example", "http://", "http://[", "socks4://proxy.example"],
    "ALL_PROXY": ["ftp://proxy.example"],
}


@pytest.mark.parametrize(("name", "value"), [(name, one) for name, values in BROKEN.items() for one in values])
async def test_a_proxy_that_cannot_be_used_spends_no_callback(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    async with answering(Reply(body=GRANT)) as (server, oauth):
        login = oauth.login_url()
        callback = f"/callback?code=c&state={login.state}"
        monkeypatch.setenv(name, value)
        for call in (lambda: oauth.exchange_callback(callback, login), lambda: oauth.refresh(OLD)):
            with pytest.raises(NetworkError, match=name) as caught:
                await call()
            assert caught.value.unsent
            assert caught.value.url == f"{server.url}/token"
        monkeypatch.delenv(name)
        assert await oauth.exchange_callback(callback, login)


@pytest.mark.parametrize(
    "spared", ["127.0.0.0/8", "127.0.0.1", " , 127.0.0.1", "::1/128,[::1],fd00::/8,ümlaut.example,127.0.0.1"]
)
async def test_what_no_proxy_spares_goes_straight(monkeypatch: pytest.MonkeyPatch, spared: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", spared)
    async with answering(Reply(body=GRANT)) as (_, oauth):
        assert await oauth.refresh(OLD)


@pytest.mark.parametrize("prefix", ["http://", "", " http://"])
async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    async with answering(Reply(body=GRANT)) as (proxy, _):
        monkeypatch.setenv("HTTP_PROXY", prefix + proxy.url.removeprefix("http://"))
        assert await oauth_at("http://localhost:1").refresh(OLD)
        assert [request.target for request in proxy.requests] == ["http://localhost:1/token"]


async def test_a_proxy_that_lets_nobody_through_spends_no_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(Reply(403)) as (proxy, _):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        oauth = oauth_at("https://auth.example")
        login = oauth.login_url()
        for _ in range(2):
            with pytest.raises(NetworkError) as caught:
                await oauth.exchange_callback(f"/callback?code=c&state={login.state}", login)
            assert caught.value.unsent


async def test_a_proxy_that_never_connects_spends_no_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(request: Request) -> Reply:
        assert request.method == "CONNECT"
        await anyio.sleep_forever()
        raise AssertionError

    async with serve(handle) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        oauth = oauth_at("https://auth.example", timeout=0.3)
        login = oauth.login_url()
        for _ in range(2):
            with pytest.raises(RequestTimeoutError) as caught:
                await oauth.exchange_callback(f"/callback?code=c&state={login.state}", login)
            assert caught.value.unsent
    assert [request.method for request in proxy.requests] == ["CONNECT", "CONNECT"]


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_certificates_that_are_not_there_stop_https_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "missing"))
    async with answering(Reply(body=GRANT)) as (_, oauth):
        assert await oauth.refresh(OLD)
    oauth = oauth_at("https://localhost:1")
    login = oauth.login_url()
    for _ in range(2):
        with pytest.raises(NetworkError, match=name) as caught:
            await oauth.exchange_callback(f"/callback?code=c&state={login.state}", login)
        assert caught.value.unsent


async def test_the_certificates_of_the_environment_are_read_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = certificate(tmp_path)
    tls = made.server()
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    readers: list[threading.Thread] = []
    create = ssl.create_default_context

    def read(*args: Any, **options: Any) -> ssl.SSLContext:
        readers.append(threading.current_thread())
        return create(*args, **options)

    monkeypatch.setattr(ssl, "create_default_context", read)

    async def handle(request: Request) -> Reply:
        return Reply(body=GRANT)

    async with serve(handle, tls) as server:
        for _ in range(2):
            assert await oauth_at(server.url).refresh(OLD)
    assert len(readers) == 1
    assert readers[0] is not threading.main_thread()


async def test_certificates_given_by_hand_take_the_place_of_all_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    made = certificate(tmp_path)

    async def handle(request: Request) -> Reply:
        return Reply(body=GRANT)

    async with serve(handle, made.server()) as server:
        trusting = ssl.create_default_context(cafile=made.path)
        assert await oauth_at(server.url, ssl_context=trusting).refresh(OLD)
        distrusting = ssl.create_default_context()
        with pytest.raises(NetworkError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await oauth_at(server.url, ssl_context=distrusting).refresh(OLD)
        assert caught.value.unsent


async def test_a_proxy_that_is_reached_over_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = certificate(tmp_path)

    async def handle(request: Request) -> Reply:
        return Reply(body=GRANT)

    async with serve(handle, made.server()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        oauth = oauth_at("http://localhost:1", ssl_context=ssl.create_default_context(cafile=made.path))
        assert await oauth.refresh(OLD)
        assert [request.target for request in proxy.requests] == ["http://localhost:1/token"]


# When a callback is spent


class Silent(httpx.AsyncBaseTransport):
    """Never answers; tells when it was asked."""

    def __init__(self) -> None:
        self.gate = Gate()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self.gate()
        raise AssertionError("nobody releases it")


@asynccontextmanager
async def handshaking_for_ever() -> AsyncIterator[tuple[str, anyio.Event]]:
    """A server that takes connections and never shakes hands; bytes of a request cannot go out."""
    connected = anyio.Event()

    async def hold(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            connected.set()
            await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, hold)
        yield f"https://127.0.0.1:{port}", connected
        group.cancel_scope.cancel()


async def test_a_callback_is_as_good_as_before_if_time_ran_out_before_anything_was_sent() -> None:
    async with handshaking_for_ever() as (url, _):
        oauth = oauth_at(url, timeout=0.3, ssl_context=ssl.create_default_context())
        login = oauth.login_url()
        for _ in range(2):
            with pytest.raises(RequestTimeoutError) as caught:
                await oauth.exchange_callback(f"/callback?code=c&state={login.state}", login)
            assert caught.value.unsent


@needs_new_anyio
async def test_a_callback_is_as_good_as_before_if_its_caller_left_before_anything_was_sent() -> None:
    async with handshaking_for_ever() as (url, connected):
        oauth = oauth_at(url, timeout=0.3, ssl_context=ssl.create_default_context())
        login = oauth.login_url()
        callback = f"/callback?code=c&state={login.state}"
        async with anyio.create_task_group() as group:
            group.start_soon(oauth.exchange_callback, callback, login)
            await connected.wait()
            group.cancel_scope.cancel()
        with pytest.raises(RequestTimeoutError):
            await oauth.exchange_callback(callback, login)


async def test_a_callback_is_spent_if_time_ran_out_after_it_was_sent() -> None:
    gate = Gate()

    async def handle(request: Request) -> Reply:
        await gate()
        return Reply(body=GRANT)

    async with serve(handle) as server:
        oauth = oauth_at(server.url, timeout=0.3)
        login = oauth.login_url()
        with pytest.raises(RequestTimeoutError) as caught:
            await oauth.exchange_callback(f"/callback?code=c&state={login.state}", login)
        assert not caught.value.unsent
        with pytest.raises(CallbackError, match="exchanged already"):
            await oauth.exchange_callback(f"/callback?code=c&state={login.state}", login)


async def test_nobody_knows_what_a_transport_of_ones_own_has_sent() -> None:
    transport = Silent()
    oauth = oauth_at("https://auth.example", transport=transport)
    login = oauth.login_url()
    async with anyio.create_task_group() as group:
        group.start_soon(oauth.exchange_callback, f"/callback?code=c&state={login.state}", login)
        await transport.gate.arrived.wait()
        group.cancel_scope.cancel()
    with pytest.raises(CallbackError, match="exchanged already"):
        await oauth.exchange_callback(f"/callback?code=c&state={login.state}", login)

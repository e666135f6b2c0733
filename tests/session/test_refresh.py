"""Refreshes at the token endpoint: what is kept, what is asked for again, what is believed."""

import gzip
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import ByteStream
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prisma_mgmt import AuthError, LoginRequiredError, NetworkError, RequestTimeoutError
from prisma_mgmt.auth import OAuthClient, Tokens
from prisma_mgmt.auth.endpoint import TokenEndpoint
from prisma_mgmt.auth.sending import Sender
from tests.kit.login import Prisma, jwt, oauth_at
from tests.kit.rig import Drop, Gate, Reply, Request, Server, serve
from tests.kit.world import rounds

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def login_server(prisma: Prisma, **options: Any) -> AsyncIterator[OAuthClient]:
    with anyio.fail_after(30):
        async with serve(prisma.handle) as server:
            yield oauth_at(server.url, **options)


@pytest.mark.parametrize("secret", [None, "secret"])
async def test_a_refresh_and_its_form(secret: str | None) -> None:
    prisma = Prisma()
    async with login_server(prisma, client_secret=secret) as oauth:
        new = await oauth.refresh(prisma.tokens())
    assert new.refresh_token == "refresh-2"
    form = {"grant_type": "refresh_token", "refresh_token": "refresh-1", "client_id": "client"}
    assert prisma.forms == [form | ({"client_secret": secret} if secret else {})]


async def test_what_the_answer_leaves_out_is_kept() -> None:
    prisma = Prisma(grant={"scope": None, "expires_in": None})
    async with login_server(prisma) as oauth:
        old = prisma.tokens(refresh_token="refresh-9", scope="workspace:admin", expires_at=5.0)
        prisma.refresh_tokens.add("refresh-9")
        prisma.grant["refresh_token"] = None
        new = await oauth.refresh(old)
    assert (new.refresh_token, new.scope, new.workspace_id) == ("refresh-9", "workspace:admin", "wksp_1")
    assert new.expires_at is None, "an old expiry says nothing about a new token"
    assert new.access_token != old.access_token


@pytest.mark.parametrize("access_token", ["opaque", jwt(workspace_id="wksp_2"), jwt(exp=10**400)])
async def test_a_rotated_pair_is_not_judged_before_it_is_stored(access_token: str) -> None:
    prisma = Prisma(grant={"access_token": access_token, "expires_in": "soon"})
    async with login_server(prisma) as oauth:
        new = await oauth.refresh(Tokens("wksp_1", "a", "refresh-1") if prisma.new_pair() else None)
    assert (new.access_token, new.workspace_id) == (access_token, "wksp_1")


async def test_without_a_refresh_token_nobody_is_asked() -> None:
    prisma = Prisma()
    async with login_server(prisma) as oauth:
        with pytest.raises(LoginRequiredError, match="no refresh token"):
            await oauth.refresh(prisma.tokens(refresh_token=None))
    assert prisma.forms == []


# A lost answer (S8)


async def test_a_lost_answer_is_asked_for_once_more() -> None:
    prisma = Prisma("grace", drop=1)
    async with login_server(prisma) as oauth:
        new = await oauth.refresh(prisma.tokens())
    assert prisma.refreshes == 2
    assert new.access_token in prisma.live
    assert new.refresh_token in prisma.refresh_tokens


async def test_a_lost_answer_of_a_strict_server_asks_for_a_login() -> None:
    prisma = Prisma("strict", drop=1)
    async with login_server(prisma) as oauth:
        with pytest.raises(LoginRequiredError) as caught:
            await oauth.refresh(prisma.tokens())
    assert caught.value.refresh_token_invalid
    assert prisma.refreshes == 2


async def test_an_answer_lost_twice_is_given_up() -> None:
    prisma = Prisma("grace", drop=2)
    async with login_server(prisma) as oauth:
        with pytest.raises(NetworkError):
            await oauth.refresh(prisma.tokens())
    assert prisma.refreshes == 2


CUT_SHORT = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\ncanary\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 6\r\n\r\ncanary",
    b"canary\r\n\r\n",
    b"HTTP/1.1 ",
]


@pytest.mark.parametrize("head", CUT_SHORT)
async def test_an_answer_cut_short_is_a_lost_one(head: bytes) -> None:
    asked: list[Request] = []

    async def handle(request: Request) -> Reply:
        asked.append(request)
        raise Drop(head)

    async with serve(handle) as server:
        with pytest.raises(NetworkError) as caught:
            await oauth_at(server.url).refresh(Tokens("w", "a", "r"))
    assert len(asked) == 2
    assert not caught.value.unsent
    assert "canary" not in str(caught.value)


_BODY = b'{"access_token": "access", "token_type": "Bearer", "refresh_token": "refresh"}'
ONLY_THE_FRAMING = [
    b"content-length: %d\r\n\r\n" % (len(_BODY) + 1) + _BODY,
    b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(_BODY) + _BODY + b"\r\n",
    b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(_BODY) + _BODY + b"\r\ncanary\r\n",
]


@pytest.mark.parametrize("rest", ONLY_THE_FRAMING, ids=range(3))
@pytest.mark.parametrize("hangs", [False, True])
async def test_a_grant_that_has_come_whole_is_taken_though_its_framing_is_cut(rest: bytes, hangs: bool) -> None:
    asked: list[Request] = []

    async def talk(stream: ByteStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\n" + rest)
        if hangs:
            await anyio.sleep_forever()

    async def handle(request: Request) -> Reply:
        asked.append(request)
        return Reply(talk=talk)

    async with serve(handle) as server:
        new = await oauth_at(server.url, timeout=0.9).refresh(Tokens("w", "a", "r"))
    assert new == Tokens("w", "access", "refresh")
    assert len(asked) == 1


REFUSALS = [400, 401, 403, 404, 408, 409, 429, 500, 502, 503]


@pytest.mark.parametrize("status", REFUSALS)
async def test_an_answer_is_an_answer_and_not_asked_for_again(status: int) -> None:
    prisma = Prisma("grace", replies=[Reply(status, {"error": "invalid_grant"})])
    async with login_server(prisma) as oauth:
        with pytest.raises(AuthError) as caught:
            await oauth.refresh(prisma.tokens())
    assert isinstance(caught.value, LoginRequiredError) == (status < 500 and status != 429)
    assert prisma.refreshes == 1


# The deadline


@pytest.mark.parametrize("again", [True, False])
async def test_a_server_that_never_answers_costs_the_timeout_and_no_more(again: bool) -> None:
    prisma = Prisma("grace", token_gate=Gate())
    async with login_server(prisma, timeout=1.8) as oauth:
        started = time.monotonic()
        with pytest.raises(RequestTimeoutError, match=r"1\.8 s") as caught:
            await oauth._endpoint.post({"grant_type": "refresh_token", "refresh_token": "refresh-0"}, again=again)
        assert 1.5 < time.monotonic() - started < 7
    assert caught.value.url.endswith("/token")
    assert prisma.refreshes == (2 if again else 1)


async def test_an_event_loop_that_stalls_until_time_is_up_sends_nothing() -> None:
    class Stall(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "connect_tcp.complete" in record.getMessage():
                time.sleep(0.4)  # it is the stall itself

    prisma, logger = Prisma("strict"), logging.getLogger("httpcore.connection")
    stall, level = Stall(), logger.level
    logger.addHandler(stall)
    logger.setLevel(logging.DEBUG)
    try:
        async with login_server(prisma, timeout=0.3) as oauth:
            with pytest.raises(RequestTimeoutError) as caught:
                await oauth.refresh(prisma.tokens())
            await rounds()
    finally:
        logger.setLevel(level)
        logger.removeHandler(stall)
    assert prisma.refreshes == 0
    assert caught.value.unsent


async def test_a_server_that_dribbles_meets_the_same_deadline() -> None:
    async def dribble() -> AsyncGenerator[bytes]:
        while True:
            yield b" "
            await anyio.lowlevel.checkpoint()

    async def handle(request: Request) -> Reply:
        return Reply(chunks=await stack.enter_async_context(aclosing(dribble())))

    async with AsyncExitStack() as stack, serve(handle) as server:
        with pytest.raises(RequestTimeoutError):
            await oauth_at(server.url, timeout=0.06).refresh(Tokens("w", "a", "r"))


async def test_a_login_server_that_is_slow_has_most_of_the_time_for_its_first_answer() -> None:
    given: list[float] = []

    class Silent(Sender):
        async def send(self, method: str, url: str, *, within: float | None = None, **_: Any) -> Any:
            given.append(within or 0.0)
            raise NetworkError("no answer", method=method, url=url)

    with pytest.raises(NetworkError):
        await TokenEndpoint("https://auth.example/token", Silent(timeout=9.0), time.time).post({}, again=True)
    first, second = given
    assert first == 7.5, "under the ten seconds in which a reuse is forgiven, with time for that"
    assert first < second <= 9.0, "all that is left"


async def test_an_answer_that_comes_to_the_second_try_only_is_taken() -> None:
    prisma = Prisma("grace")
    first = Gate()

    async def handle(request: Request) -> Reply:
        if not prisma.forms:
            prisma.forms.append(request.form)
            await first()
        return await prisma.handle(request)

    async with serve(handle) as server:
        old = prisma.tokens()
        new = await oauth_at(server.url, timeout=3.0).refresh(old)
    assert new.refresh_token == "refresh-2"
    assert prisma.refreshes == 2


# What is believed


@asynccontextmanager
async def answering(reply: Reply) -> AsyncIterator[tuple[Server, OAuthClient]]:
    async def handle(request: Request) -> Reply:
        return reply

    async with serve(handle) as server:
        yield server, oauth_at(server.url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    async with answering(Reply(body={})) as (other, _):
        async with answering(Reply(status, headers={"location": f"{other.url}/token"})) as (server, oauth):
            with pytest.raises(AuthError, match=str(status)):
                await oauth.refresh(Tokens("w", "a", "r"))
            assert server.count("/token") == 1
        assert other.requests == []


GRANT = {"access_token": "access", "token_type": "Bearer", "refresh_token": "refresh"}


async def test_a_grant_of_just_under_64_kib_is_read() -> None:
    token = "x" * (64 * 1024 - len(json.dumps({**GRANT, "access_token": ""})))
    async with answering(Reply(body={**GRANT, "access_token": token})) as (_, oauth):
        assert (await oauth.refresh(Tokens("w", "a", "r"))).access_token == token


@pytest.mark.parametrize(
    "reply",
    [
        Reply(content=json.dumps(GRANT).encode() + b" " * 64 * 1024),
        Reply(content=b"[" * 60_000),
        Reply(content=b'{"access_token": ' + b"9" * 9000 + b"}"),
        Reply(content=b"\xff\xfe"),
        Reply(body={**GRANT, "access_token": {"canary": 1}}),
    ],
    ids=range(5),
)
async def test_what_is_no_grant_is_not_believed(reply: Reply) -> None:
    async with answering(reply) as (server, oauth):
        with pytest.raises(AuthError) as caught:
            await oauth.refresh(Tokens("w", "a", "r"))
        assert type(caught.value) is AuthError
        assert not caught.value.refresh_token_invalid
        assert server.count("/token") == 1


async def test_a_pair_is_not_lost_for_what_else_is_odd_in_its_grant() -> None:
    digits = "1" + "0" * 5000
    body = json.dumps({**GRANT, "scope": [1], "expires_in": "EXPIRES"}).replace('"EXPIRES"', digits)
    async with answering(Reply(content=body.encode())) as (_, oauth):
        assert await oauth.refresh(Tokens("w", "a", "r", scope="s")) == Tokens("w", "access", "refresh", scope="s")
    async with answering(Reply(body={**GRANT, "refresh_token": False})) as (_, oauth):
        assert await oauth.refresh(Tokens("w", "a", "r")) == Tokens("w", "access", "r"), "the old one is kept"


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER"])
async def test_the_token_type_has_no_case(kind: str) -> None:
    async with answering(Reply(body={**GRANT, "token_type": kind})) as (_, oauth):
        assert (await oauth.refresh(Tokens("w", "a", "r"))).access_token == "access"


async def test_a_compressed_answer() -> None:
    reply = Reply(content=gzip.compress(json.dumps(GRANT).encode()), headers={"content-encoding": "gzip"})
    async with answering(reply) as (_, oauth):
        assert (await oauth.refresh(Tokens("w", "a", "r"))).access_token == "access"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1e9", None),
        ("9" * 400, 1e9),
        ("1.5", 1.5),
        ("²", None),
    ],
)
async def test_retry_after(header: str, seconds: float | None) -> None:
    headers = {"retry-after": header.encode().decode("latin-1")} if header.isascii() else {}
    async with answering(Reply(429, {"error": "slow_down"}, headers=headers)) as (_, oauth):
        with pytest.raises(AuthError) as caught:
            await oauth.refresh(Tokens("w", "a", "r"))
    assert (caught.value.error, caught.value.retry_after) == ("slow_down", seconds)


async def test_a_servers_words_are_kept_without_what_we_sent() -> None:
    body = {"error": "invalid_grant canary", "error_description": "token canary was spent\n\x1b[31m"}
    async with answering(Reply(400, body)) as (_, oauth):
        with pytest.raises(AuthError) as caught:
            await oauth.refresh(Tokens("w", "a", "canary"))
    assert caught.value.error == "invalid_grant …"
    assert caught.value.error_description == "token … was spent??[31m"


@pytest.mark.parametrize("echo", ["a{}", "{:.20}", "refresh_token%3D{}%2B", "{:.15}/…"])
async def test_a_servers_words_are_dropped_if_a_piece_of_what_we_sent_is_in_them(echo: str) -> None:
    token = "canary-refresh-token+=/0123456789"
    description = echo.format(token.replace("+", "%2B"))
    async with answering(Reply(400, {"error": "invalid_grant", "error_description": description})) as (_, oauth):
        with pytest.raises(LoginRequiredError) as caught:
            await oauth.refresh(Tokens("w", "a", token))
    assert caught.value.error_description == "…"


class Fixed(httpx.AsyncBaseTransport):
    """Answers with one response; no socket."""

    def __init__(self, status: int, content: bytes) -> None:
        self.response = (status, content)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        status, content = self.response
        return httpx.Response(status, content=content)


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)
bodies = st.binary() | (
    st.fixed_dictionaries({}, optional=dict.fromkeys([*GRANT, "expires_in", "scope", "error"], values))
    | st.just(GRANT).flatmap(
        lambda grant: st.builds(lambda more: {**more, **grant}, st.dictionaries(st.text(), values))
    )
).map(lambda found: json.dumps(found).encode())


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a machine that is busy with something else
@given(st.integers(200, 599), bodies)
def test_no_answer_at_all_breaks_a_refresh(status: int, content: bytes) -> None:
    oauth = OAuthClient("client", "https://app.example/callback", transport=Fixed(status, content))
    old = Tokens("w", "a", "r")

    async def refresh() -> Tokens:
        return await oauth.refresh(old)

    try:
        new = anyio.run(refresh)
    except LoginRequiredError:
        assert b"invalid_grant" in content
    except AuthError:
        pass
    else:
        assert 200 <= status < 300
        assert new.access_token
        assert evolve(new, access_token="a", refresh_token=None, scope=None).workspace_id == "w"


async def test_a_transport_of_ones_own_serves_without_a_connection() -> None:
    sender = Sender(timeout=1, transport=Fixed(200, json.dumps(GRANT).encode()))
    endpoint = TokenEndpoint("https://auth.example/token", sender, time.time)
    assert (await endpoint.post({"grant_type": "x"}, again=False)).access_token == "access"

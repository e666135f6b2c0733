"""S13: what goes wrong at the login server shows no secret in any reporter, whole or cut."""

import io
import json
import logging
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import loguru
import pytest
import rich.console
import rich.traceback
import sentry_sdk
import structlog

from prisma_mgmt import PrismaError
from prisma_mgmt.auth import LoginRequest, LoginSealer, OAuthClient, OAuthSession, Tokens
from prisma_mgmt.auth.storage import MemoryTokenStorage
from tests.kit.canaries import logged
from tests.kit.login import jwt
from tests.kit.rig import Drop, Reply, Request, Server, serve

pytestmark = pytest.mark.anyio

WORD = "yranac"[::-1]  # reporters show the lines of this file too
KEY = WORD.encode() * 5 + b"xx"
LENGTHS = [20, 100, 2000]


class Secrets:
    """Secrets of one length, each made of the word that is looked for. No attrs class: reporters look into those."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, extra: str = "") -> str:
        return (extra + WORD * self.length)[: self.length]

    def token(self) -> str:
        return jwt(workspace_id="wksp_1").replace("signature", self())

    def tokens(self) -> Tokens:
        return Tokens("wksp_1", self.token(), self("r"))

    def login(self) -> LoginRequest:
        return LoginRequest(self("https://"), self("s"), ("v" + WORD * 8)[:43])

    def grant(self) -> bytes:
        grant = {"access_token": self.token(), "refresh_token": self("n"), "token_type": "Bearer"}
        return json.dumps({**grant, "scope": self("x")}).encode()


def failures(secrets: Secrets) -> dict[str, Reply | Drop]:
    grant = secrets.grant()
    return {
        "no connection": Drop(),
        "cut short": Drop(b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n" + grant[:-1]),
        "a broken chunk": Drop(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + grant),
        "no http": Drop(grant + b"\r\n\r\n"),
        "broken gzip": Reply(content=b"\x1f\x8b" + grant, headers={"content-encoding": "gzip"}),
        "refused": Reply(400, {"error": "invalid_grant", "error_description": secrets("r")}),
        "unavailable": Reply(503, content=grant, headers={"x-echo": secrets()}),
        "no grant": Reply(content=grant.replace(b"access_token", b"other")),
        "another scheme": Reply(content=grant.replace(b"Bearer", b"DPoP")),
        "an unfit token": Reply(content=grant.replace(WORD.encode(), f"{WORD} ".encode())),
        "no workspace": Reply(content=grant.replace(secrets.token().encode(), secrets().encode())),
        "no json": Reply(content=grant[:-5]),
    }


class Place:
    """A login server that fails as told, and what an application asks of it; the frames of its calls hold no secret."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.reply: Reply | Drop = Drop()

    def oauth(self, secrets: Secrets) -> OAuthClient:
        redirect_uri = "https://app.example/callback"
        return OAuthClient("client", redirect_uri, client_secret=secrets("c"), auth_base_url=self.server.url)

    async def refresh(self, secrets: Secrets) -> None:
        await self.oauth(secrets).refresh(secrets.tokens())

    async def exchange(self, secrets: Secrets) -> None:
        login, callback = secrets.login(), LazyCallback(secrets)
        await self.oauth(secrets).exchange_callback(callback(), login)

    async def session(self, secrets: Secrets) -> None:
        session = OAuthSession(self.oauth(secrets), MemoryTokenStorage(secrets.tokens()))
        await session.renew(secrets.token())
        async with session:
            await session.access_token()

    async def sealed(self, secrets: Secrets) -> None:
        sealer = LoginSealer([KEY])
        sealer.open_for({sealer.cookie_name(secrets("s")): secrets("v1.")}, LazyCallback(secrets)())


class LazyCallback:
    def __init__(self, secrets: Secrets) -> None:
        self.secrets = secrets

    def __call__(self) -> str:
        return f"/callback?code={self.secrets('code')}&state={self.secrets('s')}"


def by_rich(error: BaseException) -> str:
    out = io.StringIO()
    shown = rich.traceback.Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
    rich.console.Console(file=out, width=200).print(shown)
    return out.getvalue()


def by_structlog(error: BaseException) -> str:
    make = structlog.tracebacks.ExceptionDictTransformer(show_locals=True, locals_max_string=80)
    return json.dumps(make((type(error), error, error.__traceback__)), default=repr)


class Kept(sentry_sdk.transport.Transport):
    """Keeps what would be sent to Sentry."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.events.append(envelope.get_event())


def by_sentry(error: BaseException) -> str:
    kept = Kept()
    client = sentry_sdk.Client(dsn="http://key@127.0.0.1:1/1", transport=kept, default_integrations=False)
    client.capture_event(*sentry_sdk.utils.event_from_exception(error, client_options=client.options))
    assert kept.events
    return json.dumps(kept.events, default=repr)


def by_loguru(error: BaseException) -> str:
    out = io.StringIO()
    number = loguru.logger.add(out, diagnose=True, format="{message}")
    loguru.logger.opt(exception=error).error("failed")
    loguru.logger.remove(number)
    return out.getvalue()


def by_the_library(error: BaseException) -> str:
    lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return "".join(lines)


REPORTERS: list[Callable[[BaseException], str]] = [by_rich, by_structlog, by_sentry, by_loguru, by_the_library]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async def handle(request: Request) -> Reply:
        if isinstance(places[0].reply, Drop):
            raise Drop(places[0].reply.head)
        return places[0].reply

    places: list[Place] = []
    async with serve(handle) as server:
        places.append(Place(server))
        yield places[0]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("length", LENGTHS)
async def test_no_reporter_shows_a_secret(place: Place, caplog: pytest.LogCaptureFixture, length: int) -> None:
    caplog.set_level(logging.DEBUG)
    secrets, seen = Secrets(length), 0
    for name, place.reply in failures(secrets).items():
        for call in (place.refresh, place.exchange, place.session, place.sealed):
            try:
                await call(secrets)
            except PrismaError as error:
                seen += 1
                shown = [report.__name__ for report in REPORTERS if WORD in report(error)]
            else:
                shown = []
            assert shown == [], f"{name}: {call.__name__}"
        # httpcore quotes bytes that are no HTTP in its DEBUG records, and headers that the server made up
        quoting = ("httpcore.",) if isinstance(place.reply, Drop) or place.reply.headers else ()
        assert logged([record for record in caplog.records if not record.name.startswith(quoting or "-")]) == []
        caplog.clear()
    assert seen > 40


def test_the_reporters_do_show_what_is_not_masked() -> None:
    def fail() -> None:
        plain = "yranac"[::-1]
        raise ValueError(plain[:0])

    try:
        fail()
    except ValueError:
        error = sys.exception()
        assert error is not None
        # loguru shows the values that stand in the failing line
        assert [report.__name__ for report in REPORTERS if WORD not in report(error)] == []

"""S13: no secret in a log record, a repr, an exception or the locals of our frames, whatever goes wrong."""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from attrs import define, evolve, field

from prisma_mgmt import ManagementClient, RetryPolicy
from prisma_mgmt.auth import (
    LoginRequest,
    LoginSealer,
    OAuthClient,
    OAuthSession,
    SessionManager,
    TokenCipher,
    Tokens,
)
from prisma_mgmt.auth.storage import FileTokenStorage, MemoryTokenStorage
from prisma_mgmt.auth.storage.form import Form
from tests.kit.canaries import CANARY, MARK, REPORTERS, betrayed, canary, described, leaks, logged
from tests.kit.engines import anyio_backend as anyio_backend
from tests.kit.login import jwt
from tests.kit.rig import Drop, Reply, Request, Server, serve

pytestmark = pytest.mark.anyio

VERIFIER = "canary-verifier-0123456789012345678901234567890123456789"
LOGIN = LoginRequest("https://auth.example/authorize?state=canary-state", "canary-state", VERIFIER)
CALLBACK = "/callback?code=canary-code&state=canary-state"


def access_token(number: int, **claims: Any) -> str:
    return jwt(**{"workspace_id": "wksp_1", "jti": number, **claims}).replace("signature", f"canary-access-{number}")


def grant(**changes: Any) -> dict[str, Any]:
    fields = {"access_token": access_token(2), "refresh_token": "canary-refresh-2", "token_type": "Bearer"}
    return {**fields, "expires_in": 3600, **changes}


@define
class World:
    """A login server that gives `reply`, an API that takes the tokens in `live`, and everything that talks to them."""

    server: Server
    oauth: OAuthClient
    storage: MemoryTokenStorage
    session: OAuthSession
    folder: Path
    reply: Reply | Drop = field(factory=lambda: Reply(body=grant()))
    live: set[str | None] = field(factory=lambda: {access_token(2)})

    async def handle(self, request: Request) -> Reply:
        if request.path == "/token":
            if isinstance(self.reply, Drop):
                raise Drop(self.reply.head)
            sent = " ".join(request.form.values())
            return evolve(self.reply, content=self.reply.raw().replace(ECHO.encode(), sent.encode()))
        if request.token in self.live:
            return Reply(body={"user": None})
        return Reply(401, {"error": {"code": "authentication-failed", "message": "expired"}})

    async def log_in(self, callback: str = CALLBACK) -> Any:
        return await self.session.handle_callback(callback, LOGIN)

    async def refresh(self) -> Any:
        return await self.session.renew(await self.session.access_token())

    async def call(self) -> Any:
        policy = RetryPolicy(attempts=1)
        async with ManagementClient(self.session, base_url=self.server.url, retry=policy) as client:
            return (await client.request("GET", "/v1/me")).status

    async def call_httpx(self) -> Any:
        async with httpx.AsyncClient(auth=self.session.httpx_auth(origin=self.server.url), verify=False) as client:
            return (await client.get(f"{self.server.url}/v1/me")).status_code

    def file(self, content: str, **options: Any) -> FileTokenStorage:
        path = self.folder / "tokens.json"
        path.write_text(content)
        path.chmod(0o600)
        return FileTokenStorage(path, **options)


def client_of(server: Server, **options: Any) -> OAuthClient:
    secret = {"client_secret": "canary-secret"}
    return OAuthClient("client", "https://app.example/callback", auth_base_url=server.url, **secret, **options)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    worlds: list[World] = []
    with anyio.fail_after(30):
        async with serve(lambda request: worlds[0].handle(request)) as server:
            oauth = OAuthClient(
                "client",
                "https://app.example/callback",
                client_secret="canary-secret",
                auth_base_url=server.url,
                timeout=2,
            )
            storage = MemoryTokenStorage(Tokens("wksp_1", access_token(1), "canary-refresh-1"))
            session = OAuthSession(oauth, storage)
            worlds.append(World(server, oauth, storage, session, tmp_path))
            yield worlds[0]


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    for name in (None, "httpx", "httpcore", "asyncio", "filelock", "prisma_mgmt"):
        caplog.set_level(logging.DEBUG, logger=name)


async def outcome(call: Callable[[], Awaitable[Any]]) -> list[str]:
    """What a call's result or exception shows that it should not."""
    try:
        result = await call()
    except Exception as error:
        return leaks(error)
    return [f"the result {type(result).__name__}"] if CANARY in described(result) else []


def nothing_shown_by(world: World) -> bool:
    things = (world.oauth, world.session, world.storage, world.session.httpx_auth(), world.session._vault, LOGIN)
    return not [type(thing).__name__ for thing in things if CANARY in described(thing)]


TEXT = f"{access_token(2)} canary-refresh-2 canary-code canary-secret canary-state {VERIFIER}"
ECHO = "[everything that was sent]"
ANSWERS: dict[str, Reply | Drop] = {
    "a grant": Reply(body=grant()),
    "another workspace": Reply(body=grant(access_token=access_token(2, workspace_id="wksp_2"))),
    "an opaque token": Reply(body=grant(access_token="canary")),
    "no workspace": Reply(body=grant(access_token=access_token(2, workspace_id=None))),
    "a nested token": Reply(body=grant(access_token={"canary": "canary"})),
    "a nested refresh token": Reply(body=grant(refresh_token=["canary"])),
    "another token type": Reply(body=grant(token_type="canary")),
    "an error beside a grant": Reply(body=grant(error=ECHO)),
    "invalid_grant": Reply(400, {"error": "invalid_grant", "error_description": ECHO}),
    "an echoing refusal": Reply(400, {"error": ECHO, "error_description": ECHO}),
    "a refusal with a token": Reply(401, {"error": "invalid_client", "debug": TEXT}),
    "a refusal in text": Reply(403, content=TEXT.encode()),
    "a redirect": Reply(302, content=TEXT.encode(), headers={"location": "https://elsewhere.example/"}),
    "no json": Reply(content=TEXT.encode()),
    "json cut short": Reply(content=json.dumps(grant()).encode()[:-3]),
    "too long": Reply(content=json.dumps(grant()).encode() + b" " * 70_000),
    "an unavailable server": Reply(503, content=TEXT.encode(), headers={"retry-after": "3"}),
    "no answer": Drop(),
    "a body cut short": Drop(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + json.dumps(grant()).encode()),
    "a broken chunk": Drop(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\ncanary\r\ncanary-chunk\r\n"),
    "broken gzip": Drop(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 6\r\n\r\ncanary"),
    "no http": Drop(b"canary canary\r\n\r\n"),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_no_answer_of_the_login_server_makes_a_secret_show(
    world: World, caplog: pytest.LogCaptureFixture, answer: Reply | Drop
) -> None:
    world.reply = answer
    for call in (world.log_in, world.refresh, world.call, world.call_httpx):
        world.session = OAuthSession(world.oauth, world.storage)
        await world.storage.set_tokens(Tokens("wksp_1", access_token(1), "canary-refresh-1"))
        records = len(caplog.records)
        assert await outcome(call) == []
        assert nothing_shown_by(world)
        world.oauth._exchanged.clear()
    assert caplog.records
    # where httpx itself is asked, httpcore quotes bytes that are no HTTP in its DEBUG records: that is out of our hands
    assert logged(caplog.records[: records if isinstance(answer, Drop) else None]) == []


async def test_no_connection_and_no_time_make_a_secret_show(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(world.handle) as gone:
        pass
    for oauth in (client_of(gone), client_of(world.server, timeout=1e-6)):
        assert await outcome(lambda oauth=oauth: oauth.exchange_callback(CALLBACK, LOGIN)) == []
        assert await outcome(lambda oauth=oauth: oauth.refresh(Tokens("w", "canary-a", "canary-r"))) == []
        world.session = OAuthSession(oauth, world.storage)
        for call in (world.log_in, world.refresh, world.call, world.call_httpx):
            assert await outcome(call) == []
    assert logged(caplog.records) == []


CALLBACKS = [
    CALLBACK.replace("canary-state", "canary-wrong"),
    CALLBACK.replace("canary-state", "canary-\ud800"),
    CALLBACK + "&state=canary-state",
    CALLBACK + "&code=canary-code-2",
    CALLBACK + "&iss=canary-issuer",
    CALLBACK + "x" * 20_000,
    "/callback?state=canary-state",
    "/callback?code=canary-code",
    "http://[::1/callback?code=canary-code&state=canary-state",
    "/callback?code=%ff-canary-code&state=canary-state",
]


@pytest.mark.parametrize("callback", CALLBACKS, ids=range(len(CALLBACKS)))
async def test_no_bad_callback_makes_a_secret_show(
    world: World, caplog: pytest.LogCaptureFixture, callback: str
) -> None:
    kept: list[dict[str, Any]] = [
        {"login": LOGIN},
        {"verifier": VERIFIER, "expected_state": "canary-state"},
        {"verifier": "canary-too-short", "expected_state": "canary-state"},
        {"verifier": VERIFIER, "expected_state": "canary-\ud800"},
        {"verifier": VERIFIER},
        {"expected_state": "canary-state"},
        {},
    ]
    for one in kept:
        for call in (world.oauth.exchange_callback, world.session.handle_callback):
            assert await outcome(lambda call=call, one=one: call(callback, **one)) == []
            world.oauth._exchanged.clear()
    for _ in range(2):
        assert await outcome(world.log_in) == []  # the second time it is exchanged already
    assert logged(caplog.records) == []
    assert nothing_shown_by(world)


class FailingStorage(MemoryTokenStorage):
    """Fails at whatever a test says, as a storage does: without the tokens in its words."""

    failing = ""

    def __getattribute__(self, name: str) -> Any:
        if name in ("get_tokens", "set_tokens", "clear_tokens") and name in self.failing:
            raise OSError("no space left on device")
        return super().__getattribute__(name)


@pytest.mark.parametrize("failing", ["get_tokens", "set_tokens", "clear_tokens", "get_tokens set_tokens"])
async def test_no_failing_storage_makes_a_secret_show(
    world: World, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    storage = FailingStorage(Tokens("wksp_1", access_token(1), "canary-refresh-1"))
    manager = SessionManager(world.oauth, lambda _: storage)
    world.session = manager["ada"]
    storage.failing = failing
    calls = (world.log_in, world.refresh, world.call, world.call_httpx, world.session.logout, manager.aclose)
    for call in calls:
        assert await outcome(call) == []
        world.oauth._exchanged.clear()
    world.reply = Reply(400, {"error": "invalid_grant"})
    await storage.set_tokens(Tokens("wksp_1", access_token(1), "canary-refresh-1")) if "set" not in failing else None
    assert await outcome(world.refresh) == []
    assert logged(caplog.records) == []


STORED = [
    '{"workspaceId": "w", "accessToken": "canary',
    '"canary"',
    '["canary"]',
    '{"canary": 1}',
    '{"workspaceId": "w", "accessToken": ["canary"]}',
    '{"workspaceId": "w", "accessToken": "canary", "expiresAt": "canary"}',
    '{"workspaceId": "w", "accessToken": "canary", "version": "canary"}',
    "v1.canary",
    "canary",
]


@pytest.mark.parametrize("content", STORED)
async def test_no_unsound_file_makes_a_secret_show(
    world: World, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    for cipher in (None, TokenCipher([b"canary-key-canary-key-canary-key"])):
        storage = world.file(content, cipher=cipher)
        world.session = OAuthSession(world.oauth, storage)
        clear = partial(storage.clear_tokens_if_current, Tokens("w", "canary", "canary"))
        for call in (storage.get_tokens, world.call, world.refresh, clear):
            assert await outcome(call) == []
        storage.path.chmod(0o644)
        assert await outcome(storage.get_tokens) == []
        assert CANARY not in described(storage)
    assert logged(caplog.records) == []


@pytest.mark.parametrize(
    "keys", [["canary"], [b"canary"], b"canary", "canary", ["canary-key" * 5, b"canary"]], ids=repr
)
async def test_no_key_shows(keys: Any) -> None:
    async def make(kind: Any) -> Any:
        return kind(keys)

    for kind in (TokenCipher, LoginSealer):
        assert await outcome(lambda kind=kind: make(kind)) == []


async def test_no_sealed_thing_shows_what_it_holds() -> None:
    key, other = b"canary-key-canary-key-canary-key", b"x" * 32
    now = [1_800_000_000.0]
    sealer = LoginSealer([key], now=lambda: now[0])
    cookie = sealer.seal(LOGIN, "/canary-path")
    assert CANARY not in cookie

    async def open_with(sealer: LoginSealer, text: str) -> Any:
        return repr(sealer.open(text)).replace("/canary-path", "")

    assert await outcome(lambda: open_with(sealer, cookie)) == []
    assert await outcome(lambda: open_with(LoginSealer([other]), cookie)) == []
    assert await outcome(lambda: open_with(sealer, "v1.x")) == []
    now[0] += 10_000
    assert await outcome(lambda: open_with(sealer, cookie)) == []

    async def read(form: Form, text: str) -> Any:
        return form.read(text)

    sealed = Form("here", TokenCipher([key])).write(Tokens("w", "canary", "canary"))
    for form in (Form("there", TokenCipher([key])), Form("here", TokenCipher([other])), Form("here")):
        assert await outcome(lambda form=form: read(form, sealed)) == []
        assert CANARY not in described(form)


async def test_the_scan_itself_sees_a_secret() -> None:
    async def fail() -> None:
        try:
            raise KeyError("canary")
        except KeyError:
            raise ValueError("something else") from None

    assert await outcome(fail) == ["str(KeyError)", "repr(KeyError)", "KeyError.args"]
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", ("canary",), None)
    assert logged([record]) == ["x: %s"]


# Reporters


LENGTHS = [20, 81, 2000]
CUT = b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"


@define
class Betrayer:
    """An API whose every answer holds what it was sent, and some of its own."""

    status: int = 200
    cut: bool = False

    async def handle(self, request: Request) -> Reply:
        told = {"token": request.token, "sent": request.body.decode(), "own": canary(100)}
        if self.cut:
            raise Drop(CUT + json.dumps(told).encode())
        line = json.dumps({"type": "log", "text": told}).encode() + b"\n"
        if "logs" in request.path:
            return Reply(self.status, content=line)
        return Reply(self.status, {"data": told, "pagination": told})


async def failure_of(call: Callable[[], Awaitable[Any]]) -> Exception:
    """What a call raises; no frame from here on holds a secret."""
    try:
        await call()
    except Exception as error:
        return error
    raise AssertionError("it should have failed")


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    "server", [Betrayer(), Betrayer(401), Betrayer(409), Betrayer(500), Betrayer(cut=True)], ids=repr
)
async def test_no_reporter_finds_a_secret_in_what_a_client_raises(server: Betrayer, length: int) -> None:
    def secret() -> str:
        return canary(length)

    def body() -> dict[str, Any]:
        return {"password": secret(), "parts": [secret()]}

    once = RetryPolicy(attempts=1)
    async with serve(server.handle) as served:
        client = ManagementClient(secret(), base_url=served.url, retry=once, headers={"X-Key": secret()})
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: client.connections.get("con_1"),
            lambda: client.connections.list(),
            lambda: client.connections._list(Tokens, "/v1/x"),
            lambda: client.connections._put(str, "/v1/x", body(), headers={"X-Lease": secret()}),
            lambda: client.environment_variables.create(project_id="p", key="K", value=secret(), class_="preview"),
            lambda: anext(client.builds.logs("bld_1")),
        ]
        if server.status != 200 or server.cut:  # any JSON will do for these
            calls.append(lambda: client.request("POST", "/v1/x", body=body()))
            calls.append(lambda: client.connections._send("POST", "/v1/x", body()))
        async with client:
            for call in calls:
                assert betrayed(await failure_of(call)) == []


@pytest.mark.parametrize("length", LENGTHS)
async def test_no_reporter_finds_a_secret_in_arguments_that_are_refused(length: int) -> None:
    async def bad_token() -> None:
        ManagementClient(f"{canary(length)} x")

    async def bad_header() -> None:
        ManagementClient("token", headers={"X-A": f"{canary(length)}\n\n{canary(length)}"})

    async def bad_origin() -> None:
        ManagementClient(canary(length), base_url="http://remote.example")

    client = ManagementClient("token")
    calls: list[Callable[[], Awaitable[Any]]] = [bad_token, bad_header, bad_origin]
    calls.append(lambda: client.request("POST", "/v1/x", body={"a": canary(length), "b": object()}))
    calls.append(lambda: client.connections._post(str, "/v1/x", {"a": canary(length), "b": object()}))
    for call in calls:
        assert betrayed(await failure_of(call)) == []


@pytest.mark.parametrize("length", LENGTHS)
async def test_no_reporter_finds_a_secret_in_what_is_sealed_or_given_to_a_login_by_mistake(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cookies() -> dict[str, Any]:
        return {"session": canary(length)}

    async def another_kind_of_secret() -> None:
        secret: Any = canary(length).encode
        OAuthClient("client", "https://app.example/callback", client_secret=secret())

    cipher, sealer = TokenCipher(["A" * 43]), LoginSealer(["A" * 43])
    mistakes: list[Callable[[], Any]] = [
        lambda: cipher.open(canary(length), "place"),  # stored before there was a cipher
        lambda: cipher.open(f"v1.{canary(length)}", "place"),
        lambda: cipher.open(canary(length).encode(), "place"),  # type: ignore[arg-type]  # as callers may who check no types
        lambda: cipher.seal(canary(length).encode(), "place"),  # type: ignore[arg-type]  # as above
        lambda: sealer.open_for(cookies(), None),  # type: ignore[arg-type]  # as above
        lambda: sealer.open_for(list(cookies().values()), "?state=x"),  # type: ignore[arg-type]  # as above
        lambda: sealer.surplus(list(cookies().values())),  # type: ignore[arg-type]  # as above
    ]

    monkeypatch.setenv("PRISMA_CLIENT_SECRET", canary(length))
    monkeypatch.setenv("PRISMA_CLIENT_ID", "client")
    mistakes += [OAuthClient.from_environment, lambda: OAuthClient.from_environment("no URL")]
    for mistake in mistakes:

        async def make(mistake: Callable[[], Any] = mistake) -> None:
            mistake()

        assert betrayed(await failure_of(make)) == []
    assert betrayed(await failure_of(another_kind_of_secret)) == []


async def test_text_that_is_no_utf_8_is_sealed_like_any_other() -> None:
    """An error that said which character cannot be encoded would hold the whole text."""
    cipher, text = TokenCipher(["A" * 43]), "canary-\ud800"
    assert cipher.open(cipher.seal(text, "place"), "place") == text


@pytest.mark.parametrize("name", REPORTERS)
async def test_the_reporters_do_show_locals(name: str) -> None:
    async def fail() -> None:
        shown = canary(30)
        raise ValueError(len(shown))

    assert MARK in REPORTERS[name](await failure_of(fail))

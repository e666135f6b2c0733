"""Tokens, and the masks they wear."""

import copy
import pickle
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from prisma_mgmt import (
    AuthenticationError,
    AuthError,
    BadRequestError,
    LoginRequiredError,
    ManagementClient,
    PrismaError,
    RateLimitError,
    RetryPolicy,
    ServiceToken,
)
from prisma_mgmt.checks import checked_origin, checked_token
from prisma_mgmt.masks import Secret, SecretBytes, masked
from tests.conftest import FakeClock
from tests.kit.canaries import leaks
from tests.kit.rig import Gate, Reply, Request, serve
from tests.kit.script import CONNECTION, Renewing, answer, scripted
from tests.kit.world import rounds


@pytest.mark.anyio
async def test_a_service_token_is_sent_as_it_is_and_never_renewed() -> None:
    token = ServiceToken("  abc.DEF-123_~+/= \n")
    assert await token.access_token() == "abc.DEF-123_~+/="
    assert await token.renew("abc") is None
    assert "abc" not in repr(token) + str(token)


@pytest.mark.parametrize("bad", ["", "   ", "\n", "a b", "a\nb", "tökén", "a\x00b", "a\x7f"])
def test_tokens_that_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="the service token") as caught:
        ServiceToken(bad)
    assert not bad.strip() or bad not in str(caught.value)


@pytest.mark.parametrize("word", ["Bearer", "bearer"])
def test_a_token_goes_without_the_word_bearer(word: str) -> None:
    with pytest.raises(ValueError, match=r"leave out the word Bearer$") as caught:
        ManagementClient(f"{word} canary")
    assert "canary" not in str(caught.value)


def test_a_secret_is_a_string_that_does_not_show_itself() -> None:
    secret = Secret("hunter2")
    assert secret == "hunter2"
    assert str(secret) == f"{secret}" == "hunter2"
    assert repr(secret) == "'**********'"
    assert "hunter2" not in repr([secret, {"a": secret}])
    assert repr(Secret("")) == "''"
    for twin in (copy.copy(secret), pickle.loads(pickle.dumps(secret))):
        assert (type(twin), twin) == (Secret, secret)


def test_a_checked_token_is_masked() -> None:
    assert repr(checked_token(" a ", "it")) == "'**********'"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.prisma.io", "https://api.prisma.io"),
        ("https://api.prisma.io/", "https://api.prisma.io"),
        ("https://api.prisma.io:8443/a/b//", "https://api.prisma.io:8443/a/b"),
        ("HTTPS://API.prisma.io", "HTTPS://API.prisma.io"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_origins(url: str, base: str) -> None:
    assert checked_origin(url, "it") == base


class Broken(Renewing):
    """Credentials whose methods of courtesy fail."""

    def __init__(self, *which: str) -> None:
        super().__init__("token")
        self.which: tuple[str, ...] = which

    def accepted(self, token: str) -> None:
        if "accepted" in self.which:
            raise LookupError("a fault of the user's")
        super().accepted(token)

    def outdated(self, token: str) -> bool:
        if "outdated" in self.which:
            raise LookupError("a fault of the user's")
        return not token


@pytest.mark.anyio
async def test_credentials_that_answer_at_once_are_told_to_be_async() -> None:
    class AtOnce(Renewing):
        def access_token(self) -> str:  # type: ignore[override]  # which is the point
            return "token"

    client, script = scripted(answer(), auth=AtOnce())
    with pytest.raises(TypeError, match=r"access_token\(\) of the credentials must be async; it gave a str"):
        await client.connections.get("con_1")
    assert script.requests == []


@pytest.mark.anyio
async def test_credentials_that_fail_cost_no_place() -> None:
    gate = Gate()

    async def reply(_: Request) -> Reply:
        await gate()
        return Reply(body={"data": CONNECTION})

    async with serve(reply) as server:
        auth = Broken()
        async with ManagementClient(auth, base_url=server.url, max_connections=1) as client:

            async def fail() -> None:
                with pytest.raises(LookupError):
                    await client.connections.get("con_1")

            with anyio.fail_after(20):
                async with anyio.create_task_group() as group:
                    group.start_soon(client.connections.get, "con_1")
                    await gate.arrived.wait()
                    auth.which = ("outdated",)
                    for _ in range(3):
                        group.start_soon(fail)
                    await rounds()
                    gate.release()
                auth.which = ()
                assert (await client.connections.get("con_1")).name == "n"


@pytest.mark.anyio
async def test_credentials_that_fail_when_a_log_opens_leave_it_closed() -> None:
    async def lines() -> AsyncIterator[bytes]:
        yield b""

    async def reply(request: Request) -> Reply:
        return Reply(chunks=lines()) if "logs" in request.path else Reply(body={"data": CONNECTION})

    async with serve(reply) as server:
        auth = Broken("accepted")
        async with ManagementClient(auth, base_url=server.url, max_connections=1) as client:
            with anyio.fail_after(20):
                for _ in range(3):
                    with pytest.raises(LookupError):
                        await anext(client.builds.logs("bld_1"))
                auth.which = ()
                assert (await client.connections.get("con_1")).name == "n"


@pytest.mark.parametrize("length", [1, 20, 80, 2000])
def test_a_piece_of_a_secret_is_a_secret(length: int) -> None:
    text = "canary"[:length] * (length // 6 or 1)
    secret, data = Secret(text), SecretBytes(text.encode())
    pieces: list[object] = [
        secret[:80],
        secret[1:],
        secret[0],
        secret.strip(),
        secret.lower(),
        secret + "x",
        "x" + secret,
    ]
    pieces += [secret.split("x"), secret.partition("n"), Secret("").join([secret, secret]), secret * 2, 2 * secret]
    pieces += [data, data[:80], data.strip(), data + b"x", b"x" + data, data.split(b"x"), data.decode(), data * 2]
    pieces += [data.hex(), data.replace(b"x", b"y"), masked({"a": text, "b": [{"c": (text, data)}]})]
    for piece in pieces:
        assert "c" not in repr(piece).replace("Secret", "").replace("'c'", "")
        assert "63616e6172" not in repr(piece)
        assert "anar" not in repr(piece)


def test_drivers_can_take_a_secret_apart() -> None:
    """asyncpg refuses subclasses of str, and begins with urlsplit."""
    parts = urlsplit(Secret("postgresql://user:pass@host:5432/name?x=1"))
    taken: list[object] = [parts.username, parts.password, parts.hostname, parts.path[1:], parts.query]
    assert {type(one) for one in taken} == {str}
    assert type(Secret("a").encode()) is bytes


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "knew"), [(200, True), (404, True), (400, False), (429, False), (502, False)])
async def test_a_token_counts_as_accepted_by_whoever_looked_at_it(status: int, knew: bool) -> None:
    told: list[str] = []

    class Watching(Renewing):
        def accepted(self, token: str) -> None:
            told.append(token)

    client, _ = scripted(answer(status), auth=Watching("token"), retry=RetryPolicy(attempts=1))
    with suppress(PrismaError):
        await client.connections.get("con_1")
    assert told == (["token"] if knew else [])


@pytest.mark.anyio
@pytest.mark.parametrize("at", ["access_token", "renew"])
async def test_an_error_of_the_credentials_names_the_call(at: str) -> None:
    class Nobody(ServiceToken):
        async def access_token(self) -> str:
            if at == "access_token":
                raise LoginRequiredError("nobody is logged in")
            return await super().access_token()

        async def renew(self, rejected: str) -> None:
            raise AuthError("gone")

    client, _ = scripted(answer(401), auth=Nobody("token"))
    with pytest.raises(AuthError, match=r"GET https://api\.prisma\.io/v1/connections/con_1"):
        await client.connections.get("con_1")


@pytest.mark.anyio
async def test_a_rate_limit_holds_back_whoever_has_the_same_token(clock: FakeClock) -> None:
    client, _ = scripted(answer(429, retry_after="5"), answer(), clock=clock, auth=ServiceToken("token"))
    with pytest.raises(RateLimitError):
        await client.with_options(retry=RetryPolicy(attempts=1)).connections.get("con_1")
    await client.with_options(auth="another").connections.get("con_1")
    assert clock.slept == []
    await client.with_options(auth="token").connections.get("con_1")
    assert clock.slept == [5]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "quoted",
    ["Invalid token: canary-token", {"error": {"code": "c", "message": "no canary-token", "hint": "canary-token"}}],
)
async def test_an_error_that_quotes_the_token_does_not_show_it(quoted: Any) -> None:
    client, _ = scripted(answer(401, quoted))
    with pytest.raises(AuthenticationError) as caught:
        await client.with_options(auth="canary-token").connections.get("con_1")
    assert "***" in str(caught.value)
    assert leaks(caught.value) == []


@pytest.mark.anyio
@pytest.mark.parametrize("token", ["t", "test", "token"])
async def test_a_token_that_is_a_short_word_changes_no_word_of_an_error(token: str) -> None:
    said = {"error": {"code": "token-expired", "message": "the latest token is not set", "details": {"token": "t"}}}
    client, _ = scripted(answer(400, said), auth=token)
    with pytest.raises(BadRequestError, match="400 token-expired: the latest token is not set") as caught:
        await client.connections.get("con_1")
    assert (caught.value.code, caught.value.details, caught.value.body) == ("token-expired", {"token": "t"}, said)


@pytest.mark.anyio
async def test_a_client_closes_all_its_credentials_at_once_whatever_becomes_of_one() -> None:
    class Draining(Renewing):
        async def drain(self) -> None:
            arrived.append(self)
            await gate()
            raise LookupError("drained")

    arrived, gate = list[Draining](), Gate()
    client, _ = scripted(answer(200, {"data": CONNECTION}))
    views = [client.with_options(auth=Draining(name)) for name in "abc"]
    for view in views:
        await view.connections.get("con_1")

    async def close() -> None:
        with pytest.raises(LookupError, match="drained"):
            await client.aclose()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(close)
            await gate.arrived.wait()
            await rounds()
            assert len(arrived) == 3
            gate.release()

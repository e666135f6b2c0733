"""What a client is given: checked where it is given, kept by its views, and shown by its repr."""

import copy
import inspect
import pickle
import ssl
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Any

import anyio
import httpx
import pytest

from prisma_mgmt import (
    UNSET,
    DataPlatformClient,
    ManagementClient,
    PostgresClient,
    Response,
    RetryPolicy,
    TrackedCredentials,
)
from prisma_mgmt.auth import OAuthClient, SessionManager
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.core.resource import Resource
from tests.conftest import FakeClock
from tests.kit.rig import Gate
from tests.kit.script import CONNECTION, Renewing, Script, answer, over, scripted

pytestmark = pytest.mark.anyio


class Httpx2Client:
    """As a successor of httpx would have it."""


Httpx2Client.__module__, Httpx2Client.__name__ = "httpx2._client", "AsyncClient"


class Half(Renewing):
    """Credentials that track their tokens by halves."""

    outdated = None  # type: ignore[assignment]


class Awaited:
    """A hook that nobody would await."""

    async def __call__(self, event: object) -> None: ...


EVERYBODY = SessionManager(OAuthClient("app", "https://app.example/callback"), lambda _: MemoryTokenStorage())
OPTIONS: list[tuple[str, Any, type[Exception], str]] = [
    ("http_client", httpx.Client, TypeError, r"httpx\.AsyncClient, not the class httpx\.Client"),
    ("http_client", Httpx2Client(), TypeError, r"must be an httpx\.AsyncClient, not httpx2\.AsyncClient"),
    ("http_client", "x", TypeError, r"httpx\.AsyncClient, not str"),
    ("transport", httpx.AsyncClient, TypeError, r"httpx\.AsyncBaseTransport, not the class httpx\.AsyncClient"),
    ("transport", httpx.HTTPTransport(), TypeError, r"httpx\.AsyncBaseTransport, not httpx\.HTTPTransport"),
    ("ssl_context", True, TypeError, r"ssl\.SSLContext, not bool"),
    ("ssl_context", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ValueError, "ssl_context is one for servers"),
    ("max_connections", 1.5, TypeError, "whole number, not float"),
    ("max_connections", True, TypeError, "whole number, not bool"),
    ("max_connections", "5", TypeError, "whole number, not str"),
    ("max_connections", 0, ValueError, "at least 1"),
    ("allow_http", "false", TypeError, "True or False, not str"),
]


class Late(Renewing):
    """Credentials whose answer would come too late."""

    async def outdated(self, token: str) -> bool:  # type: ignore[override]  # which is the point
        return False


SHARED: list[tuple[str, Any, type[Exception], str]] = [
    ("retry", 3, TypeError, "retry must be a RetryPolicy.*not int"),
    ("retry", None, TypeError, "retry must be a RetryPolicy"),
    ("retry", {}, TypeError, "retry must be a RetryPolicy"),
    ("base_url", httpx.URL("https://api.prisma.io"), TypeError, "base_url must be a string.*not URL"),
    ("base_url", "", ValueError, "base_url"),
    ("headers", [("X-A", "1")], TypeError, "headers must be a mapping.*not list"),
    ("headers", {"Accept-Encoding": "gzip, deflate"}, ValueError, "Accept-Encoding must be gzip or identity"),
    ("timeout", "5", TypeError, "timeout must be a number of seconds, not str"),
    ("timeout", True, TypeError, "timeout"),
    ("timeout", float("inf"), ValueError, "timeout must be at least 0 seconds and finite, not inf"),
    ("timeout", httpx.Timeout(5), TypeError, "timeout must be a number of seconds, not Timeout"),
    ("auth", b"token", TypeError, "auth.* methods access_token, renew, not bytes"),
    ("auth", Renewing, TypeError, "auth.* methods access_token, renew, not the class Renewing"),
    ("auth", EVERYBODY, TypeError, r"one user, such as sessions\[user\]"),
    ("auth", Half("token"), TypeError, "auth must be an object with the methods accepted, outdated, drain"),
    ("auth", Late("token"), TypeError, "accepted and outdated of auth must be plain functions"),
    ("on_event", 5, TypeError, "on_event"),
    ("on_event", Awaited(), TypeError, "on_event must be a plain function"),
]


@pytest.mark.parametrize(("name", "value", "kind", "told"), [*OPTIONS, *SHARED])
def test_an_option_that_cannot_be_right_is_refused_where_it_is_given(
    name: str, value: Any, kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        ManagementClient(**{"auth": "token", name: value})
    if (name, value, kind, told) in SHARED:
        with pytest.raises(kind, match=told):
            ManagementClient("token").with_options(**{name: value})


def test_a_client_in_a_with_that_is_not_async_says_what_to_write() -> None:
    client: Any = ManagementClient("token")
    with pytest.raises(TypeError, match="write `async with` in place of `with`"), client:
        pass
    assert not isinstance(client, AbstractContextManager)


def test_a_synchronous_client_is_refused() -> None:
    bad: Any = httpx.Client()
    with bad, pytest.raises(TypeError, match=r"not httpx\.Client"):
        ManagementClient("token", http_client=bad)


@pytest.mark.parametrize(
    "bad",
    [
        *({"attempts": "3"}, {"attempts": 1.5}, {"attempts": True}, {"attempts": 0}),
        *({"deadline": "1"}, {"backoff": float("nan")}, {"max_backoff": 10**400}),
    ],
)
def test_a_policy_names_what_is_wrong(bad: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{next(iter(bad))} must "):
        RetryPolicy(**bad)


@pytest.mark.parametrize("token", [b"abc", None, 5])
async def test_credentials_that_give_no_string_are_refused_and_nothing_is_sent(token: Any) -> None:
    client, script = scripted(answer(), auth=Renewing(token))
    with pytest.raises(TypeError, match="the token of the credentials must be a string, not "):
        await client.connections.get("con_1")
    assert script.requests == []


def test_credentials_that_track_their_tokens_are_known() -> None:
    assert isinstance(Renewing("a"), TrackedCredentials)


async def test_a_context_of_the_users_is_used() -> None:
    context = ssl.create_default_context()
    ManagementClient("token", ssl_context=context)
    with pytest.raises(ValueError, match="not both"):
        ManagementClient("token", ssl_context=context, transport=Script(answer()))


async def test_the_environment_says_where_the_management_api_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMA_MANAGEMENT_API_URL", " https://eu.example/api/ ")
    assert ManagementClient("token").base_url == "https://eu.example/api"
    assert ManagementClient("token", base_url="https://mine.example").base_url == "https://mine.example"
    for other in (PostgresClient, DataPlatformClient):
        assert other("token").base_url == other.base_url
    monkeypatch.setenv("PRISMA_MANAGEMENT_API_URL", "http://eu.example")
    with pytest.raises(ValueError, match="PRISMA_MANAGEMENT_API_URL would send tokens over plain http"):
        ManagementClient("token")
    monkeypatch.setenv("PRISMA_MANAGEMENT_API_URL", " ")
    assert ManagementClient("token").base_url == "https://api.prisma.io"


async def test_the_headers_of_a_client_of_the_users_are_sent_and_ours_on_top() -> None:
    script = Script(answer())
    theirs = {"X-Team": "a", "User-Agent": "theirs", "Authorization": "Basic theirs", "Accept-Encoding": "br"}
    async with httpx.AsyncClient(transport=script, headers=theirs) as http_client:
        client = ManagementClient("token", http_client=http_client, headers={"X-Team-2": "b"})
        await client.connections.get("con_1")
    sent = script.requests[0].headers
    assert (sent["x-team"], sent["x-team-2"], sent["authorization"]) == ("a", "b", "Bearer token")
    assert sent["user-agent"].startswith("prisma_mgmt/")
    assert sent["accept-encoding"] == "gzip"


# Views


class Mine(ManagementClient):
    """A client of a user's, with things of its own."""

    def __init__(self, team: str, **options: Any) -> None:
        super().__init__("token", **options)
        self.team = team

    @cached_property
    def label(self) -> str:
        return f"{self.team} at {self.base_url}"


async def test_a_view_keeps_a_subclass_whole() -> None:
    client = Mine("a", transport=Script(answer()))
    assert client.label == "a at https://api.prisma.io"
    assert client.projects is client.projects
    view = client.with_options(base_url="https://other.example")
    assert (type(view), view.team, view.label) == (Mine, "a", "a at https://other.example")
    assert view.projects is not client.projects
    await view.connections.get("con_1")


async def test_where_a_client_calls_is_not_changed_by_its_attribute() -> None:
    client = Mine("a", transport=Script(answer()))
    for one in (client, client.with_options(timeout=1), client.with_options(base_url="https://other.example")):
        at = one.base_url
        with pytest.raises(AttributeError, match=r"with_options\(base_url=") as caught:
            one.base_url = "https://elsewhere.example"
        assert "elsewhere" not in str(caught.value)
        assert one.base_url == at
        one.team = "b"
        assert one.team == "b"


class Regional(ManagementClient):
    """A client of a user's, who says where it calls before it is made."""

    def __init__(self, region: str) -> None:
        self.base_url = f"https://{region}.example"
        super().__init__("token", base_url=self.base_url)


def test_a_subclass_may_keep_where_it_calls_before_it_is_made() -> None:
    client = Regional("eu")
    assert client.base_url == "https://eu.example"
    with pytest.raises(AttributeError, match="base_url"):
        client.base_url = "https://us.example"


class Shop(Resource):
    """A resource of a user's, who keeps it as an attribute."""

    async def open(self) -> None:
        await self._send("POST", "/v1/shop")


class Keeper(ManagementClient):
    def __init__(self, **options: Any) -> None:
        super().__init__("owner", **options)
        self.shop = Shop(self)


async def test_a_view_sends_its_own_token_for_a_resource_that_a_subclass_keeps() -> None:
    script = Script(answer(204, b""), answer(204, b""))
    client = Keeper(transport=script)
    await client.with_options(auth="user").shop.open()
    await client.shop.open()
    assert script.tokens == ["user", "owner"]


class InSlots(ManagementClient):
    __slots__ = ("__secret", "team")

    def __init__(self, team: str, **options: Any) -> None:
        super().__init__("token", **options)
        self.team = team
        self.__secret = f"{team}'s"

    def secret(self) -> str:
        return self.__secret


def test_a_view_keeps_what_a_subclass_has_in_slots() -> None:
    view = InSlots("a").with_options(timeout=5)
    assert (view.team, view.secret()) == ("a", "a's")


async def test_closing_waits_for_renewals_under_way() -> None:
    own, users, gone = Renewing("a"), Renewing("b"), Renewing("c")
    client, _ = scripted(answer(), auth=own)
    view, dropped = client.with_options(auth=users), client.with_options(auth=gone)
    del dropped, gone
    await view.aclose()
    assert (own.drained, users.drained) == (False, True)
    users.drained = False
    await client.aclose()
    assert (own.drained, users.drained) == (True, True)


async def test_what_a_client_shows_of_itself() -> None:
    client, _ = scripted(answer(200, {"data": 1}), auth="canary")
    view = client.with_options(base_url="https://other.example")
    response = await client.request("GET", "/v1/x")
    assert repr(client) == "<ManagementClient of https://api.prisma.io>"
    assert repr(view) == "<ManagementClient view of https://other.example>"
    assert repr(view.projects) == "<Projects of https://other.example>"
    assert repr(response) == "Response(status=200)"
    assert "closed" in repr(client.builds.logs("bld_1"))


@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_has_connections_is_not_copied(how: Any) -> None:
    client, _ = scripted(answer(), auth="canary")
    for thing in (client, client.with_options(), client.projects, client.builds.logs("bld_1")):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            how(thing)


def test_annotations_evaluate() -> None:
    methods: list[Any] = [ManagementClient.with_options, ManagementClient.request, ManagementClient.record]
    for method in (ManagementClient, ManagementClient.projects, ManagementClient.projects.list, *methods):
        assert inspect.signature(method, eval_str=True).parameters


# Records


async def test_a_record_tells_what_calls_were_answered() -> None:
    client, script = scripted(answer(503), answer(201, {"data": []}), answer(404), answer())
    await client.request("GET", "/v1/before")
    script.steps = [answer(503), answer(201, {"data": []}), answer(404), answer()]
    with client.record() as calls:
        assert (await client.connections.list()).items == ()
        with pytest.raises(Exception, match="404"):
            await client.with_options(auth="other").connections.get("con_2")
        with client.record() as inner:
            async with anyio.create_task_group() as group:
                group.start_soon(client.connections.get, "con_3")
    await client.connections.get("con_4")
    assert [(one.method, one.status, one.attempts, one.request_id) for one in calls] == [
        ("GET", 201, 2, "req_1"),
        ("GET", 404, 1, "req_1"),
        ("GET", 200, 1, "req_1"),
    ]
    assert calls[0].headers["X-Request-Id"] == "req_1"
    assert [one.url for one in inner] == ["https://api.prisma.io/v1/connections/con_3"]


async def test_a_record_may_end_in_another_context() -> None:
    client, _ = scripted(answer())

    async def fixture() -> AsyncGenerator[list[Any]]:
        with client.record() as calls:
            yield calls

    made = fixture()

    async def begin() -> None:
        await anext(made)

    async def end() -> None:
        await made.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(begin)
    async with anyio.create_task_group() as group:
        group.start_soon(end)


async def test_a_record_is_of_one_client_and_one_task() -> None:
    client, _ = scripted(answer())
    other, _ = scripted(answer())
    started, go_on = anyio.Event(), anyio.Event()

    async def elsewhere() -> None:
        await client.connections.get("con_1")

    async def record() -> None:
        with client.record() as calls:
            started.set()
            await go_on.wait()
            await other.connections.get("con_1")
            assert calls == []

    async with anyio.create_task_group() as group:
        group.start_soon(record)
        await started.wait()
        await elsewhere()
        go_on.set()


# Bodies of any kind


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"query": [("a", "b")]}, "query must be a mapping of names to values, not list"),
        ({"query": "a=b"}, "query must be a mapping of names to values, not str"),
        (
            {"query": {"limit": object()}},
            "query value of limit must be a string, number, boolean or date, not object",
        ),
        (
            {"query": {"limit": [1, [2]]}},
            "query value of limit must be a string, number, boolean or date, not list",
        ),
        ({"query": {"since": datetime(2026, 1, 1)}}, "time zone.*, at since$"),  # which is the point
        ({"query": {"ratio": float("nan")}}, "only finite numbers, at ratio$"),
        ({"query": {"name": "\ud800"}}, "the query value of name holds half of a surrogate pair"),
        ({"path": "/v1/{id}", "path_params": {"id": "\ud800"}}, "the id .* holds half of a surrogate pair"),
        ({"path_params": ["a"]}, "path_params must be a mapping of names to values, not list"),
        ({"headers": [("a", "b")]}, "headers must be a mapping of names to values, not list"),
        ({"path": None}, "the path must be a string, not NoneType"),
        ({"method": None}, "None is no HTTP method"),
    ],
)
async def test_what_no_request_can_be_made_of_is_refused(bad: dict[str, Any], told: str) -> None:
    client, script = scripted(answer())
    with pytest.raises((TypeError, ValueError), match=told):
        await client.request(**{"method": "GET", "path": "/v1/x", **bad})
    assert script.tokens == []


@pytest.mark.parametrize("wrong", [None, b"canary", 5, UNSET])
async def test_a_secret_that_is_no_string_is_refused_by_its_name_and_not_sent_as_its_repr(wrong: Any) -> None:
    client, script = scripted(answer())
    calls = [
        ("recipient_access_token", client.projects.transfer("proj_1", recipient_access_token=wrong)),
        ("value", client.environment_variables.update("env_1", value=wrong)),
        ("lease_id", client.state.release_lease("proj_1", "br_1", lease_id=wrong)),
        ("token", client.github_actions.exchange_token(token=wrong)),
    ]
    for name, call in calls:
        with pytest.raises(TypeError, match=f"^{name} must be a string, not {type(wrong).__name__}$"):
            await call
    assert script.tokens == []


async def test_a_member_of_an_enumeration_is_sent_as_its_value() -> None:
    class Given(str, Enum):  # noqa: UP042  # which prints its name
        TOKEN = "the-token"
        NAME = "X-Team"
        TEAM = "blue"

    client, script = scripted(answer(), auth=Given.TOKEN, headers={Given.NAME: Given.TEAM})
    await client.connections.get(Given.TEAM)
    await client.with_options(headers={"Authorization": Given.TOKEN}).connections.get("con_1")
    first, second = script.requests
    assert (first.url.path, first.headers["x-team"]) == ("/v1/connections/blue", "blue")
    assert (first.headers["authorization"], second.headers["authorization"]) == ("Bearer the-token", "the-token")


async def test_request_gives_json_text_and_bytes() -> None:
    for content, kind, body in (
        (b'{"a": 1}', "application/json; charset=utf-8", {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', "application/problem+json", {"a": 1}),
        ("grüße".encode(), "text/plain", "grüße"),
        ("grüße".encode("latin-1"), "text/plain; charset=latin-1", "grüße"),
        (b"a,b", "text/csv; charset=nonsense", "a,b"),
        (b"\x00\xff", "application/octet-stream", b"\x00\xff"),
        (b'{"a": 1}\n{"a": 2}\n', "application/x-ndjson", b'{"a": 1}\n{"a": 2}\n'),
        (b"1\n2\n", "application/json-lines", b"1\n2\n"),
        (b"\x1e1\n", "application/json-seq", b"\x1e1\n"),
        (b"1", "application/json-patch+json", 1),
        (b"1", "application/json, application/json", 1),
        (b"", "text/plain", None),
    ):
        client, _ = scripted(answer(200, content, content_type=kind))
        assert (await client.request("GET", "/v1/x")).body == body
    client, _ = scripted(httpx.Response(200, content=b"[1]"), httpx.Response(200, content=b"\xff"))
    assert (await client.request("GET", "/v1/x")).body == [1]
    assert (await client.request("GET", "/v1/x")).body == b"\xff"
    assert isinstance(await client.request("GET", "/v1/x"), Response)


# A token that is taken back


class Revocable(Renewing):
    """Credentials that can take a token back, as a logout does."""

    revoked = False

    def outdated(self, token: str) -> bool:
        return self.revoked and token == self.tokens[0]

    async def renew(self, rejected: str) -> str | None:
        if self.revoked:
            self.renewals.append(rejected)
            raise LookupError("logged out")
        return await super().renew(rejected)


class Held(Script):
    """Holds its answers until it is let go on."""

    gate: Gate

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self.gate()
        return await super().handle_async_request(request)


async def test_no_call_that_waits_for_its_place_is_sent_with_a_token_that_was_taken_back() -> None:
    auth, script = Revocable("old"), Held(answer())
    script.gate = Gate()
    client, _ = over(script, auth=auth, max_connections=1)
    refused: list[int] = []

    async def wait(number: int) -> None:
        with pytest.raises(LookupError, match="logged out"):
            await client.connections.get("con_1")
        refused.append(number)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(client.connections.get, "con_0")
            await script.gate.arrived.wait()
            for number in range(5):
                group.start_soon(wait, number)
            await anyio.wait_all_tasks_blocked()
            auth.revoked = True
            script.gate.release()
    assert sorted(refused) == [0, 1, 2, 3, 4]
    assert len(script.requests) == 1


async def test_a_call_that_waits_for_its_place_again_is_not_sent_with_a_token_that_was_taken_back() -> None:
    class Doubtful(Revocable):
        doubted = True

        def outdated(self, token: str) -> bool:
            return self.doubted or super().outdated(token)

        async def renew(self, rejected: str) -> str | None:
            await renewing()
            self.doubted = False
            return await super().renew(rejected) if self.revoked else None

    renewing, script = Gate(), Held(answer())
    script.gate = Gate()
    auth = Doubtful("old")
    client, _ = over(script, auth=auth, max_connections=1)

    async def wait() -> None:
        with pytest.raises(LookupError, match="logged out"):
            await client.connections.get("con_1")

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await renewing.arrived.wait()
            group.start_soon(client.with_options(auth="other").connections.get, "con_0")
            await script.gate.arrived.wait()
            renewing.release()
            await anyio.wait_all_tasks_blocked()
            auth.revoked = True
            script.gate.release()
    assert script.tokens == ["other"]


async def test_nobody_waits_while_a_call_renews_before_it_is_sent() -> None:
    class Slow(Renewing):
        def outdated(self, token: str) -> bool:
            return token == "old"

        async def renew(self, rejected: str) -> str | None:
            await renewing()
            return await super().renew(rejected)

    renewing = Gate()
    client, script = scripted(answer(), auth=Slow("old", "new"), max_connections=1)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(client.connections.get, "con_1")
            await renewing.arrived.wait()
            await client.with_options(auth="other").connections.get("con_2")
            renewing.release()
    assert script.tokens == ["other", "new"]


async def test_credentials_that_take_back_every_token_are_an_error() -> None:
    class Endless(Renewing):
        def outdated(self, token: str) -> bool:
            return True

        async def renew(self, rejected: str) -> str | None:
            return f"{rejected}+"

    client, script = scripted(answer(), auth=Endless("a"))
    with pytest.raises(Exception, match="take back every token"):
        await client.connections.get("con_1")
    assert script.requests == []


async def test_a_call_bears_as_many_renewals_of_others_while_it_waits_as_a_session_makes() -> None:
    """A route that answers 401 for ever costs five refreshes in ten seconds, and each takes back the token of all."""

    class Renewed(Renewing):
        left = 5

        def outdated(self, token: str) -> bool:
            self.left -= 1
            return self.left >= 0

        async def renew(self, rejected: str) -> str | None:
            return f"{rejected}+"

    client, script = scripted(answer(200, {"data": CONNECTION}), auth=Renewed("a"))
    assert (await client.connections.get("con_1")).name == "n"
    assert script.tokens == ["a+++++"]


async def test_a_call_may_wait_for_its_place_longer_than_several_tokens_live(clock: FakeClock) -> None:
    class Short(Renewing):
        left = 9

        def outdated(self, token: str) -> bool:
            self.left -= 1
            clock.time += 2
            return self.left > 0

        async def renew(self, rejected: str) -> str | None:
            return f"{rejected}+"

    client, script = scripted(answer(200, {"data": CONNECTION}), auth=Short("a"), clock=clock)
    assert (await client.connections.get("con_1")).name == "n"
    assert script.tokens == ["a++++++++"]


async def test_a_delete_of_nothing_can_be_fine() -> None:
    client, _ = scripted(answer(404, {"message": "gone"}))
    await client.connections._delete("/v1/x", missing_ok=True)
    with pytest.raises(Exception, match="gone"):
        await client.connections._delete("/v1/x")

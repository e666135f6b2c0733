"""What is tried again, when, and for how long: a table of methods and failures, on a clock of the tests' own."""

import gc
from email.utils import formatdate
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prisma_mgmt import (
    APIError,
    AuthenticationError,
    ConflictError,
    NetworkError,
    NotFoundError,
    PrismaError,
    RateLimitError,
    RequestTimeoutError,
    RetryPolicy,
    ServerError,
)
from prisma_mgmt.core.clock import Clock
from prisma_mgmt.waits import retry_after
from tests.conftest import FakeClock
from tests.kit.rig import Gate
from tests.kit.script import Renewing, Script, answer, over, scripted
from tests.kit.world import rounds

pytestmark = pytest.mark.anyio

SAFE, UNSAFE = ("GET", "HEAD", "PUT", "DELETE"), ("POST", "PATCH")
NOW = 1_800_000_000.0

FAILURES: dict[str, tuple[httpx.Response | Exception, bool, bool]] = {  # what, and which methods may be sent again
    "connection refused": (httpx.ConnectError("x"), True, True),
    "connect timeout": (httpx.ConnectTimeout("x"), True, True),
    "pool timeout": (httpx.PoolTimeout("x"), True, True),
    "read error": (httpx.ReadError("x"), True, False),
    "read timeout": (httpx.ReadTimeout("x"), True, False),
    "write error": (httpx.WriteError("x"), True, False),
    "no answer": (httpx.RemoteProtocolError("x"), True, False),
    "bad compression": (httpx.DecodingError("x"), True, False),
    "400": (answer(400), False, False),
    "401": (answer(401), False, False),
    "403": (answer(403), False, False),
    "404": (answer(404), False, False),
    "408": (answer(408), True, False),
    "409": (answer(409), False, False),
    "409 with Retry-After": (answer(409, retry_after="1"), False, False),
    "413": (answer(413), False, False),
    "422": (answer(422), False, False),
    "425": (answer(425), False, False),
    "429": (answer(429), True, True),
    "429 with Retry-After": (answer(429, retry_after="1"), True, True),
    "429 of the rate limit": (answer(429, {"error": {"code": "rate-limit-exceeded"}}), True, True),
    "429 of a quota": (answer(429, {"error": {"code": "quota-exceeded"}}), False, False),
    "429 of a quota with Retry-After": (answer(429, {"code": "quota-exceeded"}, retry_after="1"), True, True),
    "500": (answer(500), True, False),
    "500 with Retry-After": (answer(500, retry_after="1"), True, False),
    "501": (answer(501), False, False),
    "502": (answer(502), True, False),
    "503": (answer(503), True, False),
    "503 with Retry-After": (answer(503, retry_after="1"), True, True),
    "503 with nonsense": (answer(503, retry_after="soon"), True, False),
    "504": (answer(504), True, False),
    **{str(status): (answer(status), True, False) for status in (520, 521, 522, 523, 524, 529, 530)},
    "525": (answer(525), False, False),
    "429 in words": (answer(429, {"error": "Too many requests"}), True, True),
    "429 rateLimitReached": (answer(429, {"error": {"code": "rateLimitReached"}}), True, True),
    "429 planLimitReached": (answer(429, {"error": {"code": "planLimitReached"}}), False, False),
    "429 spendLimitReached": (answer(429, {"error": {"code": "spendLimitReached"}}), False, False),
    "301": (answer(301, location="https://elsewhere.example/"), False, False),
    "304": (answer(304), False, False),
}


@pytest.mark.parametrize("method", SAFE + UNSAFE)
@pytest.mark.parametrize("name", FAILURES)
async def test_what_is_sent_again(name: str, method: str) -> None:
    failure, safe, unsafe = FAILURES[name]
    again = safe if method in SAFE else unsafe
    client, script = scripted(failure, answer())
    if again:
        assert (await client.request(method, "/v1/x")).status == 200
    else:
        with pytest.raises(PrismaError) as caught:
            await client.request(method, "/v1/x")
        assert isinstance(caught.value, APIError | NetworkError)
        assert caught.value.method == method
    assert len(script.requests) == 1 + again
    assert {request.method for request in script.requests} == {method}


async def test_a_body_is_sent_again_as_it_was() -> None:
    client, script = scripted(answer(503, retry_after="0"), answer())
    await client.request("POST", "/v1/x", body={"a": "ü"})
    assert [request.content for request in script.requests] == ['{"a":"ü"}'.encode()] * 2


async def test_backoff_doubles_up_to_its_limit_with_full_jitter(clock: FakeClock) -> None:
    policy = RetryPolicy(attempts=7, deadline=1000)
    client, script = scripted(answer(500, {"message": "m"}), clock=clock, retry=policy)
    with pytest.raises(ServerError):
        await client.connections.get("con_1")
    assert clock.slept == [0.5, 1, 2, 4, 8, 8]
    assert len(script.requests) == 7
    clock.slept.clear()
    clock.jitter_value = 0.25
    with pytest.raises(ServerError):
        await client.connections.get("con_1")
    assert clock.slept == [0.125, 0.25, 0.5, 1, 2, 2]


async def test_one_attempt_means_no_retry(clock: FakeClock) -> None:
    for failure in (answer(500), answer(429, retry_after="1"), httpx.ConnectError("x")):
        client, script = scripted(failure, clock=clock, retry=RetryPolicy(attempts=1))
        with pytest.raises(PrismaError):
            await client.connections.get("con_1")
        assert len(script.requests) == 1
    assert clock.slept == []


async def test_no_try_begins_after_the_deadline(clock: FakeClock) -> None:
    class Slow(Script):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            clock.time += 4
            return await super().handle_async_request(request)

    policy = RetryPolicy(attempts=100, deadline=10, backoff=1, max_backoff=1)
    client, slow = over(Slow(answer(502)), clock=clock, retry=policy)
    with pytest.raises(ServerError):
        await client.connections.get("con_1")
    assert len(slow.requests) == 2  # at 0 and 5; the next would begin at 10
    assert clock.slept == [1]


@pytest.mark.parametrize(
    ("header", "slept"),
    [
        ("0", 0),
        ("7", 7),
        ("1.5", 1.5),
        ("20", 20),
        ("2, 7", 7),  # a proxy has added its own
        (formatdate(NOW + 5, usegmt=True), 5),
        (formatdate(NOW - 5, usegmt=True), 0),
        *((nonsense, 0.5) for nonsense in ("", "-1", "nan", "inf", "1e3", "soon", "0x10", "1,2")),
    ],
)
async def test_retry_after_is_obeyed(header: str, slept: float, clock: FakeClock) -> None:
    policy = RetryPolicy(max_retry_after=20)
    client, _ = scripted(answer(503, retry_after=header), answer(), clock=clock, retry=policy)
    await client.connections.get("con_1")
    assert clock.slept == [slept]


@pytest.mark.parametrize("header", ["21", "86400", formatdate(NOW + 5000, usegmt=True)])
@pytest.mark.parametrize("status", [429, 503])
async def test_a_longer_retry_after_is_an_error_at_once(header: str, status: int, clock: FakeClock) -> None:
    client, script = scripted(answer(status, retry_after=header), clock=clock, retry=RetryPolicy(max_retry_after=20))
    with pytest.raises(APIError) as caught:
        await client.connections.get("con_1")
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 20
    assert (clock.slept, len(script.requests)) == ([], 1)


async def test_nobody_waits_for_a_try_that_is_not_made(clock: FakeClock) -> None:
    client, script = scripted(answer(429, retry_after="120"), answer(), clock=clock, retry=RetryPolicy(deadline=1000))
    for told in ("429", "not sent"):
        with pytest.raises(RateLimitError, match=told) as caught:
            await client.connections.get("con_1")
        assert caught.value.retry_after == 120
    clock.time += 121
    await client.connections.get("con_1")
    assert (clock.slept, len(script.requests)) == ([], 2)


@pytest.mark.parametrize(
    ("first", "done"),
    [
        (answer(500), True),
        (answer(502), True),
        (httpx.ReadError("x"), True),
        (httpx.ConnectError("x"), False),
        (answer(429), False),
    ],
)
async def test_a_delete_that_was_repeated_and_finds_nothing_has_done_its_work(
    first: httpx.Response | Exception, done: bool
) -> None:
    client, script = scripted(first, answer(404, {"message": "gone"}))
    if done:
        await client.databases.delete("db_1")
    else:
        with pytest.raises(NotFoundError):
            await client.databases.delete("db_1")
    assert len(script.requests) == 2
    client, _ = scripted(answer(404, {"message": "gone"}))
    with pytest.raises(NotFoundError):
        await client.databases.delete("db_1")


async def test_a_wait_beyond_the_deadline_is_the_callers_to_make(clock: FakeClock) -> None:
    client, script = scripted(answer(429, retry_after="3600"), clock=clock)
    with pytest.raises(RateLimitError) as caught:
        await client.connections.get("con_1")
    assert caught.value.retry_after == 3600
    assert (clock.slept, len(script.requests)) == ([], 1)


async def test_a_date_is_measured_from_the_answers_own(clock: FakeClock) -> None:
    failure = answer(503, date=formatdate(NOW + 900, usegmt=True), retry_after=formatdate(NOW + 903, usegmt=True))
    client, _ = scripted(failure, answer(), clock=clock)
    await client.connections.get("con_1")
    assert clock.slept == [3]


@given(st.text() | st.from_regex(r"[\w:+, -]{0,40}"), st.text(max_size=40))
def test_no_header_breaks_retry_after(value: str, date: str) -> None:
    seconds = retry_after({"retry-after": value, "date": date}, NOW)
    assert seconds is None or 0 <= seconds < float("inf")


@given(st.integers(0, 10**9 - 1))
def test_every_number_of_seconds_is_read(seconds: int) -> None:
    assert retry_after({"retry-after": f" {seconds} "}, NOW) == seconds


@given(st.integers(-(10**9), 10**9))
def test_every_date_is_read(offset: int) -> None:
    date = formatdate(NOW + offset, usegmt=True)
    assert retry_after({"retry-after": date}, NOW) == max(0, offset)


@given(st.integers(1, 10**6), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_no_wait_is_longer_than_the_policy_allows(attempt: int, jitter: float, asked: float | None) -> None:
    policy = RetryPolicy()
    seconds = policy.wait(NetworkError("x"), "GET", attempt, asked, jitter)
    if asked is None:
        assert seconds is not None
        assert 0 <= seconds <= policy.max_backoff
    else:
        assert seconds == (asked if asked <= policy.max_retry_after else None)  # never less than asked


@pytest.mark.parametrize("field", ["attempts", "deadline", "backoff", "max_backoff", "max_retry_after"])
def test_a_policy_refuses_nonsense(field: str) -> None:
    bad: Any = {field: -1}
    with pytest.raises(ValueError, match=field):
        RetryPolicy(**bad)


# The gate


async def test_a_429_holds_back_calls_with_the_same_credentials_and_no_others(clock: FakeClock) -> None:
    sent_at: dict[str, list[float]] = {"held": [], "free": []}
    resting, sleeping = anyio.Event(), anyio.Event()

    async def sleep(seconds: float) -> None:
        sleeping.set()
        await resting.wait()
        await clock.sleep(seconds)

    waiting: Any = Clock(monotonic=clock.monotonic, now=clock.now, sleep=sleep)
    client, script = scripted(answer(429, retry_after="10"), answer(), clock=waiting)
    user = Renewing("user")

    async def call(one: Any, whose: str) -> None:
        await one.connections.get("con_1")
        sent_at[whose].append(clock.time)

    async with anyio.create_task_group() as group:
        group.start_soon(call, client, "held")
        await sleeping.wait()
        for one in (client, client.with_options(timeout=1), client.with_options(auth="token")):
            group.start_soon(call, one, "held")
        for auth in ("other", user):
            await call(client.with_options(auth=auth), "free")
        assert len(script.requests) == 3
        resting.set()
    assert len(script.requests) == 7
    assert min(sent_at["held"]) >= NOW + 10
    assert sent_at["free"] == [NOW, NOW]


async def test_a_429_of_a_users_token_holds_back_all_views_of_that_user(clock: FakeClock) -> None:
    client, script = scripted(answer(429, retry_after="10"), answer(), clock=clock)
    user = Renewing("user")
    with pytest.raises(RateLimitError):
        await client.with_options(auth=user, retry=RetryPolicy(attempts=1)).connections.get("con_1")
    await client.connections.get("con_1")
    assert clock.slept == []
    await client.with_options(auth=user).connections.get("con_1")
    assert clock.slept == [10]
    assert script.tokens == ["user", "token", "user"]


class Plain:
    """Credentials that nothing but their client keeps."""

    async def access_token(self) -> str:
        return "token"

    async def renew(self, rejected: str) -> None:
        """There is no other token."""


async def test_credentials_that_are_gone_hold_back_no_others(clock: FakeClock) -> None:
    client, script = scripted(answer(429, retry_after="900"), clock=clock)
    for _ in range(30):  # some of which are made where others were in memory
        with pytest.raises(RateLimitError):
            await client.with_options(auth=Plain()).connections.get("con_1")
        gc.collect()
    assert len(script.requests) == 30


async def test_the_gate_closes_even_where_the_call_itself_gives_up(clock: FakeClock) -> None:
    client, script = scripted(answer(429, retry_after="10"), answer(), clock=clock)
    once = client.with_options(retry=RetryPolicy(attempts=1))
    with pytest.raises(RateLimitError):
        await once.connections.get("con_1")
    await once.connections.get("con_1")  # retrying is off, and so is waiting
    assert clock.slept == []
    await client.connections.get("con_1")
    assert clock.slept == [10]
    await client.connections.get("con_1")
    assert clock.slept == [10]
    assert len(script.requests) == 4


async def test_a_gate_that_opens_after_the_deadline_is_an_error_at_once(clock: FakeClock) -> None:
    client, script = scripted(answer(429, retry_after="30"), answer(), clock=clock)
    with pytest.raises(RateLimitError):
        await client.with_options(retry=RetryPolicy(attempts=1)).connections.get("con_1")
    with pytest.raises(RateLimitError, match="not sent") as caught:
        await client.with_options(retry=RetryPolicy(deadline=20)).connections.get("con_2")
    assert caught.value.retry_after == 30
    assert caught.value.url.endswith("con_2")
    assert len(script.requests) == 1


async def test_a_retry_waits_for_the_gate_that_another_call_closed(clock: FakeClock) -> None:
    class Busy(Script):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("con_1") and len(self.requests) == 0:
                self.requests.append(request)
                with pytest.raises(RateLimitError):  # meanwhile, elsewhere
                    await client.with_options(retry=RetryPolicy(attempts=1)).connections.get("con_2")
                return answer(500)
            return await super().handle_async_request(request)

    client, _ = over(Busy(answer(429, retry_after="5"), answer()), clock=clock)
    await client.connections.get("con_1")
    assert clock.slept == [5]


async def test_a_quota_closes_no_gate(clock: FakeClock) -> None:
    client, _ = scripted(answer(429, {"code": "plan-limit"}), answer(), clock=clock)
    with pytest.raises(RateLimitError):
        await client.connections.get("con_1")
    await client.connections.get("con_1")
    assert clock.slept == []


async def test_a_conflict_is_never_retried() -> None:
    client, script = scripted(answer(409, {"error": {"code": "c", "message": "m"}}))
    with pytest.raises(ConflictError):
        await client.request("PUT", "/v1/x", body={})
    assert len(script.requests) == 1


async def test_a_cancelled_wait_sends_nothing_more() -> None:
    waiting = anyio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await anyio.sleep_forever()

    client, script = scripted(answer(500), clock=Clock(sleep=sleep))  # type: ignore[arg-type]  # any clock will do
    async with anyio.create_task_group() as group:
        group.start_soon(client.connections.get, "con_1")
        await waiting.wait()
        group.cancel_scope.cancel()
    assert len(script.requests) == 1


async def test_timeouts_are_their_own_kind() -> None:
    for failure in (httpx.ReadTimeout("x"), httpx.ConnectTimeout("x")):
        client, _ = scripted(failure, retry=RetryPolicy(attempts=1))
        with pytest.raises(RequestTimeoutError):
            await client.connections.get("con_1")


async def test_a_renewal_that_failed_is_not_tried_again_by_the_call_that_asked_for_it() -> None:
    class Offline(Renewing):
        async def renew(self, rejected: str) -> str | None:
            self.renewals.append(rejected)
            raise NetworkError("the login server is away")

    auth = Offline("token")
    client, script = scripted(answer(401), auth=auth)
    with pytest.raises(NetworkError, match="away") as caught:
        await client.connections.get("con_1")
    assert isinstance(caught.value.__cause__, AuthenticationError)
    assert auth.renewals == ["token"]
    assert len(script.requests) == 1


async def test_no_try_begins_after_the_deadline_though_it_waited_for_a_connection(clock: FakeClock) -> None:
    held = Gate()

    class One(Script):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("held"):
                await held()
            return await super().handle_async_request(request)

    async def hold() -> None:
        await client.connections.get("held")

    async def sleep(_: float) -> None:
        group.start_soon(hold)  # takes the only connection before the second try can
        await held.arrived.wait()
        group.start_soon(release)

    async def release() -> None:
        await rounds()
        clock.time += 6
        held.release()

    script = One(answer(503, retry_after="0"), answer())
    waiting: Any = Clock(clock.monotonic, clock.now, sleep, clock.jitter)
    client, _ = over(script, clock=waiting, max_connections=1, retry=RetryPolicy(deadline=5))
    async with anyio.create_task_group() as group:
        with pytest.raises(ServerError):
            await client.connections.get("late")
    await client.connections.get("again")
    assert [request.url.path.rpartition("/")[2] for request in script.requests] == ["late", "held", "again"]

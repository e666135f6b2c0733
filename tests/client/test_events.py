"""Events: what observers are told, that they cannot hurt, and the two hooks that come with the package."""

import logging
import subprocess
import sys
from typing import Any

import anyio
import httpx
import pytest

from prisma_mgmt import AuthError, PrismaError
from prisma_mgmt.observe import (
    AnswerReceived,
    Event,
    Renewed,
    RequestFailed,
    RequestSent,
    Retrying,
    log_events,
    opentelemetry_events,
)
from tests.client.test_paging import page
from tests.conftest import FakeClock
from tests.kit.canaries import CANARY
from tests.kit.script import Renewing, Script, answer, over, scripted

pytestmark = pytest.mark.anyio
API = "https://api.prisma.io"
ROUTE = "/v1/connections/{id}"


async def test_the_events_of_a_call(clock: FakeClock) -> None:
    class Slow(Script):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            clock.time += 0.25
            return await super().handle_async_request(request)

    auth = Renewing("old", "new")
    events: list[Event] = []
    slow = Slow(answer(401), answer(503, retry_after="2"), httpx.ReadError("x"), answer())
    client, _ = over(slow, auth=auth, clock=clock, on_event=events.append)
    await client.connections.get("con_1")
    get = ("GET", ROUTE, API)
    assert events == [
        RequestSent(*get, 1),
        AnswerReceived(*get, 1, 0.25, 401, "req_1"),
        Renewed(*get, 1, 0.0, True),
        RequestSent(*get, 2),
        AnswerReceived(*get, 2, 0.25, 503, "req_1"),
        Retrying(*get, 2, 2.0, "ServerError", 503),
        RequestSent(*get, 3),
        RequestFailed(*get, 3, 0.25, "NetworkError"),
        Retrying(*get, 3, 1.0, "NetworkError", None),
        RequestSent(*get, 4),
        AnswerReceived(*get, 4, 0.25, 200, "req_1"),
    ]


async def test_routes_are_templates() -> None:
    events: list[Event] = []
    client, _ = scripted(answer(200, {"data": []}), on_event=events.append)
    await client.request(
        "GET", "/v1/x/{name}/y/{other}", path_params={"name": "a", "other": "b"}, query={"q": "secret"}
    )
    await client.request("post", "/v1/plain", body={"a": "secret"})
    await client.connections._get(list[str], "/v1/fixed", {"q": "secret"})
    assert [(event.method, event.route) for event in events[::2]] == [
        ("GET", "/v1/x/{name}/y/{other}"),
        ("POST", "/v1/plain"),
        ("GET", "/v1/fixed"),
    ]


async def test_renewals_that_fail() -> None:
    class Failing(Renewing):
        async def renew(self, rejected: str) -> str | None:
            raise AuthError("gone")

    for auth in (Renewing("only"), Failing("old")):
        events: list[Event] = []
        client, _ = scripted(answer(401), auth=auth, on_event=events.append)
        with pytest.raises(PrismaError):
            await client.connections.get("con_1")
        assert events[-1] == Renewed("GET", ROUTE, API, 1, events[-1].duration, False)  # type: ignore[attr-defined]


async def test_a_cancelled_call_ends_with_an_event() -> None:
    events: list[Event] = []

    class Stuck(Script):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await anyio.sleep_forever()
            raise AssertionError

    client, _ = over(Stuck(answer()), on_event=events.append)
    with anyio.move_on_after(0.01):
        await client.connections.get("con_1")
    assert [type(event) for event in events] == [RequestSent, RequestFailed]
    assert events[1].error in ("CancelledError", "Cancelled")  # type: ignore[attr-defined]


async def test_views_pages_and_logs_have_the_hook() -> None:
    events: list[Event] = []
    client, script = scripted(page("a", cursor="c1"), page("b"), on_event=events.append)
    async with client.with_options(timeout=1).connections.list().prefetch() as connections:
        assert len([item async for item in connections]) == 2
    assert len(events) == 4
    line = b'{"type":"terminal","kind":"completed","code":"c","message":"m","retryable":false,"cursor":null}\n'
    script.steps = [answer(200, line)]
    assert [one async for one in client.builds.logs("bld_1")] == []
    assert events[4].route == "/v1/builds/{id}/logs"
    script.steps = [answer()]
    others: list[Event] = []
    await client.with_options(on_event=others.append).connections.get("con_1")
    await client.with_options(on_event=None).connections.get("con_1")
    assert (len(events), len(others)) == (6, 2)


async def test_a_hook_that_fails_is_logged_once_and_hurts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Event) -> None:
        raise KeyError("mine")

    client, _ = scripted(answer(503), answer(), on_event=broken)
    for _ in range(3):
        await client.connections.get("con_1")
    assert [(one.name, one.levelname, bool(one.exc_info)) for one in caplog.records] == [("prisma_mgmt", "ERROR", True)]


def test_hooks_that_are_refused() -> None:
    async def hook(event: Event) -> None: ...

    bad: Any = "no hook"
    for one in (hook, bad):
        with pytest.raises(TypeError, match="on_event"):
            scripted(answer(), on_event=one)
        client, _ = scripted(answer())
        with pytest.raises(TypeError, match="on_event"):
            client.with_options(on_event=one)


async def test_no_event_holds_a_secret() -> None:
    events: list[Event] = []
    auth = Renewing(f"{CANARY}-1", f"{CANARY}-2")
    steps = (answer(401), httpx.ReadError(CANARY), answer(500, {"message": CANARY}), answer(200, {"data": CANARY}))
    client, _ = scripted(*steps, auth=auth, on_event=events.append, headers={"X-Key": CANARY})
    path, query, body = "/v1/{secret}", {"q": CANARY}, {"b": CANARY}
    await client.request("PUT", path, path_params={"secret": CANARY}, query=query, body=body, headers={"X-B": CANARY})
    assert len(events) == 11
    assert CANARY not in repr(events)


# To logging


async def test_logging(caplog: pytest.LogCaptureFixture, clock: FakeClock) -> None:
    caplog.set_level(logging.DEBUG, "app")
    auth, hook = Renewing("old", "new"), log_events(logging.getLogger("app"))
    steps = (answer(401), httpx.ReadError("x"), answer(503), answer())
    client, _ = scripted(*steps, auth=auth, clock=clock, on_event=hook)
    await client.connections.get("con_1")
    call = f"GET {ROUTE}"
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("DEBUG", f"{call}: sent (1)"),
        ("INFO", f"{call}: 401 in 0.000 s [request req_1]"),
        ("INFO", f"{call}: another token: yes"),
        ("DEBUG", f"{call}: sent (2)"),
        ("WARNING", f"{call}: NetworkError after 0.000 s"),
        ("WARNING", f"{call}: again in 0.500 s, for NetworkError"),
        ("DEBUG", f"{call}: sent (3)"),
        ("INFO", f"{call}: 503 in 0.000 s [request req_1]"),
        ("WARNING", f"{call}: again in 1.000 s, for 503"),
        ("DEBUG", f"{call}: sent (4)"),
        ("INFO", f"{call}: 200 in 0.000 s [request req_1]"),
    ]
    caplog.clear()
    log_events()(Renewed("GET", "/", API, 1, 0.0, False))
    log_events()(Event("GET", "/", API, 1))
    with caplog.at_level(logging.INFO, "prisma_mgmt"):
        log_events()(Renewed("GET", "/", API, 1, 0.0, False))
    assert [one.getMessage() for one in caplog.records] == ["GET /: another token: none to be had"]


# To OpenTelemetry


async def test_opentelemetry(clock: FakeClock) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider(metric_readers=[reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    hook = opentelemetry_events(tracers, meters)
    client, _ = scripted(httpx.ReadError("x"), answer(503), answer(), clock=clock, on_event=hook)
    with tracers.get_tracer("app").start_as_current_span("parent") as parent:
        await client.connections.get("con_1")
    spans: Any = exporter.get_finished_spans()[:-1]
    shared = {
        "http.request.method": "GET",
        "server.address": "api.prisma.io",
        "server.port": 443,
        "url.scheme": "https",
        "url.template": ROUTE,
    }
    answered = {"http.response.header.x-request-id": ("req_1",)}
    assert [dict(span.attributes) for span in spans] == [
        {**shared, "error.type": "NetworkError"},
        {**shared, **answered, "http.response.status_code": 503, "error.type": "503", "http.request.resend_count": 1},
        {**shared, **answered, "http.response.status_code": 200, "http.request.resend_count": 2},
    ]
    assert {span.name for span in spans} == {f"GET {ROUTE}"}
    assert {span.parent.span_id for span in spans} == {parent.get_span_context().span_id}
    assert [(span.kind.name, span.status.status_code.name) for span in spans] == [
        ("CLIENT", "ERROR"),
        ("CLIENT", "ERROR"),
        ("CLIENT", "UNSET"),
    ]
    data: Any = reader.get_metrics_data()
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert (metric.name, metric.unit) == ("http.client.request.duration", "s")
    points = [(point.attributes.get("error.type"), point.count) for point in metric.data.data_points]
    assert sorted(points, key=str) == [("503", 1), ("NetworkError", 1), (None, 1)]
    meters.shutdown()


async def test_opentelemetry_with_a_method_of_its_own_and_the_time_it_took() -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    hook = opentelemetry_events(tracers)
    hook(AnswerReceived("BREW", "/x", "http://[::1]:8", 1, 1.5, 200, None))
    (span,) = exporter.get_finished_spans()
    assert span.name == "HTTP /x"
    assert span.end_time is not None
    assert span.start_time is not None
    assert span.end_time - span.start_time == 1_500_000_000
    attributes = dict(span.attributes or {})
    assert (attributes["server.address"], attributes["server.port"]) == ("::1", 8)
    assert attributes["http.request.method"] == "_OTHER"


def test_opentelemetry_is_imported_when_it_is_asked_for() -> None:
    code = "import sys, prisma_mgmt.observe; assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_a_hook_nothing_of_events_is_imported() -> None:
    code = """
import sys, anyio, httpx, prisma_mgmt
client = prisma_mgmt.ManagementClient("t", transport=httpx.MockTransport(lambda _: httpx.Response(200, json={})))
anyio.run(client.request, "GET", "/v1/me")
assert "prisma_mgmt.core.events" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_an_observer_that_ends_the_program_costs_no_place() -> None:
    class Stop(BaseException):
        pass

    ends: list[type[Event]] = [RequestSent, AnswerReceived]

    def stop(event: Event) -> None:
        if ends and isinstance(event, ends[0]):
            del ends[0]
            raise Stop

    client, _ = scripted(answer(), on_event=stop, max_connections=1)
    with anyio.fail_after(20):
        for _ in range(2):
            with pytest.raises(Stop):
                await client.connections.get("con_1")
        await client.connections.get("con_1")


async def test_log_events_that_nobody_called_say_so(caplog: pytest.LogCaptureFixture) -> None:
    client, _ = scripted(answer(), on_event=log_events)
    await client.connections.get("con_1")
    assert "the logger of log_events(), which gives a hook, must be an object with the methods debug" in caplog.text

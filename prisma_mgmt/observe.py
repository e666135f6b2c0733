"""For users: the events of a client's `on_event`, and two hooks ready to use (logging, OpenTelemetry).

ManagementClient(on_event=log_events())                # to `logging`
ManagementClient(on_event=opentelemetry_events())      # spans and a histogram (pip install prisma-mgmt[opentelemetry])
"""

import logging
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prisma_mgmt._version import __version__
from prisma_mgmt.checks import checked_methods
from prisma_mgmt.core.events import AnswerReceived, Event, Hook, Renewed, RequestFailed, RequestSent, Retrying

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
else:  # it is an extra, and yet the annotations can be evaluated
    MeterProvider = TracerProvider = Any

__all__ = [
    "AnswerReceived",
    "Event",
    "Hook",
    "Renewed",
    "RequestFailed",
    "RequestSent",
    "Retrying",
    "log_events",
    "opentelemetry_events",
]

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)  # seconds, as OTel asks


def log_events(logger: logging.Logger | None = None) -> Hook:
    """A hook that logs to `logger` (`prisma_mgmt`): sent as DEBUG, answers as INFO, failures and retries as WARNING."""
    log = logger or logging.getLogger("prisma_mgmt")
    checked_methods(log, "the logger of log_events(), which gives a hook,", "debug", "info", "warning")

    def hook(event: Event) -> None:
        call = f"{event.method} {event.route}"
        match event:
            case RequestSent():
                log.debug("%s: sent (%d)", call, event.attempt)
            case AnswerReceived():
                log.info("%s: %d in %.3f s [request %s]", call, event.status, event.duration, event.request_id)
            case RequestFailed():
                log.warning("%s: %s after %.3f s", call, event.error, event.duration)
            case Retrying():
                log.warning("%s: again in %.3f s, for %s", call, event.delay, event.status or event.error)
            case Renewed():
                log.info("%s: another token: %s", call, "yes" if event.renewed else "none to be had")
            case _:
                pass

    return hook


def opentelemetry_events(
    tracer_provider: "TracerProvider | None" = None, meter_provider: "MeterProvider | None" = None
) -> Hook:
    """A hook that makes a client span of every attempt, under the span it happens in, and measures its duration.

    Names and attributes follow OpenTelemetry's conventions for HTTP clients, except `url.full`, which would show ids.
    The providers are the global ones unless given.
    """
    try:
        from opentelemetry import metrics, trace
    except ImportError:
        raise ImportError("opentelemetry_events needs opentelemetry-api: install prisma-mgmt[opentelemetry]") from None

    tracer = trace.get_tracer("prisma_mgmt", __version__, tracer_provider)
    durations = metrics.get_meter("prisma_mgmt", __version__, meter_provider).create_histogram(
        "http.client.request.duration",
        unit="s",
        description="Duration of HTTP client requests.",
        explicit_bucket_boundaries_advisory=_BUCKETS,
    )

    def hook(event: Event) -> None:
        if not isinstance(event, AnswerReceived | RequestFailed):
            return
        shared = _attributes(event)
        durations.record(event.duration, shared)
        end = time.time_ns()
        span = tracer.start_span(
            f"{shared['http.request.method'].replace('_OTHER', 'HTTP')} {event.route}",
            kind=trace.SpanKind.CLIENT,
            attributes={**shared, **_more(event)},
            start_time=end - int(event.duration * 1e9),
        )
        if "error.type" in shared:
            span.set_status(trace.StatusCode.ERROR)
        span.end(end)

    return hook


def _more(event: AnswerReceived | RequestFailed) -> dict[str, Any]:
    """What only a span tells."""
    found: dict[str, Any] = {"http.request.resend_count": event.attempt - 1} if event.attempt > 1 else {}
    if isinstance(event, AnswerReceived) and event.request_id:
        found["http.response.header.x-request-id"] = [event.request_id]
    return found


def _attributes(event: AnswerReceived | RequestFailed) -> dict[str, Any]:
    """What a span and the histogram both tell."""
    server = urlsplit(event.base_url)
    found: dict[str, Any] = {
        "http.request.method": event.method if event.method in _METHODS else "_OTHER",
        "server.address": server.hostname,
        "server.port": server.port or (443 if server.scheme == "https" else 80),
        "url.scheme": server.scheme,
        "url.template": event.route,
    }
    if isinstance(event, RequestFailed):
        return {**found, "error.type": event.error}
    found["http.response.status_code"] = event.status
    return {**found, "error.type": str(event.status)} if event.status >= 400 else found

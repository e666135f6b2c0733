"""Chooses what sends: HTTP/1.1 of our own; httpx for proxies, WebSockets, trio and Windows; or what the user gave."""

import ssl
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import define, field

from prisma_mgmt.core.connection import Connection, Engine, Origin
from prisma_mgmt.environment import way_to
from prisma_mgmt.loops import running_loop

if TYPE_CHECKING:  # asyncio, httpx and each way of sending are imported when they are needed: that takes long
    import httpx

    from prisma_mgmt.core.http1 import Http1

    TransportArgument: TypeAlias = httpx.AsyncBaseTransport | None
    ClientArgument: TypeAlias = httpx.AsyncClient | None
else:  # so that annotations can be evaluated
    TransportArgument: TypeAlias = Any
    ClientArgument: TypeAlias = Any


@define(eq=False)
class OwnEngine:
    """Makes connections of our own, through the proxies and with the certificates that the environment names."""

    _certificates: ssl.SSLContext | None
    _idle: float | None
    # By origin; the URL of a proxy may hold a password.
    _ways: "dict[Origin, tuple[httpx.Proxy | None, ssl.SSLContext]]" = field(factory=dict, init=False, repr=False)

    async def connect(self, origin: Origin, *, upgrade: bool) -> Connection:
        if origin not in self._ways:
            self._ways[origin] = await way_to(origin.url, self._certificates)
        proxy, trusted = self._ways[origin]
        if proxy is None and not upgrade and (http1 := _http1()) is not None:
            return await http1.connect(origin, trusted)
        import httpx

        from prisma_mgmt.core.over_httpx import OwnConnection

        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=self._idle)
        return OwnConnection(httpx.AsyncHTTPTransport(verify=trusted, limits=limits, proxy=proxy))


def _http1() -> "type[Http1] | None":
    """The connection of our own. It needs the extra `speed`, asyncio's event loop, and poll.

    None too if somebody has put something in the place of httpx's sending, or around it: mocks, recorders and
    instruments do. Windows has no poll.
    """
    import asyncio

    if not isinstance(running_loop(), asyncio.AbstractEventLoop):
        return None
    for library, kind in ("httpx", "AsyncHTTPTransport"), ("httpcore", "AsyncConnectionPool"):
        if library in sys.modules:  # else nobody has changed it either
            sends = getattr(sys.modules[library], kind).handle_async_request
            if not sends.__module__.startswith(f"{library}.") or hasattr(sends, "__wrapped__"):
                return None
    try:
        # First: to find out by importing what needs them takes long, for each connection.
        import aiohappyeyeballs as aiohappyeyeballs
        import httptools as httptools

        from prisma_mgmt.core.http1 import Http1
    except ImportError:
        return None
    return Http1


def engine_for(transport: Any, http_client: Any, certificates: Any, *, idle: float | None) -> Engine:
    """What to send with; TypeError or ValueError for wrong arguments."""
    _check("ssl_context", certificates, ssl.SSLContext)
    if certificates is not None and certificates.protocol is ssl.PROTOCOL_TLS_SERVER:
        raise ValueError("ssl_context is one for servers: give a client's, such as ssl.create_default_context()")
    if transport is None and http_client is None:
        return OwnEngine(certificates, idle)
    import httpx

    from prisma_mgmt.core.over_httpx import TheirClient, TheirTransport

    _check("transport", transport, httpx.AsyncBaseTransport)
    _check("http_client", http_client, httpx.AsyncClient)
    if (transport is not None) + (http_client is not None) + (certificates is not None) > 1:
        raise ValueError("give one of transport=, http_client= and ssl_context=, not both or all: each has its own")
    return TheirTransport(transport) if transport is not None else TheirClient(http_client)


def _check(name: str, value: object, wanted: type) -> None:
    if value is not None and not isinstance(value, wanted):
        kind = value if isinstance(value, type) else type(value)
        given = f"{kind.__module__.partition('.')[0]}.{kind.__name__}".removeprefix("builtins.")
        of = "the class " if isinstance(value, type) else ""
        raise TypeError(f"{name} must be an {wanted.__module__.partition('.')[0]}.{wanted.__name__}, not {of}{given}")

"""What sends: a connection of our own over asyncio if that can be had, else one over httpx, or what the user gives."""

import ssl
import sys
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import httpx

from prisma_mgmt.core.connection import Connection, Engine, Origin
from prisma_mgmt.environment import proxy_for, ssl_context
from prisma_mgmt.loops import running_loop

if TYPE_CHECKING:  # asyncio, httpcore and each way of sending are imported when they are needed: that takes long
    from prisma_mgmt.core.http1 import Http1

TransportArgument: TypeAlias = httpx.AsyncBaseTransport | None
ClientArgument: TypeAlias = httpx.AsyncClient | None


class OwnEngine:
    """Makes connections of our own, through the proxies and with the certificates that the environment names."""

    def __init__(self, certificates: ssl.SSLContext | None, idle: float | None) -> None:
        self._certificates = certificates
        self._limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=idle)
        self._proxies: dict[Origin, str | None] = {}

    async def connect(self, origin: Origin, *, upgrade: bool) -> Connection:
        if origin not in self._proxies:
            self._proxies[origin] = proxy_for(origin.url)
        proxy = self._proxies[origin]
        sealed = origin.scheme == "https" or (proxy is not None and proxy.lower().startswith("https:"))
        trusted = self._certificates or (await ssl_context() if sealed else _trusting_nobody())
        if proxy is None and not upgrade and _may_pass_httpx_by() and (http1 := _http1()) is not None:
            return await http1.connect(origin, trusted)
        from prisma_mgmt.core.over_httpx import OwnConnection

        via = None
        if proxy is not None:
            via = httpx.Proxy(proxy, ssl_context=trusted if proxy.lower().startswith("https:") else None)
        return OwnConnection(httpx.AsyncHTTPTransport(verify=trusted, limits=self._limits, proxy=via))


def _may_pass_httpx_by() -> bool:
    """The event loop is asyncio's, and nobody has put something in the place of httpx's sending, or around it.

    Mocks, recorders and instruments do.
    """
    import asyncio

    sends = [httpx.AsyncHTTPTransport.handle_async_request]
    if (httpcore := sys.modules.get("httpcore")) is not None:  # else nobody has changed it either
        sends.append(httpcore.AsyncConnectionPool.handle_async_request)
    plain = [one.__module__.startswith(("httpx.", "httpcore.")) and not hasattr(one, "__wrapped__") for one in sends]
    return all(plain) and isinstance(running_loop(), asyncio.AbstractEventLoop)


def _http1() -> "type[Http1] | None":
    """The connection of our own; None without httptools, of the extra `speed`, and on Windows, which has no poll."""
    try:
        import httptools as httptools  # first: to find out by importing what needs it takes long, for each connection

        from prisma_mgmt.core.http1 import Http1
    except ImportError:
        return None
    return Http1


@cache
def _trusting_nobody() -> ssl.SSLContext:
    """For plain http, which httpx wants certificates for too: these cost no reading."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def engine_for(transport: object, http_client: object, certificates: object, *, idle: float | None) -> Engine:
    """What to send with; TypeError or ValueError for wrong arguments."""
    _check("transport", transport, httpx.AsyncBaseTransport)
    _check("http_client", http_client, httpx.AsyncClient)
    _check("ssl_context", certificates, ssl.SSLContext)
    if isinstance(certificates, ssl.SSLContext) and certificates.protocol is ssl.PROTOCOL_TLS_SERVER:
        raise ValueError("ssl_context is one for servers: give a client's, such as ssl.create_default_context()")
    if (transport is not None) + (http_client is not None) + (certificates is not None) > 1:
        raise ValueError("give one of transport=, http_client= and ssl_context=, not both or all: each has its own")
    if isinstance(transport, httpx.AsyncBaseTransport):
        from prisma_mgmt.core.over_httpx import TheirTransport

        return TheirTransport(transport)
    if isinstance(http_client, httpx.AsyncClient):
        from prisma_mgmt.core.over_httpx import TheirClient

        return TheirClient(http_client)
    return OwnEngine(certificates if isinstance(certificates, ssl.SSLContext) else None, idle)


def _check(name: str, value: object, wanted: type) -> None:
    if value is not None and not isinstance(value, wanted):
        kind = value if isinstance(value, type) else type(value)
        given = f"{kind.__module__.partition('.')[0]}.{kind.__name__}".removeprefix("builtins.")
        of = "the class " if isinstance(value, type) else ""
        raise TypeError(f"{name} must be an {wanted.__module__.partition('.')[0]}.{wanted.__name__}, not {of}{given}")

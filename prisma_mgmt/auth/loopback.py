"""Log in from a terminal, through the user's own browser and a listener on the loopback interface (RFC 8252)."""

import copy
import errno
import sys
import webbrowser
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from urllib.parse import urlsplit

import anyio
from anyio import to_thread
from anyio.abc import Listener, SocketAttribute, SocketStream
from attrs import define, field

from prisma_mgmt.auth.callback import read_callback
from prisma_mgmt.auth.oauth import DEFAULT_SCOPE, OAuthClient
from prisma_mgmt.auth.pkce import LoginRequest
from prisma_mgmt.auth.session import OAuthSession
from prisma_mgmt.auth.storage.protocol import TokenStorage
from prisma_mgmt.errors import AuthError, CallbackError
from prisma_mgmt.masks import Secret

_HOSTS = {"127.0.0.1": ["127.0.0.1"], "::1": ["::1"], "localhost": ["127.0.0.1", "::1"]}
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # a machine without IPv6
_LONGEST_HEAD = 20_000  # bytes
_PATIENCE = 10.0  # seconds for one request
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{0}</title>
<body style="font: 1.1rem/1.6 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto; padding: 0 1rem">
<h1>{0}</h1><p>You can close this window and go back to the terminal.</p></body></html>
"""
_HEADERS = (
    "Content-Type: text/html; charset=utf-8\r\nConnection: close\r\nCache-Control: no-store\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n"
    "Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n"
)


async def log_in_with_browser(
    oauth: OAuthClient,
    storage: TokenStorage,
    *,
    scope: str = DEFAULT_SCOPE,
    extra_params: Mapping[str, str] | None = None,
    timeout: float = 300.0,
    open_browser: Callable[[str], object] | None = webbrowser.open,
    show: Callable[[str], object] | None = None,
    paste: Callable[[], Awaitable[str]] | None = None,
) -> OAuthSession:
    """A session on `storage` of the user who logs in with their browser.

    oauth: its `redirect_uri` says where to listen: `http://127.0.0.1/callback` on a free port,
        `http://127.0.0.1:8765/callback` on that port; `[::1]` and `localhost` will do too.
    timeout: seconds for the user to log in.
    open_browser: opens the login URL, in a thread; None leaves it to the user.
    show: is given the login URL; by default it is written to standard error.
    paste: waits for the URL that the browser ended at, where the browser is on another machine.

    Raises ValueError for another redirect_uri, OSError where its port is taken, CallbackError where the user said no,
    and AuthError where nobody logged in in time.
    """
    host, port, path = _loopback(oauth.redirect_uri)
    oauth = copy.copy(oauth)
    async with AsyncExitStack() as stack:
        listeners, port = await _listen(_HOSTS[host], port)
        for listener in listeners:
            stack.push_async_callback(listener.aclose)
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        oauth.redirect_uri = f"http://{authority}{path}"
        login = oauth.login_url(scope=scope, extra_params=extra_params)
        waiting = _Waiting(login, oauth.issuer, authority, path)
        (show or _show)(login.url)
        callback = await waiting.wait(listeners, open_browser, paste, timeout)
    session = OAuthSession(oauth, storage)
    await session.handle_callback(callback, login)
    return session


@define(eq=False)
class _Waiting:
    """Waits for the one callback that carries this login's state; strangers get a 404."""

    login: LoginRequest = field(repr=False)
    issuer: str
    authority: str
    path: str
    callback: Secret | None = None
    failure: Exception | None = None  # of the caller's `paste`
    done: anyio.Event = field(factory=anyio.Event)

    async def wait(
        self,
        listeners: list[Listener[SocketStream]],
        open_browser: Callable[[str], object] | None,
        paste: Callable[[], Awaitable[str]] | None,
        timeout: float,
    ) -> Secret:
        """The callback, whichever way it comes; AuthError where it does not come in time."""
        with anyio.move_on_after(timeout):
            async with anyio.create_task_group() as group:
                for listener in listeners:
                    group.start_soon(listener.serve, self.serve)
                if open_browser is not None:
                    group.start_soon(_open, open_browser, self.login.url)
                if paste is not None:
                    group.start_soon(self.take_pasted, paste)
                await self.done.wait()
                group.cancel_scope.cancel()
        if self.failure is not None:
            raise self.failure
        if self.callback is None:
            raise AuthError(f"nobody logged in within {timeout:g} s")
        return self.callback

    async def serve(self, stream: SocketStream) -> None:
        """Answer one request of a browser, or of whoever else found the port."""
        accepted = False
        with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            async with stream:
                with anyio.move_on_after(_PATIENCE):
                    target = _target(await _head(stream), self.authority)
                    accepted = target is not None and self._accept(target)
                    await stream.send(_response(accepted))
        if accepted:  # told only now, since it ends this task
            self.done.set()

    async def take_pasted(self, paste: Callable[[], Awaitable[str]]) -> None:
        """Ask for a pasted URL until one carries this login's state."""
        try:
            while not self._accept(Secret((await paste()).strip())):
                await anyio.lowlevel.checkpoint()
        except Exception as error:  # the caller's code may raise anything, and the task group would wrap it
            self.failure = error
        self.done.set()

    def _accept(self, target: Secret) -> bool:
        """Whether a callback is this login's, be it a code or a refusal; the first one is kept."""
        if self.callback is not None:
            return False
        try:
            read_callback(target, self.login.state, self.issuer)
        except CallbackError as error:
            if error.error is None:  # nothing that the login server has said
                return False
        if urlsplit(target).path != self.path:
            return False
        self.callback = target
        return True


def _loopback(redirect_uri: str) -> tuple[str, int, str]:
    """The host, the port (0 for a free one) and the path of a redirect_uri on this machine."""
    parts = urlsplit(redirect_uri)
    if parts.scheme != "http" or parts.hostname not in _HOSTS or parts.query:
        raise ValueError("to log in with a browser, redirect_uri must be such as http://127.0.0.1/callback")
    return parts.hostname, parts.port or 0, parts.path or "/"


async def _listen(hosts: list[str], port: int) -> tuple[list[Listener[SocketStream]], int]:
    """Listeners on one port of all hosts that this machine has, and that port."""
    listeners: list[Listener[SocketStream]] = []
    for host in hosts:
        try:
            listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
        except OSError as error:
            if error.errno in _NOT_HERE and listeners:
                continue
            for one in listeners:
                await one.aclose()
            raise OSError(error.errno, f"cannot listen on port {port} of {host}: {error.strerror}") from None
        listeners.append(listener)
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610  # anyio's, not Django's
    return listeners, port


async def _head(stream: SocketStream) -> Secret:
    """The head of a request."""
    head = Secret("")
    while "\r\n\r\n" not in head and len(head) < _LONGEST_HEAD:
        head = Secret(head + (await stream.receive()).decode("latin-1"))
    return head


def _target(head: Secret, authority: str) -> Secret | None:
    """What a GET asks this very listener for; None for any other request."""
    line, *fields = (Secret(one) for one in head.partition("\r\n\r\n")[0].split("\r\n"))
    words = [Secret(word) for word in line.split(" ")]
    hosts = [one.partition(":")[2].strip().lower() for one in fields if one.lower().startswith("host:")]
    if len(words) != 3 or words[0] != "GET" or not words[2].startswith("HTTP/1.") or hosts != [authority]:
        return None
    return words[1]


def _response(accepted: bool) -> bytes:
    title = "The terminal has taken over" if accepted else "Nothing here"
    page = _PAGE.format(title).encode()
    status = "200 OK" if accepted else "404 Not Found"
    return f"HTTP/1.1 {status}\r\n{_HEADERS}Content-Length: {len(page)}\r\n\r\n".encode() + page


async def _open(open_browser: Callable[[str], object], url: str) -> None:
    with suppress(Exception):  # a browser that does not open is opened by the user
        await to_thread.run_sync(open_browser, url, abandon_on_cancel=True)


def _show(url: str) -> None:
    sys.stderr.write(f"Log in with your browser:\n\n  {url}\n\n")

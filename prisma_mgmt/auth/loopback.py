"""Log in from a terminal, through the user's own browser and a listener on the loopback interface (RFC 8252)."""

import errno
import sys
import threading
import webbrowser
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import anyio
from anyio.abc import Listener, SocketAttribute, SocketStream
from anyio.streams.stapled import MultiListener
from attrs import define, field

from prisma_mgmt.auth.arguments import called, checked_functions
from prisma_mgmt.auth.callback import is_state, read_callback
from prisma_mgmt.auth.oauth import DEFAULT_SCOPE, OAuthClient
from prisma_mgmt.auth.pages import HEADERS, page
from prisma_mgmt.auth.pkce import LoginRequest
from prisma_mgmt.auth.session import OAuthSession
from prisma_mgmt.auth.storage.protocol import TokenStorage
from prisma_mgmt.checks import checked_kind, checked_methods, checked_seconds
from prisma_mgmt.errors import AuthError, CallbackError
from prisma_mgmt.masks import Secret

_HOSTS = {"127.0.0.1": ["127.0.0.1"], "::1": ["::1"], "localhost": ["127.0.0.1", "::1"]}
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # a machine without IPv6
_CONSOLE = frozenset(  # they draw over the terminal
    {"w3m", "lynx", "links", "links2", "elinks", "www-browser", "cha", "browsh", "carbonyl", "netrik", "edbrowse"}
)
_PORTS = 20  # free ports to try, of which the first may be taken on the other address
_LONGEST_HEAD = 20_000  # bytes
_PATIENCE = 10.0  # seconds for one request
_AROUND = " \t\r\n\"'<>"  # what may stand around a pasted URL
_AGAIN = 0.1  # seconds between two pasted texts


def open_browser(url: str) -> bool:
    """Open `url` in the user's browser; False if there is none but those that draw in the terminal."""
    with suppress(webbrowser.Error):
        browser = webbrowser.get()
        words = [getattr(browser, "name", ""), *getattr(browser, "args", ())]  # such as those of `env w3m %s`
        return _CONSOLE.isdisjoint(PurePath(word).name for word in words) and browser.open(url)
    return False


async def log_in_with_browser(
    oauth: OAuthClient,
    storage: TokenStorage,
    *,
    scope: str | Sequence[str] = DEFAULT_SCOPE,
    extra_params: Mapping[str, str] | None = None,
    timeout: float = 300.0,
    open_browser: Callable[[str], object] | None = open_browser,
    show: Callable[[str], object] | None = None,
    paste: Callable[[], Awaitable[str]] | None = None,
) -> OAuthSession:
    """A session on `storage` of the user who logs in with their browser.

    oauth: its `redirect_uri` says where to listen: `http://127.0.0.1/callback` on a free port,
        `http://127.0.0.1:8765/callback` on that port; `[::1]` and `localhost` will do too.
    timeout: seconds for the user to log in.
    open_browser: opens the login URL, in a thread that the program does not wait for; None leaves it to the user.
    show: is given the login URL, a function or a coroutine function; by default it is written to standard error.
    paste: waits for the URL that the browser ended at, if the browser is on another machine; it is called again for any
        other text.

    Raises ValueError for another redirect_uri, OSError if its port is taken, CallbackError if the user said no,
    and AuthError if nobody logged in in time.
    """
    checked_kind(oauth, OAuthClient, "oauth", "an OAuthClient")
    checked_methods(storage, "storage", "get_tokens", "set_tokens", "clear_tokens")
    checked_functions(open_browser=open_browser, show=show, paste=paste)
    timeout = checked_seconds(timeout, "timeout")
    host, port, path = _loopback(oauth.redirect_uri)
    async with await _listen(_HOSTS[host], port) as listener:
        port = _port(listener)
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        login = oauth.login_url(scope=scope, extra_params=extra_params, redirect_uri=f"http://{authority}{path}")
        waiting = _Waiting(login, oauth.issuer, authority, path or "/")
        await called(show or _show, login.url)
        if open_browser is not None:
            _open(open_browser, login.url)
        callback = await waiting.wait(listener, paste, timeout)
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
    callback: Secret = field(factory=Secret)
    done: anyio.Event = field(factory=anyio.Event)

    async def wait(
        self, listener: Listener[SocketStream], paste: Callable[[], Awaitable[str]] | None, timeout: float
    ) -> Secret:
        """The callback, whichever way it comes; AuthError if it does not come in time."""
        failure: Any = None
        with anyio.move_on_after(timeout):
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(listener.serve, self.serve)
                    if paste is not None:
                        group.start_soon(self.take_pasted, paste)
                    await self.done.wait()
                    group.cancel_scope.cancel()
            except BaseExceptionGroup as several:  # of what the caller's `paste` raises, or Ctrl-C does
                failure = several.split(anyio.get_cancelled_exc_class())[1]
        while inner := getattr(failure, "exceptions", None):  # of a group of tasks in a group of tasks
            failure = inner[0]
        if failure is not None:
            raise failure
        if not self.callback:
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
                    await stream.send(_response(self._words() if accepted else None))
        if accepted:  # told only now, since it ends this task
            self.done.set()

    async def take_pasted(self, paste: Callable[[], Awaitable[str]]) -> None:
        """Ask for a pasted URL, or what a browser shows of one, until one carries this login's state."""
        while True:
            query = Secret(await paste()).strip(_AROUND).partition("?")[2]
            if self._accept(Secret(f"{self.path}?{query}")):
                return self.done.set()
            await anyio.sleep(_AGAIN)  # or an input that is at its end would be asked all the time

    def _accept(self, target: Secret) -> bool:
        """Keep the first callback that carries this login's state, whatever else it says; False for others."""
        if self.callback or not is_state(target, self.login.state) or urlsplit(target).path != self.path:
            return False
        self.callback = target
        return True

    def _words(self) -> tuple[str, str]:
        """What to tell the user about their callback."""
        try:
            read_callback(self.callback, self.login.state, self.issuer)
        except CallbackError as error:
            if error.error == "access_denied":
                return "You said no", "Nothing was let in. You can close this window and go back to the terminal."
            return "This login did not work", "The terminal says why. You can close this window and go back to it."
        return "The terminal has taken over", "You can close this window and go back to the terminal."


def _loopback(redirect_uri: str) -> tuple[str, int, str]:
    """The host, the port (0 for a free one) and the path of a redirect_uri on this machine."""
    parts = urlsplit(redirect_uri)
    if parts.scheme != "http" or parts.hostname not in _HOSTS or parts.query:
        raise ValueError("to log in with a browser, redirect_uri must look like http://127.0.0.1/callback")
    if quote(parts.path, safe="%/!$&'()*+,:;=@~") != parts.path or {".", ".."} & set(unquote(parts.path).split("/")):
        raise ValueError("redirect_uri must have a path as browsers send it: quoted, without dots for folders")
    return parts.hostname, parts.port or 0, parts.path


async def _listen(hosts: list[str], port: int) -> Listener[SocketStream]:
    """A listener on one port of all hosts that this machine has."""
    for _ in range(_PORTS - 1 if port == 0 else 0):
        with suppress(OSError):  # a port that is free on one address may be taken on the other
            return await _listen_on(hosts, port)
    return await _listen_on(hosts, port)


async def _listen_on(hosts: list[str], port: int) -> Listener[SocketStream]:
    listener = MultiListener[SocketStream]([])
    for host in hosts:
        try:
            another = await anyio.create_tcp_listener(local_host=host, local_port=port)
        except OSError as error:
            if error.errno in _NOT_HERE and listener.listeners:
                continue
            await listener.aclose()
            raise OSError(error.errno, f"cannot listen on port {port} of {host}: {error.strerror}") from None
        listener = MultiListener([listener, another])
        port = _port(listener)
    return listener


def _port(listener: Listener[SocketStream]) -> int:
    return listener.extra(SocketAttribute.local_port)  # noqa: S610  # anyio's, not Django's


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
    named = [one.partition(":")[2].strip().lower() for one in fields if one.lower().startswith("host:")]
    if len(words) != 3 or words[0] != "GET" or not words[2].startswith("HTTP/1."):
        return None
    # browsers leave out the port 80, since it goes without saying
    return words[1] if [host.removesuffix(":80") for host in named] == [authority.removesuffix(":80")] else None


def _response(words: tuple[str, str] | None) -> bytes:
    """The page that says `words`; a 404 without any."""
    body = page(*(words or ("Nothing here", "A program in a terminal waits for a login at this address.")))
    lines = ["HTTP/1.1 200 OK" if words else "HTTP/1.1 404 Not Found", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in {**HEADERS, "Content-Length": str(len(body))}.items()]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


def _open(open_browser: Callable[[str], object], url: str) -> None:
    """Open the URL in a thread that keeps no program from ending, since a browser may run for hours."""

    def run() -> None:
        with suppress(Exception):  # a browser that does not open is opened by the user
            open_browser(url)

    threading.Thread(target=run, name="log_in_with_browser", daemon=True).start()


def _show(url: str) -> None:
    sys.stderr.write(f"Log in with your browser:\n\n  {url}\n\n")

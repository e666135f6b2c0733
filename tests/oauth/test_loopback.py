"""A login from a terminal: the loopback listener believes one callback, and nobody else."""

import errno
import subprocess
import sys
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.lowlevel
import httpx
import pytest
from attrs import define, field

from prisma_mgmt import AuthError, CallbackError
from prisma_mgmt.auth import OAuthClient, OAuthSession, log_in_with_browser, loopback
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.masks import Secret
from tests.kit.canaries import leaks
from tests.kit.login import Prisma
from tests.kit.rig import Reply, serve

pytestmark = pytest.mark.anyio


@define
class Terminal:
    """A command line application whose user is asked to open a URL."""

    oauth: OAuthClient
    prisma: Prisma
    storage: MemoryTokenStorage = field(factory=MemoryTokenStorage)
    shown: list[str] = field(factory=list)
    asked: anyio.Event = field(factory=anyio.Event)
    session: OAuthSession | None = None

    def show(self, url: str) -> None:
        self.shown.append(url)
        self.asked.set()

    async def log_in(self, **options: Any) -> None:
        options = {"open_browser": None, "show": lambda url: self.show(url), **options}
        self.session = await log_in_with_browser(self.oauth, self.storage, **options)

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.shown[0]).query).items()}

    @property
    def redirect_uri(self) -> str:
        return self.query["redirect_uri"]

    @property
    def callback(self) -> str:
        return f"{self.redirect_uri}?code=the-code&state={self.query['state']}"


@asynccontextmanager
async def terminal(redirect_uri: str = "http://127.0.0.1/callback", **options: Any) -> AsyncIterator[Terminal]:
    prisma = Prisma()
    with anyio.fail_after(30):
        async with serve(prisma.handle) as server:
            yield Terminal(OAuthClient("client", redirect_uri, auth_base_url=server.url, **options), prisma)


async def get(url: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(verify=False, trust_env=False) as browser:
        return await browser.request(options.pop("method", "GET"), url, **options)


async def while_waiting(app: Terminal, visit: Callable[[], Awaitable[Any]], **options: Any) -> None:
    """Log in, with a user who does `visit` when asked, and goes to the callback unless that was it (True)."""
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: app.log_in(**options))
        await app.asked.wait()
        if not await visit():
            await get(app.callback)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_a_login_through_a_browser(host: str) -> None:
    async with terminal(f"http://{host}/auth/callback") as app:
        pages: list[httpx.Response] = []

        async def visit() -> bool:
            pages.append(await get(app.callback))
            return True

        await while_waiting(app, visit)
        assert app.session is not None
        assert await app.session.access_token() in app.prisma.live
        stored = await app.storage.get_tokens()
        assert stored is not None
        assert stored.refresh_token == "refresh-1"
        [form] = app.prisma.forms
        uri = urlsplit(form["redirect_uri"])
        assert form["redirect_uri"] == app.redirect_uri
        assert (uri.hostname, uri.path) == (host.strip("[]"), "/auth/callback")
        assert uri.port
        assert app.oauth.redirect_uri == f"http://{host}/auth/callback", "the caller's client stays as it is"
    assert pages[0].status_code == 200
    assert "go back to the terminal" in pages[0].text


async def test_localhost_listens_on_both_families() -> None:
    async with terminal("http://localhost/callback") as app:

        async def visit() -> None:
            port = urlsplit(app.redirect_uri).port
            for host in ("127.0.0.1", "[::1]"):
                answer = await get(f"http://{host}:{port}/", headers={"host": f"localhost:{port}"})
                assert answer.status_code == 404

        await while_waiting(app, visit)


async def test_the_page_is_static_and_strict() -> None:
    async with terminal() as app:
        answers: list[httpx.Response] = []

        async def visit() -> bool:
            answers.append(await get(f"{app.redirect_uri}?error=<img src=x onerror=alert(1)>&state=wrong"))
            answers.append(await get(app.callback + "&x=<script>alert(1)</script>"))
            return True

        await while_waiting(app, visit)
    for answer in answers:
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "script" not in answer.text
        assert "onerror" not in answer.text
    assert [answer.status_code for answer in answers] == [404, 200]


async def test_strangers_get_a_404_and_the_wait_goes_on() -> None:
    async with terminal() as app:

        async def visit() -> None:
            base, own = app.redirect_uri.removesuffix("/callback"), app.callback
            port = urlsplit(base).port
            for url in (
                f"{base}/favicon.ico",
                f"{base}/",
                app.redirect_uri,
                f"{app.redirect_uri}?code=c&state=wrong",
                f"{app.redirect_uri}?error=access_denied&state=wrong",
                own.replace("/callback", "/other"),
                own + "&state=again",
            ):
                assert (await get(url)).status_code == 404
            for method in ("HEAD", "POST", "OPTIONS"):
                assert (await get(own, method=method)).status_code == 404
            for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"localhost:{port}"):
                assert (await get(own, headers={"host": host})).status_code == 404

        await while_waiting(app, visit)
        assert app.session is not None
        assert len(app.prisma.forms) == 1


GARBAGE = [
    b"",
    b"GET",
    b"\r\n\r\n",
    b"\xff\xfe\r\n\r\n",
    b"GET /callback\r\n\r\n",
    b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n",
]


@pytest.mark.parametrize("sent", [*GARBAGE, b"x" * 100_000], ids=range(7))
async def test_garbage_ends_nothing(sent: bytes) -> None:
    async with terminal() as app:

        async def visit() -> None:
            port = urlsplit(app.redirect_uri).port
            assert port
            sent_whole = sent.replace(b"Host: x", f"Host: 127.0.0.1:{port}".encode())
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                try:
                    await stream.send(sent_whole)
                    await stream.send_eof()
                    assert b"404" in await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    pass

        await while_waiting(app, visit)
        assert app.session is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:80", "[::1]", "localhost"])
def test_a_browser_leaves_out_the_port_that_goes_without_saying(host: str) -> None:
    head = Secret(f"GET /callback?code=c HTTP/1.1\r\nHost: {host}\r\n\r\n")
    authority = host.removesuffix(":80") + ":80"
    assert loopback._target(head, authority) == "/callback?code=c"
    assert loopback._target(head, host.removesuffix(":80") + ":8080") is None


async def test_a_half_request_holds_up_nobody() -> None:
    async with terminal() as app:

        async def visit() -> bool:
            port = urlsplit(app.redirect_uri).port
            assert port
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(b"GET /callback?co")
                assert (await get(app.callback)).status_code == 200
            return True

        await while_waiting(app, visit)


async def test_a_second_callback_is_a_stranger() -> None:
    async with terminal() as app:
        statuses: list[int] = []

        async def visit() -> bool:
            async def once() -> None:
                try:
                    statuses.append((await get(app.callback)).status_code)
                except httpx.TransportError:
                    statuses.append(0)  # nobody listens any more

            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(once)
            return True

        await while_waiting(app, visit)
        assert statuses.count(200) == 1
        assert len(app.prisma.forms) == 1


async def test_a_user_who_says_no() -> None:
    async with terminal() as app:

        async def visit() -> None:
            url = f"{app.redirect_uri}?error=access_denied&error_description=No.&state={app.query['state']}"
            assert (await get(url)).status_code == 200

        with pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as group:
                group.start_soon(app.log_in)
                await app.asked.wait()
                await visit()
        [error] = caught.value.exceptions
        assert isinstance(error, CallbackError)
        assert (error.error, error.error_description) == ("access_denied", "No.")
        assert app.prisma.forms == []


async def test_no_secret_shows_when_a_login_fails() -> None:
    async with terminal(new_secret=lambda: "canary" * 8) as app:
        app.prisma.replies = [Reply(400, {"error": "invalid_grant", "error_description": "canary" * 8})]
        with pytest.raises(ExceptionGroup) as caught:
            await while_waiting(app, lambda: get(app.callback.replace("the-code", "canary-code")))
        [error] = caught.value.exceptions
        assert isinstance(error, AuthError)
        assert leaks(error) == []


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("?code=c&state={state}&iss=https://evil.example", "another issuer"),
        ("?state={state}", "no code"),
        ("?state={state}&code=", "no code"),
        ("?state={state}&code=a&code=b", "code more than once"),
        ("?state={state}&state={state}&code=a", "state more than once"),
        ("?state={state}&error=server_error", "server_error"),
    ],
)
async def test_whatever_a_callback_with_the_right_state_says_it_ends_the_wait(more: str, problem: str) -> None:
    async with terminal() as app:
        pages: list[httpx.Response] = []

        async def visit() -> bool:
            pages.append(await get(app.redirect_uri + more.format(state=app.query["state"])))
            return True

        with pytest.raises(ExceptionGroup) as caught:
            await while_waiting(app, visit)
        [error] = caught.value.exceptions
        assert isinstance(error, CallbackError)
        assert problem in str(error)
        assert app.prisma.forms == []
    assert "This login did not work" in pages[0].text
    assert "taken over" not in pages[0].text


async def test_the_page_after_a_denial_says_so() -> None:
    async with terminal() as app:
        pages: list[httpx.Response] = []

        async def visit() -> bool:
            pages.append(await get(f"{app.redirect_uri}?error=access_denied&state={app.query['state']}"))
            return True

        with pytest.raises(ExceptionGroup):
            await while_waiting(app, visit)
    assert "You said no" in pages[0].text
    assert "taken over" not in pages[0].text


async def test_a_pasted_denial_ends_the_wait() -> None:
    async with terminal() as app:

        async def paste() -> str:
            await app.asked.wait()
            return f"{app.redirect_uri}?error=access_denied&state={app.query['state']}"

        with pytest.raises(CallbackError, match="access_denied"):
            await app.log_in(paste=paste)


async def test_a_free_port_that_is_taken_on_the_other_address_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    create, taken = anyio.create_tcp_listener, []

    async def listen(*, local_host: str, local_port: int) -> Any:
        listener = await create(local_host=local_host, local_port=local_port)
        if local_host == "127.0.0.1" and len(taken) < 3:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            taken.append(await create(local_host="::1", local_port=port))
        return listener

    async with terminal("http://localhost/callback") as app:
        monkeypatch.setattr(anyio, "create_tcp_listener", listen)

        async def visit() -> None:
            ports = [one.extra(anyio.abc.SocketAttribute.local_port) for one in taken]
            assert len(ports) == 3
            assert urlsplit(app.redirect_uri).port not in ports

        await while_waiting(app, visit)
        for one in taken:
            await one.aclose()


async def test_localhost_is_enough_on_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    create = anyio.create_tcp_listener

    async def listen(*, local_host: str, local_port: int) -> Any:
        if ":" in local_host:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return await create(local_host=local_host, local_port=local_port)

    async with terminal("http://localhost/callback") as app:
        monkeypatch.setattr(anyio, "create_tcp_listener", listen)

        async def come_back() -> bool:
            await get(app.callback.replace("localhost", "127.0.0.1"), headers={"host": urlsplit(app.callback).netloc})
            return True

        await while_waiting(app, come_back)
        assert app.session is not None


async def test_where_no_port_is_to_be_had_it_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    async def listen(*, local_host: str, local_port: int) -> Any:
        tried.append(local_port)
        raise OSError(errno.EADDRINUSE, "taken")

    async with terminal("http://localhost/callback") as app:
        monkeypatch.setattr(anyio, "create_tcp_listener", listen)
        with pytest.raises(OSError, match="cannot listen"):
            await app.log_in()
    assert tried == [0] * 20


class Controller:
    """A browser as the webbrowser module knows it."""

    def __init__(self, name: str) -> None:
        self.name, *self.args = name.split()
        self.opened: list[str] = []

    def open(self, url: str) -> bool:
        self.opened.append(url)
        return True


@pytest.mark.parametrize(
    ("name", "graphical"),
    [
        *((name, False) for name in ("w3m", "lynx", "links", "elinks", "www-browser", "/usr/bin/w3m")),
        *((name, False) for name in ("cha %s", "browsh", "carbonyl", "env w3m %s", "env X=1 /usr/bin/lynx %s")),
        *((name, True) for name in ("firefox", "x-www-browser", "xdg-open", "/usr/bin/chromium", "env firefox %s")),
    ],
)
def test_no_browser_draws_over_the_terminal(monkeypatch: pytest.MonkeyPatch, name: str, graphical: bool) -> None:
    browser = Controller(name)
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    assert loopback.open_browser("https://auth.example") is graphical
    assert browser.opened == (["https://auth.example"] if graphical else [])


def test_a_machine_without_a_browser_opens_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def get() -> Any:
        raise webbrowser.Error

    monkeypatch.setattr(webbrowser, "get", get)
    assert loopback.open_browser("https://auth.example") is False


PROGRAM = """
import anyio, sys, threading
from prisma_mgmt.auth import OAuthClient, log_in_with_browser
from prisma_mgmt.auth.storage import MemoryTokenStorage

def hang(url):
    threading.Event().wait()

async def main():
    oauth = OAuthClient("client", "http://127.0.0.1/callback", auth_base_url="http://127.0.0.1:1")
    await log_in_with_browser(oauth, MemoryTokenStorage(), open_browser=hang, timeout=0.1)

try:
    anyio.run(main, backend=sys.argv[1])
except Exception as error:
    print(error)
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_browser_that_runs_on_keeps_no_program_from_ending(backend: str) -> None:
    command = [sys.executable, "-c", PROGRAM, backend]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "nobody logged in within 0.1 s\n"


INTERRUPTED = """
import anyio, os, signal, sys, urllib.error, urllib.request
from urllib.parse import parse_qs, urlsplit
from prisma_mgmt.auth import OAuthClient, log_in_with_browser
from prisma_mgmt.auth.storage import MemoryTokenStorage

def interrupt(url):
    here = parse_qs(urlsplit(url).query)["redirect_uri"][0]
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(here)
    except urllib.error.HTTPError:  # it is a stranger there, so by now the program waits
        os.kill(os.getpid(), signal.SIGINT)

async def paste():
    if sys.argv[2] == "pasting":
        raise KeyboardInterrupt
    await anyio.sleep_forever()

async def main():
    oauth = OAuthClient("client", "http://127.0.0.1/callback", auth_base_url="http://127.0.0.1:1")
    await log_in_with_browser(oauth, MemoryTokenStorage(), open_browser=interrupt, show=len, paste=paste, timeout=30)

try:
    anyio.run(main, backend=sys.argv[1])
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("at", ["waiting", "pasting"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ctrl_c_ends_a_login_as_it_ends_any_program(backend: str, at: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, backend, at]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.stdout, ended.returncode) == ("interrupted\n", 0), ended.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"oauth": MemoryTokenStorage()}, "oauth must be an OAuthClient"),
        ({"storage": "tokens.json"}, "storage must be an object with the methods"),
        ({"storage": MemoryTokenStorage}, "not the class MemoryTokenStorage"),
        ({"timeout": "5"}, "timeout must be a number"),
        ({"open_browser": True}, "open_browser must be a function, not bool"),
        ({"open_browser": "firefox"}, "open_browser must be a function, not str"),
        ({"show": 1}, "show must be a function"),
        ({"paste": "x"}, "paste must be a function"),
        ({"scope": None}, "scope must be text"),
    ],
)
async def test_wrong_options_are_said_at_once(options: dict[str, Any], problem: str) -> None:
    oauth = OAuthClient("client", "http://127.0.0.1/callback")
    with pytest.raises(TypeError, match=problem):
        await log_in_with_browser(**{"oauth": oauth, "storage": MemoryTokenStorage(), "timeout": 0.1, **options})


async def test_a_user_who_never_comes_back() -> None:
    async with terminal() as app:
        with pytest.raises(AuthError, match=r"nobody logged in within 0\.05 s"):
            await app.log_in(timeout=0.05)
        with pytest.raises(OSError, match="connect"):
            await anyio.connect_tcp("127.0.0.1", urlsplit(app.redirect_uri).port or 0)


async def test_cancelling_closes_the_listener() -> None:
    async with terminal() as app:
        async with anyio.create_task_group() as group:
            group.start_soon(app.log_in)
            await app.asked.wait()
            group.cancel_scope.cancel()
        with pytest.raises(OSError, match="connect"):
            await anyio.connect_tcp("127.0.0.1", urlsplit(app.redirect_uri).port or 0)


async def test_a_pasted_url_serves_where_the_browser_is_elsewhere() -> None:
    async with terminal() as app:
        pasted = iter(["", "nonsense", "http://[", "http://127.0.0.1/callback?code=c&state=wrong"])

        async def paste() -> str:
            await app.asked.wait()
            return next(pasted, f" {app.callback}\n")

        await app.log_in(paste=paste)
        assert app.session is not None
        assert app.prisma.forms[0]["code"] == "the-code"


@pytest.mark.parametrize("shown", ['"{}"', "{}#", "localhost:1/callback?{query}", "?{query}"])
async def test_what_a_browser_shows_of_a_url_may_be_pasted(shown: str) -> None:
    async with terminal() as app:

        async def paste() -> str:
            await app.asked.wait()
            return shown.format(app.callback, query=app.callback.partition("?")[2])

        await app.log_in(paste=paste)
        assert app.session is not None


@pytest.mark.parametrize("path", ["/cällback", "/a/../callback", "/a b", "/.", "/%2E%2e/x"])
async def test_a_path_that_browsers_rewrite_is_refused_at_once(path: str) -> None:
    with pytest.raises(ValueError, match="path as browsers send it"):
        await log_in_with_browser(OAuthClient("client", f"http://127.0.0.1{path}"), MemoryTokenStorage(), timeout=0.1)


async def test_a_redirect_uri_without_a_path_is_sent_without_one() -> None:
    async with terminal("http://127.0.0.1") as app:
        await while_waiting(app, anyio.lowlevel.checkpoint)
        assert urlsplit(app.redirect_uri).path == ""
        assert app.prisma.forms[0]["redirect_uri"] == app.redirect_uri
        assert app.session is not None


async def test_the_url_may_be_shown_by_a_coroutine_function() -> None:
    async with terminal() as app:

        async def show(url: str) -> None:
            await anyio.lowlevel.checkpoint()
            app.show(url)

        async def paste() -> str:
            await app.asked.wait()
            return app.callback

        await app.log_in(show=show, paste=paste, timeout=10)
        assert app.session is not None


async def test_what_the_callers_paste_raises_comes_as_it_is() -> None:
    async def paste() -> str:
        raise EOFError("no terminal")

    async with terminal() as app:
        with pytest.raises(EOFError, match="no terminal"):
            await app.log_in(paste=paste)


async def test_a_fixed_port_and_one_that_is_taken() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with terminal(f"http://127.0.0.1:{port}/callback") as app:
        with pytest.raises(OSError, match=f"cannot listen on port {port} of 127.0.0.1") as caught:
            await app.log_in()
        assert caught.value.errno == errno.EADDRINUSE
        await listener.aclose()

        async def visit() -> None:
            assert app.redirect_uri == f"http://127.0.0.1:{port}/callback"

        await while_waiting(app, visit)


async def test_a_browser_that_fails_leaves_the_url_to_the_user() -> None:
    opened: list[str] = []

    def fail(url: str) -> None:
        opened.append(url)
        raise RuntimeError("no display")

    async with terminal() as app:

        async def visit() -> None:
            while not opened:
                await anyio.lowlevel.checkpoint()

        await while_waiting(app, visit, open_browser=fail, scope="workspace:admin", extra_params={"prompt": "login"})
        assert opened == app.shown
        assert (app.query["scope"], app.query["prompt"]) == ("workspace:admin", "login")


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://app.example/callback",
        "http://0.0.0.0/callback",
        "https://127.0.0.1/",
        "http://127.0.0.1/?x=1",
        "app:/x",
    ],
)
async def test_a_redirect_uri_of_another_machine(redirect_uri: str) -> None:
    async with terminal(redirect_uri) as app:
        with pytest.raises(ValueError, match=r"http://127\.0\.0\.1/callback"):
            await app.log_in()


def test_the_url_is_shown_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    loopback._show("https://auth.example/authorize?x=1")
    assert "  https://auth.example/authorize?x=1\n" in capsys.readouterr().err
    assert "prisma_mgmt.auth.loopback" in sys.modules

"""A person logs in: Chromium, driven over WebDriver, from a terminal and in a web application, at the sandbox."""

import os
import subprocess
import tempfile
import threading
import time
from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from attrs import define
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from prisma_mgmt import CallbackError, ManagementClient
from prisma_mgmt.auth import LoginApp, OAuthClient, SessionManager, log_in_with_browser, new_key
from prisma_mgmt.auth.storage import FileTokenStorage, MemoryTokenStorage
from prisma_mgmt.sandbox import Sandbox
from tests.conftest import FakeClock
from tests.kit.servers import free_port, program

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


class Browser:
    """One window of a real browser."""

    def __init__(self, driver: httpx.Client) -> None:
        self._driver = driver

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._driver.request(method, path, json=body)
        value = answer.json()["value"]
        assert answer.is_success, value
        return value

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def click(self, button: str) -> None:
        self._press("xpath", f"//button[normalize-space()='{button}']")

    def follow(self, link: str) -> None:
        self._press("link text", link)

    def _press(self, using: str, value: str) -> None:
        """Click on what is there, or comes with the page that is on its way."""
        end = time.monotonic() + 20
        while True:
            try:
                (element,) = self._call("POST", "/element", {"using": using, "value": value}).values()
                self._call("POST", f"/element/{element}/click", {})
                return
            except AssertionError:
                if time.monotonic() > end:
                    raise

    def back(self) -> None:
        self._call("POST", "/back", {})

    def tab(self) -> str:
        """Open a tab and go there; gives its handle."""
        handle = str(self._call("POST", "/window/new", {"type": "tab"})["handle"])
        self.switch(handle)
        return handle

    def switch(self, handle: str) -> None:
        self._call("POST", "/window", {"handle": handle})

    @property
    def handle(self) -> str:
        return str(self._call("GET", "/window"))

    def close(self) -> None:
        self._call("DELETE", "/window")

    @property
    def cookies(self) -> dict[str, dict[str, Any]]:
        return {cookie["name"]: cookie for cookie in self._call("GET", "/cookie")}

    def forget_cookies(self) -> None:
        self._call("DELETE", "/cookie")

    def run(self, script: str) -> Any:
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def pretend(self, *, width: int = 1200, dark: bool = False) -> None:
        """Be a screen of this width, light or dark."""
        phone = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        for command, options in (
            ("Emulation.setDeviceMetricsOverride", phone),
            ("Emulation.setEmulatedMedia", {"features": [scheme]}),
        ):
            self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": options})

    def look(self, name: str) -> None:
        """Keep a picture of the page, if somebody wants to see it."""
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder, f"{name}.png").write_bytes(b64decode(self._call("GET", "/screenshot")))

    @property
    def text(self) -> str:
        (element,) = self._call("POST", "/element", {"using": "css selector", "value": "body"}).values()
        return str(self._call("GET", f"/element/{element}/text"))

    def shows(self, words: str) -> bool:
        """If the page has these words, or the one that it is about to give way to."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with suppress(AssertionError):  # the page went away between the two questions
                if words in self.text:
                    return True
        return False

    @property
    def url(self) -> str:
        return str(self._call("GET", "/url"))


@contextmanager
def chromium() -> Iterator[Browser]:
    driver, binary = program("chromedriver"), program("chromium")
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [driver, f"--port={port}", f"--log-path={Path(profile, 'driver.log')}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            try:
                assert process.stdout is not None
                while b"started successfully" not in (line := process.stdout.readline()):
                    assert line, "chromedriver did not start"
                options = {"binary": binary, "args": [*FLAGS, f"--user-data-dir={profile}"]}
                wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
                with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http:
                    made = http.post("/session", json=wanted).json()["value"]
                    assert "sessionId" in made, made
                    session = f"http://127.0.0.1:{port}/session/{made['sessionId']}"
                    http.base_url = httpx.URL(session)
                    try:
                        yield Browser(http)
                    finally:
                        assert http.delete(session).is_success, "the browser would outlive its driver"
            finally:
                process.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


async def test_a_person_logs_in_through_chromium(browser: Browser, tmp_path: Path) -> None:
    with Sandbox(auto_approve=False) as sandbox:
        oauth = OAuthClient(sandbox.client_id, "http://127.0.0.1/callback", auth_base_url=sandbox.auth_url)

        def approve(url: str) -> None:
            browser.open(url)
            assert browser.shows("workspace:admin offline_access")
            browser.click("Approve")
            browser.look("terminal-done")

        storage = FileTokenStorage(tmp_path / "tokens.json")
        session = await log_in_with_browser(oauth, storage, open_browser=approve, show=lambda _: None, timeout=60)
        assert "close this window" in await anyio.to_thread.run_sync(lambda: browser.text)
        async with session, ManagementClient(session, base_url=sandbox.api_url) as prisma:
            assert (await prisma.me.get()).credential.type == "oauth"


async def test_a_person_says_no(browser: Browser, tmp_path: Path) -> None:
    with Sandbox(auto_approve=False) as sandbox:
        oauth = OAuthClient(sandbox.client_id, "http://127.0.0.1/callback", auth_base_url=sandbox.auth_url)

        def deny(url: str) -> None:
            browser.open(url)
            browser.click("Deny")
            browser.look("terminal-denied")

        storage = FileTokenStorage(tmp_path / "tokens.json")
        with pytest.raises(CallbackError) as caught:
            await log_in_with_browser(oauth, storage, open_browser=deny, show=lambda _: None, timeout=60)
        assert caught.value.error == "access_denied"
        assert await storage.get_tokens() is None
        assert browser.shows("You said no")


# A web application


HOME = """<!doctype html><meta charset="utf-8"><title>shop</title><h1>{who}</h1>
<a href="/prisma/login?next=/projects">Log in</a>
<form method="post" action="/prisma/logout"><button>Log out</button></form>"""


@define(eq=False)
class Shop:
    """A Starlette application with a LoginApp, served over a socket."""

    url: str
    clock: FakeClock
    storages: dict[str, MemoryTokenStorage]


@contextmanager
def shop_at(sandbox: Sandbox) -> Iterator[Shop]:
    port, clock = free_port(), FakeClock()
    shop = Shop(f"http://127.0.0.1:{port}", clock, defaultdict(MemoryTokenStorage))
    options: dict[str, Any] = {"auth_base_url": sandbox.auth_url, "now": clock.now}
    oauth = OAuthClient(sandbox.client_id, f"{shop.url}/prisma/callback", **options)
    login = LoginApp(oauth, SessionManager(oauth, shop.storages.__getitem__, leeway=0), [new_key()])

    async def home(request: Request) -> HTMLResponse:
        session = login.session(request)
        if session is None:
            return HTMLResponse(HOME.format(who="Nobody is here"))
        async with ManagementClient(session, base_url=sandbox.api_url) as prisma:
            kind = (await prisma.me.get()).credential.type
        return HTMLResponse(HOME.format(who=f"Hello, {kind} at {request.url.path}"))

    app = Starlette(routes=[Mount("/prisma", login), Route("/{path:path}", home)])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.01)
        yield shop
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def asking() -> Iterator[Sandbox]:
    with Sandbox(auto_approve=False, redirect_uris=("http://127.0.0.1/prisma/callback",)) as sandbox:
        yield sandbox


@pytest.fixture
def shop(asking: Sandbox, browser: Browser) -> Iterator[Shop]:
    with shop_at(asking) as shop:
        browser.pretend()
        browser.open(shop.url)
        browser.forget_cookies()
        yield shop


def log_in(browser: Browser, shop: Shop) -> None:
    browser.open(f"{shop.url}/")
    browser.follow("Log in")
    browser.click("Approve")
    assert browser.shows("Hello, oauth at /projects")


def test_a_person_logs_in_and_out_of_a_web_application(browser: Browser, shop: Shop) -> None:
    browser.open(shop.url)
    assert browser.shows("Nobody is here")
    log_in(browser, shop)
    assert browser.url == f"{shop.url}/projects"
    cookies = browser.cookies
    assert list(cookies) == ["prisma_session"], "the login's own cookie is gone"
    assert cookies["prisma_session"]["httpOnly"]
    assert cookies["prisma_session"]["sameSite"] == "Lax"
    assert browser.run("return document.cookie") == ""
    browser.click("Log out")
    assert browser.shows("Nobody is here")
    assert browser.url == f"{shop.url}/"
    assert browser.cookies == {}


def test_a_person_asks_to_log_out_by_a_link(browser: Browser, shop: Shop) -> None:
    log_in(browser, shop)
    browser.open(f"{shop.url}/prisma/logout")
    browser.look("logout")
    browser.click("Log out")
    assert browser.shows("Nobody is here")


def test_another_site_logs_nobody_out(browser: Browser, shop: Shop, asking: Sandbox) -> None:
    log_in(browser, shop)
    elsewhere = shop.url.replace("127.0.0.1", "localhost")
    browser.open(f"{elsewhere}/")
    browser.run(f"document.forms[0].action = '{shop.url}/prisma/logout'")
    browser.click("Log out")
    assert browser.shows("You are still logged in")
    browser.open(shop.url)
    assert browser.shows("Hello, oauth")


def test_a_person_says_no_to_a_web_application_and_then_yes(browser: Browser, shop: Shop) -> None:
    browser.open(shop.url)
    browser.follow("Log in")
    browser.click("Deny")
    assert browser.shows("You said no")
    assert browser.cookies == {}
    for name, width, dark in (("denied", 1200, False), ("denied-dark", 1200, True), ("denied-phone", 375, True)):
        browser.pretend(width=width, dark=dark)
        browser.look(name)
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    browser.follow("Log in")
    browser.click("Approve")
    assert browser.shows("Hello, oauth")


def test_a_person_with_two_tabs(browser: Browser, shop: Shop) -> None:
    first = browser.handle
    browser.open(shop.url)
    browser.follow("Log in")
    browser.tab()
    log_in(browser, shop)
    browser.close()
    browser.switch(first)
    browser.click("Approve")
    assert browser.shows("Hello, oauth at /projects")
    held = [storage for storage in shop.storages.values() if storage._tokens is not None]
    assert len(held) == 1, "the second login took the place of the first"


def test_a_person_who_goes_back_and_says_yes_once_more(browser: Browser, shop: Shop) -> None:
    log_in(browser, shop)
    browser.back()
    assert browser.shows("Approve")
    browser.click("Approve")
    assert browser.shows("You are logged in already")
    browser.pretend(width=375)
    browser.look("already-phone")
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    browser.follow("Go on")
    assert browser.shows("Hello, oauth")


def test_a_person_who_opens_a_callback_again(browser: Browser, shop: Shop) -> None:
    """In another browser, or after a logout."""
    browser.open(f"{shop.url}/prisma/callback?code=old&state=old")
    assert browser.shows("This login is over")
    browser.look("over")
    browser.follow("Log in")
    browser.click("Approve")
    assert browser.shows("Hello, oauth")


def test_a_person_who_takes_too_long(browser: Browser, shop: Shop) -> None:
    browser.open(shop.url)
    browser.follow("Log in")
    shop.clock.time += 601
    browser.click("Approve")
    assert browser.shows("This login is over")


def test_the_style_of_the_pages_is_what_their_policy_allows(browser: Browser, shop: Shop) -> None:
    browser.open(f"{shop.url}/prisma/callback")
    assert browser.run("return getComputedStyle(document.querySelector('main')).borderRadius") != "0px"
    browser.pretend(dark=True)
    dark = browser.run("return getComputedStyle(document.body).backgroundColor")
    browser.pretend(dark=False)
    assert browser.run("return getComputedStyle(document.body).backgroundColor") != dark

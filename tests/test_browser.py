"""A person logs in: Chromium, driven over WebDriver, from a terminal and in a web application, at the sandbox."""

import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
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
from tests.examples.programs import EXAMPLES, serving
from tests.kit.browser import Browser, chromium
from tests.kit.servers import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


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
<a href="/prisma/login?next=/projects">Log in with Prisma</a>
<form method="post" action="/prisma/logout"><button>Log out</button></form>"""


@define(eq=False)
class Shop:
    """A web application with a LoginApp, served over a socket."""

    url: str
    mount: str
    greeting: str  # to a person who has logged in
    let_the_login_expire: Callable[[Browser], None]
    storages: dict[str, MemoryTokenStorage] | None = None  # None if they are in another process


@contextmanager
def shop_at(sandbox: Sandbox, after_logout: str = "/") -> Iterator[Shop]:
    """A Starlette application of a few lines, in a thread, whose clock moves when a test says so."""
    port, clock = free_port(), FakeClock()

    def expire(_: Browser) -> None:
        clock.time += 601

    storages: dict[str, MemoryTokenStorage] = defaultdict(MemoryTokenStorage)
    shop = Shop(f"http://127.0.0.1:{port}", "/prisma", "Hello, oauth", expire, storages)
    options: dict[str, Any] = {"auth_base_url": sandbox.auth_url, "now": clock.now}
    oauth = OAuthClient(sandbox.client_id, f"{shop.url}{shop.mount}/callback", **options)
    login = LoginApp(
        oauth, SessionManager(oauth, storages.__getitem__, leeway=0), [new_key()], after_logout=after_logout
    )

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
    callbacks = ("http://127.0.0.1/prisma/callback", "http://127.0.0.1/auth/callback")
    with Sandbox(auto_approve=False, redirect_uris=callbacks) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def served(asking: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The FastAPI example, in a process of its own, as its users run it. The API knows one project."""
    port = free_port()
    shop = Shop(f"http://127.0.0.1:{port}", "/auth", "Bücher & <b>Brot</b>", Browser.forget_cookies)
    named = {"PRISMA_REDIRECT_URI": f"{shop.url}/auth/callback", "LOGIN_KEYS": new_key(), **asking.environment}

    async def make_a_project() -> None:
        async with asking.client() as prisma:
            await prisma.projects.create(name=shop.greeting, create_database=False)

    anyio.run(make_a_project)
    command = [sys.executable, str(EXAMPLES / "fastapi_app.py")]
    with serving(command, cwd=tmp_path_factory.mktemp("shop"), PORT=str(port), **named):
        yield shop


@pytest.fixture(params=["starlette", "fastapi_app.py"])
def shop(request: pytest.FixtureRequest, asking: Sandbox, browser: Browser) -> Iterator[Shop]:
    if request.param == "starlette":
        with shop_at(asking) as shop:
            yield from visited(browser, shop)
    else:
        yield from visited(browser, request.getfixturevalue("served"))


@pytest.fixture
def small_shop(asking: Sandbox, browser: Browser) -> Iterator[Shop]:
    with shop_at(asking) as shop:
        yield from visited(browser, shop)


@pytest.fixture
def example(browser: Browser, served: Shop) -> Iterator[Shop]:
    yield from visited(browser, served)


def visited(browser: Browser, shop: Shop) -> Iterator[Shop]:
    browser.pretend()
    browser.open(shop.url)
    browser.forget_cookies()
    yield shop


def log_in(browser: Browser, shop: Shop) -> None:
    browser.open(f"{shop.url}/")
    browser.follow("Log in with Prisma")
    browser.click("Approve")
    assert browser.shows(shop.greeting)
    assert browser.url == f"{shop.url}/projects"


def fits(browser: Browser) -> bool:
    """If nobody has to scroll to the side."""
    return bool(browser.run("return document.documentElement.scrollWidth <= window.innerWidth"))


def test_a_person_logs_in_and_out_of_a_web_application(browser: Browser, shop: Shop) -> None:
    browser.open(shop.url)
    assert browser.shows("Nobody is here")
    log_in(browser, shop)
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
    browser.open(f"{shop.url}{shop.mount}/logout")
    browser.look("logout")
    browser.click("Log out")
    assert browser.shows("Nobody is here")


def test_a_logout_may_lead_to_another_site(browser: Browser, asking: Sandbox) -> None:
    with shop_at(asking, after_logout=f"{asking.api_url}/") as shop:
        log_in(browser, shop)
        browser.open(f"{shop.url}/prisma/logout")
        browser.click("Log out")
        assert browser.shows("This is a sandbox")
        assert browser.url == f"{asking.api_url}/"


def test_another_site_logs_nobody_out(browser: Browser, small_shop: Shop, asking: Sandbox) -> None:
    log_in(browser, small_shop)
    elsewhere = small_shop.url.replace("127.0.0.1", "localhost")
    browser.open(f"{elsewhere}/")
    browser.run(f"document.forms[0].action = '{small_shop.url}/prisma/logout'")
    browser.click("Log out")
    assert browser.shows("You are still logged in")
    browser.open(small_shop.url)
    assert browser.shows("Hello, oauth")


def test_a_person_says_no_to_a_web_application_and_then_yes(browser: Browser, shop: Shop) -> None:
    browser.open(shop.url)
    browser.follow("Log in with Prisma")
    browser.click("Deny")
    assert browser.shows("You said no")
    assert browser.cookies == {}
    for name, width, dark in (("denied", 1200, False), ("denied-dark", 1200, True), ("denied-phone", 375, True)):
        browser.pretend(width=width, dark=dark)
        browser.look(name)
        assert fits(browser)
    browser.follow("Log in")
    browser.click("Approve")
    assert browser.shows(shop.greeting)


def test_a_person_with_two_tabs(browser: Browser, shop: Shop) -> None:
    first = browser.handle
    browser.open(shop.url)
    browser.follow("Log in with Prisma")
    browser.tab()
    log_in(browser, shop)
    browser.close()
    browser.switch(first)
    browser.click("Approve")
    assert browser.shows(shop.greeting)
    assert browser.url == f"{shop.url}/projects"
    if shop.storages is not None:
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
    assert fits(browser)
    browser.follow("Go on")
    assert browser.shows(shop.greeting)


def test_a_person_who_opens_a_callback_again(browser: Browser, shop: Shop) -> None:
    """In another browser, or after a logout."""
    browser.open(f"{shop.url}{shop.mount}/callback?code=old&state=old")
    assert browser.shows("This login is over")
    browser.look("over")
    browser.follow("Log in")
    browser.click("Approve")
    assert browser.shows(shop.greeting)


def test_a_person_who_takes_too_long(browser: Browser, shop: Shop) -> None:
    browser.open(shop.url)
    browser.follow("Log in with Prisma")
    shop.let_the_login_expire(browser)
    browser.click("Approve")
    assert browser.shows("This login is over")


def test_a_person_whose_session_has_expired_comes_back_to_where_they_were(browser: Browser, example: Shop) -> None:
    log_in(browser, example)
    browser.forget_cookies()
    browser.open(f"{example.url}/projects")
    browser.pretend(width=375)
    assert browser.shows("Approve")
    browser.look("consent-phone")
    assert fits(browser)
    browser.click("Approve")
    assert browser.shows(example.greeting)
    browser.look("projects-phone")
    assert fits(browser)
    assert browser.url == f"{example.url}/projects"


def test_a_person_whose_login_prisma_refuses_or_has_ended(browser: Browser, example: Shop, asking: Sandbox) -> None:
    log_in(browser, example)
    asking.fail("GET /v1/projects", status=401, times=2)  # the second one is for a new token
    browser.open(f"{example.url}/projects")
    assert browser.shows("Prisma refused your login")
    browser.look("refused")
    browser.open(f"{example.url}/projects")
    assert browser.shows(example.greeting)
    asking.revoke_refresh_tokens()
    asking.expire_access_tokens()
    browser.open(f"{example.url}/projects")
    browser.click("Approve")
    assert browser.shows(example.greeting)


def test_the_style_of_the_pages_is_what_their_policy_allows(browser: Browser, small_shop: Shop) -> None:
    browser.open(f"{small_shop.url}/prisma/callback")
    assert browser.run("return getComputedStyle(document.querySelector('main')).borderRadius") != "0px"
    browser.pretend(dark=True)
    dark = browser.run("return getComputedStyle(document.body).backgroundColor")
    browser.pretend(dark=False)
    assert browser.run("return getComputedStyle(document.body).backgroundColor") != dark

"""LoginApp: what a browser meets at /login, /callback and /logout, with the sandbox as the login server."""

import re
import traceback
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from html import unescape
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio
import httpx
import pytest
from attrs import define

from prisma_mgmt import AuthError, CallbackError, ManagementClient, PrismaError
from prisma_mgmt.auth import LoginApp, OAuthClient, OAuthSession, SessionManager, Tokens
from prisma_mgmt.auth.sealing import Box
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.sandbox import Sandbox
from tests.conftest import FakeClock
from tests.kit.canaries import leaks
from tests.oauth.test_sealing import UNSAFE

pytestmark = pytest.mark.anyio

HOME = "https://app.example/prisma"
KEY, OTHER_KEY = "A" * 43, "B" * 42 + "A"  # as new_key() gives them, and the same in every process


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(redirect_uris=(f"{HOME}/callback", "http://127.0.0.1:8765/callback")) as sandbox:
        yield sandbox


@define(eq=False)
class Site:
    """An application with a LoginApp at /prisma, its storages, and one browser."""

    sandbox: Sandbox
    oauth: OAuthClient
    storages: dict[str, MemoryTokenStorage]
    login: LoginApp
    browser: httpx.AsyncClient

    async def begin(self, path: str = "login", **query: str) -> str:
        """Follow a link to the login; the callback that the login server sends the browser to."""
        answer = await self.browser.get(f"/prisma/{path}", params=query)
        assert answer.status_code == 303, answer.text
        return await self.approve(answer.headers["location"])

    async def approve(self, url: str) -> str:
        async with httpx.AsyncClient() as outside:
            return (await outside.get(url)).headers["location"]

    async def log_in(self, **query: str) -> httpx.Response:
        return await self.browser.get(await self.begin(**query))

    @property
    def session(self) -> OAuthSession | None:
        return self.login.session(dict(self.browser.cookies))

    @property
    def pending(self) -> list[str]:
        return [name for name in self.browser.cookies if "prisma_login_" in name]

    async def stored(self) -> list[Tokens]:
        return [tokens for one in self.storages.values() if (tokens := await one.get_tokens())]


@asynccontextmanager
async def site_at(
    sandbox: Sandbox, *, home: str = HOME, clock: FakeClock | None = None, **options: Any
) -> AsyncIterator[Site]:
    named = {"auth_base_url": sandbox.auth_url, **({"now": clock.now} if clock else {})}
    oauth = OAuthClient(sandbox.client_id, f"{home}/callback", **{**named, **options.pop("client", {})})
    storages: dict[str, MemoryTokenStorage] = defaultdict(MemoryTokenStorage)
    async with SessionManager(oauth, storages.__getitem__) as sessions:
        login = LoginApp(oauth, sessions, options.pop("keys", [KEY]), **options)
        transport = httpx.ASGITransport(login)
        with anyio.fail_after(30):
            async with httpx.AsyncClient(transport=transport, base_url=home.removesuffix("/prisma")) as browser:
                yield Site(sandbox, oauth, storages, login, browser)


@pytest.fixture
async def site(sandbox: Sandbox) -> AsyncIterator[Site]:
    async with site_at(sandbox) as site:
        yield site


def cookies_set_by(answer: httpx.Response) -> dict[str, Any]:
    found = SimpleCookie()
    for one in answer.headers.get_list("set-cookie"):
        found.load(one)
    return dict(found)


def links_of(answer: httpx.Response) -> list[str]:
    return [unescape(one) for one in re.findall(r'href="([^"]*)"', answer.text)]


# From login to logout


async def test_from_login_to_logout(site: Site) -> None:
    assert site.session is None
    answer = await site.log_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    session = site.session
    assert session is not None
    async with ManagementClient(session, base_url=site.sandbox.api_url) as prisma:
        assert (await prisma.me.get()).credential.type == "oauth"
    assert len(await site.stored()) == 1
    answer = await site.browser.post("/prisma/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert site.session is None
    assert await site.stored() == []
    assert not site.browser.cookies


async def test_where_to_go_on_to(sandbox: Sandbox) -> None:
    async with site_at(sandbox, after_login="/projects?x=ä", after_logout="https://other.example/bye") as site:
        assert (await site.log_in()).headers["location"] == "/projects?x=%C3%A4"
        assert (await site.log_in(next="/a/b?c=%2F#d")).headers["location"] == "/a/b?c=%2F#d"
        assert (await site.browser.post("/prisma/logout")).headers["location"] == "https://other.example/bye"


@pytest.mark.parametrize("path", [one for one in UNSAFE if one.isascii()])
async def test_no_login_ends_at_another_site(site: Site, path: str) -> None:
    assert (await site.log_in(next=path)).headers["location"] == "/"


async def test_a_login_asks_for_the_scope_that_was_given(sandbox: Sandbox) -> None:
    async with site_at(sandbox, scope=["workspace:admin"]) as site:
        await site.log_in()
        assert [tokens.scope for tokens in await site.stored()] == ["workspace:admin"]


async def test_a_login_sends_the_further_parameters_that_were_given(sandbox: Sandbox) -> None:
    async with site_at(sandbox, extra_params={"prompt": "consent"}) as site:
        assert "prompt=consent" in (await site.browser.get("/prisma/login")).headers["location"]
    with pytest.raises(ValueError, match="state"):
        async with site_at(sandbox, extra_params={"state": "mine"}):
            pass


@pytest.mark.parametrize("prefix", ["", "/prisma", "/a/deep/prefix", "/prisma/prisma"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_app_answers_under_any_prefix_and_with_a_trailing_slash(site: Site, prefix: str, slash: str) -> None:
    callback = urlsplit(await site.approve((await site.browser.get(f"{prefix}/login{slash}")).headers["location"]))
    answer = await site.browser.get(f"{prefix}/callback{slash}?{callback.query}")
    assert answer.status_code == 303
    assert (await site.browser.post(f"{prefix}/logout{slash}")).status_code == 303


# Cookies


async def test_the_cookies_are_for_https_and_for_no_script(site: Site) -> None:
    begun = cookies_set_by(await site.browser.get("/prisma/login"))
    done = cookies_set_by(await site.log_in())
    assert list(begun) == [name for name in begun if name.startswith("__Host-prisma_login_")]
    assert "prisma_session" in done
    for cookie in [*begun.values(), *done.values()]:
        assert (cookie["httponly"], cookie["secure"], cookie["samesite"], cookie["path"]) == (True, True, "Lax", "/")
    assert {cookie["max-age"] for cookie in begun.values()} == {"600"}
    assert done["prisma_session"]["max-age"] == str(30 * 24 * 3600)


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765"])
async def test_the_cookies_of_an_application_on_this_machine_do_without_https(sandbox: Sandbox, host: str) -> None:
    async with site_at(sandbox, home=f"http://{host}/prisma") as site:
        [cookie] = cookies_set_by(await site.browser.get("/prisma/login")).values()
    assert not cookie["secure"]
    assert cookie.key.startswith("prisma_login_")


@pytest.mark.parametrize("name", ["__Host-prisma", "__Secure-prisma"])
async def test_a_cookie_whose_name_asks_for_https_is_for_https_on_this_machine_too(sandbox: Sandbox, name: str) -> None:
    """Or no browser would keep it. They count this machine as safe."""
    async with site_at(sandbox, home="http://127.0.0.1:8765", cookie=name) as site:
        set_by = cookies_set_by(await site.log_in())
        assert set_by[name]["secure"]


async def test_behind_a_proxy_that_ends_tls_the_cookies_stay_for_https(site: Site) -> None:
    """The application is asked over plain http, under a name of the proxy's."""
    transport = httpx.ASGITransport(site.login)
    async with httpx.AsyncClient(transport=transport, base_url="http://10.0.0.7:8000") as inside:
        begun = await inside.get("/login", headers={"host": "internal"})
        query = urlsplit(await site.approve(begun.headers["location"])).query
        sent = {name: cookie.value for name, cookie in cookies_set_by(begun).items()}
        answer = await inside.get(
            f"/callback?{query}", headers={"cookie": "; ".join(f"{k}={v}" for k, v in sent.items())}
        )
    assert answer.status_code == 303
    assert cookies_set_by(answer)["prisma_session"]["secure"]


async def test_a_browser_holds_three_pending_logins_at_most(site: Site) -> None:
    begun = []
    for _ in range(34):
        await site.browser.get("/prisma/login")
        begun.append(site.pending[-1])
    assert site.pending == begun[-3:]


async def test_another_applications_pending_logins_are_left_alone(site: Site) -> None:
    site.browser.cookies.set("prisma_login_0123456789abcdef", "v1.of-another-application")
    for _ in range(5):
        await site.browser.get("/prisma/login")
    assert "prisma_login_0123456789abcdef" in site.browser.cookies
    assert len(site.pending) == 4


async def test_each_login_has_a_session_of_its_own_and_ends_the_one_before(site: Site) -> None:
    await site.log_in()
    first, cookie = site.session, site.browser.cookies["prisma_session"]
    await site.log_in()
    assert site.session is not first
    assert site.browser.cookies["prisma_session"] != cookie
    assert len(site.storages) == 2
    assert all(len(session_id) == 43 for session_id in site.storages)
    assert len(await site.stored()) == 1
    assert not [session_id for session_id in site.storages if session_id in site.browser.cookies["prisma_session"]]


async def test_a_login_ends_in_the_browser_after_max_age(sandbox: Sandbox, clock: FakeClock) -> None:
    async with site_at(sandbox, clock=clock, max_age=3600) as site:
        await site.log_in()
        clock.time += 3599
        assert site.session is not None
        clock.time += 1
        assert site.session is None


@pytest.mark.parametrize("before", ["", "\xa0__Host-", "\x85__Host-", "\xa0 __Host-", "__host-", "__Host-\xa0"])
async def test_no_other_host_of_the_domain_begins_a_login_for_a_user(site: Site, before: str) -> None:
    """It can set every cookie but those whose name begins with __Host-, and so log the user in as itself."""
    callback = await site.begin()
    [name], cookies = site.pending, dict(site.browser.cookies)
    site.browser.cookies.clear()
    planted = f"{before}{name.removeprefix('__Host-')}={cookies[name]}".encode("latin-1")
    answer = await site.browser.get(callback, headers={b"cookie": planted})
    assert (answer.status_code, "This login is over" in answer.text) == (400, True)
    assert site.session is None
    done = await site.browser.get(callback, headers={b"cookie": f"x=y;\t {name} = {cookies[name]}\t; z".encode()})
    assert done.status_code == 303


async def test_a_cookie_of_a_login_is_deleted_as_it_was_set(site: Site) -> None:
    """A browser takes no cookie of this name, not even to delete it, that is not for https, or for one path only."""
    begun, done = cookies_set_by(await site.browser.get("/prisma/login")), cookies_set_by(await site.log_in())
    gone = [cookie for cookie in done.values() if cookie["max-age"] == "0"]
    assert [cookie.key.startswith("__Host-prisma_login_") for cookie in [*begun.values(), *gone]] == [True, True]
    for cookie in gone:
        assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")


async def test_keys_change_without_ending_a_login(sandbox: Sandbox) -> None:
    async with site_at(sandbox) as old, site_at(sandbox, keys=[OTHER_KEY, KEY]) as new:
        await old.log_in()
        assert new.login.session(dict(old.browser.cookies)) is not None
        await new.log_in()
        assert old.login.session(dict(new.browser.cookies)) is None


@pytest.mark.parametrize(
    "change", [lambda text: text[:-1], lambda text: text + "A", lambda _: "v1.", lambda _: "", str.upper]
)
async def test_a_changed_cookie_is_nobodys(site: Site, change: Any) -> None:
    await site.log_in()
    assert site.login.session({"prisma_session": change(site.browser.cookies["prisma_session"])}) is None


async def test_a_pending_logins_cookie_is_no_session(site: Site) -> None:
    await site.browser.get("/prisma/login")
    assert site.login.session({"prisma_session": site.browser.cookies[site.pending[0]]}) is None


# What people do


async def test_logins_in_two_tabs_both_succeed(site: Site) -> None:
    one, other = await site.begin(next="/one"), await site.begin(next="/other")
    assert (await site.browser.get(other)).headers["location"] == "/other"
    assert (await site.browser.get(one)).headers["location"] == "/one"
    assert site.session is not None
    assert site.pending == []


async def test_a_user_who_says_no_gets_a_page(site: Site) -> None:
    state = parse_qs(urlsplit(await site.begin()).query)["state"][0]
    query = urlencode({"error": "access_denied", "error_description": "<b>canary</b>", "state": state})
    answer = await site.browser.get(f"/prisma/callback?{query}")
    assert answer.status_code == 403
    assert "You said no" in answer.text
    assert "got no access" in answer.text
    assert f'href="{HOME}/login"' in answer.text
    assert "canary" not in answer.text
    assert (site.session, site.pending) == (None, [])


async def test_a_user_who_said_no_and_then_yes_comes_to_where_they_wanted_to_go(site: Site) -> None:
    wanted = "/projects?a=1&b=%C3%BC"
    state = parse_qs(urlsplit(await site.begin(next=wanted)).query)["state"][0]
    answer = await site.browser.get("/prisma/callback", params={"error": "access_denied", "state": state})
    [link] = links_of(answer)
    assert link.startswith(f"{HOME}/login?next=")
    again = await site.approve((await site.browser.get(link)).headers["location"])
    assert (await site.browser.get(again)).headers["location"] == wanted


async def test_who_comes_back_twice_with_the_same_cookie_goes_on_to_where_they_wanted_to_go(site: Site) -> None:
    callback = await site.begin(next="/projects")
    cookies = dict(site.browser.cookies)
    await site.browser.get(callback)
    cookies |= dict(site.browser.cookies)
    site.browser.cookies.clear()
    answer = await site.browser.get(callback, headers={"cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())})
    assert "You are logged in already" in answer.text
    assert links_of(answer) == ["/projects", f"{HOME}/login?next=/projects"]


# Under another name

LOCAL = "http://127.0.0.1:8765"


@pytest.mark.parametrize("host", ["localhost:8765", "[::1]:8765"])
async def test_a_login_under_another_name_of_this_machine_goes_on_under_the_right_one(
    sandbox: Sandbox, host: str
) -> None:
    async with site_at(sandbox, home=LOCAL) as site:
        moved = await site.browser.get("/login", params={"next": "/projects?a=1"}, headers={"host": host})
        assert (moved.status_code, "set-cookie" in moved.headers) == (303, False)
        assert moved.headers["location"].startswith(f"{LOCAL}/login?next=")
        begun = await site.browser.get(moved.headers["location"])
        done = await site.browser.get(await site.approve(begun.headers["location"]))
        assert (done.status_code, done.headers["location"]) == (303, "/projects?a=1")


async def test_a_proxy_that_says_another_name_each_time_ends_in_no_loop(sandbox: Sandbox) -> None:
    async with site_at(sandbox, home=LOCAL) as site:
        headers = {"host": "localhost:8765"}
        moved = await site.browser.get("/login?next=/projects", headers=headers)
        begun = await site.browser.get(moved.headers["location"], headers=headers)
        assert begun.headers["location"].startswith(sandbox.auth_url)
        callback = await site.approve(begun.headers["location"])
        assert (await site.browser.get(callback, headers=headers)).headers["location"] == "/projects"


@pytest.mark.parametrize(
    ("home", "host"),
    [
        (LOCAL, "127.0.0.1:8765"),
        (LOCAL, "localhost:8000"),  # the application, behind something that browsers talk to
        (LOCAL, "localhost"),
        (LOCAL, ""),
        (LOCAL, "app.example"),
        (HOME.removesuffix("/prisma"), "localhost"),
        (HOME.removesuffix("/prisma"), "10.0.0.7:8000"),
        (HOME.removesuffix("/prisma"), "other.example"),
        ("https://localhost.example", "127.0.0.1.example"),
    ],
)
async def test_a_login_under_any_other_name_begins_where_it_is(sandbox: Sandbox, home: str, host: str) -> None:
    async with site_at(sandbox, home=home) as site:
        begun = await site.browser.get("/login", headers={"host": host})
        assert begun.headers["location"].startswith(sandbox.auth_url)
        assert len(cookies_set_by(begun)) == 1


async def test_a_replayed_callback_leaves_the_login_as_it_is(site: Site) -> None:
    callback = await site.begin()
    await site.browser.get(callback)
    session = site.session
    answer = await site.browser.get(callback)
    assert answer.status_code == 400
    assert "You are logged in already" in answer.text
    assert site.session is session is not None
    assert site.sandbox.counts["exchange"]


async def test_nobody_is_told_that_they_are_logged_in_who_were_logged_out_elsewhere(site: Site) -> None:
    callback = await site.begin()
    await site.browser.get(callback)
    for storage in site.storages.values():
        await storage.clear_tokens()
    assert site.session is not None
    await site.session.aclose()
    answer = await site.browser.get(callback)
    assert (answer.status_code, "You are logged in already" in answer.text) == (400, False)


async def test_a_replayed_callback_is_a_page_though_the_storage_is_down(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = await site.begin()
    await site.browser.get(callback)

    async def get_tokens(_: object) -> Tokens | None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(MemoryTokenStorage, "get_tokens", get_tokens)
    answer = await site.browser.get(callback)
    assert answer.status_code == 400
    assert "This login is over" in answer.text


async def test_a_callback_replayed_with_its_cookie_is_refused(site: Site) -> None:
    callback = await site.begin()
    cookies = dict(site.browser.cookies)
    await site.browser.get(callback)
    site.browser.cookies.clear()
    answer = await site.browser.get(callback, headers={"cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())})
    assert answer.status_code == 400
    assert "This login is over" in answer.text
    assert site.session is None


async def test_the_back_button_leads_to_a_page(site: Site) -> None:
    """Back to the consent page, and once more yes: the state is the old one, the code is another."""
    url = (await site.browser.get("/prisma/login")).headers["location"]
    await site.browser.get(await site.approve(url))
    answer = await site.browser.get(await site.approve(url))
    assert answer.status_code == 400
    assert "You are logged in already" in answer.text
    assert "Go on" in answer.text


async def test_a_login_that_takes_too_long(sandbox: Sandbox, clock: FakeClock) -> None:
    async with site_at(sandbox, clock=clock) as site:
        callback = await site.begin()
        clock.time += 601
        answer = await site.browser.get(callback)
    assert answer.status_code == 400
    assert "This login is over" in answer.text


async def test_a_callback_in_another_browser_is_refused(site: Site) -> None:
    callback = await site.begin()
    site.browser.cookies.clear()
    answer = await site.browser.get(callback)
    assert answer.status_code == 400
    assert "under another name than app.example" in answer.text
    assert site.storages == {}


@pytest.mark.parametrize(
    "query", ["", "code=c", "state=", "state=a&state=b&code=c", "%ff=%ff", "a" * 20_000, "state=%00"]
)
async def test_no_callback_at_all_is_more_than_a_page(site: Site, query: str) -> None:
    await site.begin()
    answer = await site.browser.get(f"/prisma/callback?{query}")
    assert answer.status_code in (400, 414)
    assert "<h1>" in answer.text
    assert len(site.pending) == 1, "a stranger's callback ends no login"


async def test_a_callback_that_never_reached_the_login_server_can_be_tried_again(sandbox: Sandbox) -> None:
    working = httpx.AsyncHTTPTransport()

    class Flaky(httpx.AsyncBaseTransport):
        down = True

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if self.down:
                raise httpx.ConnectError("no route to host")
            return await working.handle_async_request(request)

    transport = Flaky()
    async with working, site_at(sandbox, client={"transport": transport}) as site:
        callback = await site.begin()
        answer = await site.browser.get(callback)
        assert answer.status_code == 502
        assert "did not answer" in answer.text
        transport.down = False
        assert (await site.browser.get(callback)).status_code == 303


async def test_what_the_application_or_the_login_server_does_wrong_is_in_the_log(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "prisma_mgmt.auth.asgi")
    async with site_at(sandbox, client={"client_secret": "canary-secret"}) as site:
        assert (await site.log_in()).status_code == 502
        await site.browser.get("/prisma/callback?state=x&error=access_denied")
    records = [record for record in caplog.records if record.name == "prisma_mgmt.auth.asgi"]
    assert [record.levelname for record in records] == ["ERROR", "INFO"]
    assert "invalid_client" in records[0].getMessage()
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("change", "told"),
    [("&iss=https://other.example", "see issuer= if it has another name"), ("&code=", "carries no code")],
)
async def test_a_login_server_that_does_not_fit_is_in_the_log_and_no_login_is_said_to_be_over(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, change: str, told: str
) -> None:
    """Every login fails so, if the issuer is set wrong: whoever runs the application has to hear of it."""
    async with site_at(sandbox) as site:
        state = parse_qs(urlsplit(await site.begin()).query)["state"][0]
        answer = await site.browser.get(f"/prisma/callback?state={state}{change}")
    assert answer.status_code == 502
    assert "This login did not work" in answer.text
    [record] = [record for record in caplog.records if record.name == "prisma_mgmt.auth.asgi"]
    assert record.levelname == "ERROR"
    assert told in record.getMessage()


async def test_a_refused_code_is_a_page(sandbox: Sandbox) -> None:
    async with site_at(sandbox) as site:
        query = urlsplit(await site.begin()).query
        answer = await site.browser.get(f"/prisma/callback?{query.replace('code=', 'code=x')}")
    assert answer.status_code == 400
    assert "This login is over" in answer.text
    assert await site.stored() == []


async def test_a_callback_that_comes_to_two_processes_is_finished_by_one_and_a_page_of_the_other(
    sandbox: Sandbox,
) -> None:
    """The other process knows nothing of it: it is the login server that refuses the code."""
    async with site_at(sandbox) as one, site_at(sandbox) as other:
        callback = await one.begin()
        kept = dict(one.browser.cookies)
        await one.browser.get(callback)
        other.browser.cookies.update(kept)
        before = await other.browser.get(callback)
        other.storages.update(one.storages)
        other.browser.cookies.update({**kept, **one.browser.cookies})
        after = await other.browser.get(callback)
        assert len(await other.stored()) == 1
    assert [answer.status_code for answer in (before, after)] == [400, 400]
    assert "This login is over" in before.text
    assert "You are logged in already" in after.text


# Logging out


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, True),
        ({"origin": "https://app.example"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "https://app.example.evil.example"}, False),
        ({"origin": "http://app.example"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "https://app.example"}, False),
        ({"sec-fetch-site": "same-site"}, False),
    ],
)
async def test_no_other_site_logs_a_user_out(site: Site, headers: dict[str, str], own: bool) -> None:
    await site.log_in()
    answer = await site.browser.post("/prisma/logout", headers=headers)
    assert answer.status_code == (303 if own else 403)
    assert (site.session is None) == own
    assert bool(await site.stored()) != own


ORIGINS = [
    ("https://app.example:443/prisma", "https://app.example"),
    ("https://App.Example/prisma", "https://app.example"),
    ("https://app.example:8443/prisma", "https://app.example:8443"),
    ("http://127.0.0.1:80/prisma", "http://127.0.0.1"),
    ("https://bücher.example/prisma", "https://xn--bcher-kva.example"),
]


@pytest.mark.parametrize(("home", "origin"), ORIGINS)
async def test_the_applications_own_origin_is_known_as_browsers_write_it(
    sandbox: Sandbox, home: str, origin: str
) -> None:
    async with site_at(sandbox, home=home) as site:
        assert (await site.browser.post("/prisma/logout", headers={"origin": origin})).status_code == 303


async def test_a_link_to_the_logout_asks_first(site: Site) -> None:
    await site.log_in()
    answer = await site.browser.get("/prisma/logout")
    assert answer.status_code == 405
    assert '<form method="post">' in answer.text
    assert site.session is not None


async def test_a_logout_that_the_storage_cannot_take_is_one_for_the_browser(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    async with site_at(sandbox) as site:
        await site.log_in()
        [storage] = site.storages.values()

        async def fail() -> None:
            raise OSError("no space left on device")

        storage.clear_tokens = fail  # type: ignore[method-assign]
        assert (await site.browser.post("/prisma/logout")).status_code == 303
        assert site.session is None
        del storage.clear_tokens
    assert "could not be cleared (OSError)" in caplog.text


# Hooks


async def test_the_application_is_told_of_a_login(sandbox: Sandbox) -> None:
    seen: list[str] = []

    async def on_login(session: OAuthSession) -> None:
        async with ManagementClient(session, base_url=sandbox.api_url) as prisma:
            seen.append((await prisma.me.get()).credential.type)

    async with site_at(sandbox, on_login=on_login) as site:
        assert (await site.log_in()).status_code == 303
    assert seen == ["oauth"]


@pytest.mark.parametrize("error", [AuthError("not one of ours"), CallbackError("no", error="denied"), PrismaError("x")])
async def test_an_application_that_refuses_a_user_keeps_none_of_their_tokens(
    sandbox: Sandbox, error: PrismaError
) -> None:
    def refuse(session: OAuthSession) -> None:
        raise error

    async with site_at(sandbox, on_login=refuse) as site:
        answer = await site.log_in()
        assert answer.status_code == 502
        assert site.session is None
        assert await site.stored() == []


async def test_what_else_a_hook_raises_is_the_applications(sandbox: Sandbox) -> None:
    def fail(session: OAuthSession) -> None:
        raise ZeroDivisionError

    async with site_at(sandbox, on_login=fail) as site:
        with pytest.raises(ZeroDivisionError):
            await site.log_in()
        assert await site.stored() == []


@pytest.mark.parametrize("hook", ["on_login", "on_error"])
async def test_an_error_of_a_hook_shows_nothing_of_the_request(sandbox: Sandbox, hook: str) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    async with site_at(sandbox, **{hook: fail}) as site:
        callback = await site.begin()
        site.browser.cookies.set("prisma_session", "canary", domain="app.example")
        if hook == "on_error":
            callback = callback.replace("code=", "code=canary")
        with pytest.raises(ZeroDivisionError) as caught:
            await site.browser.get(f"{callback}&project_id=canary")
    assert leaks(caught.value) == []


@pytest.mark.parametrize("to", ["/sorry", "", None])
async def test_the_application_may_answer_a_failed_login(sandbox: Sandbox, to: str | None) -> None:
    seen: list[PrismaError] = []

    async def on_error(error: PrismaError) -> str | None:
        seen.append(error)
        return to

    async with site_at(sandbox, on_error=on_error) as site:
        answer = await site.browser.get("/prisma/callback?code=c&state=s")
    assert isinstance(seen[0], CallbackError)
    assert (answer.status_code, answer.headers.get("location")) == ((303, to) if to else (400, None))


# Pages, and what is no page


async def test_the_pages_are_static_and_strict(site: Site) -> None:
    for path in ("", "login/x", "callback?error=<script>&state=<script>", "logout", "no<script>"):
        answer = await site.browser.get(f"/prisma/{path}")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "script" not in answer.text
        assert "src=" not in answer.text
        assert "://" not in answer.text.replace(HOME, "")


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/prisma/", 404, None),
        ("GET", "/", 404, None),
        ("GET", "/prisma/login/more", 404, None),
        ("POST", "/prisma/login", 405, "GET"),
        ("PUT", "/prisma/callback", 405, "GET"),
        ("DELETE", "/prisma/logout", 405, "POST"),
    ],
)
async def test_any_other_request(site: Site, method: str, path: str, status: int, allow: str | None) -> None:
    answer = await site.browser.request(method, path)
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_what_is_no_http_is_refused_as_asgi_asks_for(site: Site, kind: str) -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError("nothing is said")

    with pytest.raises(ValueError, match=f"answers http only, not {kind}"):
        await site.login({"type": kind}, never, never)


async def test_a_callback_that_is_cancelled_leaves_no_tokens_behind(sandbox: Sandbox) -> None:
    exchanging, cleared, gate = anyio.Event(), anyio.Event(), anyio.Event()

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            exchanging.set()
            await gate.wait()
            async with httpx.AsyncClient() as client:
                answer = await client.post(request.url, content=await request.aread(), headers=request.headers)
            return httpx.Response(answer.status_code, content=answer.content)

    class Storage(MemoryTokenStorage):
        async def clear_tokens(self) -> None:
            await super().clear_tokens()
            cleared.set()

    async with site_at(sandbox, client={"transport": Slow()}) as site:
        site.storages.default_factory = Storage  # type: ignore[attr-defined]  # it is a defaultdict
        callback = await site.begin()
        async with anyio.create_task_group() as group:
            group.start_soon(site.browser.get, callback)
            await exchanging.wait()
            group.cancel_scope.cancel()
        await anyio.wait_all_tasks_blocked()
        gate.set()
        await cleared.wait()
    assert await site.stored() == []


# Arguments


OAUTH = OAuthClient("client", f"{HOME}/callback")
SESSIONS: SessionManager[str] = SessionManager(OAUTH, lambda _: MemoryTokenStorage())


@pytest.mark.parametrize(
    ("arguments", "options", "problem"),
    [
        ((SESSIONS, OAUTH, [KEY]), {}, "oauth must be"),
        ((OAUTH, MemoryTokenStorage(), [KEY]), {}, "sessions must be"),
        ((OAUTH, SESSIONS, [KEY]), {"after_login": None}, "after_login must be"),
        ((OAUTH, SESSIONS, [KEY]), {"after_logout": 1}, "after_logout must be"),
        ((OAUTH, SESSIONS, [KEY]), {"cookie": b"x"}, "cookie must be"),
        ((OAUTH, SESSIONS, [KEY]), {"on_login": "x"}, "on_login must be"),
        ((OAUTH, SESSIONS, [KEY]), {"on_error": 1}, "on_error must be"),
        ((OAUTH, SESSIONS, [KEY]), {"scope": None}, "scope must be"),
        ((OAUTH, SESSIONS, [KEY]), {"max_age": "1"}, "max_age must be"),
    ],
)
def test_an_argument_of_a_wrong_type(arguments: Any, options: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        LoginApp(*arguments, **options)


@pytest.mark.parametrize(
    ("oauth", "keys", "options", "problem"),
    [
        (OAUTH, [], {}, "at least one key"),
        (OAUTH, KEY, {}, "at least one key"),
        (OAUTH, [KEY], {"cookie": "a b"}, "name of a cookie"),
        (OAUTH, [KEY], {"max_age": 0}, "max_age"),
        (OAuthClient("client", "https://app.example/prisma"), [KEY], {}, "end in /callback"),
        (OAuthClient("client", "app:/callback"), [KEY], {}, "end in /callback"),
        (OAuthClient("client", "http://192.168.1.5:8000/callback"), [KEY], {}, "https, or http to this machine"),
        (OAuthClient("client", "HTTP://app.example/callback"), [KEY], {}, "https, or http to this machine"),
        (OAuthClient("client", "https://app.example:port/callback"), [KEY], {}, "host or port that cannot be"),
        (OAuthClient("client", "https://bü_r.example/callback"), [KEY], {}, "host or port that cannot be"),
        (OAUTH, [KEY], {"after_login": ""}, "after_login must not be empty"),
        (OAUTH, [KEY], {"after_logout": ""}, "after_logout must not be empty"),
    ],
)
def test_an_argument_that_cannot_be_right(oauth: OAuthClient, keys: Any, options: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        LoginApp(oauth, SESSIONS, keys, **options)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "[::1]", "localhost", "app.localhost:3000"])
def test_an_application_on_this_machine_does_without_https(host: str) -> None:
    assert LoginApp(OAuthClient("client", f"http://{host}/callback"), SESSIONS, [KEY])


@pytest.mark.parametrize("request_", [None, "prisma_session=x", 5, []])
async def test_a_session_is_asked_for_with_a_request(site: Site, request_: Any) -> None:
    with pytest.raises(TypeError, match="a request, or a mapping of cookies"):
        site.login.session(request_)


async def test_a_session_may_be_asked_for_with_an_asgi_scope(site: Site) -> None:
    await site.log_in()
    cookie = f"a=b; prisma_session={site.browser.cookies['prisma_session']}"
    scope = {"type": "http", "asgi": {}, "method": "GET", "path": "/", "headers": [(b"cookie", cookie.encode())]}
    assert site.login.session(scope) is site.session is not None
    del scope["method"]
    assert site.login.session({**scope, "type": "websocket"}) is site.session


async def test_a_session_may_be_asked_for_with_the_cookies_of_the_standard_library(site: Site) -> None:
    await site.log_in()
    assert site.session is not None
    assert site.login.session(SimpleCookie(dict(site.browser.cookies))) is site.session


async def test_a_cookie_may_have_any_name(site: Site) -> None:
    await site.log_in()
    assert site.login.session({"asgi": "x", **site.browser.cookies}) is site.session is not None


def test_a_session_that_cannot_be_had_shows_no_cookie() -> None:
    """Whoever has it is this user, for weeks."""
    oauth = OAuthClient("client", f"{HOME}/callback")

    def storage_for(user: str) -> MemoryTokenStorage:
        raise LookupError("no such tenant")

    login = LoginApp(oauth, SessionManager(oauth, storage_for), [KEY])
    cookies = {"prisma_session": Box([KEY]).seal_json(["canary-id", oauth.now()], "prisma-mgmt session client")}
    with pytest.raises(LookupError) as caught:
        login.session(cookies)
    assert leaks(caught.value) == []
    ours = traceback.StackSummary.extract(traceback.walk_tb(caught.value.__traceback__))
    assert {frame.filename for frame in ours} == {__file__}

"""A person logs in: Chromium, driven over WebDriver, at the sandbox's consent page."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from prisma_mgmt import CallbackError, ManagementClient
from prisma_mgmt.auth import OAuthClient, log_in_with_browser
from prisma_mgmt.auth.storage import FileTokenStorage
from prisma_mgmt.sandbox import Sandbox
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
        where = {"using": "xpath", "value": f"//button[normalize-space()='{button}']"}
        (element,) = self._call("POST", "/element", where).values()
        self._call("POST", f"/element/{element}/click", {})

    @property
    def text(self) -> str:
        (element,) = self._call("POST", "/element", {"using": "css selector", "value": "body"}).values()
        return str(self._call("GET", f"/element/{element}/text"))

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
            assert "workspace:admin offline_access" in browser.text
            browser.click("Approve")

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

        storage = FileTokenStorage(tmp_path / "tokens.json")
        with pytest.raises(CallbackError) as caught:
            await log_in_with_browser(oauth, storage, open_browser=deny, show=lambda _: None, timeout=60)
        assert caught.value.error == "access_denied"
        assert await storage.get_tokens() is None

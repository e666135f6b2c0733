"""A real browser: Chromium, headless, driven over WebDriver."""

import os
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.kit.servers import free_port, program

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

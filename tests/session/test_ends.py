"""S17: a program that ends in the middle of a refresh loses no rotated pair: real processes, real signals."""

import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.kit.login import jwt

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).parents[2]


class LoginServer:
    """Rotates at once, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()
        self.requests = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                server.requests += 1
                server.asked.set()
                server.released.wait(60)
                grant = {"access_token": jwt(workspace_id="wksp_1", jti="new"), "refresh_token": "refresh-new"}
                body = json.dumps({**grant, "token_type": "Bearer", "expires_in": 3600}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@contextmanager
def login_server() -> Iterator[LoginServer]:
    server = LoginServer()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.released.set()
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def server() -> Iterator[LoginServer]:
    with login_server() as server:
        yield server


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return old_tokens(tmp_path / "tokens.json")


def old_tokens(path: Path) -> Path:
    old = {"workspaceId": "wksp_1", "accessToken": jwt(workspace_id="wksp_1", jti="old"), "refreshToken": "refresh-old"}
    path.write_text(json.dumps(old))
    path.chmod(0o600)
    return path


@contextmanager
def program(ending: str, backend: str, tokens: Path, server: LoginServer) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.session.program", ending, backend, str(tokens), server.url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    """Have the program give up what it waits for."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def ended_with(process: subprocess.Popen[str], tokens: Path) -> tuple[str, str]:
    """The refresh token that is stored after the end, and what the program complained of."""
    _, complaint = process.communicate(timeout=40)
    return json.loads(tokens.read_text())["refreshToken"], complaint


ENDINGS = [
    ("timeout", "asyncio", None),
    ("timeout", "trio", None),
    ("plain timeout", "asyncio", None),
    ("plain timeout", "trio", None),
    ("native timeout", "asyncio", None),
    ("at once", "asyncio", None),
    ("at once", "trio", None),
    ("sibling", "asyncio", "KeyError: 'sibling'"),
    ("sibling", "trio", "KeyError: 'sibling'"),
    ("signal", "asyncio", "KeyboardInterrupt"),
    ("signal", "trio", "KeyboardInterrupt"),
    ("all tasks", "asyncio", ""),
    ("all tasks at once", "asyncio", ""),
    ("a thread", "asyncio", ""),
    ("an executor's thread", "asyncio", ""),
]

SIGNALS = {"signal": signal.SIGINT, "all tasks": signal.SIGTERM, "all tasks at once": signal.SIGTERM}


def ended(ending: str, backend: str, tokens: Path, server: LoginServer) -> tuple[str, str]:
    """The refresh token that is stored after a program has come to this end, and what it complained of."""
    with program(ending, backend, tokens, server) as process:
        if ending == "at once":
            assert line(process) == "over"
            assert server.asked.wait(40)
        else:
            assert server.asked.wait(40)
            if ending in SIGNALS:
                process.send_signal(SIGNALS[ending])
            else:
                tell(process)
            assert line(process) == "over"
        server.released.set()
        return ended_with(process, tokens)


@pytest.mark.parametrize(("ending", "backend", "complaint"), ENDINGS)
def test_a_program_that_ends_in_the_middle_of_a_refresh_keeps_the_pair(
    ending: str, backend: str, complaint: str | None, tmp_path: Path
) -> None:
    for _ in range(3):
        with login_server() as server:
            stored, said = ended(ending, backend, old_tokens(tmp_path / "tokens.json"), server)
        if server.requests == 1:  # or the machine stood still until the refresh gave up: that shows nothing
            break
    assert (server.requests, stored) == (1, "refresh-new")
    assert said.strip().splitlines()[-1:] == [complaint] if ending == "signal" else (complaint or "") in said
    assert said == "" or ending != "at once"
    assert "never retrieved" not in said
    assert "was destroyed" not in said


@pytest.mark.parametrize("ending", ["uvicorn", "uvicorn with a request under way"])
def test_a_server_that_gets_sigterm_keeps_the_pair(ending: str, server: LoginServer, tokens: Path) -> None:
    with program(ending, "asyncio", tokens, server) as process:
        port = int(line(process))
        call = threading.Thread(target=lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).close())
        call.start()
        assert server.asked.wait(40)
        if ending == "uvicorn":
            tell(process)
        words = [line(process)]  # the request has given up, or is under way
        process.send_signal(signal.SIGTERM)
        if ending == "uvicorn":
            words.append(line(process))
        server.released.set()
        stored, said = ended_with(process, tokens)
        call.join(60)
    assert words == (["answered", "over"] if ending == "uvicorn" else ["over"])
    assert (stored, said) == ("refresh-new", "")

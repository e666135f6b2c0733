"""The ways into the sandbox: its socket, its application, its command; who may come in, and what is kept of it."""

import contextlib
import inspect
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as websockets_connect

from prisma_mgmt import AuthenticationError
from prisma_mgmt.sandbox import Sandbox
from prisma_mgmt.sandbox.door import serves
from tests.sandbox.visitor import Clock, claims, connect, exchange, get_code, log_in, status_of

COMMAND = [sys.executable, "-m", "prisma_mgmt.sandbox"]


# Start and end


def test_a_sandbox_serves_on_a_free_port_and_stops_without_a_trace() -> None:
    before = threading.active_count()
    with Sandbox() as sandbox:
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", sandbox.api_url)
        assert sandbox.auth_url == sandbox.api_url + "/auth"
        assert sandbox.postgres_url == sandbox.api_url + "/postgres"
        assert sandbox.data_platform_url == sandbox.api_url + "/data-platform"
        assert status_of(sandbox, sandbox.service_token) == 200
        url = sandbox.api_url
    assert threading.active_count() == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    with pytest.raises(RuntimeError, match="not started"):
        sandbox.client()
    assert sandbox.counts["api"] == 1


@pytest.mark.anyio
async def test_a_sandbox_is_entered_from_async_code_too() -> None:
    async with Sandbox() as sandbox, sandbox.client() as prisma:
        assert (await prisma.me.get()).workspace.id == sandbox.workspace_id


def test_a_client_that_is_still_sending_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox() as sandbox:
        port = urlsplit(sandbox.api_url).port
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"POST /v1/projects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        assert status_of(sandbox, sandbox.service_token) == 200
    with client:
        assert client.recv(1) == b""
    assert not [record for record in caplog.records if record.name.startswith("uvicorn") and record.levelno > 20]


def test_an_answer_that_is_delayed_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    started = time.monotonic()
    with Sandbox() as sandbox:
        fault = sandbox.delay("*", 60)
        client = socket.create_connection(("127.0.0.1", urlsplit(sandbox.api_url).port))
        client.sendall(b"GET /v1/me HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not fault.met:
            httpx.get(sandbox.api_url)  # which the fault does not concern
    with client:
        assert client.recv(1) == b""
    assert time.monotonic() - started < 30
    assert not [record for record in caplog.records if record.name.startswith("uvicorn") and record.levelno > 20]


def test_an_answer_does_not_wait_for_an_acknowledgement() -> None:
    with Sandbox() as sandbox, connect(sandbox, sandbox.service_token) as api:
        seconds = []
        for _ in range(20):
            started = time.perf_counter()
            assert api.get("/me").status_code == 200
            seconds.append(time.perf_counter() - started)
    assert min(seconds[1:]) < 0.03  # Nagle's algorithm and a delayed acknowledgement together cost 40 ms


def test_the_urls_are_not_known_before_the_start() -> None:
    sandbox = Sandbox()
    for ask in ("api_url", "postgres_url", "data_platform_url", "auth_url", "environment"):
        with pytest.raises(RuntimeError, match=r"with Sandbox\(\) as sandbox"):
            getattr(sandbox, ask)
    with pytest.raises(RuntimeError, match="not started"):
        sandbox.client()


def test_a_sandbox_is_not_started_twice_at_once_but_may_be_started_again() -> None:
    with Sandbox() as sandbox:
        with pytest.raises(RuntimeError, match="started already"):
            sandbox.__enter__()
        assert status_of(sandbox, sandbox.service_token) == 200
    with sandbox:
        assert status_of(sandbox, sandbox.service_token) == 200


def test_two_sandboxes_share_nothing(shared: Sandbox) -> None:
    with Sandbox() as other:
        assert status_of(other, other.service_token) == 200
        assert status_of(other, shared.service_token) == 401


def test_a_taken_port_is_one_line(shared: Sandbox) -> None:
    port = urlsplit(shared.api_url).port
    assert port is not None
    line = f"port {port} on 127.0.0.1 is taken; choose another or leave it out for a free one"
    with pytest.raises(OSError, match=f"^{line}$"), Sandbox(port=port):
        pass
    run = subprocess.run([*COMMAND, "--port", str(port)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (1, "", line + "\n")


@pytest.mark.parametrize(
    "options",
    [
        {"personality": "kind"},
        {"port": 70000},
        {"port": "4010"},
        {"clock": 3},
        {"postgres": ""},
        {"redirect_uris": ["app.example/callback"]},
        {"token_lifetime": 0.0},
        {"users": []},
        {"users": "Ada"},
        {"users": ["Ada", "Ada"]},
        {"users": ["Ada", " "]},
        {"users": ["\ud800"]},
        {"users": ["Ada\n"]},
        {"redirect_uris": []},
        {"host": ""},
    ],
)
def test_options_that_cannot_be_right_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Sandbox(**options)


def test_a_redirect_uri_that_is_wrong_is_named_alone() -> None:
    run = subprocess.run(
        [*COMMAND, "--redirect-uri", "app.example", "--", "true"], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (1, "redirect_uris are URIs with a scheme, not ['app.example']\n")


NAMES = """
api_url postgres_url data_platform_url auth_url client_id confidential_client_id client_secret service_token
workspace_id approval_id client postgres_client data_platform_client oauth_client session requests counts
expire_access_tokens revoke_refresh_tokens advance reset fail delay cut app environment on_request
"""


def test_help_shows_everything() -> None:
    names = NAMES.split()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        help(Sandbox)
    shown = printed.getvalue()
    assert [name for name in names if not re.search(rf"\b{name}\b", shown)] == []
    undocumented = [name for name in names if not inspect.getdoc(getattr(Sandbox, name, Sandbox))]
    assert undocumented == []


# Without a socket


@pytest.mark.anyio
async def test_the_application_serves_in_process() -> None:
    sandbox = Sandbox()
    headers = {"Authorization": f"Bearer {sandbox.service_token}"}
    transport = httpx.ASGITransport(sandbox.app)
    async with httpx.AsyncClient(transport=transport, base_url=sandbox.api_url, headers=headers) as client:
        assert (await client.get("/v1/me")).status_code == 200
        assert (await client.get("/")).status_code == 200
    assert sandbox.counts["api"] == 1


@pytest.mark.anyio
async def test_clients_serve_in_process_too() -> None:
    sandbox = Sandbox(users=["Ada", "Grace"])
    assert sandbox.app
    async with sandbox.client() as prisma, await sandbox.session("Grace") as session:
        await prisma.projects.create(name="shop")
        mine = prisma.with_options(auth=session)
        assert [one async for one in mine.projects.list()] == []
    assert sandbox.counts["exchange"] == 1


@pytest.mark.anyio
async def test_what_starlettes_test_client_sends_is_served_too() -> None:
    app = Sandbox().app
    transport = httpx.ASGITransport(app, client=("testclient", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        assert (await client.get("/v1/me")).status_code == 401
        assert (await client.post("/_sandbox/reset")).status_code == 204
    said: list[str] = []
    events = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, Any]:
        return {"type": next(events)}

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# Clients and sessions


@pytest.mark.anyio
async def test_a_session_is_logged_in_without_a_browser() -> None:
    async with Sandbox(users=["Ada", "Grace"]) as sandbox, sandbox.client() as prisma:
        async with await sandbox.session() as ada, await sandbox.session("Grace") as grace:
            for session, workspace_id in ((ada, sandbox.workspace_id), (grace, None)):
                me = await prisma.with_options(auth=session).me.get()
                assert me.credential.type == "oauth"
                assert (me.workspace.id == sandbox.workspace_id) is (workspace_id is not None)
            sandbox.expire_access_tokens()
            await prisma.with_options(auth=ada).me.get()
        assert (sandbox.counts["exchange"], sandbox.counts["refresh"]) == (2, 1)
        with pytest.raises(ValueError, match="no user 'Eve'; there are Ada, Grace"):
            await sandbox.session("Eve")


@pytest.mark.anyio
async def test_the_other_apis_have_clients_too() -> None:
    async with Sandbox() as it, it.postgres_client() as postgres, it.data_platform_client() as platform:
        assert (postgres.base_url, platform.base_url) == (it.postgres_url, it.data_platform_url)


@pytest.mark.anyio
async def test_an_oauth_client_registers_its_address() -> None:
    async with Sandbox() as sandbox:
        for confidential in (False, True):
            oauth = sandbox.oauth_client("https://shop.example/prisma", confidential=confidential)
            login = oauth.login_url()
            async with httpx.AsyncClient() as browser:
                callback = (await browser.get(login.url)).headers["location"]
            assert callback.startswith("https://shop.example/prisma?code=")
            assert (await oauth.exchange_callback(callback, login)).workspace_id == sandbox.workspace_id


@pytest.mark.anyio
async def test_options_of_a_client_win() -> None:
    async with Sandbox() as sandbox, sandbox.client(auth="another", headers={"X-From": "a test"}) as prisma:
        with pytest.raises(AuthenticationError):
            await prisma.me.get()
    assert sandbox.requests[0].headers["x-from"] == "a test"


# Who may come in


@pytest.mark.parametrize(
    ("own", "host", "served"),
    [
        ("127.0.0.1", "127.0.0.1:4010", True),
        ("127.0.0.1", "127.0.0.9", True),
        ("127.0.0.1", "LOCALHOST:1", True),
        ("127.0.0.1", "app.localhost", True),
        ("127.0.0.1", "[::1]:4010", True),
        ("127.0.0.1", "testserver", True),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "127.0.0.1.evil.example:4010", False),
        ("127.0.0.1", "10.0.0.7", False),
        ("127.0.0.1", "prisma:4010", False),
        ("0.0.0.0", "prisma:4010", True),
        ("0.0.0.0", "10.0.0.7:4010", True),
        ("0.0.0.0", "evil.example:4010", False),
        ("box.example", "box.example:80", True),
    ],
)
def test_only_names_that_are_ours_are_served(own: str, host: str, served: bool) -> None:
    assert serves(own, host) is served


@pytest.mark.parametrize("path", ["/", "/v1/me", "/postgres/v1/projects", "/auth/token", "/_sandbox/requests"])
def test_a_name_that_was_made_to_lead_here_is_refused(shared: Sandbox, path: str) -> None:
    answer = httpx.get(shared.api_url + path, headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "client-error")
    assert shared.service_token not in answer.text


def test_every_answer_of_the_apis_has_a_request_id(shared: Sandbox) -> None:
    paths = ("/v1/me", "/v1/nonsense", "/postgres/v1/projects", "/data-platform/x", "/auth/token")
    ids = [httpx.get(shared.api_url + path).headers["x-request-id"] for path in paths]
    assert len(set(ids)) == len(paths)


# Logs over a WebSocket


def log_of(sandbox: Sandbox) -> str:
    """Where the log of a new deployment is followed."""
    with connect(sandbox, sandbox.service_token) as api:
        project = api.post("/projects", json={"createDatabase": False}).json()["data"]["id"]
        made = api.post("/apps", json={"projectId": project, "displayName": "web"})
        deployment = api.post(f"/apps/{made.json()['data']['id']}/deployments", json={}).json()["data"]
    return f"{sandbox.api_url.replace('http', 'ws', 1)}/v1/deployments/{deployment['id']}/logs"


def follow(sandbox: Sandbox, url: str) -> ClientConnection:
    headers = {"Authorization": f"Bearer {sandbox.service_token}"}
    line = socket.create_connection(("127.0.0.1", urlsplit(url).port))  # no proxy in between
    return websockets_connect(url, additional_headers=headers, sock=line)


def test_a_log_is_followed_over_a_websocket(sandbox: Sandbox) -> None:
    with follow(sandbox, log_of(sandbox)) as log:
        assert json.loads(log.recv(timeout=5))["type"] == "log"
    asked = sandbox.requests[-1]
    assert (asked.method, asked.status, asked.route) == ("GET", 101, "/v1/deployments/{deploymentId}/logs")


def test_a_websocket_meets_faults_too(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    url = log_of(sandbox)
    sandbox.fail("GET /v1/deployments/{id}/logs", 503)
    with pytest.raises(InvalidStatus) as refused, follow(sandbox, url):
        pass
    assert refused.value.response.status_code == 503
    sandbox.cut("GET /v1/deployments/{id}/logs")
    with follow(sandbox, url) as log, pytest.raises(ConnectionClosedError):
        log.recv(timeout=5)
    assert [one.fault for one in sandbox.requests[-2:]] == ["fail", "cut"]
    assert not [record for record in caplog.records if record.name.startswith("uvicorn") and record.levelno > 20]


@pytest.mark.parametrize("path", ["/", "/auth/token", "/_sandbox/requests", "/v1/me"])
def test_a_websocket_that_leads_to_no_log_is_refused(
    shared: Sandbox, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidStatus) as refused, follow(shared, shared.api_url.replace("http", "ws", 1) + path):
        pass
    assert refused.value.response.status_code in {403, 404}
    assert not [record for record in caplog.records if record.name.startswith("uvicorn") and record.levelno > 20]


def test_a_websocket_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    sandbox = Sandbox()
    sandbox.__enter__()
    with follow(sandbox, log_of(sandbox)) as log, pytest.raises(ConnectionClosedError):
        sandbox.__exit__()
        while True:
            log.recv(timeout=5)
    assert not [record for record in caplog.records if record.name.startswith("uvicorn") and record.levelno > 20]


# What was asked


def test_requests_are_kept_with_their_secrets_masked(sandbox: Sandbox, clock: Clock) -> None:
    with connect(sandbox, sandbox.service_token) as api:
        body = {"name": "shop", "nested": [{"password": "hunter2", "url": "pg://u:p@h/d"}]}
        api.post("/projects?token=t0p", json=body, headers={"X-Api-Key": "k3y0"})
    with httpx.Client(base_url=sandbox.auth_url) as web:
        tokens = log_in(web, sandbox)
    asked = sandbox.requests
    first = asked[0]
    assert (first.method, first.path, first.route, first.api) == ("POST", "/v1/projects", "/v1/projects", "management")
    assert first.query == {"token": "***"}
    assert first.body == {"name": "shop", "nested": [{"password": "***", "url": "pg://***h/d"}]}
    assert first.headers["authorization"] == "***"
    assert first.at == clock()
    assert [one.path for one in asked] == ["/v1/projects", "/auth/authorize", "/auth/token"]
    assert asked[2].body["grant_type"] == "authorization_code"  # type: ignore[index]  # a form
    assert (asked[2].status, asked[2].api, asked[2].route) == (200, "login", "/token")
    told = repr(asked) + "\n".join(one.line() for one in asked)
    for secret in (sandbox.service_token, "t0p", "k3y0", "hunter2", tokens["access_token"], tokens["refresh_token"]):
        assert secret not in told


def test_a_request_is_kept_before_its_answer_is_there() -> None:
    with Sandbox() as sandbox:
        for number in range(20):
            status_of(sandbox, "x")
            assert len(sandbox.requests) == number + 1
            assert sandbox.requests[-1].status == 401


def test_a_line_of_the_log_cannot_command_the_terminal() -> None:
    with Sandbox() as sandbox:
        httpx.get(f"{sandbox.api_url}/v1/%1b[2Jx%0aINFO?a=%1b%0d")
        line = sandbox.requests[-1].line()
        assert line.isprintable()
        assert r"/v1/\x1b[2Jx\nINFO?a=\x1b\r" in line


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"[" * 50_000, b"\xff", b"x" * 100_000),
        *(b'{"name": "\\ud800"}', b'{"name": NaN}', b'{"name": 1e999}', b"[" * 400 + b"]" * 400),
    ],
)
def test_a_body_that_cannot_be_shown_is_none(body: bytes) -> None:
    with Sandbox() as sandbox:
        httpx.post(f"{sandbox.api_url}/v1/projects", content=body, headers={"Content-Type": "application/json"})
        assert sandbox.requests[-1].body is None
        assert httpx.get(f"{sandbox.api_url}/_sandbox/requests").json()["data"][-1]["status"] == 401


# The clock, and a new start


def test_the_clock_is_set_forward() -> None:
    with Sandbox() as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        token = log_in(web, sandbox)["access_token"]
        sandbox.advance(3599)
        assert status_of(sandbox, token) == 200
        sandbox.advance(1.5)
        assert status_of(sandbox, token) == 401
        for wrong in (-1, float("nan"), float("inf"), "1", 10**400, None, True):
            with pytest.raises(ValueError, match="seconds"):
                sandbox.advance(wrong)  # type: ignore[arg-type]  # on purpose


def test_a_reset_forgets_everything_but_what_programs_were_told() -> None:
    with Sandbox(users=["Ada", "Grace"]) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        before, token = sandbox.environment, log_in(web, sandbox)["access_token"]
        code = get_code(web, sandbox)
        with connect(sandbox, sandbox.service_token) as api:
            assert api.post("/projects", json={"name": "shop"}).status_code == 201
            sandbox.advance(100)
            sandbox.fail("*")
            sandbox.reset()
            assert sandbox.environment == before
            assert (sandbox.requests, sandbox.faults, sandbox.counts) == ([], [], {})
            assert api.get("/projects").json()["data"] == []
            assert api.get("/workspaces").json()["data"][0]["id"] == sandbox.workspace_id
            assert abs(sandbox.requests[-1].at - time.time()) < 50
        assert status_of(sandbox, token) == 401
        assert exchange(web, sandbox, code).json()["error"] == "invalid_grant"
        assert claims(log_in(web, sandbox)["access_token"])["workspace_id"] == sandbox.workspace_id


def test_a_service_token_may_be_one_that_a_program_has() -> None:
    with Sandbox() as sandbox:
        first = sandbox.service_token
        sandbox.service_token = "from-the-program"
        assert (status_of(sandbox, "from-the-program"), status_of(sandbox, first)) == (200, 401)
        sandbox.reset()
        assert status_of(sandbox, "from-the-program") == 200
        with pytest.raises(ValueError, match="visible ASCII"):
            sandbox.service_token = "two words"


# The start page


def test_the_start_page_says_what_is_where() -> None:
    with Sandbox(users=["Ada & Co"]) as sandbox:
        page = httpx.get(sandbox.api_url)
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert (httpx.head(sandbox.api_url).status_code, httpx.head(sandbox.api_url).content) == (200, b"")
        for told in (*sandbox.environment.values(), "/_sandbox/faults", "Ada &amp; Co"):
            assert told in page.text
        assert sandbox.requests == []


# The command


def run(*options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_what_a_client_needs_and_stops_on_ctrl_c(end: signal.Signals) -> None:
    with run("--personality", "grace") as process:
        assert process.stdout is not None
        lines = dict(re.split(" {2,}", process.stdout.readline().strip()) for _ in range(9))
        headers = {"Authorization": f"Bearer {lines['Service token']}"}
        assert httpx.get(f"{lines['Management API']}/v1/me", headers=headers).status_code == 200
        page = httpx.get(f"{lines['Login server']}/authorize", params={"client_id": lines["Client id"]})
        assert "redirect_uri" in page.text
        process.send_signal(end)
        rest, log = process.communicate(timeout=10)
    assert (process.returncode, rest) == (0, "")
    first, second = log.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  200  GET    /v1/me  \d+ ms", first)
    assert re.fullmatch(r".*  400  GET    /auth/authorize\?client_id=sandbox-app  \d+ ms", second)


def test_the_command_prints_an_environment_to_paste() -> None:
    options = ("--env", "--service-token", "s3cret-of-mine", "--user", "Ada", "--user", "Grace", "--auto-approve")
    with run(*options, "--redirect-uri", "https://shop.example/callback") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(7)]
        environment = dict(re.fullmatch(r"export (\w+)=(\S+)", line).groups() for line in lines)  # type: ignore[union-attr]
        assert environment["PRISMA_SERVICE_TOKEN"] == "s3cret-of-mine"
        assert {"PRISMA_MANAGEMENT_API_URL", "PRISMA_AUTH_URL", "PRISMA_CLIENT_ID"} < set(environment)
        url, token = environment["PRISMA_MANAGEMENT_API_URL"], environment["PRISMA_SERVICE_TOKEN"]
        assert httpx.get(f"{url}/v1/me?token={token}", headers={"Authorization": f"Bearer {token}"}).status_code < 500
        question = {
            "client_id": environment["PRISMA_CLIENT_ID"], "redirect_uri": "https://shop.example/callback",
            "response_type": "code", "code_challenge": "c" * 43, "code_challenge_method": "S256", "login_hint": "Grace",
        }  # fmt: skip
        answer = httpx.get(f"{environment['PRISMA_AUTH_URL']}/authorize", params=question)
        assert answer.headers["location"].startswith("https://shop.example/callback?code=")
        process.terminate()
        _, log = process.communicate(timeout=10)
    assert token not in log
    assert "token=***" in log


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--user", "Ada", "--user", "Ada"), "users"),
        (("--service-token", "two words"), "service token"),
        (("--port", "70000"), "port"),
        (("--host", "no.such.host.invalid"), "cannot listen"),
    ],
)
def test_a_wrong_option_is_one_line(options: tuple[str, ...], words: str) -> None:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f".*{words}.*\n", done.stderr)


# A command that runs in the sandbox

VISITOR = """
import os, signal, sys, urllib.request
ends = {signal.SIGINT, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # until they are waited for
url = os.environ["PRISMA_MANAGEMENT_API_URL"]
headers = {"Authorization": "Bearer " + os.environ["PRISMA_SERVICE_TOKEN"]}
print(urllib.request.urlopen(urllib.request.Request(url + "/v1/me", headers=headers)).status, url, flush=True)
interrupted = 0
while signal.sigwait(ends) == signal.SIGINT:
    interrupted += 1
    print("interrupted", flush=True)
sys.exit(interrupted * 10 + 3)
"""


@contextlib.contextmanager
def started(command: Sequence[str], *streams: int) -> "Iterator[subprocess.Popen[str]]":
    """A program in a session of its own, which ends with the block."""
    first, second, third = streams
    with subprocess.Popen(
        command, stdin=first, stdout=second, stderr=third, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def alone(*command: str) -> "contextlib.AbstractContextManager[subprocess.Popen[str]]":
    """The sandbox with a command, and without a terminal."""
    return started([*COMMAND, "--", *command], subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE)


def test_a_command_runs_in_the_sandbox_and_is_told_of_signals() -> None:
    with alone(sys.executable, "-c", VISITOR) as process:
        assert process.stdout is not None
        status, url = process.stdout.readline().split()
        assert (status, httpx.get(f"{url}/v1/me").status_code) == ("200", 401)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n"
        process.terminate()
        rest = process.communicate(timeout=10)
    assert (process.returncode, *rest) == (23, "", "")
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_ctrl_c_at_a_terminal_comes_to_a_command_once() -> None:
    keyboard, terminal = pty.openpty()
    take_it = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", take_it, *COMMAND, "--", sys.executable, "-c", VISITOR]
    with io.FileIO(keyboard) as screen, started(command, terminal, terminal, terminal) as process:
        os.close(terminal)
        assert read_line(screen).startswith(b"200 ")
        os.write(keyboard, b"\x03")
        assert b"interrupted" in read_line(screen)
        process.send_signal(signal.SIGINT)  # alone, since two that come together may count as one
        process.terminate()
        assert process.wait(timeout=10) == 13


def read_line(screen: io.FileIO) -> bytes:
    """A line of a terminal, of which more may never come."""
    line = b""
    while not line.endswith(b"\n"):
        line += screen.read(1)
    return line


@pytest.mark.parametrize(("code", "told"), [("exit 0", 0), ("exit 5", 5), ("kill -9 $$", 128 + 9)])
def test_the_exit_code_is_the_commands(code: str, told: int) -> None:
    with alone("sh", "-c", f'test "$0 $1" = "a --" && {code}', "a", "--") as process:
        assert (process.communicate(timeout=30), process.returncode) == (("", ""), told)


def test_a_command_that_is_missing_is_one_line() -> None:
    with alone("no-such-command") as process:
        printed, told = process.communicate(timeout=30)
    assert (process.returncode, printed) == (1, "")
    assert re.fullmatch("[^\n]*'no-such-command'\n", told)


def test_a_missing_dependency_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError(\"No module named 'uvicorn'\", name='uvicorn')")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    line = "the sandbox needs starlette and uvicorn: install prisma-mgmt[sandbox]\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)

"""The sandbox against plain httpx: whatever our own client does is no part of these tests."""

import asyncio
import base64
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from prisma_mgmt.sandbox import Sandbox

REDIRECT_URI = "http://127.0.0.1:53124/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SCOPE = "workspace:admin offline_access"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["strict"])
def sandbox(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(personality=request.param, clock=clock) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """One sandbox for the tests that leave no mark on it."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def shared_api(shared: Sandbox) -> Iterator[httpx.Client]:
    with connect(shared, shared.service_token) as client:
        yield client


@pytest.fixture(scope="module")
def shared_web(shared: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared.auth_url) as client:
        yield client


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with connect(sandbox, sandbox.service_token) as client:
        yield client


@pytest.fixture
def web(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """A browser and a token client in one."""
    with httpx.Client(base_url=sandbox.auth_url) as client:
        yield client


both = pytest.mark.parametrize("sandbox", ["strict", "grace"], indirect=True)
strict = pytest.mark.parametrize("sandbox", ["strict"], indirect=True)
grace = pytest.mark.parametrize("sandbox", ["grace"], indirect=True)


def connect(sandbox: Sandbox, token: str) -> httpx.Client:
    return httpx.Client(base_url=sandbox.api_url + "/v1", headers={"Authorization": f"Bearer {token}"})


def status_of(sandbox: Sandbox, token: str) -> int:
    return httpx.get(f"{sandbox.api_url}/v1/me", headers={"Authorization": f"Bearer {token}"}).status_code


def question(sandbox: Sandbox, **changes: str | None) -> dict[str, str]:
    asked: dict[str, str | None] = {
        "client_id": sandbox.client_id,
        "redirect_uri": REDIRECT_URI,
        "response_type": "code",
        "scope": SCOPE,
        "state": "st&te",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return {key: value for key, value in asked.items() if value is not None}


def callback(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 303, response.text
    return dict(parse_qsl(urlsplit(response.headers["location"]).query))


def get_code(web: httpx.Client, sandbox: Sandbox, **changes: str | None) -> str:
    return callback(web.get("/authorize", params=question(sandbox, **changes)))["code"]


def exchange(web: httpx.Client, sandbox: Sandbox, code: str, /, **changes: str | None) -> httpx.Response:
    form: dict[str, str | None] = {
        "grant_type": "authorization_code",
        "client_id": sandbox.client_id,
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": VERIFIER,
        **changes,
    }
    return web.post("/token", data={key: value for key, value in form.items() if value is not None})


def log_in(web: httpx.Client, sandbox: Sandbox, **changes: str | None) -> dict[str, Any]:
    response = exchange(web, sandbox, get_code(web, sandbox, **changes))
    assert response.status_code == 200, response.text
    tokens: dict[str, Any] = response.json()
    return tokens


def refresh(web: httpx.Client, sandbox: Sandbox, token: str, **changes: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "client_id": sandbox.client_id, "refresh_token": token, **changes}
    return web.post("/token", data=form)


def assert_refused(response: httpx.Response, status: int, error: str) -> None:
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert set(response.json()) == {"error", "error_description"}
    assert response.headers["cache-control"] == "no-store"


def assert_error(response: httpx.Response, status: int, code: str, words: str = "") -> None:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    assert words in error["message"] + error.get("hint", "")
    assert response.headers["x-request-id"]


def claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def make_project(api: httpx.Client, **body: object) -> dict[str, Any]:
    response = api.post("/projects", json=body)
    assert response.status_code == 201, response.text
    project: dict[str, Any] = response.json()["data"]
    return project


# The server


def test_serves_on_a_free_port_and_stops_without_a_trace() -> None:
    before = threading.active_count()
    with Sandbox() as sandbox:
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", sandbox.api_url)
        assert sandbox.auth_url == sandbox.api_url + "/auth"
        with connect(sandbox, sandbox.service_token) as client:
            assert client.get("/me").status_code == 200
    assert threading.active_count() == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(sandbox.api_url)


def test_a_client_that_is_still_sending_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox() as sandbox:
        port = urlsplit(sandbox.api_url).port
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"POST /v1/projects HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert status_of(sandbox, sandbox.service_token) == 200
    with client:
        assert client.recv(1) == b""
    assert not [record for record in caplog.records if record.name.startswith("uvicorn") and record.levelno > 20]


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
    run = subprocess.run(
        [sys.executable, "-m", "prisma_mgmt.sandbox", "--port", str(port)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (1, "", line + "\n")


@pytest.mark.parametrize("options", [{"personality": "kind"}, {"port": 70000}, {"token_lifetime": 0.0}])
def test_options_out_of_range_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Sandbox(**options)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_what_a_client_needs_and_stops_on_ctrl_c(end: signal.Signals) -> None:
    command = [sys.executable, "-m", "prisma_mgmt.sandbox", "--token-lifetime", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = dict(re.split(" {2,}", process.stdout.readline().strip()) for _ in range(4))
        headers = {"Authorization": f"Bearer {lines['Service token']}"}
        assert httpx.get(f"{lines['API']}/v1/me", headers=headers).status_code == 200
        page = httpx.get(f"{lines['Login']}/authorize", params={"client_id": lines["Client id"]})
        assert "redirect_uri" in page.text
        process.send_signal(end)
        rest = process.communicate(timeout=10)
    assert (process.returncode, *rest) == (0, "", "")


def test_a_missing_dependency_is_one_line(tmp_path: Any) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError(\"No module named 'uvicorn'\", name='uvicorn')")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    command = [sys.executable, "-m", "prisma_mgmt.sandbox"]
    environment = {**os.environ, "PYTHONPATH": path}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    line = "the sandbox needs starlette and uvicorn: install prisma-mgmt[sandbox]\n"
    assert (run.returncode, run.stdout, run.stderr) == (1, "", line)


def test_the_application_serves_in_process() -> None:
    sandbox = Sandbox()

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(sandbox.app)
        async with httpx.AsyncClient(transport=transport, base_url=sandbox.api_url) as client:
            return await client.get("/v1/me", headers={"Authorization": f"Bearer {sandbox.service_token}"})

    assert asyncio.run(ask()).status_code == 200


# The login server


def test_discovery_names_every_endpoint(shared: Sandbox, shared_web: httpx.Client) -> None:
    document = shared_web.get("/.well-known/oauth-authorization-server").json()
    assert document["issuer"] == shared.auth_url
    assert document["authorization_endpoint"] == shared.auth_url + "/authorize"
    assert document["token_endpoint"] == shared.auth_url + "/token"
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["grant_types_supported"] == ["authorization_code", "refresh_token"]
    assert document["token_endpoint_auth_methods_supported"] == ["none", "client_secret_post"]
    assert "revocation_endpoint" not in document
    assert httpx.get(f"{shared.api_url}/.well-known/oauth-authorization-server/auth").json() == document


def test_a_login_gives_tokens_for_the_workspace(sandbox: Sandbox, web: httpx.Client, clock: Clock) -> None:
    answer = callback(web.get("/authorize", params=question(sandbox)))
    assert (answer["state"], answer["iss"]) == ("st&te", sandbox.auth_url)
    response = exchange(web, sandbox, answer["code"])
    tokens = response.json()
    assert response.headers["cache-control"] == "no-store"
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 3600, SCOPE)
    inside = claims(tokens["access_token"])
    assert set(inside) >= {"iss", "sub", "workspace_id", "scope", "iat", "exp", "jti"}
    assert inside["workspace_id"] == sandbox.workspace_id
    assert inside["exp"] == clock() + 3600
    assert status_of(sandbox, tokens["access_token"]) == 200
    assert sandbox.counts == {"authorize": 1, "exchange": 1, "api": 1}


def test_without_offline_access_there_is_no_refresh_token(sandbox: Sandbox, web: httpx.Client) -> None:
    assert "refresh_token" not in log_in(web, sandbox, scope="workspace:admin")


@pytest.mark.parametrize(
    "uri",
    ["http://localhost:1/callback", "http://[::1]:65000/callback", "http://127.0.0.1/auth/callback",
     "https://app.example/callback"],
)  # fmt: skip
def test_a_loopback_address_may_have_any_port(shared: Sandbox, shared_web: httpx.Client, uri: str) -> None:
    response = shared_web.get("/authorize", params=question(shared, redirect_uri=uri))
    assert response.headers["location"].startswith(uri + "?code=")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "stranger"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": "http://127.0.0.1:80@evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1:53124/callback/else"},
        {"redirect_uri": "https://app.example:8443/callback"},
        {"redirect_uri": "https://evil.example/<script>"},
    ],
)
def test_an_unknown_client_or_address_is_never_redirected(
    shared: Sandbox, shared_web: httpx.Client, changes: dict[str, str | None]
) -> None:
    response = shared_web.get("/authorize", params=question(shared, **changes))
    assert (response.status_code, response.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert "location" not in response.headers
    assert "<script" not in response.text


def test_a_parameter_given_twice_is_refused(shared: Sandbox, shared_web: httpx.Client) -> None:
    assert shared_web.get(f"/authorize?{urlencode(question(shared))}&state=2").status_code == 400
    body = "grant_type=refresh_token&grant_type=refresh_token"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_refused(shared_web.post("/token", content=body, headers=headers), 400, "invalid_request")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "workspace:admin everything"}, "invalid_scope"),
    ],
)
def test_other_mistakes_go_back_to_the_app(
    shared: Sandbox, shared_web: httpx.Client, changes: dict[str, str | None], error: str
) -> None:
    answer = callback(shared_web.get("/authorize", params=question(shared, **changes)))
    assert (answer["error"], answer["state"], answer["iss"]) == (error, "st&te", shared.auth_url)
    assert "code" not in answer


def test_the_user_decides_on_the_consent_page() -> None:
    with Sandbox(auto_approve=False) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        url = f"/authorize?{urlencode(question(sandbox))}"
        page = web.get(url)
        assert page.status_code == 200
        assert "Sandbox app" in page.text
        assert 'value="approve"' in page.text
        assert 'value="deny"' in page.text
        denied = callback(web.post(url, data={"decision": "deny"}))
        assert (denied["error"], denied["state"], denied["iss"]) == ("access_denied", "st&te", sandbox.auth_url)
        code = callback(web.post(url, data={"decision": "approve", "workspace_id": sandbox.workspace_id}))["code"]
        assert exchange(web, sandbox, code).status_code == 200
        bad = web.post("/authorize?client_id=x", data={"decision": "approve"})
        assert bad.status_code == 400


def test_the_user_picks_a_workspace_whose_name_is_shown_escaped() -> None:
    with Sandbox(auto_approve=False) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        with connect(sandbox, sandbox.service_token) as api:
            other = api.post("/workspaces", json={"displayName": "<b>Second</b>"}).json()["data"]["id"]
        url = f"/authorize?{urlencode(question(sandbox))}"
        assert "&lt;b&gt;Second&lt;/b&gt;</option>" in web.get(url).text
        code = callback(web.post(url, data={"decision": "approve", "workspace_id": other}))["code"]
        tokens = exchange(web, sandbox, code).json()
        assert claims(tokens["access_token"])["workspace_id"] == other
        again = refresh(web, sandbox, tokens["refresh_token"]).json()
        assert claims(again["access_token"])["workspace_id"] == other


@both
def test_a_code_used_twice_takes_back_what_it_gave(sandbox: Sandbox, web: httpx.Client) -> None:
    code = get_code(web, sandbox)
    tokens = exchange(web, sandbox, code).json()
    assert_refused(exchange(web, sandbox, code), 400, "invalid_grant")
    assert status_of(sandbox, tokens["access_token"]) == 401
    assert_refused(refresh(web, sandbox, tokens["refresh_token"]), 400, "invalid_grant")
    assert sandbox.counts["exchange"] == 1


def test_a_code_lives_for_sixty_seconds(sandbox: Sandbox, web: httpx.Client, clock: Clock) -> None:
    early, late = get_code(web, sandbox), get_code(web, sandbox)
    clock.now += 59.9
    assert exchange(web, sandbox, early).status_code == 200
    clock.now += 0.1
    assert_refused(exchange(web, sandbox, late), 400, "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"code": "unknown"}, 400, "invalid_grant"),
        ({"code": None}, 400, "invalid_request"),
        ({"code_verifier": "w" * 43}, 400, "invalid_grant"),
        ({"code_verifier": None}, 400, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:53125/callback"}, 400, "invalid_grant"),
        ({"redirect_uri": None}, 400, "invalid_request"),
        ({"grant_type": None}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_id": None}, 401, "invalid_client"),
        ({"client_id": "stranger"}, 401, "invalid_client"),
        ({"client_secret": "unasked"}, 401, "invalid_client"),
    ],
)
def test_a_bad_exchange_gives_nothing(
    shared: Sandbox, shared_web: httpx.Client, changes: dict[str, str | None], status: int, error: str
) -> None:
    assert_refused(exchange(shared_web, shared, get_code(shared_web, shared), **changes), status, error)


def test_the_token_endpoint_takes_forms_only(shared: Sandbox, shared_web: httpx.Client) -> None:
    form = {"grant_type": "refresh_token", "client_id": shared.client_id, "refresh_token": "x"}
    assert_refused(shared_web.post("/token", json=form), 400, "invalid_request")
    assert shared_web.get("/token").status_code == 405
    assert shared_web.post("/token", data={"padding": "x" * 2_000_000}).status_code == 413


def test_a_confidential_client_shows_its_secret(sandbox: Sandbox, web: httpx.Client) -> None:
    id, secret = sandbox.confidential_client_id, sandbox.client_secret
    for wrong in (None, "wrong"):
        answer = exchange(web, sandbox, get_code(web, sandbox, client_id=id), client_id=id, client_secret=wrong)
        assert_refused(answer, 401, "invalid_client")
    code = get_code(web, sandbox, client_id=id)
    tokens = exchange(web, sandbox, code, client_id=id, client_secret=secret).json()
    assert_refused(refresh(web, sandbox, tokens["refresh_token"], client_id=id), 401, "invalid_client")
    assert refresh(web, sandbox, tokens["refresh_token"], client_id=id, client_secret=secret).status_code == 200


def test_a_confidential_client_may_leave_pkce_out_but_not_drop_it(sandbox: Sandbox, web: httpx.Client) -> None:
    id, secret = sandbox.confidential_client_id, sandbox.client_secret
    plain = {"client_id": id, "code_challenge": None, "code_challenge_method": None}
    given = exchange(
        web, sandbox, get_code(web, sandbox, **plain), client_id=id, client_secret=secret, code_verifier=None
    )
    assert given.status_code == 200
    started = get_code(web, sandbox, client_id=id)
    dropped = exchange(web, sandbox, started, client_id=id, client_secret=secret, code_verifier=None)
    assert_refused(dropped, 400, "invalid_grant")
    added = exchange(web, sandbox, get_code(web, sandbox, **plain), client_id=id, client_secret=secret)
    assert_refused(added, 400, "invalid_grant")


def test_a_code_or_token_serves_its_own_client_only(sandbox: Sandbox, web: httpx.Client) -> None:
    other = {"client_id": sandbox.confidential_client_id, "client_secret": sandbox.client_secret}
    code = get_code(web, sandbox)
    assert_refused(exchange(web, sandbox, code, **other), 400, "invalid_grant")
    tokens = exchange(web, sandbox, code).json()
    assert_refused(refresh(web, sandbox, tokens["refresh_token"], **other), 400, "invalid_grant")
    assert refresh(web, sandbox, tokens["refresh_token"]).status_code == 200


@both
def test_every_refresh_rotates(sandbox: Sandbox, web: httpx.Client) -> None:
    seen = [log_in(web, sandbox)]
    for _ in range(3):
        seen.append(refresh(web, sandbox, seen[-1]["refresh_token"]).json())
    assert len({one["refresh_token"] for one in seen}) == 4
    assert len({one["access_token"] for one in seen}) == 4
    assert all(status_of(sandbox, one["access_token"]) == 200 for one in seen)
    assert (sandbox.counts["refresh"], sandbox.counts["refresh_refused"]) == (3, 0)


@strict
def test_strict_revokes_the_family_on_a_replay(sandbox: Sandbox, web: httpx.Client) -> None:
    other, first = log_in(web, sandbox), log_in(web, sandbox)
    second = refresh(web, sandbox, first["refresh_token"]).json()
    assert_refused(refresh(web, sandbox, first["refresh_token"]), 400, "invalid_grant")
    assert_refused(refresh(web, sandbox, second["refresh_token"]), 400, "invalid_grant")
    assert status_of(sandbox, first["access_token"]) == 401
    assert status_of(sandbox, second["access_token"]) == 401
    assert refresh(web, sandbox, other["refresh_token"]).status_code == 200
    assert (sandbox.counts["refresh"], sandbox.counts["refresh_refused"]) == (2, 2)


@grace
def test_grace_forgives_one_reuse_within_ten_seconds(sandbox: Sandbox, web: httpx.Client, clock: Clock) -> None:
    first = log_in(web, sandbox)
    second = refresh(web, sandbox, first["refresh_token"]).json()
    clock.now += 10
    third = refresh(web, sandbox, first["refresh_token"]).json()
    assert third["refresh_token"] != second["refresh_token"]
    assert_refused(refresh(web, sandbox, first["refresh_token"]), 400, "invalid_grant")
    for sibling in (second, third):
        assert status_of(sandbox, sibling["access_token"]) == 200
        assert refresh(web, sandbox, sibling["refresh_token"]).status_code == 200


@grace
def test_grace_ends_after_ten_seconds(sandbox: Sandbox, web: httpx.Client, clock: Clock) -> None:
    first = log_in(web, sandbox)
    second = refresh(web, sandbox, first["refresh_token"]).json()
    clock.now += 10.1
    assert_refused(refresh(web, sandbox, first["refresh_token"]), 400, "invalid_grant")
    assert refresh(web, sandbox, second["refresh_token"]).status_code == 200


@both
def test_tokens_expire(sandbox: Sandbox, web: httpx.Client, clock: Clock) -> None:
    tokens = log_in(web, sandbox)
    clock.now += 3599.9
    assert status_of(sandbox, tokens["access_token"]) == 200
    clock.now += 0.1
    assert status_of(sandbox, tokens["access_token"]) == 401
    clock.now += 90 * 24 * 3600 - 3600
    assert_refused(refresh(web, sandbox, tokens["refresh_token"]), 400, "invalid_grant")
    assert status_of(sandbox, sandbox.service_token) == 200


@both
def test_tokens_expire_and_are_revoked_on_demand(sandbox: Sandbox, web: httpx.Client) -> None:
    tokens = log_in(web, sandbox)
    sandbox.expire_access_tokens()
    assert status_of(sandbox, tokens["access_token"]) == 401
    assert status_of(sandbox, sandbox.service_token) == 200
    renewed = refresh(web, sandbox, tokens["refresh_token"]).json()
    assert status_of(sandbox, renewed["access_token"]) == 200
    sandbox.revoke_refresh_tokens()
    assert_refused(refresh(web, sandbox, renewed["refresh_token"]), 400, "invalid_grant")
    assert status_of(sandbox, renewed["access_token"]) == 200
    assert sandbox.counts["unauthenticated"] == 1


def test_revocation_is_there_on_request() -> None:
    with Sandbox(revocation=True) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        document = web.get("/.well-known/oauth-authorization-server").json()
        assert document["revocation_endpoint"] == sandbox.auth_url + "/revoke"
        tokens = log_in(web, sandbox)
        form = {"client_id": sandbox.client_id, "token": tokens["refresh_token"]}
        assert_refused(web.post("/revoke", data={**form, "client_id": "x"}), 401, "invalid_client")
        assert web.post("/revoke", data={**form, "token": "unknown"}).status_code == 200
        assert status_of(sandbox, tokens["access_token"]) == 200
        assert web.post("/revoke", data=form).status_code == 200
        assert status_of(sandbox, tokens["access_token"]) == 401


def test_revocation_is_not_there_otherwise(shared: Sandbox, shared_web: httpx.Client) -> None:
    assert shared_web.post("/revoke", data={"token": "x"}).status_code == 404


def test_many_threads_refresh_once_each(sandbox: Sandbox, web: httpx.Client) -> None:
    token = log_in(web, sandbox)["refresh_token"]
    statuses: list[int] = []

    def spend() -> None:
        with httpx.Client(base_url=sandbox.auth_url) as client:
            statuses.append(refresh(client, sandbox, token).status_code)
        sandbox.expire_access_tokens()

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [400] * 7
    assert (sandbox.counts["refresh"], sandbox.counts["refresh_refused"]) == (1, 7)

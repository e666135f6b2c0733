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


# The Management API: what all routes have in common


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic abc", "Bearer  two"])
def test_a_request_without_a_live_token_is_refused(sandbox: Sandbox, header: str | None) -> None:
    response = httpx.get(f"{sandbox.api_url}/v1/projects", headers={} if header is None else {"Authorization": header})
    assert_error(response, 401, "authentication-failed")
    assert response.headers["www-authenticate"] == "Bearer"
    assert sandbox.counts == {"api": 1, "unauthenticated": 1}


def test_the_service_token_names_its_workspace_and_never_expires(shared: Sandbox) -> None:
    inside = claims(shared.service_token)
    assert (inside["sub"], inside["workspace_id"]) == (f"workspace:{shared.workspace_id}", shared.workspace_id)
    assert "exp" not in inside


def test_a_route_that_is_not_modelled_says_so(shared_api: httpx.Client) -> None:
    assert_error(shared_api.get("/buckets"), 501, "not-implemented", "does not model GET /v1/buckets")
    assert_error(shared_api.post("/apps/app_1/promote"), 501, "not-implemented")


def test_an_unknown_route_is_a_404_and_a_wrong_method_a_405(shared_api: httpx.Client) -> None:
    assert_error(shared_api.get("/nonsense"), 404, "resource-not-found", "/v1/nonsense")
    response = shared_api.put("/projects", json={})
    assert_error(response, 405, "method-not-allowed")
    assert response.headers["allow"]


def test_a_body_that_cannot_be_read_is_refused(shared_api: httpx.Client) -> None:
    assert_error(shared_api.post("/projects", content=b'{"name":'), 400, "client-error", "JSON")
    assert_error(shared_api.post("/projects", content=b"\xff"), 400, "client-error", "JSON")
    assert_error(shared_api.post("/projects", content=b"[" * 100_000), 400, "client-error", "JSON")
    assert_error(shared_api.post("/projects", json=["name"]), 422, "validation-error", "object")
    assert_error(shared_api.post("/projects", content=b" " * (1024 * 1024 + 1)), 413, "payload-too-large")
    assert shared_api.post("/projects").status_code == 201


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": " "}, "name"),
        ({"name": 7}, "name"),
        ({"name": None}, "name"),
        ({"logicalId": ""}, "logicalId"),
        ({"createDatabase": "false"}, "createDatabase"),
        ({"region": "moon-1"}, "us-east-1, us-west-1, eu-west-3, eu-central-1, ap-northeast-1, ap-southeast-1"),
    ],
)
def test_a_wrong_field_is_named(shared_api: httpx.Client, body: dict[str, object], words: str) -> None:
    assert_error(shared_api.post("/projects", json=body), 422, "validation-error", words)


@pytest.mark.parametrize(
    ("path", "body", "missing"),
    [
        ("/databases", {}, "projectId"),
        ("/connections", {"name": "x"}, "databaseId"),
        ("/databases/{db}/connections", {}, "name"),
        ("/databases/{db}/restore", {}, "source"),
        ("/databases/{db}/restore", {"source": {"type": "empty"}}, "type"),
        ("/databases/{db}/restore", {"source": {"type": "backup", "databaseId": "{db}"}}, "backupId"),
        ("/projects/{proj}/transfer", {}, "recipientAccessToken"),
        ("/projects/{proj}/databases", {"source": "empty"}, "source"),
        ("/projects/{proj}/databases", {"region": "moon-1"}, "inherit"),
    ],
)
def test_a_missing_or_wrong_field_is_named(
    shared_api: httpx.Client, path: str, body: dict[str, Any], missing: str
) -> None:
    project = make_project(shared_api)
    ids = {"{proj}": project["id"], "{db}": project["database"]["id"]}
    text = json.dumps(body)
    for word, id in ids.items():
        path, text = path.replace(word, id), text.replace(word, id)
    assert_error(shared_api.post(path, content=text), 422, "validation-error", missing)


UNKNOWN = [
    "GET /workspaces/wksp_x", "GET /workspaces/wksp_x/subscription", "GET /workspaces/wksp_x/integrations",
    "DELETE /workspaces/wksp_x/integrations/y", "GET /integrations?workspaceId=wksp_x", "GET /integrations/int_x",
    "DELETE /integrations/int_x", "GET /projects/proj_x", "PATCH /projects/proj_x", "DELETE /projects/proj_x",
    "POST /projects/proj_x/transfer", "GET /projects/proj_x/databases", "POST /projects/proj_x/databases",
    "GET /databases/db_x", "PATCH /databases/db_x", "DELETE /databases/db_x", "GET /databases/db_x/usage",
    "GET /databases/db_x/backups", "POST /databases/db_x/restore", "GET /databases/db_x/connections",
    "POST /databases/db_x/connections", "GET /connections/con_x", "DELETE /connections/con_x",
    "POST /connections/con_x/rotate",
]  # fmt: skip


@pytest.mark.parametrize("route", UNKNOWN)
def test_an_unknown_id_is_a_404_without_a_token_a_401(shared: Sandbox, shared_api: httpx.Client, route: str) -> None:
    method, path = route.split()
    assert_error(shared_api.request(method, path), 404, "resource-not-found")
    assert httpx.request(method, f"{shared.api_url}/v1{path}").status_code == 401


def test_ids_in_a_body_are_looked_up_too(shared_api: httpx.Client) -> None:
    assert_error(shared_api.post("/projects", json={"workspaceId": "wksp_x"}), 404, "resource-not-found")
    assert_error(shared_api.post("/databases", json={"projectId": "proj_x"}), 404, "resource-not-found")
    assert_error(shared_api.post("/connections", json={"databaseId": "db_x", "name": "x"}), 404, "resource-not-found")


def test_lists_page_by_cursor(api: httpx.Client) -> None:
    names = [make_project(api, name=f"p{number}", createDatabase=False)["name"] for number in range(5)]
    first = api.get("/projects", params={"limit": 2}).json()
    assert first["pagination"]["hasMore"] is True
    cursor = first["pagination"]["nextCursor"]
    # The cursor holds although the item that it was made from is gone.
    api.delete(f"/projects/{first['data'][-1]['id']}")
    second = api.get("/projects", params={"limit": 2, "cursor": cursor}).json()
    third = api.get("/projects", params={"limit": 2, "cursor": second["pagination"]["nextCursor"]}).json()
    assert third["pagination"] == {"nextCursor": None, "hasMore": False}
    assert [one["name"] for part in (first, second, third) for one in part["data"]] == names


def test_a_page_holds_a_hundred_by_default(api: httpx.Client) -> None:
    for _ in range(101):
        make_project(api, createDatabase=False)
    answer = api.get("/projects").json()
    assert (len(answer["data"]), answer["pagination"]["hasMore"]) == (100, True)
    exact = api.get("/projects", params={"cursor": answer["pagination"]["nextCursor"], "limit": 1}).json()
    assert (len(exact["data"]), exact["pagination"]) == (1, {"nextCursor": None, "hasMore": False})


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=-1", "limit=ten", "limit=1.5", "limit=", "cursor=x", "cursor=", "cursor=é"]
)
def test_paging_out_of_bounds_is_refused(shared_api: httpx.Client, query: str) -> None:
    assert_error(shared_api.get(f"/projects?{query}"), 422, "validation-error", query.partition("=")[0])


# The Management API: routes


def test_a_new_project_brings_a_database_and_shows_its_secrets_once(sandbox: Sandbox, api: httpx.Client) -> None:
    project = make_project(api, name="shop", region="eu-west-3", logicalId="shop")
    assert project["id"].startswith("proj_")
    assert project["url"] == f"{sandbox.api_url}/v1/projects/{project['id']}"
    assert (project["name"], project["logicalId"], project["defaultRegion"]) == ("shop", "shop", "eu-west-3")
    assert project["createdAt"] == "2027-01-15T08:00:00.000Z"
    assert project["workspace"]["id"] == sandbox.workspace_id
    database = project.pop("database")
    assert "project" not in database
    assert (database["status"], database["isDefault"]) == ("provisioning", True)
    assert database["region"] == {"id": "eu-west-3", "name": "Europe (Paris)"}
    (connection,) = database["connections"]
    assert database["id"].startswith("db_")
    assert database["defaultConnectionId"] == connection["id"]
    assert connection["id"].startswith("con_")
    assert {"direct", "pooled", "accelerate"} == set(connection["endpoints"])
    assert all(endpoint["connectionString"] for endpoint in connection["endpoints"].values())
    direct = database["directConnection"]
    assert set(direct) == {"host", "user", "pass"}
    assert database["connectionString"] == database["apiKeys"][0]["connectionString"]
    assert "database" not in database["apiKeys"][0]

    assert api.get(f"/projects/{project['id']}").json()["data"] == project
    reads = ["/projects", f"/projects/{project['id']}", "/databases", f"/projects/{project['id']}/databases",
             f"/databases/{database['id']}", f"/databases/{database['id']}/connections", "/connections",
             f"/connections/{connection['id']}"]  # fmt: skip
    for path in reads:
        text = api.get(path).text
        assert "postgres://" not in text
        assert "postgresql://" not in text
        assert direct["pass"] not in text
        assert direct["user"] not in text


def test_a_project_may_come_without_a_database(api: httpx.Client) -> None:
    project = make_project(api, createDatabase=False)
    assert (project["database"], project["defaultRegion"], project["logicalId"]) == (None, None, None)
    assert api.get("/databases").json()["data"] == []


def test_a_logical_id_is_unique_and_a_filter(api: httpx.Client) -> None:
    project = make_project(api, logicalId="shop")
    make_project(api, logicalId="other")
    assert_error(api.post("/projects", json={"logicalId": "shop"}), 409, "conflict", "shop")
    assert [one["id"] for one in api.get("/projects?logicalId=shop").json()["data"]] == [project["id"]]
    body = {"projectId": project["id"], "logicalId": "main"}
    database = api.post("/databases", json=body).json()["data"]
    assert_error(api.post("/databases", json=body), 409, "conflict", "main")
    assert [one["id"] for one in api.get("/databases?logicalId=main").json()["data"]] == [database["id"]]
    default = f"/databases/{project['database']['id']}"
    assert_error(api.patch(default, json={"logicalId": "main"}), 409, "conflict")
    assert api.patch(f"/databases/{database['id']}", json={"logicalId": "main"}).status_code == 200
    assert api.patch(default, json={"logicalId": "free"}).json()["data"]["logicalId"] == "free"


def test_a_project_is_renamed_and_deleted_with_all_it_holds(api: httpx.Client) -> None:
    project = make_project(api, name="old")
    url = f"/projects/{project['id']}"
    assert api.patch(url, json={"name": "new", "settings": {"a": 1}}).json()["data"]["name"] == "new"
    assert_error(api.patch(url, json={"settings": []}), 422, "validation-error", "settings")
    assert_error(api.patch(url, json={"name": ""}), 422, "validation-error", "name")
    response = api.delete(url)
    assert (response.status_code, response.content) == (204, b"")
    assert [api.get(path).json()["data"] for path in ("/projects", "/databases", "/connections")] == [[], [], []]
    assert_error(api.delete(url), 404, "resource-not-found")


def test_a_token_sees_its_own_workspace_only(sandbox: Sandbox, api: httpx.Client) -> None:
    other = api.post("/workspaces", json={"displayName": "Other"})
    assert (other.status_code, other.json()["data"]["name"]) == (201, "Other")
    project = make_project(api, logicalId="shop")
    database, connection = project["database"]["id"], project["database"]["defaultConnectionId"]
    with connect(sandbox, sandbox.issue_service_token(other.json()["data"]["id"])) as stranger:
        for path in ("projects", "databases", "connections"):
            assert stranger.get(f"/{path}").json()["data"] == []
        own = [f"projects/{project['id']}", f"databases/{database}", f"connections/{connection}"]
        for path in [*own, f"workspaces/{sandbox.workspace_id}"]:
            assert_error(stranger.get(f"/{path}"), 404, "resource-not-found")
        assert stranger.post("/projects", json={"logicalId": "shop"}).status_code == 201
        assert [one["name"] for one in stranger.get("/workspaces").json()["data"]] == ["Other"]


def test_a_project_is_transferred_to_the_workspace_of_a_token(sandbox: Sandbox, api: httpx.Client) -> None:
    token = sandbox.issue_service_token(api.post("/workspaces").json()["data"]["id"])
    url = f"/projects/{make_project(api)['id']}"
    assert_error(api.post(f"{url}/transfer", json={"recipientAccessToken": "x"}), 404, "resource-not-found")
    assert_error(api.post(f"{url}/transfer", json={"recipientAccessToken": sandbox.service_token}), 409, "conflict")
    assert api.post(f"{url}/transfer", json={"recipientAccessToken": token}).status_code == 204
    assert_error(api.get(url), 404, "resource-not-found")
    with connect(sandbox, token) as receiver:
        assert receiver.get(url).status_code == 200


def test_a_workspace_shows_itself_and_its_plan(shared: Sandbox, shared_api: httpx.Client) -> None:
    (listed,) = shared_api.get("/workspaces").json()["data"]
    assert set(listed) == {"id", "type", "url", "name", "createdAt"}
    assert shared_api.get(f"/workspaces/{shared.workspace_id}").json()["data"] == listed
    plan = shared_api.get(f"/workspaces/{shared.workspace_id}/subscription").json()["data"]
    assert set(plan) == {"planName", "usageBlocked", "upgradeUrl"}


def test_me_tells_a_service_token_from_a_user(sandbox: Sandbox, api: httpx.Client, web: httpx.Client) -> None:
    me = api.get("/me").json()["data"]
    assert (me["user"], me["workspace"]["id"]) == (None, sandbox.workspace_id)
    assert me["credential"]["type"] == "service_token"
    with connect(sandbox, log_in(web, sandbox)["access_token"]) as user:
        me = user.get("/me").json()["data"]
        assert me["credential"] == {"type": "oauth", "id": sandbox.client_id, "name": "Sandbox app"}
        assert set(me["user"]) == {"id", "email", "name"}
        assert_error(user.post("/workspaces", json={"displayName": "Mine"}), 403, "permission-denied")


def test_regions_are_listed_by_product(shared_api: httpx.Client) -> None:
    every = shared_api.get("/regions").json()["data"]
    postgres = shared_api.get("/regions?product=postgres").json()["data"]
    assert {one["product"] for one in every} == {"postgres", "accelerate"}
    assert {one["product"] for one in postgres} == {"postgres"}
    for one in postgres:
        del one["product"]
    assert shared_api.get("/regions/postgres").json() == {"data": postgres}
    assert all(set(one) == {"id", "type", "name"} for one in shared_api.get("/regions/accelerate").json()["data"])
    assert_error(shared_api.get("/regions?product=mysql"), 422, "validation-error", "postgres, accelerate")


def test_a_login_becomes_an_integration(sandbox: Sandbox, api: httpx.Client, web: httpx.Client) -> None:
    listing = f"/integrations?workspaceId={sandbox.workspace_id}"
    assert api.get(listing).json()["data"] == []
    assert_error(api.get("/integrations"), 422, "validation-error", "workspaceId")
    log_in(web, sandbox)
    tokens = log_in(web, sandbox)
    (integration,) = api.get(listing).json()["data"]
    assert set(integration) == {"id", "url", "createdAt", "scopes", "client", "createdByUser"}
    assert (integration["client"]["id"], integration["scopes"]) == (sandbox.client_id, SCOPE.split())
    assert api.get(f"/workspaces/{sandbox.workspace_id}/integrations").json()["data"] == [integration]
    assert api.get(f"/integrations/{integration['id']}").json()["data"] == integration
    assert api.delete(f"/integrations/{integration['id']}").status_code == 204
    assert status_of(sandbox, tokens["access_token"]) == 401
    assert_refused(refresh(web, sandbox, tokens["refresh_token"]), 400, "invalid_grant")


def test_an_integration_is_deleted_by_client_too(sandbox: Sandbox, api: httpx.Client, web: httpx.Client) -> None:
    tokens = log_in(web, sandbox)
    url = f"/workspaces/{sandbox.workspace_id}/integrations/{sandbox.client_id}"
    assert api.delete(url).status_code == 204
    assert_error(api.delete(url), 404, "resource-not-found")
    assert status_of(sandbox, tokens["access_token"]) == 401


def test_a_database_is_ready_after_the_first_read(api: httpx.Client) -> None:
    project = make_project(api)
    url = f"/databases/{project['database']['id']}"
    assert api.patch(url, json={"name": "renamed"}).json()["data"]["status"] == "provisioning"
    assert [api.get(url).json()["data"]["status"] for _ in range(3)] == ["provisioning", "ready", "ready"]
    nested = f"/projects/{project['id']}/databases"
    created = api.post(nested, json={}).json()["data"]
    assert created["status"] == "provisioning"
    assert [one["status"] for one in api.get(nested).json()["data"]] == ["ready", "provisioning"]
    assert {one["status"] for one in api.get("/databases").json()["data"]} == {"ready"}


def test_both_ways_to_create_a_database(api: httpx.Client) -> None:
    project = make_project(api, createDatabase=False, region="eu-west-3")
    flat = api.post("/databases", json={"projectId": project["id"], "name": "one", "isDefault": True})
    assert flat.status_code == 201
    one = flat.json()["data"]
    assert (one["name"], one["isDefault"], one["source"]) == ("one", True, {"type": "empty"})
    assert (one["project"]["id"], one["region"]["id"]) == (project["id"], "us-east-1")
    assert one["connections"][0]["endpoints"]["direct"]["connectionString"].startswith("postgresql://")
    assert not {"apiKeys", "connectionString", "directConnection"} & set(one)
    nested = api.post(f"/projects/{project['id']}/databases", json={"region": "inherit"})
    assert nested.status_code == 201
    two = nested.json()["data"]
    assert (two["isDefault"], two["region"]["id"], two["branchId"]) == (False, "eu-west-3", one["branchId"])
    assert set(two) - set(one) == {"apiKeys", "connectionString", "directConnection"}
    taken = api.post(f"/projects/{project['id']}/databases", json={"isDefault": True})
    assert_error(taken, 400, "client-error", "default")
    assert [x["name"] for x in api.get(f"/databases?projectId={project['id']}").json()["data"]] == ["one", "Database 2"]
    assert api.get("/databases?projectId=proj_x").json()["data"] == []


def test_inherit_falls_back_to_the_region_of_the_default_database(api: httpx.Client) -> None:
    project = make_project(api, createDatabase=False)
    body = {"projectId": project["id"], "region": "ap-northeast-1", "isDefault": True}
    api.post("/databases", json=body)
    body = {"projectId": project["id"], "region": "inherit"}
    assert api.post("/databases", json=body).json()["data"]["region"]["id"] == "ap-northeast-1"


def test_the_default_database_is_protected(api: httpx.Client) -> None:
    project = make_project(api)
    assert_error(api.delete(f"/databases/{project['database']['id']}"), 403, "permission-denied")
    extra = api.post(f"/projects/{project['id']}/databases").json()["data"]
    assert api.delete(f"/databases/{extra['id']}").status_code == 204
    assert_error(api.get(f"/connections/{extra['defaultConnectionId']}"), 404, "resource-not-found")


def test_a_database_is_made_from_another_or_from_a_backup(api: httpx.Client) -> None:
    project = make_project(api)
    origin = project["database"]["id"]
    backups = api.get(f"/databases/{origin}/backups").json()
    backup = {"type": "backup", "databaseId": origin, "backupId": backups["data"][0]["id"]}
    clone = {"type": "database", "databaseId": origin}
    url = f"/projects/{project['id']}/databases"
    old = {"id": origin, "backupId": backup["backupId"]}
    for body, source in (
        ({"source": backup}, backup),
        ({"source": clone}, clone),
        ({"fromDatabase": old}, backup),
        ({"fromDatabase": {"id": origin}}, clone),
    ):
        assert api.post(url, json=body).json()["data"]["source"] == source
    assert_error(api.post(url, json={"source": {**backup, "backupId": "x"}}), 404, "resource-not-found")
    assert_error(api.post(url, json={"source": {**clone, "databaseId": "x"}}), 404, "resource-not-found")
    assert_error(api.post(url, json={"source": {"type": "file"}}), 422, "validation-error", "type")
    assert len(api.get(url).json()["data"]) == 5


def test_backups_are_listed_without_a_cursor(api: httpx.Client) -> None:
    url = f"/databases/{make_project(api)['database']['id']}/backups"
    answer = api.get(url).json()
    assert set(answer["data"][0]) == {"id", "type", "backupType", "createdAt", "size", "status"}
    assert answer["meta"] == {"backupRetentionDays": 7}
    assert answer["pagination"] == {"hasMore": False, "limit": 25}
    short = api.get(url, params={"limit": 1}).json()
    assert (len(short["data"]), short["pagination"]) == (1, {"hasMore": True, "limit": 1})
    assert_error(api.get(url, params={"limit": 0}), 422, "validation-error", "limit")


def test_a_database_is_restored_in_place(api: httpx.Client) -> None:
    database = make_project(api)["database"]
    url = f"/databases/{database['id']}"
    backup_id = api.get(f"{url}/backups").json()["data"][0]["id"]
    source = {"type": "backup", "databaseId": database["id"], "backupId": backup_id}
    assert_error(api.post(f"{url}/restore", json={"source": source}), 409, "conflict", "provisioning")
    before = api.get(url).json()["data"]
    restored = api.post(f"{url}/restore", json={"source": source})
    assert restored.status_code == 200
    assert restored.json()["data"] == {**before, "status": "recovering", "source": source}
    assert_error(api.post(f"{url}/restore", json={"source": source}), 409, "conflict", "recovering")
    assert [api.get(url).json()["data"]["status"] for _ in range(2)] == ["recovering", "ready"]
    missing = {**source, "backupId": "x"}
    assert_error(api.post(f"{url}/restore", json={"source": missing}), 404, "resource-not-found")


def test_usage_covers_a_period(api: httpx.Client) -> None:
    url = f"/databases/{make_project(api)['database']['id']}/usage"
    answer = api.get(url, params={"startDate": "2027-01-01", "endDate": "2027-01-02T10:00:00+02:00"}).json()
    assert answer["period"] == {"start": "2027-01-01T00:00:00.000Z", "end": "2027-01-02T08:00:00.000Z"}
    assert {key: value["unit"] for key, value in answer["metrics"].items()} == {"operations": "ops", "storage": "GiB"}
    assert answer["generatedAt"] == api.get(url).json()["period"]["end"] == "2027-01-15T08:00:00.000Z"
    assert_error(api.get(url, params={"startDate": "yesterday"}), 400, "client-error", "startDate")
    assert_error(api.get(url, params={"endDate": "2020-01-01"}), 400, "client-error")


def test_both_ways_to_create_a_connection(api: httpx.Client) -> None:
    database = make_project(api)["database"]["id"]
    flat = api.post("/connections", json={"databaseId": database, "name": "one"})
    nested = api.post(f"/databases/{database}/connections", json={"name": "two"})
    assert (flat.status_code, nested.status_code) == (201, 200)
    for created in (flat.json()["data"], nested.json()["data"]):
        read = api.get(f"/connections/{created['id']}").json()["data"]
        extra = {"connectionString", "directConnection", "host", "user", "pass"}
        assert set(created) - set(read) == extra
        assert created["directConnection"] == {key: created[key] for key in ("host", "user", "pass")}
        assert created["pass"] in created["endpoints"]["direct"]["connectionString"]
    names = ["Default", "one", "two"]
    other = make_project(api)["database"]["defaultConnectionId"]
    assert [one["name"] for one in api.get(f"/databases/{database}/connections").json()["data"]] == names
    assert [one["name"] for one in api.get(f"/connections?databaseId={database}").json()["data"]] == names
    assert api.get("/connections").json()["data"][-1]["id"] == other


def test_rotation_gives_new_secrets(api: httpx.Client) -> None:
    created = api.post(f"/databases/{make_project(api)['database']['id']}/connections", json={"name": "app"}).json()[
        "data"
    ]
    response = api.post(f"/connections/{created['id']}/rotate")
    assert response.status_code == 200
    rotated = response.json()["data"]
    assert set(rotated) == set(created)
    assert rotated["id"] == created["id"]
    for key in ("user", "pass", "connectionString", "endpoints", "directConnection"):
        assert rotated[key] != created[key]


def test_a_deleted_default_connection_is_no_longer_named(api: httpx.Client) -> None:
    database = make_project(api)["database"]
    assert api.delete(f"/connections/{database['defaultConnectionId']}").status_code == 204
    read = api.get(f"/databases/{database['id']}").json()["data"]
    assert (read["defaultConnectionId"], read["connections"]) == (None, [])


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

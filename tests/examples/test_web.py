"""The web applications among the examples, in their sandboxes: a browser logs in, sees its projects, and logs out."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from prisma_mgmt.auth import new_key
from prisma_mgmt.sandbox import Sandbox
from tests.examples.programs import EXAMPLES, serving
from tests.kit.servers import free_port

APPS = [("fastapi_app.py", "/api/projects"), ("litestar_app.py", "/projects"), ("django_app", "/projects")]


@pytest.mark.parametrize(("name", "route"), APPS)
def test_a_browser_logs_in_sees_its_projects_and_logs_out(name: str, route: str, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(EXAMPLES / name)]
    with (
        serving(command, cwd=tmp_path, PORT=str(port), PYTHONWARNINGS="ignore"),  # frameworks deprecate each other
        httpx.Client(base_url=url, follow_redirects=True, trust_env=False, timeout=20) as browser,
    ):
        seen = browser.get(route)  # by way of /auth/login, the login server and /auth/callback
        assert seen.status_code == 200
        assert seen.json() in ([], {"projects": []})
        assert [it.url.path for it in seen.history] == [
            route,
            "/auth/login",
            "/auth/authorize",
            "/auth/callback",
        ]
        assert browser.get(route).history == [], "the session stays"
        if name == "django_app":
            assert browser.get("/sync/projects").json() == {"projects": []}
        out = browser.post("/auth/logout", headers={"origin": url}, follow_redirects=False)
        assert out.status_code == 303
        assert browser.get(route, follow_redirects=False).status_code in (302, 303)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "route"), [("fastapi_app.py", "/projects"), *APPS[1:]])
def test_what_prisma_cannot_do_just_now_is_no_fault_of_the_application(name: str, route: str, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (
        Sandbox(redirect_uris=[f"{url}/auth/callback"]) as sandbox,
        serving(
            [sys.executable, str(EXAMPLES / name)],
            cwd=tmp_path,
            PORT=str(port),
            PYTHONWARNINGS="ignore",
            PRISMA_REDIRECT_URI=f"{url}/auth/callback",
            LOGIN_KEYS=new_key(),
            **sandbox.environment,
        ),
        httpx.Client(base_url=url, trust_env=False, timeout=20) as browser,
    ):
        assert browser.get("/auth/login", follow_redirects=True).is_success

        sandbox.fail("GET /v1/projects", status=401, times=2)  # the second one is for a new token
        refused = browser.get(route)
        assert (refused.status_code, "/auth/login" in refused.text) == (401, True)
        sandbox.fail("GET /v1/projects", status=503, retry_after=90)
        busy = browser.get(route)
        assert (busy.status_code, busy.headers["Retry-After"]) == (503, "90")
        sandbox.cut("GET /v1/projects", times=4)
        cut = browser.get(route)
        assert (cut.status_code, cut.headers["Retry-After"]) == (503, "5")
        if name == "fastapi_app.py":
            sandbox.fail("GET /v1/projects", status=503, retry_after=90)
            assert browser.get("/api/projects").json()["detail"] == "This does not work just now"

        assert browser.get(route).status_code == 200

        sandbox.revoke_refresh_tokens()
        sandbox.expire_access_tokens()
        over = browser.get(route)
        assert over.status_code in (302, 303)
        assert browser.get(over.headers["location"], follow_redirects=True).url.path == route

        sandbox.expire_access_tokens()
        sandbox.fail("POST /token", status=503, retry_after=30)
        unsure = browser.get(route)
        assert (unsure.status_code, unsure.headers["Retry-After"]) == (503, "30"), "the login is not over"


def test_a_page_for_people_in_fastapi(tmp_path: Path) -> None:
    port = free_port()
    with (
        serving([sys.executable, str(EXAMPLES / "fastapi_app.py")], cwd=tmp_path, PORT=str(port)),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True, trust_env=False) as browser,
    ):
        assert "Log in with Prisma" in browser.get("/").text
        assert "Your projects" in browser.get("/auth/login").text


def test_a_visitor_claims_the_project_that_was_made_for_them(tmp_path: Path) -> None:
    port = free_port()
    with (
        serving([sys.executable, str(EXAMPLES / "partner_claim.py")], cwd=tmp_path, PORT=str(port)),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True, trust_env=False) as browser,
    ):
        link = browser.post("/new").text.partition('href="')[2].partition('"')[0]
        no = {"decision": "deny"}
        for _ in range(5):
            asked = browser.get(link)
        assert len(browser.cookies) <= 3, "of the logins that the visitor has begun"
        assert "It was not claimed" in browser.post(asked.url, data=no).text
        asked = browser.get(link)
        visitor = asked.text.rpartition('name="account" value="')[2].partition('"')[0]
        yours = browser.post(asked.url, data={"decision": "approve", "account": visitor})
        assert "It is yours" in yours.text, yours.text
        again = browser.get(link)
        answer = browser.post(again.url, data={"decision": "approve", "account": visitor})
        assert (answer.status_code, "nothing to claim" in answer.text) == (404, True)


@pytest.mark.parametrize("call", ["fastapi_app:create_app", "litestar_app:create_app", "partner_claim:create_app"])
def test_keys_that_are_not_set_are_told_in_one_line(call: str) -> None:
    module, _, factory = call.partition(":")
    told = ending_of(f"import {module}; {module}.{factory}()", EXAMPLES)
    assert told.startswith("LOGIN_KEYS is not set: ")
    assert len(told.splitlines()) == 1


def test_django_is_told_of_keys_that_are_not_set_in_one_line() -> None:
    assert len(ending_of("import settings", EXAMPLES / "django_app").splitlines()) == 1


def ending_of(program: str, folder: Path) -> str:
    """What a program says at its end, which is no success, in an environment that lacks nothing but the keys."""
    named = {"PRISMA_CLIENT_ID": "id", "PRISMA_REDIRECT_URI": "http://127.0.0.1:8000/auth/callback"}
    environment = {**os.environ, **named, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    return ended.stderr

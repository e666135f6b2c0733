"""The web applications among the examples, in their sandboxes: a browser logs in, sees its projects, and logs out."""

import sys
from pathlib import Path

import httpx
import pytest

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
        seen = browser.get(route)  # by way of /prisma/login, the login server and /prisma/callback
        assert seen.status_code == 200
        assert seen.json() in ([], {"projects": []})
        assert [it.url.path for it in seen.history] == [
            route,
            "/prisma/login",
            "/auth/authorize",
            "/prisma/callback",
        ]
        assert browser.get(route).history == [], "the session stays"
        if name == "django_app":
            assert browser.get("/sync/projects").json() == {"projects": []}
        out = browser.post("/prisma/logout", headers={"origin": url}, follow_redirects=False)
        assert out.status_code == 303
        assert browser.get(route, follow_redirects=False).status_code in (302, 303)
    assert list(tmp_path.iterdir()) == []


def test_a_page_for_people_in_fastapi(tmp_path: Path) -> None:
    port = free_port()
    with (
        serving([sys.executable, str(EXAMPLES / "fastapi_app.py")], cwd=tmp_path, PORT=str(port)),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True, trust_env=False) as browser,
    ):
        assert "Log in with Prisma" in browser.get("/").text
        assert "Your projects" in browser.get("/prisma/login").text


def test_a_visitor_claims_the_project_that_was_made_for_them(tmp_path: Path) -> None:
    port = free_port()
    with (
        serving([sys.executable, str(EXAMPLES / "partner_claim.py")], cwd=tmp_path, PORT=str(port)),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True, trust_env=False) as browser,
    ):
        link = browser.post("/new").text.partition('href="')[2].partition('"')[0]
        no = {"decision": "deny"}
        asked = browser.get(link)
        assert "It was not claimed" in browser.post(asked.url, data=no).text
        asked = browser.get(link)
        visitor = asked.text.rpartition('name="account" value="')[2].partition('"')[0]
        yours = browser.post(asked.url, data={"decision": "approve", "account": visitor})
        assert "It is yours" in yours.text, yours.text
        again = browser.get(link)
        answer = browser.post(again.url, data={"decision": "approve", "account": visitor})
        assert (answer.status_code, "nothing to claim" in answer.text) == (404, True)

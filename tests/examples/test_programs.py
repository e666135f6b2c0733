"""The other examples, each in its sandbox and against a server that the environment names."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prisma_mgmt.sandbox import Sandbox
from tests.examples.programs import EXAMPLES, environment, run
from tests.kit.servers import redis_server

BY_DEFAULT: dict[str, list[str]] = {
    "quickstart.py": [],
    "terminal.py": [],
    "provision.py": [],
    "deploy.py": ["app.tgz"],
    "preview_database.py": ["pr-7", "--", sys.executable, "-c", "import os; print(os.environ['DATABASE_URL'][:13])"],
}
SAYS = {
    "quickstart.py": "50 calls at once, 1 refresh,",
    "terminal.py": "run 2\nyour projects: none yet\nrun 3\nlogged out",
    "provision.py": "has a new DATABASE_URL",
    "deploy.py": "is running at https://",
    "preview_database.py": "postgresql://",
}


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_an_example_runs_in_a_sandbox_by_default(name: str, tmp_path: Path) -> None:
    (tmp_path / "app.tgz").write_bytes(b"code")
    assert SAYS[name] in run(name, *BY_DEFAULT[name], cwd=tmp_path).stdout


def test_provision_does_no_harm_the_second_time(tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        first = run("provision.py", cwd=tmp_path, **sandbox.environment)
        env = (tmp_path / ".env").read_text()
        assert env.startswith('DATABASE_URL="postgresql://')
        assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
        second = run("provision.py", cwd=tmp_path, **sandbox.environment)
        assert (tmp_path / ".env").read_text() == env
        assert first.stdout.splitlines()[0] == second.stdout.splitlines()[0]
        assert [it.path for it in sandbox.requests if it.method == "POST"] == [
            *("/v1/projects", "/v1/databases", "/v1/connections"),
        ]


def test_deploy_stops_what_ran_before(tmp_path: Path) -> None:
    (tmp_path / "app.tgz").write_bytes(b"code")
    with Sandbox() as sandbox:
        for _ in range(2):
            run("deploy.py", "app.tgz", "--port", "8080", cwd=tmp_path, **sandbox.environment)
        assert [it.status for it in sandbox.requests if it.path.endswith("/stop")] == [204]
    assert "deploy: " in run("deploy.py", "none.tgz", cwd=tmp_path, code=1).stderr


def test_a_preview_database_has_the_exit_code_of_its_command_and_goes_when_ci_says_stop(tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        run("preview_database.py", "pr", "--", "sh", "-c", "exit 3", cwd=tmp_path, code=3, **sandbox.environment)
        script = "import time; print('here', flush=True); time.sleep(60)"
        command = [sys.executable, str(EXAMPLES / "preview_database.py"), "pr", "--", sys.executable, "-c", script]
        options = {"cwd": tmp_path, "env": environment(sandbox.environment), "text": True}
        with subprocess.Popen(command, stdout=subprocess.PIPE, **options) as program:  # type: ignore[call-overload]  # a dict of options
            assert program.stdout.readline() == "here\n"
            program.send_signal(signal.SIGTERM)
            assert program.wait(20) == 130
        deleted = [it.status for it in sandbox.requests if it.method == "DELETE"]
        assert deleted == [204, 204]


def test_a_terminal_keeps_its_login_until_it_logs_out(tmp_path: Path) -> None:
    """The browser is a program that follows the link."""
    browser = tmp_path / "browser"
    browser.write_text(
        f"#!{sys.executable}\nimport sys, httpx\nhttpx.get(sys.argv[1], follow_redirects=True, trust_env=False)\n"
    )
    browser.chmod(0o700)
    tokens = tmp_path / "kept" / "tokens.json"
    with Sandbox() as sandbox:
        named = {**sandbox.environment, "TOKENS": str(tokens), "BROWSER": f"{browser} %s"}
        first = run("terminal.py", cwd=tmp_path, **named)
        assert (first.stdout, sandbox.counts["exchange"]) == ("your projects: none yet\n", 1)
        second = run("terminal.py", cwd=tmp_path, **named)
        assert (second.stdout, second.stderr, sandbox.counts["exchange"]) == (first.stdout, "", 1)
        assert run("terminal.py", "logout", cwd=tmp_path, **named).stdout == "logged out\n"
        run("terminal.py", cwd=tmp_path, **named)
        assert sandbox.counts["exchange"] == 2


def test_workers_share_a_users_session_in_a_real_redis(tmp_path: Path) -> None:
    with redis_server() as redis:
        # arq and what it imports deprecate each other
        named = {"REDIS_URL": f"redis://127.0.0.1:{redis.port}", "PYTHONWARNINGS": "ignore"}
        done = run("worker.py", cwd=tmp_path, **named).stdout
    assert "60 jobs done by 2 workers" in done
    assert ", 0 refused" in done


def test_the_cells_of_the_notebook_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.kit.pages", "examples/notebook.md"]
    subprocess.run(command, cwd=EXAMPLES.parent, env=environment({}), check=True, timeout=50)


def test_every_example_is_run_here() -> None:
    web = {"fastapi_app.py", "litestar_app.py", "django_app", "partner_claim.py"}
    there = {it.name for it in EXAMPLES.iterdir() if not it.name.startswith("__")}
    assert there == {*BY_DEFAULT, *web, "worker.py", "notebook.md"}

"""The pytest plugin in the package, as users' test suites run it: in a process of its own, beside other plugins."""

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from prisma_mgmt.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
MODULE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]["prisma_mgmt"]

PLAIN = """
import httpx

def ask(sandbox):
    headers = {"Authorization": f"Bearer {sandbox.service_token}"}
    return httpx.get(f"{sandbox.api_url}/v1/projects", headers=headers).json()["data"]

def make(sandbox):
    headers = {"Authorization": f"Bearer {sandbox.service_token}"}
    assert httpx.post(f"{sandbox.api_url}/v1/projects", json={}, headers=headers).status_code == 201

def test_one(prisma_sandbox):
    make(prisma_sandbox)
    assert len(ask(prisma_sandbox)) == 1

def test_two(prisma_sandbox):
    assert ask(prisma_sandbox) == []
"""
WORK = """
from prisma_mgmt import ManagementClient

async def work(sandbox):
    async with sandbox.client() as prisma:
        await prisma.projects.create(name="shop")
    assert sandbox.requests[-1].body == {"name": "shop"}
"""
ANYIO = f"""
import pytest
{WORK}
pytestmark = pytest.mark.anyio

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

async def test_anyio(prisma_sandbox):
    await work(prisma_sandbox)
"""
ASYNCIO = f"""
import pytest, pytest_asyncio
{WORK}
@pytest_asyncio.fixture
async def session(prisma_sandbox):
    async with await prisma_sandbox.session() as session:
        yield session

@pytest.mark.asyncio
async def test_asyncio(prisma_sandbox, session):
    await work(prisma_sandbox)
"""
OPTIONS = """
import os, pytest

@pytest.fixture
def prisma_sandbox_options():
    return {"users": ["Ada"], "personality": "grace"}

def test_options(prisma_sandbox):
    assert os.environ["PRISMA_MANAGEMENT_API_URL"] == prisma_sandbox.api_url
    assert os.environ["PRISMA_SERVICE_TOKEN"] == prisma_sandbox.service_token
    prisma_sandbox.reset()

def test_environment():
    assert "PRISMA_MANAGEMENT_API_URL" not in os.environ
"""


ANYIO_ONLY = ("-p", "anyio.pytest_plugin")
ASYNCIO_TOO = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function")


def run(folder: Path, *options: str, **files: str) -> str:
    """What pytest says of a suite; other plugins are there if `options` name them."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PRISMA_", "PYTEST_"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", MODULE, "-p", "no:cacheprovider", "-W", "error", *options],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "test", "passed"),
    [
        ((), PLAIN, 2),
        (ANYIO_ONLY, ANYIO, 2),
        (ASYNCIO_TOO, ASYNCIO, 1),
        ((*ASYNCIO_TOO, *ANYIO_ONLY, "-o", "asyncio_mode=auto"), ASYNCIO, 1),
        ((), OPTIONS, 2),
    ],
    ids=["plain", "anyio", "pytest-asyncio", "both", "options"],
)
def test_a_suite_gets_a_fresh_sandbox_for_each_test(
    tmp_path: Path, options: tuple[str, ...], test: str, passed: int
) -> None:
    told = run(tmp_path, *options, test_it=test)
    assert f"{passed} passed" in told, told


def test_a_fixture_is_listed_with_what_it_does(tmp_path: Path) -> None:
    told = run(tmp_path, "--fixtures", test_it="def test_nothing(): pass")
    assert "prisma_sandbox" in told
    assert "A local Prisma for one test" in told


def test_a_suite_that_does_not_ask_for_it_pays_nothing(tmp_path: Path) -> None:
    test = """
import sys

def test_nothing():
    heavy = {"starlette", "uvicorn", "httpx", "attrs", "prisma_mgmt.sandbox.server"} & set(sys.modules)
    assert not heavy
"""
    told = run(tmp_path, test_it=test)
    assert "1 passed" in told, told


def test_a_missing_extra_is_told_to_who_asks_for_the_fixture_only(tmp_path: Path) -> None:
    missing = "raise ModuleNotFoundError(\"No module named 'uvicorn'\", name='uvicorn')"
    test = "def test_asks(prisma_sandbox): pass\n\ndef test_does_not(): pass\n"
    told = run(tmp_path, uvicorn=missing, test_it=test)
    assert "1 passed, 1 error" in told, told
    assert "install prisma-mgmt[sandbox]" in told


def test_a_sandbox_is_there_and_gone_within_twenty_milliseconds() -> None:
    with Sandbox():
        pass  # what is read once a process is read now
    started, rounds = time.process_time(), 20
    for _ in range(rounds):
        with Sandbox():
            pass
    assert (time.process_time() - started) / rounds < 0.020

"""Real processes that share one user's tokens in a file, in Redis and in PostgreSQL."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from prisma_mgmt.auth import OAuthClient, Tokens
from prisma_mgmt.auth.storage import PostgresTokenStorage
from prisma_mgmt.sandbox import Sandbox
from tests.kit.servers import postgres_server, redis_server
from tests.session.worker import storage_at

REDIRECT_URI = "http://127.0.0.1:8765/callback"
WORKERS, ROUNDS = 4, 5


@pytest.fixture(scope="module")
def redis_place() -> Iterator[dict[str, Any]]:
    with redis_server() as process:
        yield {"kind": "redis", "port": process.port, "lease": 300}


@pytest.fixture(scope="module")
def postgres_place() -> Iterator[dict[str, Any]]:
    with postgres_server() as process:
        dsn = f"postgresql://prisma@127.0.0.1:{process.port}/postgres"
        anyio.run(PostgresTokenStorage(dsn, key="ada").create_table)
        yield {"kind": "postgres", "dsn": dsn}


@pytest.fixture(params=["file", "redis", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "file":
        return {"kind": "file", "path": str(tmp_path / "tokens.json")}
    return request.getfixturevalue(f"{request.param}_place")


@contextmanager
def worker(task: str, place: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.session.worker", task, json.dumps(place)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, bufsize=1, cwd=Path(__file__).parents[2]) as run:
        try:
            yield run
        finally:
            run.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def log_in(sandbox: Sandbox) -> Tokens:
    oauth = OAuthClient(sandbox.client_id, REDIRECT_URI, auth_base_url=sandbox.auth_url)
    login = oauth.login_url()
    async with httpx.AsyncClient() as browser:
        callback = (await browser.get(login.url)).headers["location"]
    return await oauth.exchange_callback(callback, login)


def test_processes_together_spend_each_refresh_token_once(place: dict[str, Any]) -> None:
    with Sandbox(personality="strict") as sandbox, ExitStack() as stack:

        async def start() -> None:
            async with storage_at(place) as storage:
                await storage.set_tokens(await log_in(sandbox))

        anyio.run(start)
        urls = {"auth_url": sandbox.auth_url, "api_url": sandbox.api_url}
        task = {**place, **urls, "client_id": sandbox.client_id, "redirect_uri": REDIRECT_URI, "lease": 15_000}
        workers = [stack.enter_context(worker("call", task)) for _ in range(WORKERS)]
        assert [said(one) for one in workers] == ["ready"] * WORKERS
        for _ in range(ROUNDS):
            sandbox.expire_access_tokens()
            for one in workers:
                assert one.stdin is not None
                one.stdin.write("go\n")
            assert [said(one) for one in workers] == ["200"] * WORKERS
        assert (sandbox.counts["refresh"], sandbox.counts["refresh_refused"]) == (ROUNDS, 0)


def test_a_lock_ends_with_the_process_that_held_it(place: dict[str, Any]) -> None:
    async def take() -> None:
        with anyio.fail_after(10):
            async with storage_at(place) as storage, storage.refresh_lock():
                pass

    with worker("hold", place) as holder:
        assert said(holder) == "held"
        holder.kill()
        anyio.run(take)

"""Two worker processes that share one user's session, kept in Redis.

    python worker.py               60 jobs through two arq workers, in a sandbox whose tokens live two seconds
    arq worker.WorkerSettings      a worker of yours, with PRISMA_CLIENT_ID, PRISMA_REDIRECT_URI and REDIS_URL

Needs `pip install 'prisma-mgmt[sandbox,redis]' arq` and a redis-server: the one at REDIS_URL, or one that this starts
for itself. No job ever fails for want of a token, because one refresh serves both processes.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from redis.asyncio import Redis

from prisma_mgmt import ManagementClient
from prisma_mgmt.auth import OAuthClient, OAuthSession, SessionManager
from prisma_mgmt.auth.storage import RedisTokenStorage
from prisma_mgmt.sandbox import Sandbox

USER = "ada"
JOBS = 60


# The worker: what an application has, in a file of its own


async def startup(ctx: dict[str, Any]) -> None:
    oauth = OAuthClient.from_environment()
    ctx["sessions"] = SessionManager(oauth, lambda user: RedisTokenStorage(ctx["redis"], key=f"prisma:{user}"))
    ctx["prisma"] = ManagementClient()


async def shutdown(ctx: dict[str, Any]) -> None:
    await ctx["prisma"].aclose()
    await ctx["sessions"].aclose()


async def who_am_i(ctx: dict[str, Any], user: str, number: int) -> int:
    """One job: call the API as the user, with the tokens that the web application stored."""
    await ctx["prisma"].with_options(auth=ctx["sessions"][user]).me.get()
    await asyncio.sleep(number % 5 / 10)  # the rest of a job's work
    return os.getpid()


class WorkerSettings:
    functions = [who_am_i]  # noqa: RUF012  # arq reads it from the class
    on_startup = startup
    on_shutdown = shutdown
    max_jobs = 3
    redis_settings = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))


# The application: logs the user in, and gives out work


@contextlib.contextmanager
def redis_url() -> Generator[str, None, None]:
    """REDIS_URL, or a server of our own."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("worker: there is no redis-server; install one (apt-get install redis-server) or set REDIS_URL")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            while b"Ready to accept connections" not in (line := server.stdout.readline()):
                assert line, "redis-server did not start"
            try:
                yield f"redis://127.0.0.1:{port}"
            finally:
                server.terminate()


async def log_in(redis: Redis, sandbox: Sandbox) -> None:
    oauth = OAuthClient(sandbox.client_id, "http://127.0.0.1/callback", auth_base_url=sandbox.auth_url)
    login = oauth.login_url()
    async with httpx.AsyncClient() as browser:
        consent = await browser.get(login.url)
    async with OAuthSession(oauth, RedisTokenStorage(redis, key=f"prisma:{USER}")) as session:
        await session.handle_callback(consent.headers["location"], login)


@contextlib.asynccontextmanager
async def pool_at(url: str) -> AsyncGenerator[ArqRedis, None]:
    pool = await create_pool(RedisSettings.from_dsn(url))
    try:
        yield pool
    finally:
        await pool.aclose()


async def run(url: str, sandbox: Sandbox) -> None:
    async with pool_at(url) as pool:
        await log_in(pool, sandbox)
        more = {"REDIS_URL": url, "PRISMA_REDIRECT_URI": "http://127.0.0.1/callback"}
        environment = {**os.environ, **sandbox.environment, **more}
        command = [sys.executable, "-m", "arq", "worker.WorkerSettings"]
        here, quiet = Path(__file__).parent, asyncio.subprocess.DEVNULL
        workers = [
            await asyncio.create_subprocess_exec(*command, env=environment, cwd=here, stderr=quiet) for _ in range(2)
        ]
        try:
            jobs = [await pool.enqueue_job("who_am_i", USER, number) for number in range(JOBS)]
            done = Counter(await asyncio.gather(*(job.result(timeout=60) for job in jobs if job is not None)))
        finally:
            for worker in workers:
                worker.terminate()
                await worker.wait()
    print(f"  {done.total()} jobs done by {len(done)} workers")
    refreshes, refused = sandbox.counts["refresh"], sandbox.counts["refresh_refused"]
    print(f"  {refreshes} refreshes of a token that lives 2 s, {refused} refused")


def main() -> None:
    with redis_url() as url, Sandbox(token_lifetime=2) as sandbox:
        print(f"Redis at {url}, a sandbox at {sandbox.api_url}")
        asyncio.run(run(url, sandbox))


if __name__ == "__main__":
    main()

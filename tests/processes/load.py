"""The FastAPI example under load: many users' sessions, shared by two uvicorn workers, with tokens of three seconds.

    python -m tests.processes.load --seconds 60 --users 200 --storage redis|postgres [--kill TERM|KILL] [--pause 10]

Each user calls both workers at once, again and again, and the login server revokes a whole login if one of its refresh
tokens is used twice. With --kill one worker gets that signal in the middle, and another one takes its place; a request
that finds no worker at its port goes to the other one, as a proxy would send it. SIGKILL may cost a session whose
refresh is on its way then: the server has rotated, and nobody has its answer. On a machine that cannot do as much as is
asked of it, requests fail with the API's 401, since a token is older than three seconds before it gets there.
"""

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from attrs import define, field

from prisma_mgmt.auth import new_key
from prisma_mgmt.sandbox import Sandbox
from tests.examples.programs import EXAMPLES, serving
from tests.kit.servers import free_port, postgres_server, redis_server

LIFETIME = 3.0  # seconds that an access token lives
ROUTE = "/api/projects"


@define
class Report:
    """What happened."""

    users: int
    seconds: float = 0.0
    counts: Counter[str] = field(factory=Counter)
    milliseconds: list[float] = field(factory=list)
    refreshes: int = 0
    refused: int = 0

    def lines(self) -> list[tuple[str, str]]:
        times = sorted(self.milliseconds)
        return [
            ("requests", f"{len(times)} ({len(times) / self.seconds:.0f} a second)"),
            ("failed requests", str(self.counts["failed"])),
            ("cut by the kill, then repeated", str(self.counts["cut"])),
            ("sessions lost", str(self.counts["lost"])),
            ("refreshes", f"{self.refreshes} (of {len(times) // 2} pairs of calls)"),
            ("refused refreshes", str(self.refused)),
            ("median, 99th percentile", f"{times[len(times) // 2]:.0f} ms, {times[len(times) * 99 // 100]:.0f} ms"),
        ]


@define
class Load:
    """The workers' ports, and what the users met there."""

    ports: list[int]
    report: Report
    pause: float  # seconds on the mean between two steps of a user
    ends_at: float = 0.0

    async def log_in(self) -> str:
        """One user's login; gives the cookie of their session."""
        home = f"http://127.0.0.1:{self.ports[0]}"
        async with httpx.AsyncClient(trust_env=False, verify=False, follow_redirects=True, timeout=60) as browser:
            seen = await browser.get(f"{home}/auth/login?next={ROUTE}")
            assert seen.status_code == 200, seen.text
            return f"prisma_session={browser.cookies['prisma_session']}"

    async def use(self, cookie: str) -> None:
        async with httpx.AsyncClient(headers={"Cookie": cookie}, trust_env=False, verify=False, timeout=30) as user:
            await asyncio.sleep(random.uniform(0, self.pause))
            while time.monotonic() < self.ends_at:
                asked = [self.get(user, port) for port in self.ports]
                if "lost" in await asyncio.gather(*asked):
                    self.report.counts["lost"] += 1
                    return
                await asyncio.sleep(random.uniform(0.5, 1.5) * self.pause)

    async def get(self, user: httpx.AsyncClient, port: int) -> str:
        began = time.perf_counter()
        try:
            answer = await user.get(f"http://127.0.0.1:{port}{ROUTE}")
        except httpx.TransportError:
            self.report.counts["cut"] += 1
            (other,) = set(self.ports) - {port}
            answer = await user.get(f"http://127.0.0.1:{other}{ROUTE}")
        self.report.milliseconds.append((time.perf_counter() - began) * 1000)
        if answer.status_code == 303:
            return "lost"
        if answer.status_code != 200:
            self.report.counts["failed"] += 1
            print(f"{answer.status_code} {answer.text[:200]}", file=sys.stderr)
        return "seen"


@contextmanager
def tokens_at(storage: str) -> Iterator[dict[str, str]]:
    with redis_server() if storage == "redis" else postgres_server() as server:
        url = "redis://127.0.0.1:{}" if storage == "redis" else "postgresql://prisma@127.0.0.1:{}/postgres"
        yield {f"{storage.upper()}_URL": url.format(server.port)}


def run(*, seconds: float, users: int, storage: str, kill: str | None = None, pause: float = 1.0) -> Report:
    ports = [free_port(), free_port()]
    callback = f"http://127.0.0.1:{ports[0]}/auth/callback"
    with (
        tempfile.TemporaryDirectory() as folder,
        tokens_at(storage) as named,
        Sandbox(personality="strict", token_lifetime=LIFETIME, redirect_uris=[callback]) as sandbox,
        ExitStack() as stack,  # of the workers, which end first
    ):
        named |= {**sandbox.environment, "PRISMA_REDIRECT_URI": callback, "LOGIN_KEYS": new_key()}
        command = [sys.executable, "-m", "uvicorn", "--factory", "fastapi_app:create_app", "--no-access-log"]

        def start(port: int) -> subprocess.Popen[str]:
            options = ["--app-dir", str(EXAMPLES), "--port", str(port)]
            return stack.enter_context(serving([*command, *options], cwd=Path(folder), **named))

        workers = [start(port) for port in ports]
        load = Load(ports, Report(users), pause)

        async def replace() -> None:
            await asyncio.sleep(seconds / 2)
            workers[1].send_signal(signal.Signals[f"SIG{kill}"])
            await asyncio.to_thread(workers[1].wait)
            await asyncio.to_thread(start, ports[1])

        async def everybody() -> None:
            cookies = [await load.log_in() for _ in range(users)]
            before, began = Counter(sandbox.counts), time.monotonic()
            load.ends_at = began + seconds
            await asyncio.gather(*map(load.use, cookies), *([replace()] if kill else []))
            load.report.seconds = time.monotonic() - began
            load.report.refreshes = sandbox.counts["refresh"] - before["refresh"]
            load.report.refused = sandbox.counts["refresh_refused"]

        asyncio.run(everybody())
    return load.report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--storage", choices=["redis", "postgres"], default="redis")
    parser.add_argument("--pause", type=float, default=10, help="seconds between two steps of a user, on the mean")
    parser.add_argument("--kill", choices=["TERM", "KILL"])
    asked = parser.parse_args()
    report = run(**vars(asked))
    killed = f", one killed with SIG{asked.kill}" if asked.kill else ""
    print(f"{asked.users} users for {report.seconds:.0f} s, 2 workers{killed}, tokens in {asked.storage}")
    for name, value in report.lines():
        print(f"  {name:<31} {value}")


if __name__ == "__main__":
    main()

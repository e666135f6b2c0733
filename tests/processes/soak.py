"""Real processes that share one session, and real kills in the middle of its refreshes.

    python -m tests.processes.soak [--storage file|redis|postgres|all] [--seconds 20] [--kills 100]

Prints what was lost. `share`: four processes call through one storage with tokens that live two seconds. `kill`: one
process refreshes without a pause and gets SIGKILL at a random moment, then another must go on with what is stored.
"""

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import httpx

from prisma_mgmt import AuthError, LoginRequiredError
from prisma_mgmt.auth import OAuthClient, OAuthSession
from prisma_mgmt.sandbox import Sandbox
from tests.kit.servers import postgres_server, redis_server
from tests.processes.worker import CLIENT_ID, REDIRECT_URI, storage_at

STORAGES = ("file", "redis", "postgres")
WORKER = [sys.executable, "-m", "tests.processes.worker"]


@contextlib.contextmanager
def a_place(storage: str) -> Iterator[str]:
    """An empty storage of that kind, as worker.py names it; servers are started for it."""
    with contextlib.ExitStack() as stack:
        if storage == "redis":
            yield f"redis:redis://127.0.0.1:{stack.enter_context(redis_server()).port}"
        elif storage == "postgres":
            port = stack.enter_context(postgres_server()).port
            yield f"postgres:postgresql://prisma@127.0.0.1:{port}/postgres"
        else:
            yield f"file:{Path(stack.enter_context(tempfile.TemporaryDirectory())) / 'tokens.json'}"


async def log_in(place: str, sandbox: Sandbox) -> None:
    storage = storage_at(place)
    if place.startswith("postgres:"):
        await storage.create_table()  # type: ignore[attr-defined]  # only this storage has one
    oauth = OAuthClient(CLIENT_ID, REDIRECT_URI, auth_base_url=sandbox.auth_url)
    login = oauth.login_url()
    async with httpx.AsyncClient() as browser:
        callback = (await browser.get(login.url)).headers["location"]
    await OAuthSession(oauth, storage).handle_callback(callback, login)


def share(place: str, *, seconds: float, processes: int = 4) -> dict[str, Any]:
    """Let several processes call through one storage; what they report, added up."""
    with Sandbox(personality="strict", token_lifetime=2) as sandbox:
        anyio.run(log_in, place, sandbox)
        command = [*WORKER, "calls", place, sandbox.api_url, sandbox.auth_url, str(seconds)]
        workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
        total: Counter[str] = Counter()
        for worker in workers:
            out, _ = worker.communicate(timeout=seconds + 60)
            total.update(json.loads(out))
        return {
            **{name: total.pop(name, 0) for name in ("calls", "lost")},
            "refreshes": sandbox.counts["refresh"],
            "invalid_grant": sandbox.counts["refresh_refused"],
            "other": dict(total),
        }


async def _state(place: str, sandbox: Sandbox) -> str:
    """What a new process finds: `good` tokens that it can refresh, `lost` ones, or `torn` data."""
    oauth = OAuthClient(CLIENT_ID, REDIRECT_URI, auth_base_url=sandbox.auth_url)
    async with OAuthSession(oauth, storage_at(place)) as session:
        try:
            await session.renew(await session.access_token())
        except LoginRequiredError:
            return "lost"
        except AuthError as error:
            if "holds no tokens" in str(error):
                return "torn"
            raise
    return "good"


def kill(place: str, *, kills: int, personality: str, lines: int = 8, seed: int = 7) -> Counter[str]:
    """Kill a refreshing process again and again; how many sessions were lost, and whether any needed not to be.

    The kills are shared out over `lines` sessions at once, each with a server and a key of its own: a lock in Redis
    outlives its process by five seconds. `in the air` counts the losses where the last thing that the process said was
    that it had asked: the server had rotated, and the answer had not arrived. `after arrival` counts those where it
    had, but was not stored when the kill came.
    """
    shares = [kills // lines + (line < kills % lines) for line in range(lines)]
    with ThreadPoolExecutor(lines) as pool:
        done = [
            pool.submit(_kill, f"{place}#{line}", share, personality, seed + line) for line, share in enumerate(shares)
        ]
    total = Counter({"kills": 0, "torn": 0, "lost": 0, "in the air": 0, "after arrival": 0})
    for one in done:
        total.update(one.result())
    return total


def _kill(place: str, kills: int, personality: str, seed: int) -> Counter[str]:
    chance = random.Random(seed)
    result: Counter[str] = Counter()
    with Sandbox(personality=personality) as sandbox:  # type: ignore[arg-type]  # a str from the command line
        anyio.run(log_in, place, sandbox)
        for _ in range(kills):
            said = _killed(place, sandbox, chance.uniform(0, 0.05))
            result["kills"] += 1
            state = anyio.run(_state, place, sandbox)
            if state == "good":
                continue
            result[state] += 1
            if state == "lost":
                result["in the air" if said == "asked" else "after arrival"] += 1
            anyio.run(log_in, place, sandbox)
    return result


def _killed(place: str, sandbox: Sandbox, delay: float) -> str:
    """The last word of a process that was killed `delay` seconds after its third refresh."""
    command = [*WORKER, "refreshes", place, sandbox.api_url, sandbox.auth_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        for _ in range(9):
            assert worker.stdout.readline(), "the worker ended before it was killed"
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(delay)
        worker.kill()
        words = worker.stdout.read().split()
    return words[-1] if words else "stored"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", choices=[*STORAGES, "all"], default="all")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--kills", type=int, default=100)
    options = parser.parse_args()
    for storage in STORAGES if options.storage == "all" else [options.storage]:
        with a_place(storage) as place:
            print(f"{storage:<9} share {share(place, seconds=options.seconds)}", flush=True)
        for personality in ("strict", "grace"):
            with a_place(storage) as place:
                lost = kill(place, kills=options.kills, personality=personality)
                print(f"{storage:<9} kill, {personality} {dict(lost)}", flush=True)


if __name__ == "__main__":
    main()

"""A thousand calls at once over a token that has expired: how many refreshes, and what they cost."""

import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx

from benchmarks.flight import fly
from benchmarks.peers.calls import another
from benchmarks.report import Section, Table, cell
from benchmarks.rig import Process, Rig, Subject
from benchmarks.stats import Failed, interleave
from benchmarks.worker import Measure
from prisma_mgmt import ManagementClient
from prisma_mgmt.auth import OAuthClient, OAuthSession, Tokens
from prisma_mgmt.auth.storage import MemoryTokenStorage

CALLS = 1000
_TOKENS = {
    "a good token": ("good", 3600),
    "expired, as its expiry says": ("expired", -1),
    "expired, which only the API's 401 tells": ("expired", 3600),
}


@asynccontextmanager
async def subject(origin: str) -> AsyncIterator[Measure]:
    async with (
        OAuthClient("client", "http://127.0.0.1/callback", auth_base_url=origin) as oauth,
        ManagementClient("token", base_url=origin) as prisma,
        httpx.AsyncClient(base_url=origin) as server,
    ):
        await fly(lambda: prisma.connections.get(f"con_{another()}"), CALLS, CALLS)  # makes the connections

        async def measured(what: str) -> dict[str, Any]:
            token, seconds = _TOKENS[what]
            storage = MemoryTokenStorage()
            await storage.set_tokens(Tokens("wksp_1", token, "refresh-0", time.time() + seconds))
            refreshes, refused = (await server.get("/counts")).json()
            async with OAuthSession(oauth, storage) as session:
                mine = prisma.with_options(auth=session)
                gc.collect()
                before = time.process_time()
                failures = await fly(lambda: mine.connections.get(f"con_{another()}"), CALLS, CALLS)
                cpu = (time.process_time() - before) / CALLS
            now = (await server.get("/counts")).json()
            return {"cpu": cpu, "failures": failures, "refreshes": now[0] - refreshes, "refused": now[1] - refused}

        yield measured


def run(rig: Rig) -> Section:
    process = rig.start(Subject("burst", "benchmarks.burst"))
    assert process
    counts: dict[str, list[dict[str, int]]] = {name: [] for name in _TOKENS}
    costs = interleave(rig.mode, {name: partial(_micros, process, name, counts[name]) for name in _TOKENS})
    good = costs["a good token"]
    rows = [
        [name, cell(cost, good), *(_counted(counts[name], what) for what in ("refreshes", "refused"))]
        for name, cost in costs.items()
    ]
    text = f"{CALLS:,} calls at once through one `OAuthSession`; in brackets the ratio to those with a good token."
    return Section(
        [Table("A burst over an expired token", text, ["the token", "µs a call", "refreshes", "401s"], rows)]
    )


def _micros(process: Process, what: str, counts: list[dict[str, int]]) -> float:
    result = process.ask(what=what)
    counts.append(result)
    if result["failures"]:
        raise Failed(str(result["failures"]))
    return float(result["cpu"]) * 1e6


def _counted(counts: list[dict[str, int]], what: str) -> str:
    """How often something happened in a burst: the fewest and the most times."""
    fewest, most = min(one[what] for one in counts), max(one[what] for one in counts)
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"

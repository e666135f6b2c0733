"""What a client keeps in memory: with calls in flight, and after many of them."""

import asyncio
import gc
import resource
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.flight import fly
from benchmarks.peers.calls import TOKEN, another
from benchmarks.report import Budget, Section, Table
from benchmarks.rig import Rig, Subject
from benchmarks.stats import Series
from benchmarks.worker import Measure
from prisma_mgmt import ManagementClient

IN_FLIGHT = (1, 100, 10_000)
FLAT = 1.0  # MiB that the process may grow by after so many calls
CALLS = 100_000
_WARM, _AT_ONCE = 10_000, 100
_SETTLED = 0.3  # seconds, until every call waits for its answer or for its turn
_SUBJECTS = (
    Subject("memory, with the extra `speed`", "benchmarks.memory"),
    Subject("memory, without extras", "benchmarks.memory", without=("orjson", "httptools")),
)


@asynccontextmanager
async def subject(origin: str) -> AsyncIterator[Measure]:
    async def measured(what: str, count: int) -> dict[str, Any]:
        return {"found": await (_held(origin, count) if what == "held" else _grown(origin, count))}

    yield measured


async def _held(origin: str, count: int) -> int:
    """Bytes of a client whose calls all wait for answers that do not come, its connections included."""
    async with ManagementClient(TOKEN, base_url=origin) as warm:
        await warm.connections.get("con_1")
    gc.collect()
    tracemalloc.start()
    prisma = ManagementClient(TOKEN, base_url=origin)
    calls = [asyncio.create_task(_wait(prisma, f"silent_{number}")) for number in range(count)]
    await asyncio.sleep(_SETTLED + count / 5000)
    gc.collect()
    allocated, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for one in calls:
        one.cancel()
    await asyncio.wait(calls)
    await prisma.aclose()
    return allocated


async def _wait(prisma: ManagementClient, connection_id: str) -> None:
    await prisma.connections.get(connection_id)


async def _grown(origin: str, count: int) -> int:
    """Bytes by which the most that this process ever had grows by so many calls."""
    async with ManagementClient(TOKEN, base_url=origin) as prisma:
        await fly(lambda: prisma.connections.get(f"con_{another()}"), _AT_ONCE, _WARM)
        gc.collect()
        before = _peak()
        for _ in range(max(1, count // _WARM)):  # each lets go of the times that it took
            await fly(lambda: prisma.connections.get(f"con_{another()}"), _AT_ONCE, _WARM)
        return _peak() - before


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(rig: Rig) -> Section:
    rows: list[list[str]] = []
    budgets: list[Budget] = []
    for name, process in rig.start_all(_SUBJECTS).items():
        calls = max(_WARM, rig.mode.calls(CALLS))
        grown = process.ask(what="grown", count=calls)["found"] / 2**20
        held = [process.ask(what="held", count=n)["found"] / 1024 for n in IN_FLIGHT]
        each = held[-1] / IN_FLIGHT[-1]
        rows.append([name, *(f"{one:,.0f}" for one in held), f"{each:.1f}", f"{grown:.1f}"])
        budgets.append(Budget(f"{name}: growth over {calls:,} calls", FLAT, Series([grown]), " MiB"))
    text = (
        "KiB that Python has allocated for a client and its calls, none of which has an answer yet: by how many there "
        f"are, and for each of {IN_FLIGHT[-1]:,}; and by how many MiB the process grows over {CALLS:,} calls after the "
        f"first {_WARM:,}."
    )
    head = ["", *(f"{n:,}" for n in IN_FLIGHT), "a call", "growth, MiB"]
    return Section([Table("Memory", text, head, rows)], budgets)

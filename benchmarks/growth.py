"""How cost grows with the number of calls in flight, and of items walked."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from benchmarks.answers import PAGE
from benchmarks.calls import micros
from benchmarks.flight import measure
from benchmarks.peers import PRISMA, PRISMA_PLAIN
from benchmarks.peers.calls import TOKEN
from benchmarks.report import Budget, Section, Table, cell
from benchmarks.rig import Process, Rig, Subject
from benchmarks.stats import Series, interleave
from benchmarks.worker import Measure
from prisma_mgmt import ManagementClient

IN_FLIGHT = (1, 10, 100, 1000, 10_000)
ITEMS = (1, 10, 100, 1000, 10_000, 100_000)
FLIGHT, WALK = 1.5, 1.3  # that more may cost, each
_USUAL = 500  # calls in a round
_WALKED = 2000  # items in a round, at least


@asynccontextmanager
async def subject(origin: str) -> AsyncIterator[Measure]:
    """Walks of a list; what is counted is items."""
    async with ManagementClient(TOKEN, base_url=origin) as prisma:

        async def walk(items: int) -> None:
            seen = 0
            async for _ in prisma.connections.list(database_id=f"items{items}", limit=PAGE):
                seen += 1
            assert seen == items

        def measured(what: int, in_flight: int, count: int) -> Awaitable[dict[str, Any]]:
            return measure(lambda: walk(what), in_flight, count, warm_up=lambda: walk(1))

        yield measured


def run(rig: Rig) -> Section:
    processes = rig.start_all([PRISMA, PRISMA_PLAIN])
    walks = rig.start(Subject("walks", "benchmarks.growth"))
    assert walks
    runs: dict[tuple[str, int], Callable[[], float]] = {
        (name, n): partial(micros, process, "one", n, rig.mode.calls(_USUAL))
        for n in IN_FLIGHT
        for name, process in processes.items()
    }
    for n in ITEMS:
        runs["walk", n] = partial(_micros_an_item, walks, n, max(1, rig.mode.calls(_WALKED) // n))
    costs = interleave(rig.mode, runs)
    flights = [[name, *(cell(costs[name, n], costs[name, 10]) for n in IN_FLIGHT)] for name in processes]
    items = [["µs an item", *(cell(costs["walk", n], costs["walk", 1000]) for n in ITEMS)]]
    return Section(
        [
            _table("Growth: CPU for a call, in µs", "calls in flight", "10", IN_FLIGHT, flights),
            _table(f"Growth: CPU for an item of a list walked in pages of {PAGE}", "items", "1,000", ITEMS, items),
        ],
        [
            Budget(
                "CPU for a call with `speed`, the dearest of 100 to 10,000 in flight against 10",
                FLIGHT,
                _dearest([costs[PRISMA.name, n] / costs[PRISMA.name, 10] for n in IN_FLIGHT if n > 10]),
            ),
            Budget(
                f"CPU for an item of a list, the dearest of 1,000 to 100,000 items against {PAGE}",
                WALK,
                _dearest([costs["walk", n] / costs["walk", PAGE] for n in ITEMS if n > PAGE]),
            ),
        ],
    )


def _dearest(ratios: Sequence[Series]) -> Series:
    """The series with the highest median, or one that failed."""
    return max(ratios, key=lambda one: float("inf") if one.failure else one.median)


def _table(title: str, what: str, base: str, levels: Sequence[int], rows: Sequence[Sequence[str]]) -> Table:
    return Table(title, f"By {what}; in brackets the ratio to {base}.", ["", *(f"{n:,}" for n in levels)], rows)


def _micros_an_item(process: Process, items: int, walks: int) -> float:
    return micros(process, items, 1, walks) / items

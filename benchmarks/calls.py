"""CPU for a call, by peer and by how many calls are in flight."""

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.chart import chart
from benchmarks.peers import AIOHTTP, HTTPX, PEERS, PRISMA, PRISMA_AIOHTTP, PRISMA_PLAIN, PRISMA_UNTYPED
from benchmarks.report import Budget, Section, Table, cell
from benchmarks.rig import Process, Rig
from benchmarks.stats import Failed, Series, interleave

IN_FLIGHT = (1, 10, 100, 1000)
BUDGETS = {1: 0.90, 10: 0.65, 100: 0.40}  # of httpx
GROWTH = 1.2  # 1,000 in flight against 10
WHAT = {"one": "a small object", "page": "a page of 100"}
_USUAL = {"one": 500, "page": 100}  # calls in a round, at least
_EACH = {"one": 2, "page": 1}  # and for each that is in flight
_OURS = {PRISMA.name, PRISMA_PLAIN.name, PRISMA_AIOHTTP.name, PRISMA_UNTYPED.name}
_OVER_AIOHTTP = {PRISMA_AIOHTTP.name: "", PRISMA_UNTYPED.name: ", untyped"}

Costs = Mapping[tuple[str, int, str], Series]  # by what, how many in flight, the peer's name


def run(rig: Rig) -> Section:
    """A table of small objects, one of pages, the chart, and the budgets of what they show."""
    processes = rig.start_all(PEERS)
    runs: dict[tuple[str, int, str], Callable[[], float]] = {
        (what, in_flight, name): partial(
            micros, process, what, in_flight, rig.mode.calls(max(usual, _EACH[what] * in_flight))
        )
        for what, usual in _USUAL.items()
        for in_flight in IN_FLIGHT
        for name, process in processes.items()
    }
    costs = interleave(rig.mode, runs)
    return Section(
        [_table(costs, what, rig.missing) for what in WHAT],
        [*_against_httpx(costs), *_against_the_cheapest(costs)],
        _chart(costs, list(processes)),
    )


def micros(process: Process, what: str | int, in_flight: int, count: int) -> float:
    """CPU for a call, in µs; raises Failed where calls failed."""
    result = process.ask(what=what, in_flight=in_flight, count=count)
    if result["failures"]:
        process.restart()
        name, times = max(result["failures"].items(), key=lambda failure: failure[1])
        raise Failed(f"{name}, {times:,} of {result['of']:,}")
    return float(result["cpu"]) * 1e6


def _table(costs: Costs, what: str, missing: Mapping[str, str]) -> Table:
    rows = []
    for peer in PEERS:
        if peer.name in missing:
            cells = [missing[peer.name], *[""] * (len(IN_FLIGHT) - 1)]
        else:
            cells = [cell(costs[what, n, peer.name], costs[what, n, HTTPX.name]) for n in IN_FLIGHT]
        rows.append([peer.name, *cells, peer.note])
    return Table(
        f"CPU for a GET of {WHAT[what]}, in µs",
        "By how many calls are in flight; in brackets the ratio to httpx. Where calls failed, the most frequent error "
        "and how many calls met it stand instead.",
        ["", *(f"{n:,}" for n in IN_FLIGHT), ""],
        rows,
    )


def _against_httpx(costs: Costs) -> list[Budget]:
    ours = {n: costs["one", n, PRISMA.name] for n in IN_FLIGHT}
    budgets = [
        Budget(f"CPU of a typed GET against httpx, {n} in flight", limit, ours[n] / costs["one", n, HTTPX.name])
        for n, limit in BUDGETS.items()
    ]
    return [*budgets, Budget("CPU of a typed GET, 1,000 in flight against 10", GROWTH, ours[1000] / ours[10])]


def _against_the_cheapest(costs: Costs) -> list[Budget]:
    """Issue 5: no peer but bare aiohttp is cheaper than our client over aiohttp."""
    budgets = []
    for what, text in WHAT.items():
        for n in IN_FLIGHT:
            peers = {
                name: series
                for (which, level, name), series in costs.items()
                if (which, level) == (what, n) and name not in {*_OURS, AIOHTTP.name} and not series.failure
            }
            cheapest = min(peers, key=lambda name: peers[name].median)
            for mine, how in _OVER_AIOHTTP.items():
                if (what, n, mine) in costs:
                    title = f"over aiohttp{how}, {text}, {n:,} in flight, against the cheapest but aiohttp ({cheapest})"
                    budgets.append(Budget(title, 1.0, costs[what, n, mine] / peers[cheapest]))
    return budgets


def _chart(costs: Costs, names: list[str]) -> str:
    panels = {f"{n:,} in flight": [costs["one", n, name] for name in names] for n in IN_FLIGHT}
    return chart("CPU for a GET of a small object, in µs: shorter is better", names, panels, marked=_OURS)

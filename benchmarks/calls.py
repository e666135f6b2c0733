"""CPU for a call, and how long it takes, by peer and by how many calls are in flight."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

from benchmarks.chart import chart
from benchmarks.peers import AIOHTTP, HTTPX, INSTALLED, PEERS, PRISMA, PRISMA_PLAIN
from benchmarks.report import Budget, Section, Table, cell
from benchmarks.rig import Process, Rig
from benchmarks.stats import Failed, Series, interleave

IN_FLIGHT = (1, 10, 100, 1000)
AGAINST_HTTPX = {1: 0.80, 10: 0.55, 100: 0.35}  # as installed without extras
AGAINST_AIOHTTP = {1: 1.0, 10: 0.95, 100: 0.95, 1000: 0.95}  # with the extra `speed`
PAGE_AGAINST_AIOHTTP = 1.9
GROWTH = 1.2  # 1,000 in flight against 10
WHAT = {"one": "a small object", "page": "a page of 100"}
_USUAL = {"one": 500, "page": 100}  # calls in a round, at least
_EACH = {"one": 2, "page": 1}  # and for each that is in flight
_OURS = {PRISMA.name, PRISMA_PLAIN.name}
_BUDGETED = {*_OURS, AIOHTTP.name}
_not_run = partial(Series, failure="not run")

Key = tuple[str, int, str]  # what, how many in flight, the peer's name
Costs = Mapping[Key, Series]
Times = Mapping[Key, list[tuple[float, float]]]  # round by round, p50 and p99 in seconds


def run(rig: Rig) -> Section:
    """What to know first, tables of small objects, of pages and of times, the chart, and the budgets."""
    processes = rig.start_all(PEERS)
    times: defaultdict[Key, list[tuple[float, float]]] = defaultdict(list)
    runs: dict[Key, Callable[[], float]] = {
        (what, n, name): partial(
            micros, process, what, n, rig.mode.calls(max(usual, _EACH[what] * n)), times[what, n, name]
        )
        for what, usual in _USUAL.items()
        for n in IN_FLIGHT
        for name, process in processes.items()
        if n <= rig.mode.in_flight or name in _BUDGETED
    }
    costs = defaultdict(_not_run, interleave(rig.mode, runs))
    names = list(processes)
    return Section(
        [*(_table(costs, what, rig.missing) for what in WHAT), _latency(times, names)],
        [*_against_httpx(costs), *_against_aiohttp(costs)],
        _chart(costs, names),
        _summary(costs, times),
    )


def micros(
    process: Process, what: str | int, in_flight: int, count: int, times: list[tuple[float, float]] | None = None
) -> float:
    """CPU for a call, in µs; raises Failed where calls failed. What they took, if it is known, is added to `times`."""
    result: dict[str, Any] = process.ask(what=what, in_flight=in_flight, count=count)
    if result["failures"]:
        process.restart()
        name, often = max(result["failures"].items(), key=lambda failure: failure[1])
        raise Failed(f"{name}, {often:,} of {result['of']:,}")
    if times is not None and result.get("p50") is not None:
        times.append((result["p50"], result["p99"]))
    return float(result["cpu"]) * 1e6


def _summary(costs: Costs, times: Times) -> Table:
    """What is installed, and what a call costs then."""
    rows = [
        [
            f"`{command}`",
            *(cell(costs["one", n, name]) for n in (1, 100)),
            cell(costs["page", 10, name]),
            _took(times["one", 100, name]),
        ]
        for name, command in INSTALLED.items()
        if ("one", 1, name) in costs
    ]
    return Table(
        "What a call costs",
        "In µs of CPU, for a GET of a small object, alone and with 100 in flight, and of a page of 100; and how "
        "long one of 100 calls at once takes, half of them and 99 of 100 at most. What prisma_mgmt gives is typed and "
        "checked; the others give dicts.",
        ["you install", "a call", "100 in flight", "a page", "ms, of 100 in flight"],
        rows,
    )


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


def _latency(times: Times, names: list[str]) -> Table:
    levels = IN_FLIGHT[1:]
    rows = [[name, *(_took(times["one", n, name]) for n in levels)] for name in names if times["one", 1, name]]
    return Table(
        "How long a GET of a small object takes, in ms",
        "By how many calls are in flight: half of the calls took at most the first figure, 99 of 100 the second "
        "(p50, p99). Client and server share the machine, so that most of it is waiting for each other's CPU.",
        ["", *(f"{n:,}" for n in levels)],
        rows,
    )


def _took(rounds: list[tuple[float, float]]) -> str:
    return ", ".join(f"{median(one) * 1000:,.1f}" for one in zip(*rounds, strict=True))


def _against_httpx(costs: Costs) -> list[Budget]:
    return [
        Budget(
            f"CPU of a typed GET without extras against httpx, {n} in flight",
            limit,
            costs["one", n, PRISMA_PLAIN.name] / costs["one", n, HTTPX.name],
        )
        for n, limit in AGAINST_HTTPX.items()
    ]


def _against_aiohttp(costs: Costs) -> list[Budget]:
    if ("one", 1, AIOHTTP.name) not in costs:
        return []
    ours = {key: costs[(*key, PRISMA.name)] for key in ((what, n) for what in WHAT for n in IN_FLIGHT)}
    ratios = {key: series / costs[(*key, AIOHTTP.name)] for key, series in ours.items()}
    return [
        *(
            Budget(f"CPU of a typed GET with `speed` against aiohttp, {n:,} in flight", limit, ratios["one", n])
            for n, limit in AGAINST_AIOHTTP.items()
        ),
        *(
            Budget(f"the same, a page of 100, {n:,} in flight", PAGE_AGAINST_AIOHTTP, ratios["page", n])
            for n in IN_FLIGHT
        ),
        Budget(
            "CPU of a typed GET with `speed`, 1,000 in flight against 10", GROWTH, ours["one", 1000] / ours["one", 10]
        ),
    ]


def _chart(costs: Costs, names: list[str]) -> str:
    panels = {f"{n:,} in flight": [costs["one", n, name] for name in names] for n in IN_FLIGHT}
    return chart("CPU for a GET of a small object, in µs: shorter is better", names, panels, marked=_OURS)

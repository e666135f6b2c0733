"""What reading an answer costs, in CPU and in memory, by library."""

from collections.abc import Callable
from functools import partial

from benchmarks.decoders import MANY_OBJECTS
from benchmarks.report import Budget, Section, Table, cell
from benchmarks.rig import Process, Rig, Subject
from benchmarks.stats import interleave

BUDGETS = {"one": 3.5, "many": 3.5}  # of msgspec
_USUAL = {"one": 5000, "many": 100}  # documents in a round
_TEXT = {"one": "one object", "many": "a page of 100"}
_HERE = "benchmarks.decoders"

PRISMA = Subject("prisma_mgmt decoding", f"{_HERE}:prisma", ("prisma-mgmt", "orjson"))
FLOOR = Subject("prisma_mgmt, its least", f"{_HERE}:floor", ("prisma-mgmt", "orjson"))
MSGSPEC = Subject("msgspec.Struct", f"{_HERE}:msgspec", ("msgspec",))
LIBRARIES = (
    PRISMA,
    Subject("prisma_mgmt decoding without orjson", f"{_HERE}:prisma", without=("orjson",)),
    FLOOR,
    MSGSPEC,
    Subject("pydantic, strict", f"{_HERE}:pydantic", ("pydantic",)),
    Subject("plain cattrs over orjson", f"{_HERE}:cattrs", ("cattrs",)),
    Subject("orjson to dict", f"{_HERE}:orjson"),
    Subject("json to dict", f"{_HERE}:stdlib"),
)


def run(rig: Rig) -> Section:
    processes = rig.start_all(LIBRARIES)
    runs: dict[tuple[str, str], Callable[[], float]] = {
        (what, name): partial(_ask, process, what, rig.mode.calls(usual))
        for what, usual in _USUAL.items()
        for name, process in processes.items()
    }
    costs = interleave(rig.mode, runs)
    memory = {name: _ask(process, "memory", MANY_OBJECTS) for name, process in processes.items()}
    rows = [
        [name, *(cell(costs[what, name], costs.get((what, MSGSPEC.name))) for what in _USUAL), f"{memory[name]:,.0f}"]
        for name in processes
    ]
    rows += [[library.name, rig.missing[library.name], "", ""] for library in LIBRARIES if library.name in rig.missing]
    text = (
        "From the bytes of an answer to what is in it, typed and checked unless it says dict, in µs; in brackets the "
        "ratio to msgspec. The least is orjson and the compiled hook of a model without anything around them: what is "
        f"left to win in Python. Memory is what stays allocated for {MANY_OBJECTS:,} objects, in bytes for each."
    )
    table = Table("Decoding", text, ["", *_TEXT.values(), "memory"], rows)
    if MSGSPEC.name not in processes:
        return Section([table])
    ratios = {what: costs[what, PRISMA.name] / costs[what, MSGSPEC.name] for what in BUDGETS}
    return Section(
        [table],
        [Budget(f"decode against msgspec.Struct, {_TEXT[what]}", BUDGETS[what], ratios[what]) for what in BUDGETS],
    )


def _ask(process: Process, what: str, count: int) -> float:
    return float(process.ask(what=what, count=count))

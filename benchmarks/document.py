"""The page that a run makes: machine, versions, budgets, tables."""

import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.decode import LIBRARIES
from benchmarks.node import versions as node_versions
from benchmarks.peers import PEERS
from benchmarks.report import Section, budget_table
from benchmarks.rig import Rig
from prisma_mgmt._version import __version__

_HOW = """\
Every figure is the CPU time of the client's process, measured with the server in a process of its own on the same
machine: what a call costs, not how long it takes. What is compared runs in turn, round after round, each in a process
of its own that has warmed up; a figure is the median of the rounds, and a ratio the median of the ratios within a
round. Each client is used as it comes, with the limits and timeouts of its own, unless its row says otherwise, and asks
for another id each time. What takes long takes part in fewer rounds; a call that fails is told, not left out."""
_CHART = "![CPU for a GET of a small object, by client and by how many calls are in flight](benchmarks.svg)"


def document(sections: Sequence[Section], rig: Rig) -> str:
    """The page, as Markdown."""
    parts = ["<!-- Written by `nox -s bench`; no figure here is typed by hand. -->", "# Benchmarks"]
    parts += [section.summary.markdown() for section in sections if section.summary]
    if any(section.chart for section in sections):
        parts.append(_CHART)
    parts += ["## How it is measured", _HOW, _where(rig)]
    if budgets := [budget for section in sections for budget in section.budgets]:
        parts.append(budget_table(budgets).markdown())
    parts += [table.markdown() for section in sections for table in section.tables]
    return "\n\n".join([*parts, "## Versions", ", ".join(_versions())]) + "\n"


def _where(rig: Rig) -> str:
    day = datetime.now(UTC).date().isoformat()
    load = os.getloadavg()[0]
    return (
        f"{day} · {_processor()}, {os.cpu_count()} cores · {platform.system()} {platform.release()} · "
        f"{rig.mode.rounds} rounds · load at the end {load:.1f}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _versions() -> Iterator[str]:
    yield f"Python {platform.python_version()}"
    names = [name for subject in (*PEERS, *LIBRARIES) for name in subject.packages]
    for name in dict.fromkeys(names):
        if name == "prisma-mgmt":  # it may be a checkout that is not installed
            yield f"{name} {__version__}"
            continue
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} missing"
    yield from node_versions()

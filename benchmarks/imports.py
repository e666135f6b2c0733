"""What an import costs: the CPU time of a fresh process, less that of one which imports nothing."""

import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from statistics import median

from benchmarks.report import Budget, Section, Table
from benchmarks.rig import ROOT, Rig
from benchmarks.stats import Failed, Series, interleave

IMPORT = 1.35  # of httpx
_OURS = "prisma_mgmt, a client"
_PACKAGES = {"anyio", "attr", "attrs", "orjson", "prisma_mgmt"}
_PROGRAMS = {
    "": "pass",
    "httpx": "import httpx",
    _OURS: "import prisma_mgmt; prisma_mgmt.ManagementClient('token')",
    "prisma_mgmt, a client, a resource": "import prisma_mgmt; prisma_mgmt.ManagementClient('token').connections",
    "prisma_mgmt alone": "import prisma_mgmt",
    "httpx, a client": "import httpx; httpx.AsyncClient()",
    "aiohttp": "import aiohttp",
    "cloudflare, a client": "import cloudflare; cloudflare.AsyncCloudflare(api_token='token')",
    "openai, a client": "import openai; openai.AsyncOpenAI(api_key='token')",
}


def run(rig: Rig) -> Section:
    with tempfile.TemporaryDirectory() as compiled:  # as after an installation, whatever this process is told
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return _run(rig, environment | {"PYTHONPYCACHEPREFIX": compiled})


def _run(rig: Rig, environment: Mapping[str, str]) -> Section:
    for code in _PROGRAMS.values():
        with suppress(Failed):  # it is told below
            _seconds(code, environment)
    seconds = interleave(rig.mode, {name: partial(_seconds, code, environment) for name, code in _PROGRAMS.items()})
    costs = {name: series - seconds[""] for name, series in seconds.items() if name}
    rows = [[name, _cell(cost), _ratio(cost, costs["httpx"])] for name, cost in costs.items()]
    return Section(
        [
            Table("Import time", "CPU of a fresh process, less that of bare Python.", ["", "ms", "of httpx"], rows),
            _where(rig, environment),
        ],
        [Budget("`import prisma_mgmt` plus a client, against `import httpx`", IMPORT, costs[_OURS] / costs["httpx"])],
    )


def _where(rig: Rig, environment: Mapping[str, str]) -> Table:
    """What a client imports beside httpx and what httpx imports, by package."""
    rounds = [_self_times(_PROGRAMS[_OURS], environment) for _ in range(rig.mode.rounds)]
    needed = _self_times(_PROGRAMS["httpx"], environment)
    packages: defaultdict[str, float] = defaultdict(float)
    for module in rounds[0].keys() - needed.keys():
        package = module.split(".")[0]
        packages[package if package in _PACKAGES else "others"] += median(one.get(module, 0.0) for one in rounds)
    rows = [[name, f"{spent:.1f}"] for name, spent in sorted(packages.items(), key=lambda item: -item[1])]
    text = (
        "What `prisma_mgmt, a client` imports that httpx does not, by Python's `-X importtime`, which counts wall time."
    )
    return Table("Import time, by package", text, ["", "ms"], rows)


def _self_times(code: str, environment: Mapping[str, str]) -> dict[str, float]:
    """ms of each module that a program imports, without what it imports in turn."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    lines = (line.removeprefix("import time:").split("|") for line in done.stderr.splitlines()[1:])
    return {name.strip(): int(own) / 1000 for own, _, name in lines}


def _seconds(code: str, environment: Mapping[str, str]) -> float:
    """CPU of one process; raises Failed where the program does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise Failed(done.stderr.strip().rpartition("\n")[2])
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _cell(cost: Series) -> str:
    return cost.failure or f"{cost.median * 1000:.0f}"


def _ratio(cost: Series, base: Series) -> str:
    ratio = cost / base
    return "" if ratio.failure else f"{ratio.median:.2f}"

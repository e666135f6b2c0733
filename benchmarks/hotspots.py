"""Where the time of a typed GET goes: a profile at 100 in flight, over a transport that does no I/O."""

import asyncio
import cProfile
import pstats
import sysconfig
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.flight import fly
from benchmarks.layer import ORIGIN, FromMemory
from benchmarks.peers.calls import TOKEN, another
from benchmarks.rig import ROOT
from prisma_mgmt import ManagementClient

_CALLS, _IN_FLIGHT, _SHOWN = 20_000, 100, 25
_SITE = Path(sysconfig.get_path("purelib"))
_STDLIB = Path(sysconfig.get_path("stdlib"))

Where = tuple[str, int, str]  # file, line, function


@frozen
class Spent:
    """What a function took: calls for each GET, seconds of its own, seconds with what it called."""

    calls: float
    own: float
    whole: float


def show() -> None:
    """Print the share of each package, the functions with most time of their own, and ours with what they call."""
    spent = asyncio.run(_profile())
    total = sum(one.own for one in spent.values())
    print(f"{total / _CALLS * 1e6:.0f} µs a call under the profiler, which slows small functions down most\n")
    shares: defaultdict[str, float] = defaultdict(float)
    for (file, _, _), one in spent.items():
        shares[_package(file)] += one.own / total
    for package, share in sorted(shares.items(), key=lambda item: -item[1])[:15]:
        print(f"{share:6.1%}  {package}")
    _list("own time, all code", sorted(spent.items(), key=lambda item: -item[1].own), total)
    ours = [item for item in spent.items() if _package(item[0][0]).startswith("prisma_mgmt")]
    _list("time with what it calls, our code", sorted(ours, key=lambda item: -item[1].whole), total)


def _list(title: str, functions: Sequence[tuple[Where, Spent]], total: float) -> None:
    print(f"\n{title}\n{'own':>6}  {'whole':>6}  {'calls':>5}  function")
    for (file, line, name), one in functions[:_SHOWN]:
        place = f"{_short(file)}:{line} " if line else ""
        print(f"{one.own / total:6.1%}  {one.whole / total:6.1%}  {one.calls:5.1f}  {place}{name}")


async def _profile() -> dict[Where, Spent]:
    async with ManagementClient(TOKEN, base_url=ORIGIN, transport=FromMemory()) as prisma:

        async def call() -> object:
            return await prisma.connections.get(f"con_{another()}")

        await fly(call, _IN_FLIGHT, _IN_FLIGHT)
        with cProfile.Profile() as profile:
            await fly(call, _IN_FLIGHT, _CALLS)
    stats: Any = pstats.Stats(profile)  # its `stats` is older than the stubs
    return {where: Spent(calls / _CALLS, own, whole) for where, (_, calls, own, whole, _) in stats.stats.items()}


def _short(file: str) -> str:
    for base in (ROOT, _SITE, _STDLIB):
        if Path(file).is_relative_to(base):
            return str(Path(file).relative_to(base))
    return file


def _package(file: str) -> str:
    """The package that a file belongs to; of our own, the module."""
    parts = _short(file).split("/")
    if parts[0] == "prisma_mgmt":
        return "/".join(parts[:3])
    return {"~": "built in", "<string>": "made at run time (hooks, attrs)"}.get(parts[0], parts[0])

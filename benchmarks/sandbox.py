"""What it takes until the sandbox, in the process that tests something, has given its first answer."""

import subprocess
import sys
from functools import partial

from benchmarks.report import Budget, Section, Table
from benchmarks.rig import ROOT, Rig
from benchmarks.stats import Failed, interleave

FIRST = 0.3  # seconds of CPU, after the import
_PROGRAM = """
import asyncio, time
import httpx
from prisma_mgmt import ManagementClient
from prisma_mgmt.sandbox import Sandbox

async def main():
    before = time.process_time()
    sandbox = Sandbox()
    app = httpx.ASGITransport(sandbox.app)
    async with ManagementClient(sandbox.service_token, base_url="http://localhost", transport=app) as prisma:
        await prisma.workspaces.list()
        first = time.process_time()
        await prisma.workspaces.list()
        print(first - before, time.process_time() - first)

asyncio.run(main())
"""


def run(rig: Rig) -> Section:
    found = interleave(rig.mode, {which: partial(_seconds, i) for i, which in enumerate(("the first", "the next"))})
    rows = [[which, series.failure or f"{series.median * 1000:.1f}"] for which, series in found.items()]
    table = Table("The sandbox in process", "CPU until an answer, in ms, after the import.", ["answer", "ms"], rows)
    return Section([table], [Budget("the sandbox's first answer", FIRST, found["the first"], " s")])


def _seconds(which: int) -> float:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise Failed(done.stderr.strip().rpartition("\n")[2])
    return float(done.stdout.split()[which])

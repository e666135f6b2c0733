"""Runs the programs in examples/ as a user does: in processes of their own, from another folder."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment without what names an API, but for `more`."""
    bare = {key: value for key, value in os.environ.items() if not key.startswith("PRISMA_")}
    return {**bare, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "NO_COLOR": "1", **more}


def run(name: str, *arguments: str, cwd: Path, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment(more), capture_output=True, text=True, timeout=50)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@contextmanager
def serving(command: list[str], *, cwd: Path, workers: int = 1, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A web server that has said that it listens, and so has each worker, stopped with SIGTERM; it has to end well."""
    server = subprocess.Popen(command, cwd=cwd, env=environment(more), stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    said: list[str] = []
    started, listens = 0, False
    while started < workers or not listens:
        said.append(server.stderr.readline())
        assert said[-1], "".join(said)
        started += "Application startup complete" in said[-1]
        listens = listens or "Uvicorn running on" in said[-1]  # a single process listens after its startup
    rest = threading.Thread(target=lambda: said.extend(server.stderr or ()))  # or it blocks when the pipe is full
    rest.start()
    try:
        yield server
    finally:
        server.terminate()
        server.wait(20)
        rest.join()
        server.stderr.close()
    assert "Traceback" not in "".join(said), "".join(said)[-3000:]

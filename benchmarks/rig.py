"""The processes that take part: the server, and one for each subject of measurement."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field, frozen

from benchmarks.stats import Mode

ROOT = Path(__file__).parent.parent
T = TypeVar("T")


class Process:
    """A child that answers each line with a line."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._start()

    def _start(self) -> None:
        self._child = subprocess.Popen(  # noqa: S603  # commands of our own
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def restart(self) -> None:
        """Begin anew, so that what a failure left behind weighs on nothing that follows."""
        self.close()
        self._start()
        self.read()

    def read(self) -> Any:
        assert self._child.stdout
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._command} ended early; what it said stands above")
        return json.loads(line)

    def ask(self, **order: Any) -> Any:
        assert self._child.stdin
        self._child.stdin.write(json.dumps(order) + "\n")
        self._child.stdin.flush()
        return self.read()

    def close(self) -> None:
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()


@frozen
class Subject:
    """Something to measure: its name in the tables, and the packages whose versions matter to it.

    place: where its code is, as benchmarks/worker.py takes it.
    program: what runs instead of a Python module.
    without: packages that it shall not find.
    """

    name: str
    place: str = ""
    packages: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    note: str = ""

    def command(self, origin: str) -> list[str]:
        if self.program:
            return [*self.program, origin]
        return [sys.executable, "-m", "benchmarks.worker", self.place, origin, *self.without]


@define
class Rig:
    """The server and whoever calls it."""

    origin: str
    mode: Mode
    missing: dict[str, str] = field(factory=dict)  # the names of subjects, and why they are
    _stack: ExitStack = field(factory=ExitStack, repr=False)
    _running: dict[str, Process] = field(factory=dict, repr=False)

    def start(self, subject: Subject) -> Process | None:
        """The subject's process, the same each time; None where it is missing."""
        if subject.name in self._running or subject.name in self.missing:
            return self._running.get(subject.name)
        try:
            process = Process(subject.command(self.origin))
        except FileNotFoundError as error:
            self.missing[subject.name] = f"{error.filename} is not installed"
            return None
        self._stack.callback(process.close)
        if (state := process.read()) != "ready":
            self.missing[subject.name] = state
            return None
        return self._running.setdefault(subject.name, process)

    def start_all(self, subjects: Sequence[Subject]) -> dict[str, Process]:
        """The processes of those that can take part."""
        started = {subject.name: self.start(subject) for subject in subjects}
        return {name: process for name, process in started.items() if process is not None}


@contextmanager
def open_rig(mode: Mode) -> Iterator[Rig]:
    with ExitStack() as stack:
        server = Process([sys.executable, "-m", "benchmarks.server"])
        stack.callback(server.close)
        yield Rig(f"http://127.0.0.1:{server.read()}", mode, stack=stack)

"""Real Redis and PostgreSQL servers for the length of a test, in folders of their own on free ports."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define


def program(name: str) -> str:
    """The path of a server's program; skips the test where there is none, and fails it in CI."""
    found = shutil.which(name) or next((str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)
    if found is None:
        reason = f"{name} is not installed (on Debian: apt-get install redis-server postgresql chromium-driver)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@define
class Process:
    """A server that can be killed and started again on its port with its data."""

    command: list[str]
    port: int
    ready: bytes  # what it prints when it can be used
    user: str | None = None
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, user=self.user, cwd="/", bufsize=0
        )
        self.running = process
        assert process.stdout is not None
        said = b""
        while self.ready not in said:
            said += (line := process.stdout.readline())
            assert line, f"the server stopped: {said.decode(errors='replace')}"

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        if self.running is not None:
            self.running.send_signal(signal_number)
            self.running.wait()
            assert self.running.stdout is not None
            self.running.stdout.close()
            self.running = None


@contextmanager
def redis_server() -> Iterator[Process]:
    redis = program("redis-server")
    with tempfile.TemporaryDirectory(prefix="prisma-redis-") as folder:
        port = free_port()
        where = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        process = Process([redis, *where, *durable], port, b"Ready to accept connections")
        process.start()
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def postgres_server() -> Iterator[Process]:
    initdb, postgres = program("initdb"), program("postgres")
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory(prefix="prisma-postgres-", ignore_cleanup_errors=True) as folder:
        data = Path(folder, "data")
        data.mkdir()
        if user:
            for path in (folder, data):
                shutil.chown(path, user)
        create = [initdb, "-D", str(data), "-U", "prisma", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(create, check=True, capture_output=True, user=user, cwd="/")
        port = free_port()
        command = [postgres, "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"]
        process = Process(command, port, b"ready to accept connections", user)
        process.start()
        try:
            yield process
        finally:
            process.kill(signal.SIGQUIT)  # at once, and its children with it

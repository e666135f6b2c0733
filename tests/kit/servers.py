"""Real Redis, PostgreSQL and pgbouncer servers for the length of a test, in folders of their own on free ports."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define


def program(name: str) -> str:
    """The path of a server's program; skips the test where there is none, and fails it in CI."""
    found = (
        shutil.which(name)
        or shutil.which(f"/usr/sbin/{name}")
        or next((str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)
    )
    if found is None:
        reason = (
            f"{name} is not installed (on Debian: apt-get install redis-server postgresql pgbouncer chromium-driver)"
        )
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
    reading: threading.Thread | None = None

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
        self.reading = threading.Thread(
            target=process.stdout.readlines, daemon=True
        )  # or it blocks when the pipe is full
        self.reading.start()

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        if self.running is not None:
            self.running.send_signal(signal_number)
            self.running.wait()
            assert self.running.stdout is not None
            assert self.reading is not None
            self.reading.join()
            self.running.stdout.close()
            self.running = None


@contextmanager
def redis_server(*options: str) -> Iterator[Process]:
    redis = program("redis-server")
    with tempfile.TemporaryDirectory(prefix="prisma-redis-") as folder:
        port = free_port()
        where = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        process = Process([redis, *where, *durable, *options], port, b"Ready to accept connections")
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


@contextmanager
def pgbouncer(postgres: Process, *, mode: str = "transaction", connections: int = 3) -> Iterator[Process]:
    """A pooler before a PostgreSQL server, which hands out few connections to many."""
    bouncer = program("pgbouncer")
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root, as PostgreSQL does
    with tempfile.TemporaryDirectory(prefix="prisma-pgbouncer-", ignore_cleanup_errors=True) as folder:
        port = free_port()
        options = {"listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "auth_type": "any"}
        options |= {"pool_mode": mode, "default_pool_size": connections, "max_client_conn": 500}
        options |= {"query_wait_timeout": 1, "server_login_retry": 0.1}  # in seconds, should the server be away
        lines = [f"{name} = {value}" for name, value in options.items()]
        database = f"postgres = host=127.0.0.1 port={postgres.port} user=prisma dbname=postgres"
        settings = Path(folder, "pgbouncer.ini")
        settings.write_text("\n".join(["[databases]", database, "[pgbouncer]", *lines]))
        if user:
            for path in (folder, settings):
                shutil.chown(path, user)
        process = Process([bouncer, str(settings)], port, b"process up", user)
        process.start()
        try:
            yield process
        finally:
            process.kill()

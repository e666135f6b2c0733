"""A PostgreSQL server of our own, in a temporary folder, from binaries that are on the machine.

It is started when it is first asked for, serves every sandbox of this process, and goes when the process ends, however
that ends: a shell holds it that reads from a pipe of ours, and the pipe's end is ours.
"""

import atexit
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds for the server to start
_SUPERUSER = "sandbox"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",  # what it holds is gone with the process anyway
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
_HOLD = '"$@" >"$0/log" 2>&1 & read -r _; kill -QUIT $!; wait; rm -rf "$0"'

_lock = threading.Lock()
_started: dict[int, str] = {}  # the DSN, by process: a fork has none


def dsn() -> str:
    """The DSN of the server's superuser. Raises OSError if there are no binaries or the server does not start."""
    with _lock:
        if os.getpid() not in _started:
            _started[os.getpid()] = _start(_binaries())
        return _started[os.getpid()]


def _binaries() -> Path:
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    if (initdb := shutil.which("initdb")) is not None:
        return Path(initdb).parent
    raise OSError('postgres="auto" needs PostgreSQL\'s initdb and postgres: install them, or give a DSN')


def _start(binaries: Path) -> str:
    folder, owner = Path(tempfile.mkdtemp(prefix="prisma-sandbox-")), _owner()
    password, port = secrets.token_hex(16), _free_port()
    try:
        (folder / "password").write_text(password)
        if owner:
            for path in (folder, folder / "password"):
                os.chown(path, owner["user"], owner["group"])
        data = str(folder / "data")
        options = [
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=scram-sha-256",
            f"--username={_SUPERUSER}",
        ]
        command = [str(binaries / "initdb"), f"--pgdata={data}", f"--pwfile={folder / 'password'}", *options]
        _run(command, cwd=folder, **owner)
        settings = {**_SETTINGS, "port": str(port)}
        command = [str(binaries / "postgres"), "-D", data, *(f"--{key}={value}" for key, value in settings.items())]
        server = subprocess.Popen(  # noqa: S603  # our own arguments
            ["/bin/sh", "-c", _HOLD, str(folder), *command],
            stdin=subprocess.PIPE, cwd=folder, start_new_session=True, **owner,
        )  # fmt: skip
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    atexit.register(_stop, server)
    _wait(binaries, port, folder)
    return f"postgresql://{_SUPERUSER}:{password}@127.0.0.1:{port}/postgres"


def _owner() -> dict[str, Any]:
    """As whom to run: the server refuses to be root's."""
    if os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise OSError('postgres="auto" as root needs a user "postgres" or "nobody" to run the server as')


def _run(command: list[str], **options: Any) -> None:
    made = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # noqa: S603  # our own
    if made.returncode:
        raise OSError(f"{command[0]} failed: {made.stderr.strip()}")


def _wait(binaries: Path, port: int, folder: Path) -> None:
    command = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    give_up = time.monotonic() + PATIENCE
    while subprocess.run(command, check=False).returncode:  # noqa: S603  # our own arguments
        if time.monotonic() > give_up:
            raise OSError(f"PostgreSQL did not start: {(folder / 'log').read_text(errors='replace')[-500:]}")
        time.sleep(0.05)


def _stop(server: "subprocess.Popen[bytes]") -> None:
    assert server.stdin is not None
    server.stdin.close()
    server.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])

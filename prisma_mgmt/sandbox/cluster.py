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
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

SUPERUSER = "sandbox"

_lock = threading.Lock()


def dsn() -> str:
    """The DSN of the server's superuser. Raises OSError if there are no binaries or the server does not start."""
    with _lock:
        return _started(os.getpid())  # a fork has none


@lru_cache(maxsize=1)
def _started(_process: int) -> str:
    binaries, owner, password = _binaries(), _owner(), secrets.token_hex(16)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # which is free
    folder = Path(tempfile.mkdtemp(prefix="prisma-sandbox-"))  # which the shell removes in the end
    (folder / "password").write_text(password)
    if owner:
        for path in (folder, folder / "password"):
            os.chown(path, owner["user"], owner["group"])
    script = (files("prisma_mgmt.sandbox") / "cluster.sh").read_text("utf-8")
    command = ["/bin/sh", "-c", script, "sh", str(folder), str(binaries), SUPERUSER, str(port)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    options: dict[str, Any] = {**pipes, "cwd": folder, "start_new_session": True, **owner}
    holder = subprocess.Popen(command, text=True, **options)  # noqa: S603  # our own arguments
    atexit.register(holder.communicate)
    assert holder.stdout is not None
    if holder.stdout.readline() != "started\n":
        raise OSError(f"PostgreSQL did not start: {(folder / 'log').read_text(errors='replace')[-500:]}")
    return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/postgres"


def _binaries() -> Path:
    """Where the programs are: Debian's newest ones, or else those on the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda path: -float(path.parent.name))
    initdb = shutil.which("initdb", path=os.pathsep.join([*map(str, debian), os.environ.get("PATH", os.defpath)]))
    if initdb is None:
        raise OSError('postgres="auto" needs PostgreSQL\'s initdb and postgres: install them, or give a DSN')
    return Path(initdb).parent


def _owner() -> dict[str, Any]:
    """As whom to run: the server refuses to be root's."""
    if os.geteuid() != 0:
        return {}
    import pwd

    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = users.get("postgres") or users.get("nobody")
    if entry is None:
        raise OSError('postgres="auto" as root needs a user "postgres" or "nobody" to run the server as')
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

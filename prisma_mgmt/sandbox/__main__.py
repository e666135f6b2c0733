"""Serve the sandbox from the command line: `python -m prisma_mgmt.sandbox`."""

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ENDS = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    options = vars(_parser().parse_args())
    for end in ENDS:  # a shell's background job has Ctrl-C ignored
        signal.signal(end, signal.default_int_handler)
    try:
        return _serve(**options)
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _serve(*, command: list[str], env: bool, service_token: str | None, redirect_uri: list[str], **options: Any) -> int:
    from prisma_mgmt.sandbox import Sandbox
    from prisma_mgmt.sandbox.server import REDIRECT_URIS

    uris = list(dict.fromkeys((*REDIRECT_URIS, *redirect_uri)))
    with Sandbox(redirect_uris=uris, **options) as sandbox:
        if service_token is not None:
            sandbox.service_token = service_token
        if command:
            return _run(command, sandbox.environment)
        sandbox.on_request(lambda one: print(one.line(), file=sys.stderr, flush=True))
        exports = [f"export {key}={value}" for key, value in sandbox.environment.items()]
        places = [f"{name:<21}{value}" for name, value in sandbox.places.items()]
        print(*(exports if env else places), sep="\n", flush=True)
        while True:
            time.sleep(3600)


def _run(command: list[str], variables: dict[str, str]) -> int:
    """Run a command until it ends, and hand on the signals to end. Returns its exit code, as a shell tells it."""
    came: list[int] = []

    def take(number: int, _frame: object) -> None:
        if number != signal.SIGINT or not _in_the_foreground():
            came.append(number)

    for end in ENDS:
        signal.signal(end, take)
    with subprocess.Popen(command, env={**os.environ, **variables}) as child:  # noqa: S603  # the user's own command
        while child.returncode is None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(0.05)  # a wait without end does not see a signal that another thread takes
            while came:
                child.send_signal(came.pop(0))
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _in_the_foreground() -> bool:
    """Return True if a terminal sends its Ctrl-C to this process: it sends one to the command, too."""
    try:
        with Path(os.ctermid()).open() as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except (AttributeError, OSError):  # there is none
        return sys.platform == "win32"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m prisma_mgmt.sandbox",
        description="A local Prisma, till Ctrl-C. Standard output says where it is, standard error what is asked.",
        argument_default=argparse.SUPPRESS,  # what nobody says, Sandbox knows
    )
    add = parser.add_argument
    add("--host", help="where to listen: this machine by default, 0.0.0.0 for a container")
    add("--port", type=int, help="a free one by default")
    add("--redirect-uri", action="append", default=[], metavar="URI", help="one more that apps may use; repeatable")
    add("--user", action="append", dest="users", metavar="NAME", help="who may log in; repeatable")
    add("--service-token", default=None, metavar="TOKEN", help="a token to accept, in place of a new one")
    add("--personality", choices=("strict", "grace"), help="what token reuse does")
    add("--auto-approve", action="store_true", default=False, help="log in without the consent page")
    add("--postgres", metavar="DSN", help='a PostgreSQL behind the databases; "auto" starts one')
    add("--env", action="store_true", default=False, help="print what to paste into a shell, for programs that use it")
    add("command", nargs="*", default=[], metavar="-- COMMAND", help="run it with what --env prints, and end with it")
    return parser


if __name__ == "__main__":
    sys.exit(main())

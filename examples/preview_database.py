"""Runs a command with a database of its own, for CI: made before, deleted after, whatever happens in between.

    python preview_database.py pr-123 -- npx prisma migrate deploy

The command finds DATABASE_URL in its environment, and its exit code is this program's. The database is made in the
project PRISMA_PROJECT_ID with PRISMA_SERVICE_TOKEN; without that everything is in a sandbox.
"""

import os
import signal
import sys
from contextlib import ExitStack

import anyio

from prisma_mgmt import ManagementClient, PrismaError
from prisma_mgmt.recipes import database_url, ensure_project, preview_database


async def run(name: str, command: list[str]) -> int:
    async with ManagementClient() as prisma:
        project = os.environ.get("PRISMA_PROJECT_ID") or await ensure_project(prisma, "previews")
        async with preview_database(prisma, project, name, on_change=say) as database:
            environment = {**os.environ, "DATABASE_URL": database_url(database)}
            done = await anyio.run_process(command, env=environment, stdout=None, stderr=None, check=False)
            return done.returncode


def say(state: str) -> None:
    print(f"the database is {state}", file=sys.stderr)


async def run_until_told_to_stop(name: str, command: list[str]) -> int:
    """CI ends a job that was cancelled with SIGTERM; the database goes then, too."""
    codes: list[int] = []
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    group.cancel_scope.cancel()
                    return

        group.start_soon(stop)
        codes.append(await run(name, command))
        group.cancel_scope.cancel()
    return codes[0] if codes else 130


def main() -> None:
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        sys.exit("usage: preview_database.py NAME -- COMMAND [ARGUMENT …]")
    with ExitStack() as stack:
        if "PRISMA_SERVICE_TOKEN" not in os.environ:
            from prisma_mgmt.sandbox import Sandbox

            os.environ |= stack.enter_context(Sandbox()).environment
        try:
            sys.exit(anyio.run(run_until_told_to_stop, sys.argv[1], sys.argv[3:]))
        except* (PrismaError, TimeoutError, OSError) as errors:
            sys.exit(f"preview_database: {errors.exceptions[0]}")


if __name__ == "__main__":
    main()

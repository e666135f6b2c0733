"""A project with a database and its DATABASE_URL in .env; run it as often as you like.

    python provision.py [--name shop] [--region us-east-1] [--env FILE]

It works in the workspace of PRISMA_SERVICE_TOKEN. Without it each run has a sandbox of its own, and writes to
.env.sandbox. To see that a second run changes nothing, run both in one sandbox:

    python -m prisma_mgmt.sandbox -- sh -c 'python provision.py --env new.env; python provision.py --env new.env'

`pip install rich` for a spinner.
"""

import argparse
import os
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio

from prisma_mgmt import ManagementClient, PrismaError
from prisma_mgmt.recipes import database_url, ensure_database, ensure_project, wait_until_ready


@contextmanager
def progress(what: str) -> Generator[Callable[[str], object], None, None]:
    """Shows the states of a thing: in one line that changes, with rich, else a line for each."""
    try:
        from rich.console import Console
    except ImportError:
        yield lambda state: print(f"{what} is {state}", file=sys.stderr)
        return
    with Console(stderr=True).status(what) as status:
        yield lambda state: status.update(f"{what} is {state}")


async def provision(name: str, region: str, env: Path) -> None:
    async with ManagementClient() as prisma:
        project = await ensure_project(prisma, name, region=region)
        database = await ensure_database(prisma, project, "main", region=region)
        with progress(f"database {database.id}") as on_change:
            await wait_until_ready(prisma, database, on_change=on_change)
        print(f"project {project.id}, database {database.id}: ready")
        if any(line.startswith("DATABASE_URL=") for line in read(env)):
            print(f"{env} has its DATABASE_URL already")
            return
        connection = await prisma.connections.create(database_id=database.id, name="provision")
        add(env, f'DATABASE_URL="{database_url(connection)}"')
        print(f"{env} has a new DATABASE_URL")


def read(env: Path) -> list[str]:
    return env.read_text().splitlines() if env.exists() else []


def add(env: Path, line: str) -> None:
    env.touch(mode=0o600)  # before there is a secret in it
    env.write_text("\n".join([*read(env), line, ""]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="shop")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--env", type=Path, help=".env, or .env.sandbox in a sandbox")
    asked = parser.parse_args()
    try:
        with ExitStack() as stack:
            if "PRISMA_SERVICE_TOKEN" not in os.environ:
                from prisma_mgmt.sandbox import Sandbox

                os.environ |= stack.enter_context(Sandbox()).environment
                asked.env = asked.env or Path(".env.sandbox")
            anyio.run(provision, asked.name, asked.region, asked.env or Path(".env"))
    except (PrismaError, TimeoutError, ValueError, OSError) as error:
        sys.exit(f"provision: {error}")


if __name__ == "__main__":
    main()

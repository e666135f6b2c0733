"""Deploys an archive: the project and the service are made if there are none, and what ran before is stopped.

    python deploy.py app.tgz [--project shop] [--service web] [--port 8080] [--follow]

It works in the workspace of PRISMA_SERVICE_TOKEN, or in a sandbox without it. `--follow` shows the log as it comes, and
needs `pip install 'prisma-mgmt[live]'`.
"""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import anyio

from prisma_mgmt import ManagementClient, PrismaError
from prisma_mgmt.recipes import deploy, ensure_project, ensure_service, follow_log


async def run(asked: argparse.Namespace) -> None:
    async with ManagementClient() as prisma:
        project = await ensure_project(prisma, asked.project)
        service = await ensure_service(prisma, project, asked.service)
        deployment = await deploy(
            prisma, service, asked.archive, port=asked.port, on_change=lambda state: print(f"  {state}")
        )
        print(f"{deployment.id} is {deployment.status} at https://{service.app_endpoint_domain}")
        if asked.follow:
            async with follow_log(prisma, deployment) as log:
                async for record in log:
                    print(record.text, end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--project", default="shop")
    parser.add_argument("--service", default="web")
    parser.add_argument("--port", type=int)
    parser.add_argument("--follow", action="store_true")
    asked = parser.parse_args()
    try:
        with ExitStack() as stack:
            if "PRISMA_SERVICE_TOKEN" not in os.environ:
                from prisma_mgmt.sandbox import Sandbox

                os.environ |= stack.enter_context(Sandbox()).environment
            anyio.run(run, asked)
    except (PrismaError, TimeoutError, ValueError, OSError) as error:
        sys.exit(f"deploy: {error}")


if __name__ == "__main__":
    main()

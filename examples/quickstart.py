"""Log in, call, refresh: the whole SDK in one short run.

Without PRISMA_SERVICE_TOKEN everything happens against a sandbox on this machine: a login through PKCE, a project with
its database, a paged list, a rotated connection, and 50 calls that meet an expired token and share one refresh.
With PRISMA_SERVICE_TOKEN (and PRISMA_MANAGEMENT_API_URL, if it is another server) the calls go to that API; what is
created is deleted again. SANDBOX_PORT chooses the sandbox's port.
"""

import os
import sys
import time

import anyio
import httpx

from prisma_mgmt import ManagementClient, PrismaError
from prisma_mgmt.auth import OAuthClient, OAuthSession
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.recipes import delete_project, wait_until_ready
from prisma_mgmt.sandbox import Sandbox

CALLS = 50


def say(step: str, result: str) -> None:
    print(f"  {step:<20} {result}")


async def walk(prisma: ManagementClient) -> None:
    """Create a project, look around, rotate its connection, delete it again."""
    me = await prisma.me.get()
    say("who am I", f"{me.credential.type} in {me.workspace.name if me.workspace else 'no workspace'}")

    project = await prisma.projects.create(name="quickstart", region="us-east-1")
    database = project.database
    assert database is not None, "a new project brings a database unless told otherwise"
    say("create project", f"{project.id} with database {database.id} ({database.status})")
    try:
        for number in range(4):
            await prisma.connections.create(database_id=database.id, name=f"reader-{number}")
        pages = [len(page.items) async for page in prisma.connections.list(database_id=database.id, limit=2).pages()]
        say("list connections", f"{sum(pages)} in {len(pages)} pages of {max(pages)}")

        ready = await wait_until_ready(prisma, database, interval=0.1)
        region = ready.region.name if ready.region else "no region"
        say("wait for database", f"{ready.name} is {ready.status}, in {region}")

        rotated = await prisma.connections.rotate(ready.connections[0].id)
        say("rotate connection", f"{rotated.id}, new secret {rotated.connection_string!r}")
    finally:
        await delete_project(prisma, project)
        say("delete project", project.id)


async def log_in(sandbox: Sandbox) -> OAuthSession:
    """A login as a web application does it; the sandbox's user says yes at once."""
    oauth = OAuthClient(sandbox.client_id, "http://127.0.0.1/callback", auth_base_url=sandbox.auth_url)
    session = OAuthSession(oauth, MemoryTokenStorage())
    login = oauth.login_url()
    async with httpx.AsyncClient() as browser:
        consent = await browser.get(login.url)
    tokens = await session.handle_callback(consent.headers["location"], login)
    say("log in with PKCE", f"workspace {tokens.workspace_id}, access token {tokens.access_token!r}")
    return session


async def meet_an_expired_token(prisma: ManagementClient, sandbox: Sandbox) -> None:
    sandbox.expire_access_tokens()
    before, started = sandbox.counts["refresh"], time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(CALLS):
            group.start_soon(prisma.me.get)
    refreshes, seconds = sandbox.counts["refresh"] - before, time.perf_counter() - started
    say("expired token", f"{CALLS} calls at once, {refreshes} refresh{'' if refreshes == 1 else 'es'}, {seconds:.2f} s")


async def in_the_sandbox() -> None:
    with Sandbox(port=int(os.environ.get("SANDBOX_PORT", "0"))) as sandbox:
        print(f"A sandbox at {sandbox.api_url}")
        session = await log_in(sandbox)
        async with session, ManagementClient(session, base_url=sandbox.api_url) as prisma:
            await walk(prisma)
            await meet_an_expired_token(prisma, sandbox)


async def with_a_service_token() -> None:
    async with ManagementClient() as prisma:
        print(f"The API at {prisma.base_url}")
        await walk(prisma)


def main() -> None:
    try:
        anyio.run(with_a_service_token if "PRISMA_SERVICE_TOKEN" in os.environ else in_the_sandbox)
    except* (PrismaError, ValueError, OSError) as errors:
        sys.exit(f"quickstart: {first(errors)}")


def first(errors: BaseExceptionGroup[Exception]) -> BaseException:
    """The first failure of several; calls at once fail as a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()

"""A database for as long as a pull request, or a test, needs it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from attrs import evolve

from prisma_mgmt.core.resource import UNSET, Unset
from prisma_mgmt.management import ManagementClient
from prisma_mgmt.management.databases import Database
from prisma_mgmt.management.shared import DatabaseRegion
from prisma_mgmt.recipes.naming import Named, id_of
from prisma_mgmt.recipes.waiting import OnChange, check_waiting, wait_until_ready

_GOODBYE = 30.0  # seconds to delete a database in, whoever is cancelled


@asynccontextmanager
async def preview_database(
    prisma: ManagementClient,
    project: Named,
    name: str,
    *,
    region: DatabaseRegion | Unset = UNSET,
    timeout: float = 300.0,
    interval: float = 1.0,
    on_change: OnChange = None,
) -> AsyncGenerator[Database, None]:
    """A new database of a project, ready and with its secrets (see `database_url`); leaving the block deletes it.

    It is deleted after an error or a cancellation too. Others of that name are left alone.
    Raises TimeoutError or PrismaError if it does not get ready, and TimeoutError if it cannot be deleted in 30 seconds.

    POST /v1/databases, DELETE /v1/databases/{databaseId}
    """
    check_waiting(timeout, interval, on_change)  # before there is anything to wait for
    made = await prisma.databases.create(project_id=id_of(project, "project"), name=name, region=region)
    try:
        ready = await wait_until_ready(prisma, made, timeout=timeout, interval=interval, on_change=on_change)
        yield evolve(ready, connections=made.connections)  # only these hold the secrets
    finally:
        with anyio.move_on_after(_GOODBYE, shield=True) as goodbye:
            await prisma.databases.delete(made.id, missing_ok=True)
        if goodbye.cancelled_caught:
            raise TimeoutError(f"the database {made.id} was not deleted within {_GOODBYE:g} s, and may still be there")

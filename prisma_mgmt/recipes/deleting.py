"""Taking a project down with what runs in it."""

import anyio

from prisma_mgmt.checks import checked_seconds
from prisma_mgmt.errors import BadRequestError, ConflictError
from prisma_mgmt.management import ManagementClient
from prisma_mgmt.recipes.naming import Named, id_of


async def delete_project(
    prisma: ManagementClient, project: Named, *, timeout: float = 120.0, interval: float = 1.0
) -> None:
    """Delete a project with the services that run in it; nothing happens if it is gone already.

    A deployment takes a moment to stop: what stands in the way is tried again for `timeout` seconds, then the API's own
    ConflictError or BadRequestError is raised.

    DELETE /v1/services/{serviceId}, DELETE /v1/projects/{id}
    """
    project_id = id_of(project, "project")
    until = anyio.current_time() + checked_seconds(timeout, "timeout")
    interval = checked_seconds(interval, "interval")
    while True:
        try:
            async for service in prisma.services.list(project_id=project_id):
                await prisma.services.delete(service.id, missing_ok=True)
            return await prisma.projects.delete(project_id, missing_ok=True)
        except (ConflictError, BadRequestError):
            if anyio.current_time() + interval >= until:
                raise
        await anyio.sleep(interval)

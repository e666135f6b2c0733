"""Taking a project down with what runs in it."""

from contextlib import suppress

import anyio

from prisma_mgmt.checks import checked_seconds
from prisma_mgmt.errors import BadRequestError, ConflictError, NotFoundError
from prisma_mgmt.management import ManagementClient
from prisma_mgmt.recipes.naming import Named, id_of


async def delete_project(
    prisma: ManagementClient, project: Named, *, timeout: float = 120.0, interval: float = 1.0
) -> None:
    """Delete a project with the services that run in it; nothing happens if it is gone already.

    If a service cannot be deleted, its deployments are stopped and deleted first, which takes a moment. What stands in
    the way is tried again for `timeout` seconds, then the API's own ConflictError or BadRequestError is raised, which
    names it.

    POST /v1/deployments/{deploymentId}/stop, DELETE /v1/deployments/{deploymentId}, DELETE /v1/services/{serviceId},
    DELETE /v1/projects/{id}
    """
    project_id = id_of(project, "project")
    until = anyio.current_time() + checked_seconds(timeout, "timeout")
    interval = checked_seconds(interval, "interval")
    while True:
        try:
            async for service in prisma.services.list(project_id=project_id):
                await _delete_service(prisma, service.id)
            return await prisma.projects.delete(project_id, missing_ok=True)
        except (ConflictError, BadRequestError):
            if anyio.current_time() + interval >= until:
                raise
        await anyio.sleep(interval)


async def _delete_service(prisma: ManagementClient, service_id: str) -> None:
    try:
        await prisma.services.delete(service_id, missing_ok=True)
    except ConflictError:
        for deployment in await prisma.services.list_deployments(service_id).all():
            await stop_deployment(prisma, deployment.id)
            with suppress(ConflictError):  # it is still stopping
                await prisma.deployments.delete(deployment.id, missing_ok=True)
        raise  # it can be deleted when they have stopped, or at the latest when they are gone


async def stop_deployment(prisma: ManagementClient, deployment_id: str) -> None:
    """Stop a deployment; nothing happens if it does not run, or is gone."""
    with suppress(ConflictError, NotFoundError):
        await prisma.deployments.stop(deployment_id)

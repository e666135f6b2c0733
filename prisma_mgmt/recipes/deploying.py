"""From an archive to a service that runs it."""

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from anyio import CapacityLimiter, to_thread

from prisma_mgmt.core.resource import UNSET, LogStream
from prisma_mgmt.environment import way_to
from prisma_mgmt.errors import PrismaError
from prisma_mgmt.faults import network_error
from prisma_mgmt.management import ManagementClient
from prisma_mgmt.management.deployments import Deployment, DeploymentLogRecord, DeploymentLogTerminal
from prisma_mgmt.management.shared import PortMapping
from prisma_mgmt.masks import Secret, bare
from prisma_mgmt.recipes.deleting import stop_deployment
from prisma_mgmt.recipes.naming import Named, id_of
from prisma_mgmt.recipes.waiting import OnChange, check_waiting, wait_until_running

_PATIENCE = 60.0  # seconds for which an upload may stand still
# Older deployments to stop: no answer tells which of them is in service, nor does a list tell which run.
_LOOK_BACK = 20


async def deploy(
    prisma: ManagementClient,
    service: Named,
    archive: bytes | str | os.PathLike[str],
    *,
    port: int | None = None,
    promote: bool = True,
    stop_old: bool = True,
    timeout: float = 300.0,
    interval: float = 1.0,
    on_change: OnChange = None,
) -> Deployment:
    """Deploy an archive, and return the running deployment: create, upload, start, wait, promote, stop the old one.

    archive: the code as the API takes it, as bytes or as a file's path.
    port: what the program listens on for HTTP.
    promote: point the service at it.
    stop_old: then stop those of the 20 deployments before it that still run.
    timeout: seconds for it to come up.

    Raises TimeoutError, and PrismaError for a deployment that does not come up (it is left as it is, for its log);
    NetworkError for an upload that fails; and what the API answers.

    POST /v1/services/{serviceId}/deployments, POST /v1/deployments/{deploymentId}/start,
    POST /v1/services/{serviceId}/promote, POST /v1/deployments/{deploymentId}/stop
    """
    check_waiting(timeout, interval, on_change)  # before there is anything to wait for
    if not isinstance(archive, bytes | str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
        raise TypeError(f"archive must be bytes or a path, not {type(archive).__name__}")
    tell: Callable[[str], object] = on_change or (lambda _: None)
    service_id = id_of(service, "service")
    content = archive if isinstance(archive, bytes) else await _read(archive)
    older = await prisma.services.list_deployments(service_id, limit=_LOOK_BACK)
    made = await prisma.services.create_deployment(
        service_id, port_mapping=UNSET if port is None else PortMapping(http=port)
    )
    tell("created")
    if made.upload_url is None:
        raise PrismaError(f"deployment {made.id} was made without a place to upload to")
    await _upload(Secret(made.upload_url), content)
    tell("uploaded")
    await prisma.deployments.start(made.id)
    running = await wait_until_running(prisma, made, timeout=timeout, interval=interval, on_change=on_change)
    if promote:
        await prisma.services.promote(service_id, deployment_id=made.id)
        tell("promoted")
        for one in older if stop_old else ():
            await stop_deployment(prisma, one.id)
    return running


def follow_log(prisma: ManagementClient, deployment: Named) -> LogStream[DeploymentLogRecord, DeploymentLogTerminal]:
    """A deployment's log from its start and as it comes; it goes on after a cut, and from segment to segment.

    It needs the extra `live`, for the API sends it over a WebSocket.

    GET /v1/deployments/{deploymentId}/logs
    """
    return prisma.deployments.logs(id_of(deployment, "deployment"), from_start=True, follow=True)


async def _read(archive: str | os.PathLike[str]) -> bytes:
    return await to_thread.run_sync(lambda: Path(archive).expanduser().read_bytes(), limiter=CapacityLimiter(1))


async def _upload(url: str, content: bytes) -> None:
    """Put the code where the API wants it; the URL is signed, so no token goes there and no error shows it."""
    place = urlsplit(url)
    host = f"{place.scheme}://{place.netloc.rpartition('@')[2]}"
    with bare:
        proxy, trusted = await way_to(url)
        try:
            async with httpx.AsyncClient(proxy=proxy, verify=trusted, trust_env=False, timeout=_PATIENCE) as http:
                answer = await http.put(url, content=content)
        except httpx.HTTPError as error:
            failed = network_error(error, method="PUT", url=host)
            if failed is None:
                raise
            raise failed from failed.__cause__
        if not answer.is_success:
            raise PrismaError(f"the upload to {host} was refused ({answer.status_code})")

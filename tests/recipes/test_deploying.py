"""From an archive to a service that runs it, its log, and how all of it is taken down again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from prisma_mgmt import ConflictError, ManagementClient, NetworkError, NotFoundError, PrismaError
from prisma_mgmt.management.projects import CreatedProject
from prisma_mgmt.management.services import Service
from prisma_mgmt.masks import Secret
from prisma_mgmt.recipes import delete_project, deploy, ensure_service, follow_log, preview_database
from prisma_mgmt.sandbox import Sandbox
from tests.recipes.conftest import Empty, Saying

pytestmark = pytest.mark.anyio

SOON = 0.01


@pytest.fixture
async def service(client: ManagementClient, project: CreatedProject) -> Service:
    return await ensure_service(client, project, "web")


@pytest.fixture
def on_change(sandbox: Sandbox) -> Callable[[str], None]:
    return lambda _: sandbox.advance(1)


async def states(client: ManagementClient, service: Service, sandbox: Sandbox) -> list[str]:
    """The states of a service's deployments, oldest first, a moment later."""
    sandbox.advance(1)
    found = await client.services.list_deployments(service.id).all()
    return [(await client.deployments.get(one.id)).status for one in reversed(found)]


async def test_a_deploy_creates_uploads_starts_waits_promotes_and_stops_the_old(
    client: ManagementClient, service: Service, sandbox: Sandbox, tmp_path: Path
) -> None:
    told: list[str] = []

    def on_change(state: str) -> None:
        told.append(state)
        sandbox.advance(1)

    archive = tmp_path / "app.tgz"
    archive.write_bytes(b"code")
    first = await deploy(client, service, archive, port=8080, interval=SOON, on_change=on_change)
    assert (first.status, first.port_mapping and first.port_mapping.http) == ("running", 8080)
    assert told[:2] == ["created", "uploaded"]
    assert told[-2:] == ["running", "promoted"]
    second = await deploy(client, service.id, b"code", interval=SOON, on_change=on_change)
    assert second.id != first.id
    assert await states(client, service, sandbox) == ["stopped", "running"]


async def test_the_one_in_service_is_stopped_though_a_newer_one_exists(
    client: ManagementClient, service: Service, sandbox: Sandbox, on_change: Callable[[str], None]
) -> None:
    """Service.latest_deployment_id is the newest deployment, which need not be the one in service."""
    await deploy(client, service, b"one", interval=SOON, on_change=on_change)
    await client.services.create_deployment(service.id)  # never started
    await deploy(client, service, b"two", interval=SOON, on_change=on_change)
    assert await states(client, service, sandbox) == ["stopped", "new", "running"]


async def test_a_deploy_that_is_not_promoted_leaves_the_old_one_running(
    client: ManagementClient, service: Service, sandbox: Sandbox, on_change: Callable[[str], None]
) -> None:
    await deploy(client, service, b"one", interval=SOON, on_change=on_change)
    await deploy(client, service, b"two", promote=False, interval=SOON, on_change=on_change)
    await deploy(client, service, b"three", stop_old=False, interval=SOON, on_change=on_change)
    assert await states(client, service, sandbox) == ["running", "running", "running"]


async def test_a_deployment_that_does_not_come_up_leaves_the_old_one_in_service(
    client: ManagementClient, service: Service, sandbox: Sandbox, on_change: Callable[[str], None]
) -> None:
    await deploy(client, service, b"one", interval=SOON, on_change=on_change)
    async with sandbox.client(transport=Saying("status", ["starting", "failed"])) as told:
        with pytest.raises(PrismaError, match=r"deployment dep_.* its state is failed"):
            await deploy(told, service, b"two", interval=SOON)
    async with sandbox.client(transport=Saying("status", ["starting"])) as told:
        with pytest.raises(TimeoutError, match=r"deployment dep_.* within 0.1 s: its last state is starting"):
            await deploy(told, service, b"two", timeout=0.1, interval=SOON)
    assert (await states(client, service, sandbox))[0] == "running"
    promoted = [it for it in sandbox.requests if it.path.endswith("/promote")]
    assert len(promoted) == 1


@pytest.mark.parametrize("place", ["http://127.0.0.1:9", "http://hidden:hidden@127.0.0.1:9"])
async def test_an_upload_that_is_refused_or_lost_is_an_error_without_the_signed_url(
    client: ManagementClient, service: Service, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with pytest.raises(PrismaError, match=r"^the upload to http://127\.0\.0\.1:\d+ was refused \(400\)$"):
        await deploy(client, service, b"")  # an archive without anything in it
    create = client.services.create_deployment

    async def elsewhere(*args: object, **options: object) -> object:
        made = await create(*args, **options)  # type: ignore[arg-type]  # passed on
        made.upload_url = Secret(f"{place}/uploads?signature=hidden")
        return made

    monkeypatch.setattr(client.services, "create_deployment", elsewhere)
    with pytest.raises(NetworkError) as caught:
        await deploy(client, service, b"code")
    assert "127.0.0.1:9" in str(caught.value)
    assert "hidden" not in str(caught.value)


async def test_a_deploy_of_a_file_or_a_service_that_is_not_there(
    client: ManagementClient, service: Service, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await deploy(client, service, tmp_path / "none.tgz")
    with pytest.raises(NotFoundError):
        await deploy(client, "app_none", b"code")
    assert await client.services.list_deployments(service.id).all() == []


async def test_a_cancelled_deploy_ends_at_once_and_promotes_nothing(
    client: ManagementClient, service: Service, sandbox: Sandbox
) -> None:
    with anyio.CancelScope() as scope:
        await deploy(
            client,
            service,
            b"code",
            interval=60,
            on_change=lambda state: scope.cancel() if state == "starting" else None,
        )
    assert scope.cancelled_caught
    assert not [it for it in sandbox.requests if it.path.endswith("/promote")]


async def test_a_log_is_followed_from_its_start_to_its_end(
    client: ManagementClient, service: Service, sandbox: Sandbox, on_change: Callable[[str], None]
) -> None:
    deployment = await deploy(client, service, b"code", interval=SOON, on_change=on_change)
    told: list[str] = []
    with anyio.fail_after(20):
        async with follow_log(client, deployment) as log:
            async for record in log:
                told.append(record.text.split(" ", 1)[1].strip())
                if told[-1].startswith("Running"):
                    await client.deployments.stop(deployment.id)
                    sandbox.advance(1)
    assert told == [
        *("Created", "Code uploaded: 4 bytes", "Starting", "Running, and listening for requests"),
        *("Stopping", "Stopped"),
    ]
    assert log.terminal is not None


# Taking it down


async def test_a_project_is_deleted_with_what_runs_in_it_and_once_more(
    client: ManagementClient,
    project: CreatedProject,
    service: Service,
    sandbox: Sandbox,
    on_change: Callable[[str], None],
) -> None:
    await deploy(client, service, b"code", interval=SOON, on_change=on_change)
    async with anyio.create_task_group() as group:
        group.start_soon(_time_passes, sandbox)
        with anyio.fail_after(20):
            await delete_project(client, project, interval=SOON)
        group.cancel_scope.cancel()
    with pytest.raises(NotFoundError):
        await client.projects.get(project.id)
    await delete_project(client, project.id)


async def test_a_project_is_deleted_where_stopped_deployments_have_to_be_deleted_first(
    client: ManagementClient,
    project: CreatedProject,
    service: Service,
    sandbox: Sandbox,
    on_change: Callable[[str], None],
) -> None:
    await deploy(client, service, b"one", interval=SOON, on_change=on_change)
    await deploy(client, service, b"two", interval=SOON, on_change=on_change)
    async with anyio.create_task_group() as group, sandbox.client(transport=Empty()) as strict:
        group.start_soon(_time_passes, sandbox)
        with anyio.fail_after(20):
            await delete_project(strict, project, timeout=5, interval=SOON)
        group.cancel_scope.cancel()
    with pytest.raises(NotFoundError):
        await client.projects.get(project.id)


async def _time_passes(sandbox: Sandbox) -> None:
    while True:
        sandbox.advance(0.2)
        await anyio.sleep(SOON)


async def test_a_project_that_cannot_be_deleted_in_time_is_the_answer_of_the_api(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox
) -> None:
    sandbox.fail("DELETE /v1/projects/{id}", status=409, times=1000)
    with pytest.raises(ConflictError, match="DELETE"):
        await delete_project(client, project, timeout=0.1, interval=SOON)
    asked = [it for it in sandbox.requests if it.method == "DELETE"]
    assert len(asked) > 1, "it was tried again"


@pytest.mark.parametrize(("name", "value"), [("timeout", "5"), ("interval", None), ("on_change", 5)])
async def test_what_cannot_be_waited_with_is_told_before_anything_is_made(
    client: ManagementClient, service: Service, sandbox: Sandbox, name: str, value: Any
) -> None:
    before = len(sandbox.requests)
    with pytest.raises(TypeError, match=name):
        await deploy(client, service, b"one", **{name: value})
    with pytest.raises(TypeError, match=name):
        async with preview_database(client, "proj_1", "pr-1", **{name: value}):
            raise AssertionError
    assert len(sandbox.requests) == before


@pytest.mark.parametrize("wrong", [5, None, bytearray(b"code")])
async def test_an_archive_that_is_none_is_told_by_its_name(client: ManagementClient, wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"archive must be bytes or a path, not {type(wrong).__name__}"):
        await deploy(client, "app_1", wrong)

"""Things that are there afterwards, however often and by however many they are asked for."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from prisma_mgmt import ConflictError, ManagementClient, NotFoundError
from prisma_mgmt.management.projects import CreatedProject
from prisma_mgmt.recipes import ensure_branch, ensure_database, ensure_project, ensure_service, ensure_variable
from prisma_mgmt.sandbox import Sandbox

pytestmark = pytest.mark.anyio

Ensure = Callable[[ManagementClient, CreatedProject], Awaitable[Any]]
ENSURE: dict[str, Ensure] = {
    "projects": lambda client, _: ensure_project(client, "new"),
    "projects by logical id": lambda client, _: ensure_project(client, "new", logical_id="one"),
    "branches": lambda client, project: ensure_branch(client, project, "feature"),
    "services": lambda client, project: ensure_service(client, project, "web"),
    "databases": lambda client, project: ensure_database(client, project, "orders"),
    "environment-variables": lambda client, project: ensure_variable(
        client, project, "KEY", "value", class_="production"
    ),
}


@pytest.mark.parametrize("kind", ENSURE)
async def test_a_second_run_finds_what_the_first_has_made(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox, kind: str
) -> None:
    made = await ENSURE[kind](client, project)
    assert (await ENSURE[kind](client, project)).id == made.id
    posts = [it for it in sandbox.requests if it.method == "POST"]
    assert len(posts) == 2, "the project of the test, and this one thing"


@pytest.mark.parametrize("ensure", [ensure_service, ensure_database])
async def test_what_stands_on_a_preview_branch_is_not_taken_for_that_of_the_default_one(
    client: ManagementClient, project: CreatedProject, ensure: Any
) -> None:
    await ensure_branch(client, project, "main")
    preview = await ensure_branch(client, project, "preview")
    assert not preview.is_default
    if ensure is ensure_service:
        other: Any = await client.services.create(display_name="web", project_id=project.id, branch_id=preview.id)
    else:
        other = await client.databases.create(name="web", project_id=project.id, branch_id=preview.id)
    made = await ensure(client, project, "web")
    assert (made.name, made.branch_id) != ("web", preview.id)
    assert made.id != other.id
    assert (await ensure(client, project, "web")).id == made.id


@pytest.mark.parametrize("kind", ["projects by logical id", "branches", "services", "environment-variables"])
async def test_what_somebody_else_makes_meanwhile_is_adopted(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run comes between our look and our create, which is answered with 409."""
    names = {"projects by logical id": "projects", "environment-variables": "environment_variables"}
    resource: Any = getattr(client, names.get(kind, kind))
    theirs: list[Any] = []
    create = resource.create

    async def late(*args: Any, **options: Any) -> Any:
        if not theirs:
            theirs.append(None)
            async with sandbox.client() as other:
                theirs.append(await ENSURE[kind](other, project))
        return await create(*args, **options)

    monkeypatch.setattr(resource, "create", late)
    ours = await ENSURE[kind](client, project)
    assert ours.id == theirs[1].id


async def test_a_conflict_over_something_else_is_not_swallowed(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox
) -> None:
    sandbox.fail("POST /v1/services", status=409)
    with pytest.raises(ConflictError):
        await ensure_service(client, project, "web")


async def test_a_project_of_that_name_in_another_workspace_is_not_taken(client: ManagementClient) -> None:
    here = await ensure_project(client, "shop", logical_id="one")
    assert here.logical_id == "one"
    assert (await ensure_project(client, "other name", logical_id="one")).id == here.id, "the logical id decides"
    assert (await ensure_project(client, "shop", workspace_id=here.workspace.id)).id == here.id
    assert (await ensure_project(client, "shop", logical_id="two")).id != here.id
    with pytest.raises(NotFoundError, match="wksp_of_somebody_else"):  # where it would be made
        await ensure_project(client, "shop", workspace_id="wksp_of_somebody_else")


async def test_a_variable_gets_the_value_of_the_last_run(client: ManagementClient, project: CreatedProject) -> None:
    first = await ensure_variable(client, project, "KEY", "one", class_="production")
    second = await ensure_variable(client, project, "KEY", "two", class_="production")
    assert second.id == first.id
    assert second.updated_at >= first.updated_at
    other = await ensure_variable(client, project, "KEY", "two", class_="preview")
    assert other.id != first.id
    branch = await ensure_branch(client, project, "feature")
    here = await ensure_variable(client, project, "KEY", "three", class_="preview", branch=branch)
    again = await ensure_variable(client, project, "KEY", "four", class_="preview", branch=branch.id)
    assert (again.id, again.branch_id) == (here.id, branch.id)
    assert again.id != other.id


async def test_an_id_of_another_kind_is_a_type_error(client: ManagementClient) -> None:
    with pytest.raises(TypeError, match="project must be an id or a model that has one, not NoneType"):
        await ensure_service(client, None, "web")  # type: ignore[arg-type]  # what the test is about

"""Things that are there afterwards, however often it is asked for: found, or else made, or else adopted."""

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TypeVar

from prisma_mgmt.core.resource import UNSET, Unset
from prisma_mgmt.errors import ConflictError
from prisma_mgmt.management import ManagementClient
from prisma_mgmt.management.branches import Branch
from prisma_mgmt.management.databases import Database
from prisma_mgmt.management.environment_variables import EnvironmentVariable, EnvironmentVariableClass
from prisma_mgmt.management.projects import Project
from prisma_mgmt.management.services import Service
from prisma_mgmt.management.shared import DatabaseRegion, RegionId
from prisma_mgmt.recipes.naming import Named, id_of

T = TypeVar("T")
P = TypeVar("P", Service, Database)


async def ensure_project(
    prisma: ManagementClient,
    name: str,
    *,
    logical_id: str | None = None,
    region: RegionId | Unset = UNSET,
    workspace_id: str | None = None,
) -> Project:
    """The project of that logical id, else of that name; it is made, without a database, if there is none.

    Raises what the API answers; a project that somebody else makes meanwhile is adopted.

    GET /v1/projects, POST /v1/projects
    """

    def fits(one: Project) -> bool:
        is_it = one.name == name if logical_id is None else one.logical_id == logical_id
        return is_it and workspace_id in (None, one.workspace.id)

    async def make() -> Project:
        options = {"logical_id": logical_id or UNSET, "workspace_id": workspace_id or UNSET}
        made = await prisma.projects.create(name=name, region=region, create_database=False, **options)
        return await prisma.projects.get(made.id)

    return await _ensured(lambda: _first(prisma.projects.list(logical_id=logical_id), fits), make)


async def ensure_branch(prisma: ManagementClient, project: Named, git_name: str) -> Branch:
    """The branch of a project with that git name; it is made if there is none.

    GET /v1/projects/{projectId}/branches, POST /v1/projects/{projectId}/branches
    """
    project_id = id_of(project, "project")
    return await _ensured(
        lambda: _first(prisma.branches.list(project_id, git_name=git_name), lambda one: one.git_name == git_name),
        lambda: prisma.branches.create(project_id, git_name=git_name),
    )


async def ensure_service(
    prisma: ManagementClient, project: Named, name: str, *, region: RegionId | Unset = UNSET
) -> Service:
    """The service of that name on a project's default branch or on no branch; else one is made on the default branch.

    GET /v1/services, GET /v1/projects/{projectId}/branches, POST /v1/services
    """
    project_id = id_of(project, "project")
    return await _ensured(
        lambda: _on_default(prisma, project_id, prisma.services.list(project_id=project_id), name),
        lambda: prisma.services.create(display_name=name, project_id=project_id, region_id=region),
    )


async def ensure_database(
    prisma: ManagementClient, project: Named, name: str, *, region: DatabaseRegion | Unset = UNSET
) -> Database:
    """The database of that name on a project's default branch or on no branch; else one is made on the default branch.

    It may not be ready yet. Only one that has just been made holds its secrets: see `database_url`.

    GET /v1/databases, GET /v1/projects/{projectId}/branches, POST /v1/databases
    """
    project_id = id_of(project, "project")
    return await _ensured(
        lambda: _on_default(prisma, project_id, prisma.databases.list(project_id=project_id), name),
        lambda: prisma.databases.create(project_id=project_id, name=name, region=region),
    )


async def ensure_variable(
    prisma: ManagementClient,
    project: Named,
    key: str,
    value: str,
    *,
    class_: EnvironmentVariableClass,
    branch: Named | None = None,
) -> EnvironmentVariable:
    """The environment variable of that key, set to `value`, whether it was there or not.

    branch: a preview branch that the value is for alone.

    GET /v1/environment-variables, POST /v1/environment-variables, PATCH /v1/environment-variables/{envVarId}
    """
    project_id = id_of(project, "project")
    branch_id = None if branch is None else id_of(branch, "branch")

    async def find() -> EnvironmentVariable | None:
        found = prisma.environment_variables.list(project_id=project_id, class_=class_, key=key, branch_id=branch_id)
        there = await _first(found, lambda one: (one.key, one.branch_id) == (key, branch_id))
        return None if there is None else await prisma.environment_variables.update(there.id, value=value)

    return await _ensured(
        find,
        lambda: prisma.environment_variables.create(
            project_id=project_id, class_=class_, key=key, value=value, branch_id=branch_id or UNSET
        ),
    )


async def _ensured(find: Callable[[], Awaitable[T | None]], make: Callable[[], Awaitable[T]]) -> T:
    """What is found, else what is made; what somebody else made in between is found then."""
    found = await find()
    if found is not None:
        return found
    try:
        return await make()
    except ConflictError:
        found = await find()
        if found is None:
            raise
        return found


async def _on_default(prisma: ManagementClient, project_id: str, things: AsyncIterable[P], name: str) -> P | None:
    """The thing of that name on the default branch, where one that names none is made, or on none, as old ones are."""
    usual = {None, *[one.id async for one in prisma.branches.list(project_id) if one.is_default]}
    return await _first(things, lambda one: one.name == name and one.branch_id in usual)


async def _first(things: AsyncIterable[T], fits: Callable[[T], bool]) -> T | None:
    async for one in things:
        if fits(one):
            return one
    return None

"""URLs that open a database, and a database for as long as it is needed."""

from typing import Any

import anyio
import httpx
import pytest
import trio
from trio.testing import MockClock

from prisma_mgmt import ManagementClient, PrismaError, factories
from prisma_mgmt.management.projects import CreatedProject
from prisma_mgmt.masks import Secret
from prisma_mgmt.recipes import database_url, preview_database
from prisma_mgmt.sandbox import Sandbox
from tests.recipes.conftest import Saying

pytestmark = pytest.mark.anyio

SOON = 0.01
STARTS = {"pooled": "postgresql://", "direct": "postgresql://", "accelerate": "prisma+postgres://"}


@pytest.mark.parametrize("kind", ["pooled", "direct", "accelerate"])
async def test_whatever_was_answered_with_secrets_gives_a_url(
    client: ManagementClient, project: CreatedProject, kind: Any
) -> None:
    assert project.database is not None
    connection = await client.connections.create(database_id=project.database.id, name="reader")
    made = [
        project,
        project.database,
        await client.databases.create(project_id=project.id, name="a"),
        await client.projects.create_database(project.id, name="b"),
        connection,
        await client.connections.rotate(connection.id),
    ]
    urls = [database_url(one, kind) for one in made]
    assert all(url.startswith(STARTS[kind]) for url in urls)
    assert urls[0] == urls[1], "the project's database is the one inside"
    assert len(set(urls)) == 5, "each has its own credentials"
    host = {"pooled": "@pooled.", "direct": "@db.", "accelerate": "//accelerate."}[kind]
    assert all(host in url for url in urls)
    assert all(isinstance(url, Secret) for url in urls), "no log shows it by accident"
    assert "sk_" not in repr(urls)


async def test_what_was_looked_up_later_holds_no_secret(client: ManagementClient, project: CreatedProject) -> None:
    assert project.database is not None
    for later in (
        await client.databases.get(project.database.id),
        await client.projects.get(project.id),
        await client.connections.list(database_id=project.database.id).first(),
    ):
        with pytest.raises(ValueError, match="holds no pooled URL: secrets are only in the answer that made"):
            database_url(later)


async def test_answers_of_the_postgres_api_give_urls_too(sandbox: Sandbox) -> None:
    async with sandbox.postgres_client() as prisma:
        project = await prisma.projects.create(sandbox.workspace_id, name="shop", region="us-east-1")
        assert project.databases is not None
        (database,) = project.databases
        assert database_url(project, "direct") == database_url(database, "direct")
        assert database_url(database, "direct").startswith("postgresql://")
        assert database_url(database, "accelerate").startswith("prisma+postgres://")
        direct = await prisma.connections.create(database.id, type="direct")
        assert database_url(direct, "direct").startswith("postgresql://")
        with pytest.raises(ValueError, match=r"holds no pooled URL; it holds direct$"):
            database_url(direct)
        through = await prisma.connections.create(database.id, type="prisma")
        assert database_url(through, "accelerate").startswith("prisma+postgres://")
        for masked in await prisma.connections.list(database.id):
            for kind in STARTS:
                with pytest.raises(ValueError, match="secrets are only in the answer that made"):
                    database_url(masked, kind)  # type: ignore[arg-type]  # a key of the table above


def test_a_kind_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="kind must be one of pooled, direct, accelerate, not 'poold'"):
        database_url(None, "poold")  # type: ignore[arg-type]  # what the test is about


# A preview database


async def names(client: ManagementClient, project: CreatedProject) -> list[str]:
    return [it.name async for it in client.databases.list(project_id=project.id) if not it.is_default]


async def test_a_preview_database_is_ready_has_its_secrets_and_goes(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox
) -> None:
    def on_change(_: str) -> None:
        sandbox.advance(1)

    for _ in range(2):  # a second run is as good as the first
        async with preview_database(client, project, "pr-7", interval=SOON, on_change=on_change) as database:
            assert database.status == "ready"
            assert database_url(database).startswith("postgresql://")
            assert await names(client, project) == ["pr-7"]
        assert await names(client, project) == []


async def test_a_preview_database_goes_after_an_error_or_a_cancellation(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox
) -> None:
    def on_change(_: str) -> None:
        sandbox.advance(1)

    with pytest.raises(ZeroDivisionError):
        async with preview_database(client, project, "pr-7", interval=SOON, on_change=on_change):
            raise ZeroDivisionError
    assert await names(client, project) == []
    with anyio.CancelScope() as scope:
        async with preview_database(client, project, "pr-7", interval=60, on_change=lambda _: scope.cancel()):
            raise AssertionError("it never got ready")
    assert await names(client, project) == []
    with anyio.CancelScope() as scope:
        async with preview_database(client, project, "pr-7", interval=SOON, on_change=on_change):
            scope.cancel()
    assert await names(client, project) == []


async def test_a_preview_database_that_fails_goes_too(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox
) -> None:
    async with sandbox.client(transport=Saying("status", ["failure"])) as told:
        with pytest.raises(PrismaError, match="its state is failure"):
            async with preview_database(told, project, "pr-7"):
                raise AssertionError("it never got ready")
    assert await names(client, project) == []


async def test_a_preview_database_that_is_gone_already_is_no_error(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox
) -> None:
    async with preview_database(
        client, project, "pr-7", interval=SOON, on_change=lambda _: sandbox.advance(1)
    ) as database:
        await client.databases.delete(database.id)


def test_a_preview_database_that_could_not_be_deleted_in_time_is_told() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            await anyio.sleep_forever()
        return httpx.Response(200, json=factories.answer(factories.database(id="db_1", status="ready")))

    async def main() -> None:
        async with ManagementClient("token", transport=httpx.MockTransport(answer), timeout=None) as client:
            with pytest.raises(TimeoutError, match="db_1 was not deleted within 30 s"):
                async with preview_database(client, "proj_1", "pr-7"):
                    pass

    trio.run(main, clock=MockClock(autojump_threshold=0))

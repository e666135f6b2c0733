"""Waiting for a thing in the sandbox, through every state that it may come to."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import httpx
import pytest

from prisma_mgmt import ManagementClient, NotFoundError, PrismaError
from prisma_mgmt.management.builds import Build
from prisma_mgmt.management.projects import CreatedProject
from prisma_mgmt.recipes import (
    ensure_service,
    wait_until,
    wait_until_active,
    wait_until_finished,
    wait_until_ready,
    wait_until_running,
)
from prisma_mgmt.sandbox import Sandbox
from tests.recipes.conftest import Saying

pytestmark = pytest.mark.anyio

SOON = 0.01  # seconds between two fetches
Wait = Callable[..., Awaitable[Any]]


async def new_build(client: ManagementClient, project: CreatedProject) -> Build:
    return await client.builds.create(project_id=project.id, source="ci", commit_sha="a" * 40, branch_name="main")


async def make(kind: str, client: ManagementClient, project: CreatedProject) -> str:
    """The id of a new thing of that kind."""
    if kind == "database":
        assert project.database is not None
        return project.database.id
    if kind == "build":
        return (await new_build(client, project)).id
    service = await ensure_service(client, project, "web")
    deployment = await client.services.create_deployment(service.id)
    return deployment.id


async def test_a_database_is_waited_for_until_it_is_ready(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox
) -> None:
    states: list[str] = []

    def on_change(state: str) -> None:
        states.append(state)
        sandbox.advance(1)

    assert project.database is not None
    database = await wait_until_ready(client, project.database, interval=SOON, on_change=on_change)
    assert (database.id, database.status) == (project.database.id, "ready")
    assert states == ["provisioning", "ready"]
    again = await wait_until_ready(client, database.id, interval=SOON)
    assert again == database, "an id will do, and what is ready is ready"


async def test_a_build_is_waited_for_until_it_has_succeeded(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox
) -> None:
    states: list[str] = []

    def on_change(state: str) -> None:
        states.append(state)
        sandbox.advance({"pending": 3, "running": 10}.get(state, 0))

    build = await new_build(client, project)
    finished = await wait_until_finished(client, build, interval=SOON, on_change=on_change)
    assert finished.state == "succeeded"
    assert states == ["pending", "running", "succeeded"]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
async def test_a_build_that_does_not_succeed_is_an_error(
    client: ManagementClient, project: CreatedProject, state: str
) -> None:
    build = await new_build(client, project)
    await client.builds.update(build.id, state=state)
    with pytest.raises(PrismaError, match=f"^build {build.id} will not get there: its state is {state}$"):
        await wait_until_finished(client, build, interval=SOON)


FAILURES = [
    ("database", "status", wait_until_ready, ["failure"]),
    ("deployment", "status", wait_until_running, ["stopped", "failed", "failure", "error", "crashed", "deleted"]),
    ("build", "state", wait_until_finished, ["failed", "cancelled"]),
]


@pytest.mark.parametrize(
    ("kind", "key", "wait", "state"),
    [(kind, key, wait, state) for kind, key, wait, states in FAILURES for state in states],
)
async def test_each_failed_state_is_an_error_that_names_it(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox, kind: str, key: str, wait: Wait, state: str
) -> None:
    thing = await make(kind, client, project)
    states: list[str] = []
    async with sandbox.client(transport=Saying(key, ["starting", state])) as told:
        with pytest.raises(PrismaError, match=f"^{kind} {thing} will not get there: its state is {state}$"):
            await wait(told, thing, interval=SOON, on_change=states.append)
    assert states == ["starting", state]


@pytest.mark.parametrize(("kind", "key", "wait", "_states"), FAILURES)
async def test_what_takes_too_long_is_an_error_that_names_the_last_state(
    client: ManagementClient,
    project: CreatedProject,
    sandbox: Sandbox,
    kind: str,
    key: str,
    wait: Wait,
    _states: list[str],
) -> None:
    thing = await make(kind, client, project)
    async with sandbox.client(transport=Saying(key, ["new", "a state of next year"])) as told:
        with pytest.raises(TimeoutError, match=f"{kind} {thing} .* within 0.2 s: its last state is a state of next"):
            await wait(told, thing, timeout=0.2, interval=SOON)


async def test_an_answer_that_does_not_come_is_a_timeout_too(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox
) -> None:
    assert project.database is not None
    sandbox.delay("GET /v1/databases/{databaseId}", seconds=5)
    with pytest.raises(TimeoutError, match=r"within 0.05 s: its last state is not known"):
        await wait_until_ready(client, project.database, timeout=0.05)


async def test_a_deployment_is_waited_for_until_it_runs_and_one_that_stops_is_an_error(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox
) -> None:
    service = await ensure_service(client, project, "web")
    made = await client.services.create_deployment(service.id)
    async with httpx.AsyncClient() as http:
        assert (await http.put(str(made.upload_url), content=b"code")).is_success
    await client.deployments.start(made.id)
    running = await wait_until_running(client, made, interval=SOON, on_change=lambda _: sandbox.advance(1))
    assert running.status == "running"
    await client.deployments.stop(made.id)
    sandbox.advance(1)
    with pytest.raises(PrismaError, match="its state is stopped"):
        await wait_until_running(client, made, interval=SOON)


async def domain_of(client: ManagementClient, project: CreatedProject, sandbox: Sandbox, hostname: str) -> str:
    from prisma_mgmt.recipes import deploy

    service = await ensure_service(client, project, "web")
    await deploy(client, service, b"code", interval=SOON, on_change=lambda _: sandbox.advance(1))
    return (await client.services.create_domain(service.id, hostname=hostname)).id


async def test_a_domain_is_waited_for_until_it_is_active(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox
) -> None:
    states: list[str] = []

    def on_change(state: str) -> None:
        states.append(state)
        sandbox.advance(1 if state == "provisioning_tls" else 0)

    domain = await domain_of(client, project, sandbox, "shop.example")
    assert (await wait_until_active(client, domain, interval=SOON, on_change=on_change)).status == "active"
    assert states == ["pending_dns", "provisioning_tls", "active"]
    async with sandbox.client(transport=Saying("status", ["active", "removing"])) as told:
        await wait_until_active(told, domain)
        with pytest.raises(PrismaError, match="its state is removing"):
            await wait_until_active(told, domain)


async def test_a_domain_whose_records_are_missing_is_an_error(
    client: ManagementClient, project: CreatedProject, sandbox: Sandbox
) -> None:
    domain = await domain_of(client, project, sandbox, "shop.invalid")
    with pytest.raises(PrismaError, match=f"^domain {domain} will not get there: its state is failed$"):
        await wait_until_active(client, domain, interval=SOON)


async def test_what_is_gone_is_the_answer_of_the_api(client: ManagementClient) -> None:
    with pytest.raises(NotFoundError):
        await wait_until_ready(client, "db_none")


async def test_a_cancelled_wait_ends_at_once(client: ManagementClient, project: CreatedProject) -> None:
    assert project.database is not None
    with anyio.CancelScope() as scope:
        await wait_until_ready(client, project.database, interval=60, on_change=lambda _: scope.cancel())
    assert scope.cancelled_caught


async def test_waiting_for_anything() -> None:
    numbers = iter(range(10))
    seen: list[str] = []

    async def fetch() -> int:
        return next(numbers)

    assert await wait_until(fetch, lambda it: it == 3, interval=0, on_change=seen.append) == 3
    assert seen == ["0", "1", "2", "3"]
    with pytest.raises(PrismaError, match="its state is 5"):
        await wait_until(fetch, lambda _: False, failed=lambda it: it == 5, interval=0)


@pytest.mark.parametrize("wrong", [{"timeout": -1}, {"interval": "1"}])
async def test_a_wrong_time_is_told_where_it_is_given(wrong: dict[str, Any]) -> None:
    async def fetch() -> None: ...

    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        await wait_until(fetch, bool, **wrong)


@pytest.mark.parametrize("name", ["done", "failed", "on_change"])
async def test_an_async_function_is_refused_where_a_plain_one_is_called(name: str) -> None:
    async def judge(thing: object) -> bool:
        raise AssertionError

    class Judging:
        __call__ = staticmethod(judge)

    async def fetch() -> None:
        raise AssertionError

    for wrong in (judge, partial(judge), Judging(), "ready", *([None] if name == "done" else [])):
        given: dict[str, Any] = {"done": bool, name: wrong}
        with pytest.raises(TypeError, match=f"{name} must be a plain function"):
            await wait_until(fetch, **given)


async def test_a_thing_without_an_id_is_told_by_its_name(client: ManagementClient) -> None:
    with pytest.raises(TypeError, match="database must be an id or a model that has one, not int"):
        await wait_until_ready(client, 7)  # type: ignore[arg-type]  # what the test is about


async def test_a_call_in_place_of_a_function_that_calls_says_what_to_write(client: ManagementClient) -> None:
    called = client.databases.get("db_1")
    with pytest.raises(TypeError, match=r"fetch must be a function, such as `lambda: prisma\.databases\.get\(id\)`"):
        await wait_until(called, lambda _: True)  # type: ignore[arg-type]  # which is the point
    called.close()  # type: ignore[attr-defined]  # a coroutine

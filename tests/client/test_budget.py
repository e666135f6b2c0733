"""The retries that a client has in all: a dead server is not asked over and over by every call."""

import anyio
import httpx
import pytest

from prisma_mgmt import ManagementClient, NetworkError, RetryPolicy, ServerError
from tests.conftest import FakeClock
from tests.kit.script import CONNECTION, answer, scripted

pytestmark = pytest.mark.anyio


async def test_a_dead_server_is_not_hammered() -> None:
    client, script = scripted(httpx.ConnectError("x"))
    failures: list[NetworkError] = []

    async def call() -> None:
        with pytest.raises(NetworkError) as caught:
            await client.connections.get("con_1")
        failures.append(caught.value)

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(call)
    assert (
        200 <= len(script.requests) <= 300
    )  # 100 first tries, 100 retries that fail, and those that are under way then
    assert any("too many" in note for one in failures for note in getattr(one, "__notes__", ()))
    before = len(script.requests)
    for _ in range(10):
        await call()
    assert len(script.requests) == before + 10  # first tries are never held back


async def test_a_burst_of_calls_that_fail_once_is_answered() -> None:
    asked: set[str] = set()

    def once(request: httpx.Request) -> httpx.Response:
        failing = request.url.path not in asked
        asked.add(request.url.path)
        return httpx.Response(503) if failing else httpx.Response(200, json={"data": CONNECTION})

    client = ManagementClient("token", transport=httpx.MockTransport(once), retry=RetryPolicy(backoff=0))
    async with anyio.create_task_group() as group:
        for number in range(300):
            group.start_soon(client.connections.get, f"con_{number}")
    assert len(asked) == 300


async def test_successes_give_retries_back(clock: FakeClock) -> None:
    client, script = scripted(answer(), clock=clock)
    budget = client.pipeline.budget
    budget.left = 0.5
    for _ in range(3):
        await client.connections.get("con_1")
    assert budget.left == pytest.approx(1.1)
    script.steps = [answer(500), answer(), answer(500), answer(500), answer()]
    await client.connections.get("con_1")
    assert budget.left == pytest.approx(1.3)  # a retry that succeeds costs nothing
    with pytest.raises(ServerError) as caught:  # views draw on it too
        await client.with_options(auth="other").connections.get("con_1")
    assert caught.value.__notes__ == ["not tried again: too many of this client's latest calls have failed"]
    assert len(script.requests) == 3 + 2 + 2


async def test_a_full_budget_stays_full(clock: FakeClock) -> None:
    client, _ = scripted(answer(), clock=clock)
    await client.connections.get("con_1")
    assert client.pipeline.budget.left == 100


async def test_waiting_for_a_rate_limit_costs_no_retry(clock: FakeClock) -> None:
    client, script = scripted(answer(429, retry_after="1"), answer(), clock=clock)
    client.pipeline.budget.left = 0
    await client.connections.get("con_1")
    assert len(script.requests) == 2

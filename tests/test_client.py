"""One call through the whole client, against a real socket."""

import pytest

from prisma_mgmt import ManagementClient
from tests.rig import Reply, Request, serve

pytestmark = pytest.mark.anyio

CONNECTION = {
    "id": "con_1",
    "type": "connection",
    "url": "u",
    "name": "n",
    "createdAt": "2026-01-01T00:00:00.000Z",
    "kind": "postgres",
    "endpoints": {},
    "database": {"id": "db_1", "url": "u", "name": "d"},
}


async def test_a_call() -> None:
    async def handler(request: Request) -> Reply:
        return Reply(body={"data": CONNECTION})

    async with serve(handler) as server, ManagementClient("token", base_url=server.url) as client:
        connection = await client.connections.get("con_1")
    assert connection.name == "n"
    assert server.requests[0].token == "token"

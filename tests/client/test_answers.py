"""Answers as the API and its documents give them: facts, and what the clients make of them."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest

from prisma_mgmt import DecodeError, ManagementClient
from prisma_mgmt.core import codec
from prisma_mgmt.core.codec import Mismatch, structure_record
from prisma_mgmt.management.builds import BuildLogRecord
from tests.kit.script import CONNECTION, answer, scripted

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("library")]


@pytest.fixture(params=["orjson", "json"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_orjson", orjson if request.param == "orjson" else None)


REF = {"id": "proj_1", "url": "https://api.prisma.io/v1/projects/proj_1", "name": "shop"}
DATABASE: dict[str, Any] = {
    "id": "db_1",
    "type": "database",
    "url": "https://api.prisma.io/v1/databases/db_1",
    "name": "shop",
    "status": "ready",
    "createdAt": "2025-06-15T10:30:00.000Z",
    "isDefault": True,
    "defaultConnectionId": "default",
    "connections": [],
    "project": REF,
    "region": {"id": "us-east-1", "name": "US East (N. Virginia)"},
}  # as documented: without source, branchId and logicalId, which came later and may be null


async def get_database(body: Any) -> Any:
    client, _ = scripted(answer(200, body))
    return await client.databases.get("db_1")


async def test_a_database_from_before_branches() -> None:
    found = await get_database({"data": DATABASE})
    assert (found.source, found.branch_id, found.logical_id) == (None, None, None)
    assert (found.region.id, found.connections, found.default_connection_id) == ("us-east-1", [], "default")


@pytest.mark.parametrize("source", [{"type": "empty"}, {"type": "snapshot", "snapshotId": "s"}, {"id": 1}, {}, None])
async def test_where_a_database_came_from(source: Any) -> None:
    found = (await get_database({"data": {**DATABASE, "source": source}})).source
    known = isinstance(source, dict) and source.get("type") == "empty"
    assert type(found).__name__ == "EmptySource" if known else found == source


async def test_a_state_that_nobody_knows_yet() -> None:
    assert (await get_database({"data": {**DATABASE, "status": "hibernating"}})).status == "hibernating"


@pytest.mark.parametrize(
    "moment",
    ["2025-06-15T10:30:00.000Z", "2025-06-15t10:30:00z", "2025-06-15T10:30:00.000000000Z", "2025-06-15T10:30:00"],
)
async def test_moments_in_other_spellings(moment: str) -> None:
    found = await get_database({"data": {**DATABASE, "createdAt": moment}})
    assert found.created_at == datetime(2025, 6, 15, 10, 30, tzinfo=UTC)


async def test_an_answer_with_a_byte_order_mark() -> None:
    assert (await get_database(b"\xef\xbb\xbf" + json.dumps({"data": DATABASE}).encode())).id == "db_1"


async def test_regions_come_without_pagination() -> None:
    regions = [
        {"id": name, "type": "region", "name": name, "status": "available"} for name in ("us-east-1", "eu-west-1")
    ]
    client, _ = scripted(answer(200, {"data": regions}))
    assert [one.id for one in await client.regions.list_postgres()] == ["us-east-1", "eu-west-1"]


async def test_a_paged_list_without_pagination_is_one_page() -> None:
    client, script = scripted(answer(200, {"data": [CONNECTION, CONNECTION]}))
    assert len(await client.connections.list().all()) == 2
    assert len(script.requests) == 1
    assert not (await client.connections.list()).has_more


async def test_what_stands_beside_an_object_is_one_of_its_fields() -> None:
    wrapped = {"data": {key: value for key, value in DATABASE.items() if key != "name"}, "name": "beside"}
    assert (await get_database(wrapped)).name == "beside"


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        ({"data": {**DATABASE, "isDefault": "true"}}, "data.isDefault", "expected a boolean, got a string"),
        ({"data": {**DATABASE, "connections": [CONNECTION, {}]}}, "data.connections[1].id", "missing"),
        ({"data": {**DATABASE, "region": {"id": 1}}}, "data.region.id", "expected a string, got a number"),
        ({"data": {**DATABASE, "createdAt": "soon"}}, "data.createdAt", "expected an ISO 8601 date and time"),
        ({"data": []}, "data", "expected an object, got an array"),
        ({"error": None}, "data", "missing"),
        (b"<html>canary</html>", "", "expected JSON"),
        (b'{"data": {', "", "expected JSON"),
        (b'{"data": NaN}', "", "expected JSON"),
        (b"", "", "expected JSON"),
    ],
)
async def test_what_does_not_fit_is_named_with_its_path(body: Any, path: str, words: str) -> None:
    with pytest.raises(DecodeError, match=words) as caught:
        await get_database(body)
    assert (caught.value.path, caught.value.status, caught.value.request_id) == (path, 200, "req_1")
    assert "canary" not in str(caught.value)


RECORD = {"type": "log", "text": "t", "level": "info", "source": "build", "cursor": "c1"}


def test_a_log_record_of_a_type_that_nobody_knows_yet_stays_a_dict() -> None:
    metric = {"type": "metric", "value": 1, "cursor": "c2"}
    assert structure_record(metric, BuildLogRecord) == metric
    assert structure_record(RECORD, BuildLogRecord) == BuildLogRecord(
        text="t", level="info", source="build", cursor="c1"
    )
    untyped = {key: value for key, value in RECORD.items() if key != "type"}
    assert structure_record(untyped, BuildLogRecord) == BuildLogRecord(
        text="t", level="info", source="build", cursor="c1"
    )
    for bad in ({**RECORD, "text": 1}, [], None):
        with pytest.raises(Mismatch):
            structure_record(bad, BuildLogRecord)


async def test_a_log_goes_on_past_a_record_of_an_unknown_type() -> None:
    terminal = {"type": "terminal", "kind": "end", "code": "done", "message": "m", "retryable": False, "cursor": None}
    lines = [RECORD, {"type": "metric", "value": 1, "cursor": "c2"}, terminal]
    body = "\n".join(json.dumps(line) for line in lines).encode()

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "application/x-ndjson"}, content=body)

    async with ManagementClient("token", transport=httpx.MockTransport(handle)) as client:
        stream = client.builds.logs("bld_1")
        first, second = [record async for record in stream]
    assert isinstance(first, BuildLogRecord)
    assert second == {"type": "metric", "value": 1, "cursor": "c2"}
    assert stream.cursor == "c2"

"""Answers as the API and its documents give them: facts, and what the clients make of them."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest
from attrs import frozen

from prisma_mgmt import APIError, DecodeError, ManagementClient, RetryPolicy
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


NOON = "2026-01-01T12:00:00Z"
STATE = "proj_1", "br_1", "stack", "stage"
PROJECT = {**REF, "type": "project", "createdAt": NOON, "defaultRegion": "us-east-1", "workspace": REF}
DIRECT = {"direct": {"host": "db.prisma.io", "port": 5432, "connectionString": "postgres://canary"}}
MADE = {**CONNECTION, "endpoints": DIRECT}  # with its secrets, and with nothing of what is deprecated
FAILED = {**DATABASE, "status": "failure", "region": None, "source": None, "defaultConnectionId": None}
BACKUP = {"id": "bkp_1", "backupType": "full", "status": "completed", "createdAt": NOON}
USED = {"operations": {"used": 12500, "unit": "ops"}, "storage": {"used": 1.25, "unit": "GiB"}}
DOMAIN = {
    "id": "dom_1",
    "type": "custom-domain",
    "url": "u",
    "hostname": "shop.example",
    "appId": "app_1",
    "status": "pending_dns",
    "foundryStatus": "pending",
    "failureReason": None,
    "failureCategory": None,
    "certExpiresAt": None,
    "createdAt": NOON,
    "updatedAt": NOON,
    "dnsRecords": [{"type": "CNAME", "name": "shop.example", "value": "x.prisma.build", "ttl": None}],
}
INSTALLATION = {
    "id": "scm_1",
    "type": "scm-installation",
    "url": "u",
    "provider": "github",
    "installationId": 7,
    "accountId": 9,
    "accountLogin": "acme",
    "accountType": "organization",
    "suspended": False,
    "connected": False,
    "connectedAt": None,
    "createdAt": NOON,
    "updatedAt": NOON,
}


@frozen
class Given:
    """What is called, what the API answers, and what `part` of it is read as."""

    call: Callable[[ManagementClient], Awaitable[Any]]
    body: Any
    part: Callable[[Any], Any]
    value: Any
    status: int = 200


# The forms are those of Prisma's documents, and of the recordings and stand-ins of its clients; the values are ours.
GIVEN = {
    "a new project with its database": Given(
        lambda client: client.projects.create(name="shop"),
        {"data": {**PROJECT, "database": {**DATABASE, "connections": [MADE]}}},
        lambda made: made.database.connections[0].endpoints.direct.connection_string,
        "postgres://canary",
        status=201,
    ),
    "a new project without a database": Given(
        lambda client: client.projects.create(create_database=False),
        {"data": {**PROJECT, "database": None}},
        lambda made: made.database,
        None,
        status=201,
    ),
    "a new connection": Given(
        lambda client: client.databases.create_connection("db_1", name="dev"),
        {"data": MADE},
        lambda made: (made.connection_string, made.endpoints.direct.port, made.endpoints.pooled),
        (None, 5432, None),
    ),
    "a rotated connection": Given(
        lambda client: client.connections.rotate("con_1"),
        {"data": MADE},
        lambda made: made.endpoints.direct.connection_string,
        "postgres://canary",
    ),
    "a database that failed": Given(
        lambda client: client.databases.create(project_id="proj_1"),
        {"data": FAILED},
        lambda made: (made.status, made.region, made.source, made.default_connection_id),
        ("failure", None, None, None),
        status=201,
    ),
    "backups, which give no cursor": Given(
        lambda client: client.databases.list_backups("db_1"),
        {"data": [BACKUP], "meta": {"backupRetentionDays": 7}, "pagination": {"hasMore": True, "limit": None}},
        lambda page: (page[0].size, page.has_more, page.next_cursor, page.extras["meta"]),
        (None, True, None, {"backupRetentionDays": 7}),
    ),
    "usage, without an envelope": Given(
        lambda client: client.databases.usage("db_1"),
        {"period": {"start": NOON, "end": NOON}, "metrics": USED, "generatedAt": NOON},
        lambda usage: (usage.metrics.operations.used, usage.metrics.storage.used),
        (12500, 1.25),
    ),
    "a domain without the id that is deprecated": Given(
        lambda client: client.domains.get("dom_1"),
        {"data": DOMAIN},
        lambda domain: (domain.compute_service_id, domain.dns_records[0].ttl),
        (None, None),
    ),
    "a domain that was there": Given(
        lambda client: client.services.create_domain("app_1", hostname="shop.example"),
        {"data": {**DOMAIN, "computeServiceId": "app_1"}},
        lambda domain: domain.compute_service_id,
        "app_1",
    ),
    "a token of nobody": Given(
        lambda client: client.me.get(),
        {"data": {"user": None, "workspace": None, "credential": {"type": "oauth", "id": None, "name": None}}},
        lambda me: (me.user, me.workspace, me.credential.type),
        (None, None, "oauth"),
    ),
    "a deployment whose code is reused": Given(
        lambda client: client.services.create_deployment("app_1", skip_code_upload=True),
        {"data": {"id": "d", "type": "deployment", "url": "u", "foundryVersionId": "f", "uploadUrl": None}},
        lambda made: made.upload_url,
        None,
        status=201,
    ),
    "installations, with a hint and fields that nobody knows yet": Given(
        lambda client: client.scm_installations.list(workspace_id="wksp_1"),
        {"data": [INSTALLATION], "pagination": {"nextCursor": None, "hasMore": False}, "hint": "h"},
        lambda page: (page[0].installation_id, page.extras),
        (7, {"hint": "h"}),
    ),
    "state that is not there": Given(
        lambda client: client.state.get_resource(*STATE, "fqn", lease_id="l"), None, lambda state: state, None
    ),
    "state, whatever it is": Given(
        lambda client: client.state.set_resource(*STATE, "fqn", value={"a": [1]}, lease_id="l"),
        {"a": [1]},
        lambda state: state,
        {"a": [1]},
    ),
    "names, without an envelope": Given(
        lambda client: client.state.list_resources(*STATE, lease_id="l"), ["a/b", "c"], list, ["a/b", "c"]
    ),
    "nothing, with a body": Given(lambda client: client.projects.delete("proj_1"), {"data": {}}, bool, False),
    "nothing, with a status that says more": Given(
        lambda client: client.projects.transfer("proj_1", recipient_access_token="t"), b"", bool, False
    ),
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
async def test_an_answer_as_it_is_given(given: Given) -> None:
    body = given.body if isinstance(given.body, bytes) else json.dumps(given.body).encode()
    client, script = scripted(answer(given.status, body))
    assert given.part(await given.call(client)) == given.value
    assert len(script.requests) == 1


JSON, TEXT, HTML = "application/json", "text/plain", "text/html"
ERRORS: list[tuple[int, str, Any, str]] = [
    (404, JSON, {"error": {"code": "P6006", "message": "no database", "hint": "see"}}, "P6006: no database (see)"),
    (404, JSON, {"error": {"message": "no route"}}, ": no route"),
    (400, JSON, {"error": {"code": "planLimitReached", "message": "m"}}, "planLimitReached: m"),
    (409, JSON, {"error": {"code": "lease_held", "message": "m"}}, "lease_held: m"),
    (429, JSON, {"error": "rate_limited", "message": "m", "path": "/x"}, "rate_limited: m"),
    (403, TEXT, b"error code: 1010", ": error code: 1010 (text/plain)"),
    (404, HTML, b"<h1>There is no service here</h1>", ": There is no service here (text/html)"),
    (502, HTML, b"<!-- if IE > 5 --><title> </title><h1>Bad <b>gateway</b></h1>", ": Bad gateway (text/html)"),
    (502, HTML, b"<TITLE lang=en>Bad\ngateway</TITLE><h1>502</h1>", ": Bad gateway (text/html)"),
    (504, TEXT, b"", ": an error without a message (text/plain)"),
]


@pytest.mark.parametrize(("status", "kind", "body", "said"), ERRORS)
async def test_an_error_as_it_is_given(status: int, kind: str, body: Any, said: str) -> None:
    given = body if isinstance(body, bytes) else json.dumps(body).encode()
    client, _ = scripted(answer(status, given, content_type=kind), retry=RetryPolicy(attempts=1))
    with pytest.raises(APIError) as caught:
        await client.projects.get("proj_1")
    assert str(caught.value).removeprefix(str(status)).strip().startswith(f"{said}: GET https://")


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


async def test_variables_of_a_deployment_that_are_not_redacted_are_masked() -> None:
    """The description says that they are redacted, and answers of May 2026 held them as they were."""
    given = {"id": "d", "type": "deployment", "url": "u", "serviceId": "app_1", "foundryVersionId": "cv_1"}
    given |= {"status": "stopped", "previewDomain": None, "createdAt": NOON, "portMapping": {"http": 8080}}
    client, _ = scripted(answer(200, {"data": {**given, "envVars": {"DATABASE_URL": "canary"}}}))
    found = await client.deployments.get("d")
    assert "canary" not in repr(found) + found.to_json()
    assert found.env_vars == {"DATABASE_URL": "canary"}


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

"""Requests that nobody meant, by schemathesis from the descriptions: no 5xx, and every answer fits its schema.

SANDBOX_SOAK sets how many requests each operation gets; a plain run gives it a few.
"""

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from prisma_mgmt.sandbox.description import Operation, describe
from prisma_mgmt.sandbox.state import Thing
from prisma_mgmt.spec import load
from tests.sandbox.local import APIS, Local
from tests.sandbox.test_roundtrip import beforehand, schema_errors

schemathesis = pytest.importorskip("schemathesis")

EXAMPLES = int(os.environ.get("SANDBOX_SOAK", "6"))
ENVELOPE = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "hint": {"type": "string"}},
        }
    },
}


@cache
def requests_of(api: str) -> dict[tuple[str, str], Any]:
    """A strategy for each operation: requests that fit the description, and others."""
    description = load(api)
    for body in (raw.get("requestBody") for methods in description["paths"].values() for raw in methods.values()):
        if body and "properties" in body["content"]["application/json"].get("schema", {}):
            body["content"]["application/json"]["schema"]["additionalProperties"] = False
    modes = schemathesis.GenerationMode
    operations = [one.ok() for one in schemathesis.openapi.from_dict(description).get_all_operations()]
    return {
        (one.method.upper(), one.path): st.one_of(
            one.as_strategy(generation_mode=modes.POSITIVE), one.as_strategy(generation_mode=modes.NEGATIVE)
        )
        for one in operations
    }


class Fuzzed(Local):
    """A world with something of every kind in it, of which requests may speak."""

    def __init__(self) -> None:
        super().__init__()
        beforehand(self)
        self.leases: dict[str, str] = {}
        self.clients = {api: self.client(api) for api in APIS}
        self.replenish()

    def replenish(self) -> None:
        """Make again what was deleted."""
        client = self.clients["management"]
        if not self.world.things("projects"):
            client.post("/projects", json={"name": "shop"})
        project = next(iter(self.world.things("projects")))
        database = next(iter(self.world.things("databases")), None)
        for kind, path, body in (
            ("branches", f"/projects/{project}/branches", {"gitName": "main"}),
            ("databases", f"/projects/{project}/databases", {}),
            ("connections", f"/databases/{database}/connections", {"name": "web"}),
            ("services", "/services", {"projectId": project, "displayName": "web"}),
            ("buckets", "/buckets", {"projectId": project}),
            ("builds", "/builds", {"source": "cli", "commitSha": "1", "branchName": "main"}),
            ("environment-variables", "/environment-variables",
             {"projectId": project, "class": "production", "key": "A", "value": "b"}),
        ):  # fmt: skip
            if not self.world.things(kind):
                client.post(path, json=body)
        service = next(iter(self.world.things("services")), None)
        if not self.world.things("deployments"):
            client.post(f"/services/{service}/deployments", json={})

    def known(self, kind: str, inside: Thing | None) -> list[str]:
        things = self.world.things(kind).values()
        return [it.id for it in things if inside is None or inside in it.chain()]

    def lease(self, branch: Thing, path: str) -> tuple[str, str]:
        """A lease on a stage of a branch, and the path with that stage in it."""
        project = branch.up("projects")
        assert project is not None
        lease = f"/projects/{project.id}/branches/{branch.id}/alchemy-state/lease"
        answer = self.clients["management"].post(lease, json={"stack": "web", "stage": "prod"})
        if answer.status_code == 201:
            self.leases[branch.id] = answer.json()["data"]["leaseId"]
        path = re.sub("/stacks/[^/]*", "/stacks/web", path)
        return self.leases.get(branch.id, ""), re.sub("/stages/[^/]*", "/stages/prod", path)

    def send(self, operation: Operation, case: Any, choose: Any) -> httpx.Response:
        """Send a request as it was made up, or with ids in it that exist."""
        path, target = "/" + "/".join(operation.segments[1:]), None
        for name, value in case.path_parameters.items():
            kind = dict(operation.lookups).get(name, "")
            known = self.known(kind, target)
            if known and choose([True, True, True, False]):
                value = choose(known)
                target = self.world.things(kind)[value]
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        sent = case.as_transport_kwargs(base_url="http://x")
        body = sent.get("json")
        if isinstance(body, dict):
            for key in [one for one in body if one.endswith("Id") and isinstance(body[one], str)]:
                known = self.known({"branchId": "branches"}.get(key, f"{key[:-2]}s"), None)
                body[key] = choose([body[key], *known[:3]])
        content = sent["data"] if "data" in sent else json.dumps(body).encode() if "json" in sent else b""
        content = content.encode() if isinstance(content, str) else content
        headers = {key: value for key, value in sent["headers"].items() if value.isascii() and value.isprintable()}
        query = {key: value for key, value in sent["params"].items() if value is not None}
        leased = operation.parameters["header"]["required"]
        if leased and target is not None and choose([True, False]):
            headers[leased[0]], path = self.lease(target, path)
        return self.clients[operation.description.api].request(
            operation.method,
            path,
            params=query,
            headers=headers,
            content=content if isinstance(content, bytes) else b"",
        )


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed]:
    fuzzed = Fuzzed()
    yield fuzzed
    for client in fuzzed.clients.values():
        client.close()


OPERATIONS = [
    pytest.param(operation, id=f"{operation.method} {operation.template} ({api[:2]})")
    for api in APIS
    for operation in describe(api).operations
]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.timeout(600)
def test_no_request_breaks_an_operation(fuzzed: Fuzzed, operation: Operation) -> None:
    path = operation.template if operation.description.api == "management" else operation.template.removeprefix("/v1")
    strategy = requests_of(operation.description.api)[operation.method, path]

    @settings(
        max_examples=EXAMPLES,
        database=None,
        derandomize="SANDBOX_SOAK" not in os.environ,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, seed=st.integers(0, 2**32))
    def ask(case: Any, seed: int) -> None:
        fuzzed.replenish()
        fuzzed.clock.now += 1
        response = fuzzed.send(operation, case, Random(seed).choice)
        assert_sound(operation, response)

    ask()


def assert_sound(operation: Operation, response: httpx.Response) -> None:
    """A success that the description knows, in its shape, or a refusal in the API's envelope."""
    if response.status_code in operation.answers:
        schema = operation.answers[response.status_code]
        if schema is None:
            assert response.content == b""
            return
        log = response.headers["content-type"] == "application/x-ndjson"
        answers = [json.loads(line) for line in response.text.splitlines()] if log else [response.json()]
    elif operation.id == "github_actions.exchange_token" and response.status_code == 401:
        schema, answers = {"required": ["error", "errorDescription"]}, [response.json()]
    else:
        assert 400 <= response.status_code < 500, response.text
        schema, answers = ENVELOPE, [response.json()]
    for answer in answers:
        assert not [error.message for error in schema_errors(operation.description.api, schema, answer)], response.text

"""Every operation of the three APIs, called in one story: over plain httpx, and through the generated clients."""

import inspect
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from anyio import to_thread

import prisma_mgmt
from prisma_mgmt.core.client import BaseClient
from prisma_mgmt.sandbox.description import Operation, describe
from prisma_mgmt.spec import load
from tests.sandbox.local import APIS, InProcess, Local
from tests.sandbox.story import STORY, Step, filled, found

FACTS = json.loads(Path(__file__).parents[1].joinpath("data", "operations.json").read_text("utf-8"))


def operation(step: Step) -> Operation:
    return next(it for it in describe(step.api).operations if it.raw["operationId"] == step.operation)


def schema_errors(api: str, schema: Any, value: Any) -> Iterator[Any]:
    """What a JSON Schema validator, which is none of ours, has against an answer."""
    checker = jsonschema.Draft202012Validator({**schema, "components": load(api)["components"]})
    return checker.iter_errors(value)


def check(api: str, operation: Operation, response: httpx.Response) -> Any:
    assert response.status_code in operation.answers, f"{operation.id}: {response.status_code} {response.text}"
    schema = operation.answers[response.status_code]
    if schema is None:
        assert response.content == b""
        return None
    log = response.headers["content-type"] == "application/x-ndjson"
    answers = [json.loads(line) for line in response.text.splitlines()] if log else [response.json()]
    for answer in answers:
        assert not [error.message for error in schema_errors(api, schema, answer)], operation.id
    return answers[0]


def ask(client: httpx.Client, step: Step, saved: dict[str, Any]) -> httpx.Response:
    """Send a step as its description has it."""
    it = operation(step)
    sends, ids = filled(dict(step.sends), saved), [filled(one, saved) for one in step.ids]
    path = it.template.removeprefix("/v1")
    for name, id in zip([one for one in it.segments if one.startswith("{")], ids, strict=True):
        path = path.replace(name, quote(quote(id, safe=""), safe="") if name == "{fqn}" else quote(id, safe=""), 1)
    query = {key: str(sends.pop(key)).lower() if isinstance(sends[key], bool) else sends.pop(key)
             for key in it.parameters["query"]["properties"] if key in sends}  # fmt: skip
    query = {key: str(value).lower() if isinstance(value, bool) else value for key, value in query.items()}
    headers = {key: sends.pop(key) for key in it.parameters["header"]["required"]}
    content = json.dumps(sends if step.bare is None else step.bare) if it.body is not None else None
    return client.request(it.method, path, params=query, headers=headers, content=content)


def beforehand(local: Local) -> dict[str, Any]:
    """What a story has to know before it begins."""
    local.log_in()
    other = local.world.create_workspace("Recipient", local.user)
    return {
        "workspace": local.workspace_id,
        "approval": local.world.approval_id,
        "other_token": local.tokens.issue_service_token(other.id),
    }


def aside(step: Step, local: Local, client: httpx.Client, saved: dict[str, Any]) -> bool:
    """Do what is no operation but has to happen between two of them."""
    local.clock.now += step.wait
    if step.operation == "UPLOAD":
        assert client.put(saved["upload"], content=b"an archive").status_code == 200
    elif step.operation == "VISIT":
        assert client.get(saved["install"]).status_code == 200
    elif step.operation == "LOGIN":
        local.log_in()
    elif step.operation == "domains.retry":
        service = saved["services"]
        made = client.post(f"/services/{service}/domains", json={"hostname": "late.example.com"})
        saved["late_domain"] = made.json()["data"]["id"]
    return step.operation.isupper()


def test_every_operation_succeeds_and_its_answer_fits(local: Local) -> None:
    saved, seen = beforehand(local), set[tuple[str, str]]()
    with local.client() as main, local.client("postgres") as pg, local.client("data_platform") as dp:
        clients = dict(zip(APIS, (main, pg, dp), strict=True))
        for step in STORY:
            if aside(step, local, main, saved):
                continue
            answer = check(step.api, operation(step), ask(clients[step.api], step, saved))
            saved |= {name: found(answer, where) for name, where in step.saves.items()}
            seen.add((step.api, step.operation))
    assert seen == {(api, it.raw["operationId"]) for api in APIS for it in describe(api).operations}
    assert len(seen) == sum(len(facts["operations"]) for facts in FACTS.values()) == 150


# The same story through the generated clients

CLIENTS = {"management": "ManagementClient", "postgres": "PostgresClient", "data_platform": "DataPlatformClient"}


class Kept(httpx.AsyncBaseTransport):
    """Asks an application in process, and keeps its last answer."""

    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app)
        self.routes: list[tuple[str, str]] = []
        self.answer: Any = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        content = await response.aread()
        self.routes.append((request.method, request.url.path))
        self.answer = json.loads(content.splitlines()[0]) if content else None
        return httpx.Response(response.status_code, headers=response.headers, content=content)


def keyword(method: Any, key: str) -> str:
    """The keyword of a method for a key of the wire."""
    wanted = key.removeprefix("alchemy-state-").replace("-", "").replace("_", "").lower()
    return next(name for name in inspect.signature(method).parameters if name.replace("_", "") == wanted)


async def use(client: BaseClient, step: Step, saved: dict[str, Any]) -> Any:
    resource, name = step.operation.split(".")
    method = getattr(getattr(client, resource), name)
    keywords = {keyword(method, key): filled(value, saved) for key, value in step.sends.items()}
    if step.bare is not None:
        keywords["value"] = step.bare
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made = method(*(filled(one, saved) for one in step.ids), **keywords)
    return [one async for one in made] if name == "logs" else await made


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_every_generated_method_round_trips(local: Local) -> None:
    saved, seen = beforehand(local), 0
    transports = {api: Kept(local.apps[api]) for api in APIS}
    base = "http://localhost"
    clients: dict[str, BaseClient] = {
        api: getattr(prisma_mgmt, CLIENTS[api])(local.token, base_url=base, transport=transport)
        for api, transport in transports.items()
    }
    plain = httpx.Client(transport=InProcess(local.apps["management"]), base_url=f"{base}/v1")
    plain.headers["Authorization"] = f"Bearer {local.token}"
    for step in STORY:
        if await to_thread.run_sync(aside, step, local, plain, saved):
            continue
        transport = transports[step.api]
        transport.routes.clear()
        await use(clients[step.api], step, saved)
        assert len(transport.routes) == 1, step
        answer = transport.answer
        saved |= {name: found(answer, where) for name, where in step.saves.items()}
        seen += 1
    assert seen >= 150
    for client in clients.values():
        await client.aclose()

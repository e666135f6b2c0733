"""Our own layer alone: a client over a transport that answers from memory."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx

from benchmarks.answers import FIXED, key
from benchmarks.calls import micros
from benchmarks.flight import measure
from benchmarks.peers.calls import TOKEN, another
from benchmarks.report import Budget, Section, Table, cell
from benchmarks.rig import Rig, Subject
from benchmarks.stats import interleave
from benchmarks.worker import Measure
from prisma_mgmt import ManagementClient

OWN_LAYER = 60.0  # µs a call
ORIGIN = "http://127.0.0.1:1"
_LEVELS = (1, 100)
_USUAL = 3000  # calls in a round
_HEADERS = [(b"content-type", b"application/json; charset=utf-8"), (b"x-request-id", b"req_1")]


class FromMemory(httpx.AsyncBaseTransport):
    """Answers at once."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = FIXED[key(request.url.raw_path)]
        return httpx.Response(200, headers=[*_HEADERS, (b"content-length", b"%d" % len(body))], content=body)


@asynccontextmanager
async def subject(_: str) -> AsyncIterator[Measure]:
    transport = FromMemory()
    request = httpx.Request("GET", f"{ORIGIN}/v1/connections/con_1")
    async with (
        ManagementClient(TOKEN, base_url=ORIGIN, transport=transport) as prisma,
        httpx.AsyncClient(base_url=ORIGIN, transport=transport) as client,
    ):
        connections = prisma.connections

        async def bare() -> object:
            return await (await transport.handle_async_request(request)).aread()

        async def plain() -> object:
            return (await client.get(f"/v1/connections/con_{another()}")).json()

        async def typed() -> object:
            return await connections.get(f"con_{another()}")

        async def again() -> object:
            return await connections.get("con_1")

        calls = {"bare": bare, "httpx": plain, "prisma_mgmt": typed, "again": again}

        def measured(what: str, in_flight: int, count: int) -> Awaitable[dict[str, Any]]:
            return measure(calls[what], in_flight, count)

        yield measured


def run(rig: Rig) -> Section:
    process = rig.start(Subject("own layer", "benchmarks.layer"))
    assert process
    costs = interleave(
        rig.mode,
        {
            (what, n): partial(micros, process, what, n, rig.mode.calls(_USUAL))
            for n in _LEVELS
            for what in ("bare", "httpx", "prisma_mgmt", "again")
        },
    )
    own = {n: costs["prisma_mgmt", n] - costs["bare", n] for n in _LEVELS}
    rows = [
        ["the transport alone: an answer made and read", *(cell(costs["bare", n]) for n in _LEVELS)],
        ["`httpx.AsyncClient.get` over it", *(cell(costs["httpx", n]) for n in _LEVELS)],
        ["`prisma.connections.get` over it", *(cell(costs["prisma_mgmt", n]) for n in _LEVELS)],
        ["the same for the same id each time", *(cell(costs["again", n]) for n in _LEVELS)],
        ["our own layer: less the transport alone", *(cell(own[n]) for n in _LEVELS)],
    ]
    return Section(
        [
            Table(
                "Our own layer, in µs a call",
                "Over a transport that does no I/O, by how many calls are in flight.",
                ["", *(f"{n:,}" for n in _LEVELS)],
                rows,
            )
        ],
        [Budget("own layer over a transport that does no I/O", OWN_LAYER, own[1], " µs")],
    )

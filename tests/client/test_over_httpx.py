"""Requests as httpx has them."""

import gzip
import json

import httpx
import pytest

from prisma_mgmt import ManagementClient, NotFoundError, RetryPolicy
from prisma_mgmt.core.connection import Fields, Origin, Request
from prisma_mgmt.core.over_httpx import _base, _request
from tests.kit.rig import Reply, serve
from tests.kit.rig import Request as Asked
from tests.kit.script import CONNECTION


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:1", "https://api.prisma.io", "http://[::1]:8080", "https://EXAMPLE.com"]
)
@pytest.mark.parametrize("target", ["/", "/v1/a_b-C9", "/a//b", "//a", "/v1/a?x=1", "/v1/%41%2f", "/a/../b"])
def test_a_url_that_is_put_together_is_the_one_that_httpx_reads(base: str, target: str) -> None:
    sent = _request(Request("GET", Origin.of(base), target, Fields([])), httpx.Headers()).url
    read = httpx.URL(base + target)
    assert sent == read
    assert sent.raw_path == read.raw_path
    assert (sent.raw_scheme, sent.raw_host, sent.port) == (read.raw_scheme, read.raw_host, read.port)


def test_httpx_keeps_the_parts_of_a_url_as_we_know() -> None:
    assert _base("https://api.prisma.io") is not None


PACKED = gzip.compress(json.dumps({"data": CONNECTION}).encode())


@pytest.mark.anyio
async def test_an_answer_that_a_hook_of_the_users_has_read_is_not_unpacked_twice() -> None:
    async def handler(request: Asked) -> Reply:
        return Reply(content=PACKED, headers={"content-encoding": "gzip"})

    async def reads(response: httpx.Response) -> None:
        assert b"con_1" in await response.aread()

    async with (
        serve(handler) as server,
        httpx.AsyncClient(event_hooks={"response": [reads]}) as theirs,
        ManagementClient("token", base_url=server.url, http_client=theirs) as client,
    ):
        assert (await client.connections.get("con_1")).id == "con_1"


@pytest.mark.anyio
@pytest.mark.parametrize("read", [False, True])
async def test_a_hook_of_the_users_that_raises_for_a_status_takes_no_answer_from_us(read: bool) -> None:
    answers = [Reply(status=503), Reply(content=PACKED, headers={"content-encoding": "gzip"})]
    gone = gzip.compress(b'{"error": {"code": "gone", "message": "it is gone"}}')
    answers.append(Reply(status=404, content=gone, headers={"content-encoding": "gzip", "x-request-id": "req_1"}))

    async def handler(request: Asked) -> Reply:
        return answers.pop(0)

    async def raises(response: httpx.Response) -> None:
        if read:
            await response.aread()
        response.raise_for_status()

    async with (
        serve(handler) as server,
        httpx.AsyncClient(event_hooks={"response": [raises]}) as theirs,
        ManagementClient("token", base_url=server.url, http_client=theirs, retry=RetryPolicy(backoff=0)) as client,
    ):
        assert (await client.connections.get("con_1")).id == "con_1"
        with pytest.raises(NotFoundError) as caught:
            await client.connections.get("con_1")
    assert caught.value.request_id == "req_1"
    assert caught.value.code == ("gone" if read else None)


@pytest.mark.anyio
async def test_an_answer_from_memory_is_not_unpacked_twice() -> None:
    kept = httpx.Response(200, headers={"Content-Encoding": "gzip", "X-Request-Id": "req_1"}, content=PACKED)
    async with ManagementClient("token", transport=httpx.MockTransport(lambda request: kept)) as client:
        for _ in range(2):
            with client.record() as calls:
                assert (await client.connections.get("con_1")).id == "con_1"
            assert calls[0].request_id == "req_1"
    assert kept.headers["content-encoding"] == "gzip"

"""Lists whose next page is on its way while one is consumed: what is asked for when, and that nothing stays behind."""

import gc
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from prisma_mgmt import DecodeError, ManagementClient, ServerError
from tests.client.test_paging import page
from tests.kit.rig import Gate, Reply, Request, serve, until
from tests.kit.script import CONNECTION, answer, scripted
from tests.kit.world import rounds

pytestmark = pytest.mark.anyio


async def test_the_next_page_is_asked_for_while_one_is_consumed() -> None:
    client, script = scripted(page("a", "b", cursor="c1"), page("c", cursor="c2"), page("d"))
    found: list[tuple[str, int]] = []
    async with client.connections.list(limit=2).prefetch() as connections:
        assert script.requests == []
        async for item in connections:
            await rounds(10)
            found.append((item.name, len(script.requests)))
    assert found == [("a", 2), ("b", 2), ("c", 3), ("d", 3)]
    assert [dict(request.url.params) for request in script.requests] == [
        {"limit": "2"},
        {"limit": "2", "cursor": "c1"},
        {"limit": "2", "cursor": "c2"},
    ]


async def test_pages_and_the_first_page_alone() -> None:
    client, script = scripted(page("a", cursor="c1", meta=1), page("b"), page("a", cursor="c1"))
    async with client.connections.list().prefetch() as connections:
        found = [[item.name for item in one.items] async for one in connections.pages()]
        assert found == [["a"], ["b"]]
        assert (await connections).next_cursor == "c1"
    assert [str(request.url.query, "ascii") for request in script.requests[:3]] == ["", "cursor=c1", ""]


async def test_off_by_default() -> None:
    client, script = scripted(page("a", cursor="c1"), page("b"))
    walk = aiter(client.connections.list())
    await anext(walk)
    await rounds(10)
    assert len(script.requests) == 1


async def test_an_error_comes_when_the_walk_comes_to_it_and_the_page_can_be_had_again() -> None:
    client, script = scripted(page("a", "b", cursor="c1"), answer(400), page("c"))
    async with client.connections.list().prefetch() as connections:
        walk = aiter(connections)
        assert (await anext(walk)).name == "a"
        await rounds(10)
        assert len(script.requests) == 2
        assert (await anext(walk)).name == "b"
        with pytest.raises(Exception, match="400"):
            await anext(walk)
        assert (await anext(walk)).name == "c"
        with pytest.raises(StopAsyncIteration):
            await anext(walk)
    assert len(script.requests) == 3


async def test_an_error_that_is_never_come_to_is_nobodys() -> None:
    client, _ = scripted(page("a", cursor="c1"), answer(400))
    async with client.connections.list().prefetch() as connections:
        async for item in connections:
            assert item.name == "a"
            await rounds(10)
            break
    gc.collect()


async def test_errors_of_the_caller_and_of_the_walk_come_as_they_are() -> None:
    client, _ = scripted(page("a", cursor="c1"), answer(500))
    with pytest.raises(KeyError, match="mine"):
        async with client.connections.list().prefetch() as connections:
            async for _ in connections:
                raise KeyError("mine")
    client, _ = scripted(page("a", cursor="c1"), answer(500))
    with pytest.raises(ServerError):
        async with client.connections.list().prefetch() as connections:
            async for _ in connections:
                pass
    client, script = scripted(page("a", cursor="c1"), page("b", cursor="c1"))
    with pytest.raises(DecodeError, match="gave before"):
        async with client.connections.list().prefetch() as connections:
            async for _ in connections:
                pass
    assert len(script.requests) <= 3


class Book:
    """A server of five pages, the second of which is held."""

    def __init__(self) -> None:
        self.gate = Gate()

    async def __call__(self, request: Request) -> Reply:
        number = int(request.query.get("cursor", "0"))
        if number == 1:
            await self.gate()
        pagination = {"nextCursor": str(number + 1) if number < 4 else None, "hasMore": number < 4}
        return Reply(body={"data": [{**CONNECTION, "name": str(number)}], "pagination": pagination})


async def test_leaving_the_block_ends_what_is_on_its_way() -> None:
    book = Book()
    async with serve(book) as server, ManagementClient("token", base_url=server.url) as client:
        async with client.connections.list().prefetch() as connections:
            async for item in connections:
                assert item.name == "0"
                await book.gate.arrived.wait()
                break
        book.gate.release()
        await until(lambda: server.open_connections == 0)  # the cancelled one's; the other was taken up again by it
        assert (await client.connections.list()).next_cursor == "1"


async def test_a_walk_that_outlives_its_block_goes_on_without() -> None:
    book = Book()
    async with serve(book) as server, ManagementClient("token", base_url=server.url) as client:
        async with client.connections.list().prefetch() as connections:
            walk = aiter(connections)
            await anext(walk)
            await book.gate.arrived.wait()
        book.gate.release()
        assert [item.name async for item in walk] == ["1", "2", "3", "4"]  # type: ignore[attr-defined]
        await rounds(10)
        assert len(server.requests) == 6


async def test_a_cancelled_wait_for_a_page_does_not_lose_it() -> None:
    book = Book()
    async with serve(book) as server, ManagementClient("token", base_url=server.url) as client:
        async with client.connections.list().prefetch() as connections:
            walk = aiter(connections)
            await anext(walk)
            async with anyio.create_task_group() as group:
                group.start_soon(anext, walk)
                await book.gate.arrived.wait()
                group.cancel_scope.cancel()
            book.gate.release()
            assert [item.name async for item in walk] == ["1", "2", "3", "4"]  # type: ignore[attr-defined]
        assert len(server.requests) == 5


async def test_cancelling_the_block_ends_everything() -> None:
    book = Book()

    async def read(client: Any) -> None:
        async with client.connections.list().prefetch() as connections:
            async for _ in connections:
                pass

    async with serve(book) as server, ManagementClient("token", base_url=server.url, max_connections=2) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(read, client)
            await book.gate.arrived.wait()
            group.cancel_scope.cancel()
        book.gate.release()
        for _ in range(3):
            assert len([item async for item in client.connections.list()]) == 5


async def test_two_walks_at_once() -> None:
    book = Book()
    book.gate.release()
    results: list[list[str]] = []

    async def walk(connections: Any) -> None:
        results.append([item.name async for item in connections])

    async with (
        serve(book) as server,
        ManagementClient("token", base_url=server.url) as client,
        client.connections.list().prefetch() as connections,
        anyio.create_task_group() as group,
    ):
        group.start_soon(walk, connections)
        group.start_soon(walk, connections)
    assert results == [["0", "1", "2", "3", "4"]] * 2


async def test_two_walks_in_step_share_no_page() -> None:
    client, _ = scripted(page("a", cursor="c1"), page("a", cursor="c1"), page("b"))
    async with client.connections.list().prefetch() as connections:
        walks = [aiter(connections), aiter(connections)]
        found = [[(await anext(walk)).name for walk in walks] for _ in range(2)]
        assert found == [["a", "a"], ["b", "b"]]
        for walk in walks:
            with pytest.raises(StopAsyncIteration):
                await anext(walk)


async def test_a_list_of_one_page() -> None:
    body = {"data": [CONNECTION], "pagination": {"hasMore": True, "limit": 1}}
    client, script = scripted(answer(200, body))
    async with client.connections._single_page(dict[str, Any], "/v1/x").prefetch() as one:
        assert len([item async for item in one]) == 1
    assert len(script.requests) == 1

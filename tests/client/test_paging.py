"""Lists in pages: the first page, every item, every page, and lists that go wrong."""

import asyncio
import copy
import gc
import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import anyio
import httpx
import orjson
import pytest

from prisma_mgmt import DecodeError, Page, Pager, ServerError
from prisma_mgmt.core import codec
from prisma_mgmt.core.call import Answer
from prisma_mgmt.core.paging import read_page
from tests.conftest import FakeClock
from tests.kit.rig import Gate
from tests.kit.script import CONNECTION, Renewing, Script, answer, over, scripted

pytestmark = pytest.mark.anyio


def page(*names: str, cursor: str | None = None, more: bool | None = None, **extras: Any) -> httpx.Response:
    pagination = {"nextCursor": cursor, "hasMore": cursor is not None if more is None else more}
    return answer(200, {"data": [{**CONNECTION, "name": name} for name in names], "pagination": pagination, **extras})


async def names(pager: Any) -> list[str]:
    return [item.name async for item in pager]


async def test_awaiting_gives_the_first_page() -> None:
    client, script = scripted(page("a", "b", cursor="c1", meta={"total": 5}, hint="h"))
    pager = client.connections.list(limit=2)
    assert isinstance(pager, Pager)
    assert script.requests == []
    first = await pager
    assert isinstance(first, Page)
    assert [item.name for item in first.items] == ["a", "b"]
    assert (first.next_cursor, first.has_more, first.extras) == ("c1", True, {"meta": {"total": 5}, "hint": "h"})
    assert [str(request.url.query, "ascii") for request in script.requests] == ["limit=2"]


async def test_walking_gives_every_item_of_every_page() -> None:
    client, script = scripted(page("a", "b", cursor="c1"), page(cursor="c/2"), page("c"))
    assert await names(client.connections.list(database_id="db_1")) == ["a", "b", "c"]
    assert [dict(request.url.params) for request in script.requests] == [
        {"databaseId": "db_1"},
        {"databaseId": "db_1", "cursor": "c1"},
        {"databaseId": "db_1", "cursor": "c/2"},
    ]


async def test_walking_pages() -> None:
    client, _ = scripted(page("a", cursor="c1"), page("b", meta=1))
    found = [one async for one in client.connections.list().pages()]
    assert [[item.name for item in one.items] for one in found] == [["a"], ["b"]]
    assert [one.extras for one in found] == [{}, {"meta": 1}]


async def test_all_is_a_list_of_every_item() -> None:
    client, script = scripted(page("a", "b", cursor="c1"), page("c"), page())
    pager = client.connections.list()
    assert [item.name for item in await pager.all()] == ["a", "b", "c"]
    assert await pager.all() == []
    assert len(script.requests) == 3


async def test_first_is_the_first_item_or_none_and_asks_for_no_more_than_it_needs() -> None:
    client, script = scripted(page("a", "b", cursor="c1"), page(cursor="c1"), page("c"), page())
    pager = client.connections.list()
    found = [await pager.first() for _ in range(3)]
    assert [one and one.name for one in found] == ["a", "c", None]
    assert [request.url.params.get("cursor") for request in script.requests] == [None, None, "c1", None]


async def test_a_page_is_a_sequence_of_its_items() -> None:
    client, _ = scripted(page("a", "b", "c", cursor="c1"), page())
    full, empty = await client.connections.list(), await client.connections.list()
    assert isinstance(full, Sequence)
    assert (len(full), bool(full), len(empty), bool(empty)) == (3, True, 0, False)
    assert [item.name for item in full] == ["a", "b", "c"]
    assert (full[0].name, full[-1].name, [item.name for item in full[1:]]) == ("a", "c", ["b", "c"])
    assert [item.name for item in reversed(full)] == ["c", "b", "a"]
    assert full[1] in full
    assert (full.index(full[2]), full.count(full[0])) == (2, 1)
    with pytest.raises(IndexError):
        empty[0]


async def test_a_page_is_equal_to_one_like_it_and_to_its_items() -> None:
    client, _ = scripted(page("a", cursor="c1"), page("a", cursor="c1"), page("a", cursor="c2"), page("a", meta=1))
    one, same, *others = [await client.connections.list() for _ in range(4)]
    assert one == same
    assert (one != same) is False
    assert one not in others
    assert others[0] != others[1]
    assert one == [one[0]] == list(others[0])
    assert one == (one[0],) != ()
    assert one != "a"
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one


async def test_walking_a_page_as_if_it_were_a_pager_says_what_to_write() -> None:
    client, _ = scripted(page("a"))
    with pytest.raises(TypeError, match=r"`for item in page`.*leave out the await"):
        async for _ in await client.connections.list():
            pass


async def test_a_pager_that_is_taken_for_a_list_says_what_to_write() -> None:
    client, _ = scripted(page("a"))
    pager: Any = client.connections.list()
    for take in (list, lambda it: it[0], lambda it: [*it], lambda it: "a" in it, reversed, len, bool):
        with pytest.raises(TypeError, match="await the list for its first page, or walk it with `async for`"):
            take(pager)
    assert not isinstance(pager, Iterable)


async def test_a_pager_is_neither_pickled_nor_copied() -> None:
    client, _ = scripted(page("a"))
    pager = client.connections.list()
    for do in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="a Pager belongs to its client"):
            do(pager)


async def test_a_pager_says_what_it_lists() -> None:
    client, _ = scripted(page("a"))
    assert repr(client.connections.list()).startswith("<Pager of Connection, GET /v1/connections;")
    route = repr(client.databases.list_connections("db_1"))
    assert route.startswith("<Pager of Connection, GET /v1/databases/{id}/connections;")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_made_of_a_pager_says_what_to_write_and_a_gathered_one_works() -> None:
    client, _ = scripted(page("a"))
    with pytest.raises(TypeError, match=r"pager\.all\(\)"):
        asyncio.create_task(client.connections.list())  # noqa: RUF006  # it is refused
    (found,) = await asyncio.gather(client.connections.list())
    assert await asyncio.create_task(client.connections.list().all()) == found


async def test_a_walk_may_start_anywhere_and_starts_again_each_time() -> None:
    client, script = scripted(page("a", cursor="c9"), page("b"), page("a", cursor="c9"), page("b"))
    pager = client.connections.list(cursor="c5")
    assert await names(pager) == await names(pager) == ["a", "b"]
    assert [request.url.params["cursor"] for request in script.requests] == ["c5", "c9"] * 2


async def test_an_empty_list() -> None:
    client, _ = scripted(page())
    assert await names(client.connections.list()) == []
    walk = aiter(client.connections.list())
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await anext(walk)


async def test_an_item_that_does_not_fit_is_an_error_when_a_walk_comes_to_it() -> None:
    wrong = {"data": [CONNECTION, {**CONNECTION, "name": 1}, CONNECTION], "pagination": {"hasMore": False}}
    client, script = scripted(page("a", cursor="c1"), answer(200, wrong), page("b"))
    walk = aiter(client.connections.list())
    assert (await anext(walk)).id == "con_1"
    with pytest.raises(DecodeError, match="expected a string, got a number") as caught:
        await anext(walk)
    assert (caught.value.path, caught.value.request_id) == ("data[1].name", "req_1")
    assert (await anext(walk)).name == "b"
    assert len(script.requests) == 3


async def test_an_item_that_does_not_fit_is_an_error_of_its_whole_page() -> None:
    wrong = {"data": [CONNECTION, {**CONNECTION, "name": 1}], "pagination": {"hasMore": False}}
    client, script = scripted(answer(200, wrong))
    pages = client.connections.list().pages()
    for whole in (client.connections.list, lambda: anext(pages), lambda: anext(pages)):
        with pytest.raises(DecodeError) as caught:
            await whole()
        assert caught.value.path == "data[1].name"
    assert len(script.requests) == 3, "a page that could not be read is asked for again"


@pytest.mark.parametrize("cursor", [None, ""])
async def test_more_without_a_cursor_is_an_error(cursor: str | None) -> None:
    client, script = scripted(page("a", cursor=cursor, more=True))
    walk = aiter(client.connections.list())
    assert (await anext(walk)).name == "a"
    for _ in range(2):
        with pytest.raises(DecodeError, match="no cursor") as caught:
            await anext(walk)
        assert caught.value.path == "pagination.nextCursor"
        assert (caught.value.status, caught.value.request_id) == (200, "req_1")
    assert len(script.requests) == 1


@pytest.mark.parametrize("cursors", [["c1", "c1"], ["c1", "c2", "c1"], ["start"]])
async def test_a_repeated_cursor_is_an_error(cursors: list[str]) -> None:
    client, script = scripted(*(page("a", cursor=cursor) for cursor in cursors))
    with pytest.raises(DecodeError, match="gave before"):
        await names(client.connections.list(cursor="start"))
    assert len(script.requests) == len(cursors)


async def test_the_last_page_may_carry_a_cursor() -> None:
    client, _ = scripted(page("a", cursor="c1", more=False))
    assert await names(client.connections.list()) == ["a"]


async def test_a_list_of_one_page_does_not_go_on() -> None:
    body = {"data": [CONNECTION], "pagination": {"hasMore": True, "limit": 1}, "meta": {}}
    client, script = scripted(answer(200, body))
    pager = client.connections._single_page(dict[str, Any], "/v1/x", {"limit": 1})
    assert (await pager).has_more
    assert len([one async for one in pager]) == 1
    assert len(script.requests) == 2


@pytest.mark.parametrize(
    ("body", "bare"),
    [(b'{"data":["a","b"]}', False), (b'{"data":["a","b"],"pagination":null}', False), (b'["a","b"]', True)],
)
async def test_a_list_that_comes_whole_is_one_page(body: bytes, bare: bool) -> None:
    asked: list[str | None] = []

    async def fetch(cursor: str | None) -> Any:
        asked.append(cursor)
        found = Answer(200, {}, body)
        return read_page(found, str, bare), found

    pager: Pager[str] = Pager(fetch)
    assert await pager == Page(("a", "b"))
    assert await pager.all() == ["a", "b"]
    assert [one.has_more async for one in pager.pages()] == [False]
    assert asked == [None] * 3


@pytest.mark.parametrize(
    ("body", "bare", "path"),
    [
        (b'["a"]', False, "data"),
        (b'{"data":{}}', False, "data"),
        (b'{"data":["a",1]}', False, "data[1]"),
        (b'{"data":["a"]}', True, ""),
        (b'["a",1]', True, "[1]"),
        (b"null", True, ""),
        (b'["a"', True, ""),
    ],
)
async def test_a_whole_list_that_does_not_fit(body: bytes, bare: bool, path: str) -> None:
    async def fetch(cursor: str | None) -> Any:
        found = Answer(200, {"x-request-id": "req_1"}, body)
        return read_page(found, str, bare), found

    with pytest.raises(DecodeError) as caught:
        await Pager(fetch)
    assert (caught.value.path, caught.value.status, caught.value.request_id) == (path, 200, "req_1")


async def test_whole_numbers_past_64_bits_stay_whole_in_items() -> None:
    ports = [1, 2**70, 3]
    items = [{**CONNECTION, "endpoints": {"direct": {"host": "h", "port": port}}} for port in ports]
    client, _ = scripted(answer(200, {"data": items}))
    assert [item.endpoints.direct.port for item in await client.connections.list()] == ports
    assert [item.endpoints.direct.port async for item in client.connections.list()] == ports
    client, _ = scripted(answer(200, {"data": [*items, {**CONNECTION, "name": 2**70}]}))
    with pytest.raises(DecodeError) as caught:
        await client.connections.list()
    assert caught.value.path == "data[3].name"


@pytest.mark.parametrize("library", ["orjson", "json"])
async def test_what_stands_beside_the_items_does_not_depend_on_the_library(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "_orjson", orjson if library == "orjson" else None)
    client, _ = scripted(page("a", meta={"used": 2**90, "ratio": 0.5}))
    assert repr((await client.connections.list()).extras) == repr({"meta": {"used": 2**90, "ratio": 0.5}})


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "data"),
        ({"data": [], "pagination": {}}, "pagination.hasMore"),
        ({"data": [], "pagination": {"hasMore": "false"}}, "pagination.hasMore"),
        ({"data": [], "pagination": {"hasMore": True, "nextCursor": 5}}, "pagination.nextCursor"),
        ({"data": {}, "pagination": {"hasMore": False}}, "data"),
        ({"data": [CONNECTION, {**CONNECTION, "name": 1}], "pagination": {"hasMore": False}}, "data[1].name"),
        ({"data": [{**CONNECTION, "database": {}}], "pagination": {"hasMore": False}}, "data[0].database.id"),
    ],
)
async def test_pages_that_do_not_fit(body: Any, path: str) -> None:
    client, _ = scripted(answer(200, body))
    with pytest.raises(DecodeError) as caught:
        await client.connections.list()
    assert (caught.value.path, caught.value.status, caught.value.request_id) == (path, 200, "req_1")


async def test_a_walk_goes_on_after_a_page_that_could_not_be_had(clock: FakeClock) -> None:
    client, script = scripted(page("a", cursor="c1"), answer(400), answer(404), page("b", cursor="c2"), page("c"))
    walk = aiter(client.connections.list())
    assert (await anext(walk)).name == "a"
    for _ in range(2):
        with pytest.raises(Exception, match=r"40[04]"):
            await anext(walk)
    assert [(await anext(walk)).name for _ in range(2)] == ["b", "c"]
    assert [request.url.params.get("cursor") for request in script.requests] == [None, "c1", "c1", "c1", "c2"]


async def test_each_page_is_a_call_of_its_own() -> None:
    auth = Renewing("old", "new")
    client, script = scripted(
        page("a", cursor="c1"), answer(401), page("b", cursor="c2"), answer(503), page("c"), auth=auth
    )
    assert await names(client.connections.list()) == ["a", "b", "c"]
    assert script.tokens == ["old", "old", "new", "new", "new"]
    client, _ = scripted(page("a", cursor="c1"), answer(500))
    with pytest.raises(ServerError):
        await names(client.connections.list())


async def test_an_abandoned_walk_leaves_nothing_behind() -> None:
    client, script = scripted(page("a", "b", cursor="c1"))
    async for item in client.connections.list():
        assert item.name == "a"
        break
    walk = client.connections.list().pages()
    await anext(walk)
    del walk
    gc.collect()
    assert len(script.requests) == 2
    await client.aclose()


async def test_an_iterator_is_for_one_task() -> None:
    class Held(Script):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await gate()
            return await super().handle_async_request(request)

    client, _ = over(Held(page("a")))
    for walk in (aiter(client.connections.list()), client.connections.list().pages()):
        gate = Gate()
        async with anyio.create_task_group() as group:
            group.start_soon(anext, walk)
            await gate.arrived.wait()
            with pytest.raises(RuntimeError, match="another task"):
                await anext(walk)
            gate.release()

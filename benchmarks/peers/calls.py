"""The two calls that every peer makes, and how they are measured."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any, NamedTuple

from benchmarks.answers import PAGE
from benchmarks.flight import Call, measure
from benchmarks.worker import Measure, Opening

TOKEN = "token"  # noqa: S105  # the server takes any
another = count(100_000).__next__  # the number of an id that was not asked for before


class Calls(NamedTuple):
    """A GET of one small object, and of a page of 100."""

    one: Call
    page: Call


def peer(connect: Callable[[str], AbstractAsyncContextManager[Calls]]) -> Opening:
    """A peer as something to measure."""

    @asynccontextmanager
    async def subject(origin: str) -> AsyncIterator[Measure]:
        async with connect(origin) as calls:
            await check(calls)

            async def measured(what: str, in_flight: int, count: int) -> dict[str, Any]:
                return await measure(getattr(calls, what), in_flight, count, warm_up=calls.one)

            yield measured

    return subject


async def check(calls: Calls) -> None:
    """Raises AssertionError where a peer does not get what it asks for."""
    assert await calls.one()
    page: Any = await calls.page()
    items = page if isinstance(page, list | tuple) else page["data"]
    assert len(items) == PAGE

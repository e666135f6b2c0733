"""Lists that come in pages.

The iterators are classes, not async generators: an abandoned one leaves nothing for the event loop to close.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeAlias, TypeVar

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from prisma_mgmt.errors import DecodeError

T = TypeVar("T")


@define
class Page(Generic[T]):
    """One page of a list.

    `extras` holds what the answer carries beside its items, by its JSON name (`meta`, `hint`).
    """

    items: tuple[T, ...]
    next_cursor: str | None = None
    has_more: bool = False
    extras: dict[str, Any] = field(factory=dict)


Fetch: TypeAlias = Callable[[str | None], Awaitable[Page[T]]]


class Pager(Generic[T]):
    """A list in pages: await it for the first page, `async for` over it for every item of every page.

    Nothing is sent before it is awaited or walked, and each walk starts from the first page again. Walking raises
    DecodeError where the API says that there is more but gives no cursor, or one that it gave before.
    """

    __slots__ = ("_fetch", "_start", "_walks")

    def __init__(self, fetch: "Fetch[T]", start: str | None = None, *, walks: bool = True) -> None:
        self._fetch = fetch
        self._start = start
        self._walks = walks

    def __await__(self) -> Generator[Any, Any, Page[T]]:
        return self._fetch(self._start).__await__()

    def pages(self) -> AsyncIterator[Page[T]]:
        """Walk the pages."""
        return _Pages(self._fetch, self._start, self._walks)

    def __aiter__(self) -> AsyncIterator[T]:
        return _Items(self.pages())

    @asynccontextmanager
    async def prefetch(self) -> "AsyncGenerator[Pager[T]]":
        """The same list, whose next page is on its way while this one is walked.

        `async with list.prefetch() as items: async for item in items: …`. Leaving the block ends what is on its way. A
        page that could not be had is an error when the walk comes to it.
        """
        failure: BaseException | None = None
        async with anyio.create_task_group() as group:
            ahead = _Ahead(self._fetch, group)
            try:
                yield Pager(ahead, self._start, walks=self._walks)
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # the group would wrap it
                failure = error
            finally:
                ahead.group = None
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure


class _Coming(Generic[T]):
    """A page on its way."""

    def __init__(self, cursor: str) -> None:
        self.cursor = cursor
        self._done = anyio.Event()
        self._page: Page[T] | None = None
        self._error: Exception | None = None

    async def fetch(self, fetch: "Fetch[T]") -> None:
        try:
            self._page = await fetch(self.cursor)
        except Exception as error:
            self._error = error
        finally:
            self._done.set()

    async def page(self) -> Page[T] | None:
        """The page; None where fetching it was cancelled."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._page


class _Ahead(Generic[T]):
    """Fetches a page, and in a task of its own the one after it."""

    def __init__(self, fetch: "Fetch[T]", group: TaskGroup) -> None:
        self.group: TaskGroup | None = group
        self._fetch = fetch
        self._coming: _Coming[T] | None = None

    async def __call__(self, cursor: str | None) -> Page[T]:
        page = None
        coming = self._coming
        if coming is not None and coming.cursor == cursor:
            try:
                page = await coming.page()
            except Exception:
                self._coming = None  # so that it can be asked for again
                raise
        if page is None:
            page = await self._fetch(cursor)
        if page.has_more and page.next_cursor and self.group is not None:
            self._coming = _Coming(page.next_cursor)
            self.group.start_soon(self._coming.fetch, self._fetch)
        return page


class _Pages(AsyncIterator[Page[T]]):
    def __init__(self, fetch: "Fetch[T]", start: str | None, walks: bool) -> None:
        self._fetch = fetch
        self._cursor = start
        self._walks = walks
        self._seen = {start}
        self._page: Page[T] | None = None

    async def __anext__(self) -> Page[T]:
        if self._page is not None:
            self._advance(self._page)
            self._page = None  # so that a walk whose request failed asks for the same page again
        self._page = await self._fetch(self._cursor)
        return self._page

    def _advance(self, page: Page[T]) -> None:
        """Move to the page after `page`."""
        if not (page.has_more and self._walks):
            raise StopAsyncIteration
        self._cursor = page.next_cursor
        if not self._cursor:
            raise DecodeError("the list says that it goes on, but gives no cursor", path="pagination.nextCursor")
        if self._cursor in self._seen:
            raise DecodeError("the list gives a cursor that it gave before", path="pagination.nextCursor")
        self._seen.add(self._cursor)


class _Items(AsyncIterator[T]):
    def __init__(self, pages: AsyncIterator[Page[T]]) -> None:
        self._pages = pages
        self._items: Iterator[T] = iter(())

    async def __anext__(self) -> T:
        while True:
            for item in self._items:
                return item
            self._items = iter((await anext(self._pages)).items)

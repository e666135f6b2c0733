"""Lists that come in pages.

The iterators are classes, not async generators: an abandoned one leaves nothing for the event loop to close.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

import anyio
from anyio.abc import TaskGroup

from prisma_mgmt.core.listing import Listing, Page

S = TypeVar("S")
T = TypeVar("T", covariant=True)
Fetch: TypeAlias = Callable[[str | None], Awaitable[Listing[T]]]


class Pager(Generic[T]):
    """A list in pages: await it for the first page, `async for` over it for every item of every page.

    Nothing is sent before it is awaited or walked, and each walk starts from the first page again. Walking raises
    DecodeError if the API says that there is more but gives no cursor, or one that it gave before. A list that comes
    whole has one page.
    """

    __slots__ = ("_fetch", "_start", "_walks", "_what")

    def __init__(
        self, fetch: "Fetch[T]", start: str | None = None, *, walks: bool = True, what: str = "a list"
    ) -> None:
        self._fetch = fetch
        self._start = start
        self._walks = walks
        self._what = what

    def __await__(self) -> Generator[Any, Any, Page[T]]:
        return self._first_page().__await__()

    async def _first_page(self) -> Page[T]:
        return (await self._fetch(self._start)).page()

    async def all(self) -> list[T]:
        """Every item of every page."""
        return [item async for item in self]

    async def first(self) -> T | None:
        """The first item, or None if there is none. It asks for a whole page: `limit=1` makes that a small one."""
        async for item in self:
            return item
        return None

    def pages(self) -> AsyncIterator[Page[T]]:
        """Walk the pages."""
        return _Walk(self._fetch, self._start, self._walks, Listing[T].page)

    def __aiter__(self) -> AsyncIterator[T]:
        return _Items(_Walk(self._fetch, self._start, self._walks, iter))

    def __repr__(self) -> str:  # which asyncio.create_task quotes when it is given a pager
        return f"<Pager of {self._what}; to run it as a task write pager.all(), or pager.first()>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Pager belongs to its client: it cannot be pickled or copied, but its pages and items can")

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
                yield Pager(ahead, self._start, walks=self._walks, what=self._what)
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
    """A page on its way, for one walk."""

    def __init__(self, cursor: str) -> None:
        self.cursor = cursor
        self.done = anyio.Event()
        self.page: Listing[T] | None = None
        self.error: Exception | None = None


class _Ahead(Generic[T]):
    """Fetches a page, and in a task of its own the one after it."""

    def __init__(self, fetch: "Fetch[T]", group: TaskGroup) -> None:
        self.group: TaskGroup | None = group
        self._fetch = fetch
        self._coming: _Coming[T] | None = None

    async def __call__(self, cursor: str | None) -> Listing[T]:
        page, coming = None, self._coming
        if coming is not None and coming.cursor == cursor:
            await coming.done.wait()
            if coming.error is not None:
                self._coming = None  # so that it can be asked for again
                raise coming.error
            page, coming.page = coming.page, None
        if page is None:  # it is another page, another walk has it, or fetching it was cancelled
            page = await self._fetch(cursor)
        if page.has_more and page.next_cursor and self.group is not None:
            self._coming = _Coming(page.next_cursor)
            self.group.start_soon(self._come, self._coming)
        return page

    async def _come(self, coming: _Coming[T]) -> None:
        try:
            coming.page = await self._fetch(coming.cursor)
        except Exception as error:
            coming.error = error
        finally:
            coming.done.set()


class _Walk(AsyncIterator[S]):
    """From page to page; `shape` makes of each what the walk gives."""

    def __init__(self, fetch: "Fetch[T]", start: str | None, walks: bool, shape: "Callable[[Listing[T]], S]") -> None:
        self._fetch = fetch
        self._cursor = start
        self._walks = walks
        self._shape = shape
        self._seen = {start}
        self._last: Listing[Any] | None = None
        self._busy = False

    async def __anext__(self) -> S:
        if self._busy:
            raise RuntimeError("another task is walking this list; give each an iterator of its own")
        if self._last is not None:
            self._advance(self._last)
            self._last = None  # so that a walk whose request failed asks for the same page again
        self._busy = True
        try:
            listing = await self._fetch(self._cursor)
        finally:
            self._busy = False
        shaped = self._shape(listing)
        self._last = listing
        return shaped

    def _advance(self, last: Listing[Any]) -> None:
        """Move to the page after the `last` one."""
        if not (last.has_more and self._walks):
            raise StopAsyncIteration
        self._cursor = last.next_cursor
        if not self._cursor:
            raise last.error("the list says that it goes on, but gives no cursor", "pagination.nextCursor")
        if self._cursor in self._seen:
            raise last.error("the list gives a cursor that it gave before", "pagination.nextCursor")
        self._seen.add(self._cursor)


class _Items(AsyncIterator[T]):
    def __init__(self, listings: AsyncIterator[Iterator[T]]) -> None:
        self._listings = listings
        self._items: Iterator[T] = iter(())

    async def __anext__(self) -> T:
        while True:
            for item in self._items:
                return item
            self._items = await anext(self._listings)

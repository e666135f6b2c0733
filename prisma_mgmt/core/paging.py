"""Lists: one page, and from page to page.

The iterators are classes, not async generators: an abandoned one leaves nothing for the event loop to close.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeAlias, TypeVar, get_args

import anyio
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from prisma_mgmt.core.answers import decode_error, unwrapped
from prisma_mgmt.core.call import Answer
from prisma_mgmt.core.codec import Mismatch, decode, is_long, parse, structure
from prisma_mgmt.core.kinds import JSON

T = TypeVar("T", covariant=True)


class Page(tuple[T, ...], Generic[T]):
    """One page of a list, and a tuple of its items: it has a length, can be indexed, and is false if it is empty.

    `next_cursor` is where the page after it begins, if `has_more`. `extras` holds what the answer carries beside its
    items, by its JSON name (`meta`, `hint`). A page is equal to one like it, and to a list or a tuple of its items.
    """

    next_cursor: str | None
    has_more: bool
    extras: dict[str, Any]

    def __new__(
        cls,
        items: Iterable[T],
        next_cursor: str | None = None,
        has_more: bool = False,
        extras: dict[str, Any] | None = None,
    ) -> Self:
        page = super().__new__(cls, items)
        page.next_cursor, page.has_more, page.extras = next_cursor, has_more, extras or {}
        return page

    @property
    def items(self) -> tuple[T, ...]:
        """The items, without the rest."""
        return tuple(self)

    def __eq__(self, other: object) -> bool:
        them: Any = other
        if isinstance(other, Page) and self._beside != them._beside:
            return False
        return super().__eq__(tuple(them)) if isinstance(other, list | tuple) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other  # a tuple's own would compare the items alone

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # as a list has none

    @property
    def _beside(self) -> tuple[Any, ...]:
        return self.next_cursor, self.has_more, self.extras

    def __repr__(self) -> str:
        return "Page(items={!r}, next_cursor={!r}, has_more={!r}, extras={!r})".format(self.items, *self._beside)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """What pydantic asks of a type: to others a page is the list of its items."""
        from pydantic_core import core_schema as shapes

        items = handler.generate_schema(list[get_args(source) or (Any,)])  # type: ignore[misc]  # made from a tuple
        written = shapes.plain_serializer_function_ser_schema(list, return_schema=items)
        read = shapes.no_info_after_validator_function(cls, items)
        return shapes.union_schema([shapes.is_instance_schema(cls), read], serialization=written)

    def __aiter__(self) -> NoReturn:
        raise TypeError(
            "this is one page, which is here already: write `for item in page`, or leave out the await to walk every "
            "page: `async for item in client.things.list()`"
        )


Fetched: TypeAlias = tuple[Page[T], Answer]  # and what it came in
Fetch: TypeAlias = Callable[[str | None], Awaitable[Fetched[T]]]


_KNOWN = {"data", "pagination"}


@define
class _Pagination:
    has_more: bool
    next_cursor: str | None


def read_page(answer: Answer, model: type[T]) -> Page[T]:
    """A page of `model`s, in its envelope `{"data": […], "pagination": …}` or bare; DecodeError if it is none.

    Without pagination it is the only page. What stands beside items and pagination is kept as extras.
    """
    beside: dict[str, JSON] = {}

    def unwrapping(payload: JSON) -> JSON:
        found = unwrapped(payload)
        beside.update(payload)
        return found

    at = "" if answer.bare else "data"
    try:
        found = decode(answer.content, list[model], None if answer.bare else unwrapping)  # type: ignore[valid-type]  # a type that is given
        at = "pagination"
        said = beside.get("pagination")
        pagination = _Pagination(False, None) if said is None else structure(said, _Pagination)
    except Mismatch as misfit:
        raise decode_error(misfit, answer, at) from None
    if beside.keys() - _KNOWN and is_long(answer.content):
        beside.update(parse(answer.content))  # what the items do not tell may hold whole numbers of any size
    extras = {key: value for key, value in beside.items() if key not in _KNOWN}
    return Page(found, pagination.next_cursor, pagination.has_more, extras)


@define(eq=False, repr=False)
class Pager(Generic[T]):
    """A list in pages: await it for the first page, `async for` over it for every item of every page.

    Nothing is sent before it is awaited or walked, and each walk starts from the first page again. Walking raises
    DecodeError if the API says that there is more but gives no cursor, or one that it gave before. A list that comes
    whole has one page.
    """

    _fetch: Fetch[T]
    _start: str | None = None
    _walks: bool = field(default=True, kw_only=True, alias="walks")
    _what: str = field(default="a list", kw_only=True, alias="what")
    _group: TaskGroup | None = field(default=None, kw_only=True)  # where pages are fetched ahead

    def __await__(self) -> Generator[Any, Any, Page[T]]:
        return self._first_page().__await__()

    async def _first_page(self) -> Page[T]:
        return (await self._fetch(self._start))[0]

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
        return _Walk(self._fetch, self._start, self._walks, self._group)

    def __aiter__(self) -> AsyncIterator[T]:
        return _Items(self.pages())

    if not TYPE_CHECKING:  # or a type checker would take it for a sequence

        def __getitem__(self, index: object) -> NoReturn:  # which `for` without `async` asks for, too
            raise TypeError("nothing is here yet: await the list for its first page, or walk it with `async for`")

        def __len__(self) -> NoReturn:  # which `if` asks for, too
            return self[0]

    def __repr__(self) -> str:  # which asyncio.create_task quotes when it is given a pager
        return f"<Pager of {self._what}; to run it as a task write pager.all(), or pager.first()>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Pager belongs to its client: it cannot be pickled or copied, but its pages and items can")

    @asynccontextmanager
    async def prefetch(self) -> "AsyncGenerator[Pager[T]]":
        """Give the same list; its next page is fetched while this one is walked.

        `async with list.prefetch() as items: async for item in items: …`. Leaving the block ends what is on its way. A
        page that could not be had is an error when the walk comes to it.
        """
        failure: BaseException | None = None
        async with anyio.create_task_group() as group:
            try:
                yield evolve(self, group=group)
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # the group would wrap it
                failure = error
            finally:
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure


@define(eq=False)
class _Coming(Generic[T]):
    """A page that is fetched in a task of its own."""

    cursor: str
    came: Fetched[T] | Exception | None = None
    done: "anyio.Event" = field(factory=lambda: anyio.Event())  # whose module takes a while to import

    async def fetch(self, fetch: Fetch[T]) -> None:
        try:
            self.came = await fetch(self.cursor)
        except Exception as error:
            self.came = error
        finally:
            self.done.set()

    async def taken(self) -> Fetched[T] | None:
        """What came, once; None if fetching it was cancelled. Raises the error that came."""
        await self.done.wait()
        came, self.came = self.came, None
        if isinstance(came, Exception):
            raise came
        return came


class _Walk(AsyncIterator[Page[T]]):
    """From page to page. If there is a `group`, the next page is fetched there in the meantime."""

    def __init__(self, fetch: Fetch[T], start: str | None, walks: bool, group: TaskGroup | None) -> None:
        self._fetch = fetch
        self._cursor = start
        self._walks = walks
        self._group = group
        self._seen = {start}
        self._last: Fetched[T] | None = None
        self._coming: _Coming[T] | None = None
        self._busy = False

    async def __anext__(self) -> Page[T]:
        if self._busy:
            raise RuntimeError("another task is walking this list; give each an iterator of its own")
        if self._last is not None:
            self._advance(*self._last)
            self._last = None  # so that a walk whose request failed asks for the same page again
        self._busy = True
        try:
            page, _ = self._last = await self._next()
        finally:
            self._busy = False
        return page

    async def _next(self) -> Fetched[T]:
        """Fetch the page at the cursor. If there is a group, it begins to fetch the page after that, too."""
        fetched = None if self._coming is None else await self._coming.taken()
        fetched = fetched or await self._fetch(self._cursor)
        page, _ = fetched
        if self._group and not self._group.cancel_scope.cancel_called and page.has_more and page.next_cursor:
            self._coming = _Coming(page.next_cursor)
            self._group.start_soon(self._coming.fetch, self._fetch)
        return fetched

    def _advance(self, page: Page[T], answer: Answer) -> None:
        """Move to the page after this one."""
        if not (page.has_more and self._walks):
            raise StopAsyncIteration
        self._cursor = page.next_cursor
        if not self._cursor or self._cursor in self._seen:
            told = "gives a cursor that it gave before" if self._cursor else "says that it goes on, but gives no cursor"
            raise decode_error(Mismatch(f"the list {told}"), answer, "pagination.nextCursor")
        self._seen.add(self._cursor)


class _Items(AsyncIterator[T]):
    def __init__(self, pages: AsyncIterator[Page[T]]) -> None:
        self._pages = pages
        self._items: Iterator[T] = iter(())

    async def __anext__(self) -> T:
        while True:
            for item in self._items:
                return item
            self._items = iter(await anext(self._pages))

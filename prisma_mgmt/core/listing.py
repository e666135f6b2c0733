"""One page of a list: structured at once if it is awaited, item by item if it is walked."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Generic, NoReturn, SupportsIndex, TypeVar, overload

from prisma_mgmt.core.answers import decode_error, unwrapped
from prisma_mgmt.core.call import Answer
from prisma_mgmt.core.codec import Mismatch, hook_of, is_free, is_long, parse, wrong
from prisma_mgmt.core.kinds import JSON
from prisma_mgmt.errors import DecodeError

S = TypeVar("S")
T = TypeVar("T", covariant=True)


class Page(Sequence[T], Generic[T]):
    """One page of a list, and a sequence of its items: it has a length, can be indexed, and is false if it is empty.

    `next_cursor` is where the page after it begins, if `has_more`. `extras` holds what the answer carries beside its
    items, by its JSON name (`meta`, `hint`). A page is equal to one like it, and to a list or a tuple of its items.
    """

    __slots__ = ("extras", "has_more", "items", "next_cursor")

    def __init__(
        self,
        items: Iterable[T],
        next_cursor: str | None = None,
        has_more: bool = False,
        extras: dict[str, Any] | None = None,
    ) -> None:
        self.items: tuple[T, ...] = tuple(items)
        self.next_cursor: str | None = next_cursor
        self.has_more: bool = has_more
        self.extras: dict[str, Any] = {} if extras is None else extras

    def __repr__(self) -> str:
        more = f", next_cursor={self.next_cursor!r}, has_more={self.has_more}, extras={self.extras!r}"
        return f"Page({list(self.items)!r}{more})"

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, index: "slice[Any, Any, Any]") -> tuple[T, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        items: Any = self.items
        return items[index]

    def __eq__(self, other: object) -> bool:
        them: Any = other
        if isinstance(other, Page):
            mine = (self.items, self.next_cursor, self.has_more, self.extras)
            return mine == (them.items, them.next_cursor, them.has_more, them.extras)
        return self.items == tuple(them) if isinstance(other, list | tuple) else NotImplemented

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # as a list has none

    def __aiter__(self) -> NoReturn:
        raise TypeError(
            "this is one page, which is here already: write `for item in page`, or leave out the await to walk every "
            "page: `async for item in client.things.list()`"
        )


class Listing(Iterator[T]):
    """A page as it came; as an iterator it structures each item when its turn comes."""

    __slots__ = ("_answer", "_bare", "_exact", "_extras", "_items", "_model", "_read", "has_more", "next_cursor")

    def __init__(self, answer: Answer, model: Any, items: list[JSON], bare: bool) -> None:
        self.has_more: bool = False
        self.next_cursor: str | None = None
        self._answer = answer
        self._model = model
        self._items = items
        self._bare = bare
        self._extras: dict[str, Any] = {}
        self._read = 0
        self._exact = False  # if the items were read again, with whole numbers past 64 bits

    def paginated(self, payload: dict[str, JSON]) -> None:
        """Take in what stands beside the items; raises Mismatch for pagination that cannot be."""
        self._extras = {key: value for key, value in payload.items() if key not in ("data", "pagination")}
        said = payload.get("pagination")
        if said is not None:
            self.has_more = _told(said, "hasMore", bool, "a boolean")
            self.next_cursor = None if said.get("nextCursor") is None else _told(said, "nextCursor", str, "a string")

    def __next__(self) -> T:
        i = self._read
        if i == len(self._items):
            raise StopIteration
        self._read += 1
        self._structure(i, self._read)
        item: T = self._items[i]
        return item

    def page(self) -> Page[T]:
        """The page, whole."""
        self._structure(0, len(self._items))
        return Page(self._items, self.next_cursor, self.has_more, self._extras)

    def error(self, problem: str, path: str) -> DecodeError:
        """That something is wrong with this page."""
        return decode_error(Mismatch(problem), self._answer, path)

    def _structure(self, start: int, end: int) -> None:
        """Put models in the place of items, each of which is let go as soon as it is read: that halves the garbage."""
        hook, i = hook_of(self._model), start
        try:
            for i in range(start, end):
                self._items[i] = hook(self._items[i])
        except Mismatch as misfit:
            if self._exact or not is_long(self._answer.content):
                raise decode_error(misfit, self._answer, f"[{i}]" if self._bare else f"data[{i}]") from None
            self._exact = True
            self._items[i:] = _items(parse(self._answer.content), self._bare)[i:]
            self._structure(i, end)


def read_listing(answer: Answer, model: type[T], bare: bool = False) -> Listing[T]:
    """A list of `model`s in its envelope, `{"data": […], "pagination": …}`, unless `bare`; DecodeError if it is none.

    Without pagination it is the only page. What stands beside items and pagination is kept as extras.
    """
    kind: Any = model
    at = "" if bare else "data"
    try:
        payload = parse(answer.content, is_free(kind))
        listing: Listing[T] = Listing(answer, kind, _items(payload, bare), bare)
        if not bare:
            at = "pagination"
            listing.paginated(payload)
    except Mismatch as misfit:
        raise decode_error(misfit, answer, at) from None
    return listing


def _told(said: JSON, key: str, kind: type[S], wanted: str) -> S:
    if said.__class__ is not dict:
        raise wrong("an object", said)
    if key not in said:
        raise Mismatch("missing").under(key)
    if said[key].__class__ is not kind:
        raise wrong(wanted, said[key]).under(key)
    told: S = said[key]
    return told


def _items(payload: JSON, bare: bool) -> list[JSON]:
    items = payload if bare else unwrapped(payload)
    if items.__class__ is not list:
        raise wrong("an array", items)
    found: list[JSON] = items
    return found

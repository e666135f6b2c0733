"""One page of a list: structured at once where it is awaited, item by item where it is walked."""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from attrs import define, field

from prisma_mgmt.core.answers import checked, parsed, unwrapped
from prisma_mgmt.core.call import Answer
from prisma_mgmt.core.codec import JSON, Mismatch, hook_of, structure, wrong

T = TypeVar("T", covariant=True)


@define
class Page(Generic[T]):
    """One page of a list.

    `extras` holds what the answer carries beside its items, by its JSON name (`meta`, `hint`).
    """

    items: tuple[T, ...]
    next_cursor: str | None = None
    has_more: bool = False
    extras: dict[str, Any] = field(factory=dict)


@define
class Pagination:
    """What an answer says of the page after it."""

    has_more: bool
    next_cursor: str | None = None


@define(eq=False)
class Listing(Iterator[T]):
    """A page as it came; as an iterator it structures each item when its turn comes."""

    pagination: Pagination
    _answer: Answer
    _model: type[T]
    _items: list[JSON] = field(repr=False)  # may hold secrets
    _extras: dict[str, Any] = field(repr=False)
    _read: int = field(default=0, init=False)

    def __next__(self) -> T:
        i = self._read
        if i == len(self._items):
            raise StopIteration
        self._read += 1
        checked(_structure(self._items, i, self._read, self._model), self._answer)
        item: T = self._items[i]
        return item

    def page(self) -> Page[T]:
        """The page, whole."""
        checked(_structure(self._items, 0, len(self._items), self._model), self._answer)
        return Page(tuple(self._items), self.pagination.next_cursor, self.pagination.has_more, self._extras)


def read_listing(answer: Answer, model: type[T]) -> Listing[T]:
    """A page of `model`s; DecodeError where it is none. What stands beside items and pagination is kept as extras."""
    listing: Listing[T] = checked(_listing(answer, parsed(answer), model), answer)
    return listing


# As in codec.py, nothing below raises while it has the parsed payload in a local.


def _listing(answer: Answer, payload: JSON, model: Any) -> Any:
    if isinstance(payload, Mismatch):
        return payload
    at = "data"
    try:
        if payload.__class__ is list:
            return Listing(Pagination(has_more=False), answer, model, payload, {})
        items = unwrapped(payload)
        if items.__class__ is not list:
            raise wrong("an array", items)
        at = "pagination"
        pagination = structure(payload[at], Pagination) if payload.get(at) is not None else Pagination(has_more=False)
    except Mismatch as mismatch:
        return mismatch.under(at).with_traceback(None)
    extras = {key: value for key, value in payload.items() if key not in ("data", "pagination")}
    return Listing(pagination, answer, model, items, extras)


def _structure(items: list[JSON], start: int, end: int, model: Any) -> Mismatch | None:
    """Put `model`s in the place of items, each of which is let go as soon as it is read: that halves the garbage."""
    hook = hook_of(model)
    i = start
    try:
        for i in range(start, end):
            items[i] = hook(items[i], model)
    except Mismatch as mismatch:
        return mismatch.under(f"[{i}]").under("data").with_traceback(None)
    return None

"""The typed verbs that resource classes call."""

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from prisma_mgmt.core.codec import JSON, UNSET, Unset
from prisma_mgmt.core.listing import Listing, Page, read_listing
from prisma_mgmt.core.paging import Pager
from prisma_mgmt.core.streaming import LogStream
from prisma_mgmt.core.wire import Answer, choice, path, read, read_json, read_list
from prisma_mgmt.masks import Secret

if TYPE_CHECKING:
    from prisma_mgmt.core.client import BaseClient

__all__ = ["JSON", "UNSET", "LogStream", "Page", "Pager", "Resource", "Secret", "Unset", "choice", "path"]

M = TypeVar("M")
T = TypeVar("T")
Query: TypeAlias = Mapping[str, Any]
Headers: TypeAlias = Mapping[str, str]


class Resource:
    """A group of routes of one API."""

    __slots__ = ("_client",)

    def __init__(self, client: "BaseClient") -> None:
        self._client = client

    def _pages(self, model: type[M], path: str, query: Query | None = None) -> Pager[M]:
        """A list that goes on from cursor to cursor."""

        async def fetch(cursor: str | None) -> Listing[M]:
            return read_listing(await self._client.exchange("GET", path, {**(query or {}), "cursor": cursor}), model)

        return Pager(fetch, query.get("cursor") if query else None)

    def _single_page(self, model: type[M], path: str, query: Query | None = None) -> Pager[M]:
        """A list of one page, which may be cut off but gives no cursor to go on from."""

        async def fetch(_: str | None) -> Listing[M]:
            return read_listing(await self._client.exchange("GET", path, query), model)

        return Pager(fetch, walks=False)

    def _stream(
        self, record: type[M], terminal: type[T], path: str, query: Query | None = None, *, live: bool | None = None
    ) -> LogStream[M, T]:
        """A log, line by line; over a WebSocket where it is to come `live`."""
        return self._client.log_stream(record, terminal, path, query or {}, live=live)

    # As `exchange`, what takes a body is no coroutine itself.

    def _list(
        self,
        model: type[M],
        path: str,
        query: Query | None = None,
        *,
        headers: Headers | None = None,
        bare: bool = False,
    ) -> Awaitable[tuple[M, ...]]:
        """A list that comes whole."""
        return _read_list(self._client.exchange("GET", path, query, headers), model, bare)

    def _get(
        self,
        model: type[M],
        path: str,
        query: Query | None = None,
        *,
        headers: Headers | None = None,
        bare: bool = False,
    ) -> Awaitable[M]:
        return _read(self._client.exchange("GET", path, query, headers), model, bare)

    def _post(
        self,
        model: type[M],
        path: str,
        body: Any = UNSET,
        *,
        query: Query | None = None,
        headers: Headers | None = None,
        bare: bool = False,
    ) -> Awaitable[M]:
        return _read(self._client.exchange("POST", path, query, headers, body), model, bare)

    def _put(
        self, model: type[M], path: str, body: Any = UNSET, *, headers: Headers | None = None, bare: bool = False
    ) -> Awaitable[M]:
        return _read(self._client.exchange("PUT", path, None, headers, body), model, bare)

    def _patch(
        self, model: type[M], path: str, body: Any = UNSET, *, headers: Headers | None = None, bare: bool = False
    ) -> Awaitable[M]:
        return _read(self._client.exchange("PATCH", path, None, headers, body), model, bare)

    async def _delete(self, path: str, query: Query | None = None, *, headers: Headers | None = None) -> None:
        read_json(await self._client.exchange("DELETE", path, query, headers))  # an HTML page is no success

    def _send(
        self, method: str, path: str, body: Any = UNSET, *, query: Query | None = None, headers: Headers | None = None
    ) -> Awaitable[object]:
        """Send to a route that answers without a body."""
        return _done(self._client.exchange(method, path, query, headers, body))


async def _done(answer: Awaitable[Answer]) -> None:
    read_json(await answer)  # an HTML page is no success


async def _read(answer: Awaitable[Answer], model: type[M], bare: bool) -> M:
    return read(await answer, model, bare)


async def _read_list(answer: Awaitable[Answer], model: type[M], bare: bool) -> tuple[M, ...]:
    return read_list(await answer, model, bare)

"""The typed verbs that resource classes call."""

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from prisma_mgmt.core.codec import JSON, UNSET, Unset
from prisma_mgmt.core.encoding import dump
from prisma_mgmt.core.listing import Listing, Page, Pagination, read_listing
from prisma_mgmt.core.model import Model
from prisma_mgmt.core.paging import Pager
from prisma_mgmt.core.streaming import LogStream
from prisma_mgmt.core.wire import Answer, choice, parsed, path, quoted, read, read_json
from prisma_mgmt.errors import NotFoundError
from prisma_mgmt.masks import Secret

if TYPE_CHECKING:
    from prisma_mgmt.core.client import BaseClient

__all__ = [
    "JSON",
    "UNSET",
    "LogStream",
    "Model",
    "Page",
    "Pager",
    "Resource",
    "Secret",
    "Unset",
    "choice",
    "path",
    "quoted",
]

M = TypeVar("M")
T = TypeVar("T")
Query: TypeAlias = Mapping[str, Any]
Headers: TypeAlias = Mapping[str, str]


class Resource:
    """A group of routes of one API."""

    __slots__ = ("_client",)

    def __init__(self, client: "BaseClient") -> None:
        self._client = client

    def _pages(
        self,
        model: type[M],
        path: str,
        query: Query | None = None,
        *,
        headers: Headers | None = None,
        token: bool = True,
    ) -> Pager[M]:
        """A list that goes on from cursor to cursor."""

        async def fetch(cursor: str | None) -> Listing[M]:
            asked = {**(query or {}), "cursor": cursor}
            return read_listing(await self._client.exchange("GET", path, asked, headers, token=token), model)

        return Pager(fetch, query.get("cursor") if query else None)

    def _single_page(
        self,
        model: type[M],
        path: str,
        query: Query | None = None,
        *,
        headers: Headers | None = None,
        token: bool = True,
    ) -> Pager[M]:
        """A list of one page, which may be cut off but gives no cursor to go on from."""

        async def fetch(_: str | None) -> Listing[M]:
            return read_listing(await self._client.exchange("GET", path, query, headers, token=token), model)

        return Pager(fetch, walks=False)

    def _stream(
        self, record: type[M], terminal: type[T], path: str, query: Query | None = None, *, live: bool | None = None
    ) -> LogStream[M, T]:
        """A log, line by line; over a WebSocket where it is to come `live`."""
        return self._client.log_stream(record, terminal, path, query or {}, live=live)

    def _list(
        self,
        model: type[M],
        path: str,
        query: Query | None = None,
        *,
        headers: Headers | None = None,
        bare: bool = False,
        token: bool = True,
    ) -> Pager[M]:
        """A list that comes whole."""

        async def fetch(_: str | None) -> Listing[M]:
            answer = await self._client.exchange("GET", path, query, headers, token=token)
            if bare:
                items: Any = read(answer, list[Any], bare=True)
                return Listing(Pagination(has_more=False), answer, model, items, {})
            payload: Any = parsed(answer)
            if isinstance(payload, dict):
                answer = Answer(answer.status, answer.headers, dump({"pagination": {"hasMore": False}, **payload}))
            return read_listing(answer, model)

        return Pager(fetch, walks=False)

    # As `exchange`, what takes a body is no coroutine itself.

    def _request(
        self,
        model: type[M],
        method: str,
        path: str,
        body: Any = UNSET,
        *,
        query: Query | None = None,
        headers: Headers | None = None,
        bare: bool = False,
        token: bool = True,
    ) -> Awaitable[M]:
        """Any method with an answer."""
        return _read(self._client.exchange(method, path, query, headers, body, token=token), model, bare)

    def _get(
        self,
        model: type[M],
        path: str,
        query: Query | None = None,
        *,
        headers: Headers | None = None,
        bare: bool = False,
        token: bool = True,
    ) -> Awaitable[M]:
        return _read(self._client.exchange("GET", path, query, headers, token=token), model, bare)

    def _post(
        self,
        model: type[M],
        path: str,
        body: Any = UNSET,
        *,
        query: Query | None = None,
        headers: Headers | None = None,
        bare: bool = False,
        token: bool = True,
    ) -> Awaitable[M]:
        return _read(self._client.exchange("POST", path, query, headers, body, token=token), model, bare)

    def _put(
        self,
        model: type[M],
        path: str,
        body: Any = UNSET,
        *,
        query: Query | None = None,
        headers: Headers | None = None,
        bare: bool = False,
        token: bool = True,
    ) -> Awaitable[M]:
        return _read(self._client.exchange("PUT", path, query, headers, body, token=token), model, bare)

    def _patch(
        self,
        model: type[M],
        path: str,
        body: Any = UNSET,
        *,
        query: Query | None = None,
        headers: Headers | None = None,
        bare: bool = False,
        token: bool = True,
    ) -> Awaitable[M]:
        return _read(self._client.exchange("PATCH", path, query, headers, body, token=token), model, bare)

    async def _delete(
        self,
        path: str,
        query: Query | None = None,
        *,
        headers: Headers | None = None,
        token: bool = True,
        missing_ok: bool = False,
    ) -> None:
        try:
            answer = await self._client.exchange("DELETE", path, query, headers, token=token)
            read_json(answer)  # an HTML page is no success
        except NotFoundError:
            if not missing_ok:
                raise

    def _send(
        self,
        method: str,
        path: str,
        body: Any = UNSET,
        *,
        query: Query | None = None,
        headers: Headers | None = None,
        token: bool = True,
    ) -> Awaitable[object]:
        """Send to a route that answers without a body."""
        return _done(self._client.exchange(method, path, query, headers, body, token=token))


async def _done(answer: Awaitable[Answer]) -> None:
    read_json(await answer)  # an HTML page is no success


async def _read(answer: Awaitable[Answer], model: type[M], bare: bool) -> M:
    return read(await answer, model, bare)

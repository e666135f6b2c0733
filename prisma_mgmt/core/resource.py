"""The typed verbs that resource classes call."""

from collections.abc import Awaitable
from typing import Any, NoReturn, TypedDict, TypeVar, Unpack

from prisma_mgmt.checks import secret
from prisma_mgmt.core.answers import read, read_json
from prisma_mgmt.core.client import Bound, Headers, Query
from prisma_mgmt.core.kinds import JSON, UNSET, Unset
from prisma_mgmt.core.logs import LogStream, handshake
from prisma_mgmt.core.model import Model
from prisma_mgmt.core.paging import Fetched, Page, Pager, read_page
from prisma_mgmt.core.paths import choice, path, quoted, route
from prisma_mgmt.errors import NotFoundError
from prisma_mgmt.masks import Secret, bare

__all__ = ["JSON", "UNSET", "LogStream", "Model", "Page", "Pager"]
__all__ += ["Resource", "Secret", "Unset", "choice", "path", "quoted", "secret"]

M = TypeVar("M")
T = TypeVar("T")


class How(TypedDict, total=False):
    """What any verb may be told.

    token: False for a route that needs none.
    bare: True for an answer that comes without the envelope `{"data": …}`.
    """

    headers: Headers | None
    token: bool
    bare: bool


class HowTo(How, total=False):
    """What a verb with a body may be told."""

    query: Query | None


class Resource(Bound):
    """A group of routes of one API.

    Errors leave the package through these verbs, which take our frames out of their tracebacks: locals further in may
    hold what no reporter may show.
    """

    __slots__ = ()

    def _pages(self, model: type[M], path: str, query: Query | None = None, **how: Unpack[How]) -> Pager[M]:
        """A list that goes on from cursor to cursor."""
        return self._list(model, path, query, walks=True, **how)

    def _list(
        self, model: type[M], path: str, query: Query | None = None, *, walks: bool = False, **how: Unpack[How]
    ) -> Pager[M]:
        """A list that comes whole, or that `walks` from cursor to cursor."""

        async def fetch(cursor: str | None) -> Fetched[M]:
            with bare:
                sent = {**(query or {}), "cursor": cursor}
                answer = await self._client.pipeline.send(self._client.call("GET", path, query=sent, **how))
                return read_page(answer, model), answer

        what = f"{getattr(model, '__name__', model)}, GET {route(path)}"
        return Pager(fetch, query.get("cursor") if query else None, walks=walks, what=what)

    _single_page = _list  # it may be cut off, but gives no cursor to go on from

    def _stream(
        self, record: type[M], terminal: type[T], path: str, query: Query | None = None, *, live: bool | None = None
    ) -> LogStream[M, T]:
        """A log, line by line; over a WebSocket if it is to come `live`."""
        return LogStream(self._client, path, query or {}, record, terminal, handshake(self._client) if live else None)

    def _get(self, model: type[M], path: str, query: Query | None = None, **how: Unpack[How]) -> Awaitable[M]:
        return self._request(model, "GET", path, query=query, **how)

    def _post(self, model: type[M], path: str, body: Any = UNSET, **how: Unpack[HowTo]) -> Awaitable[M]:
        return self._request(model, "POST", path, body, **how)

    def _put(self, model: type[M], path: str, body: Any = UNSET, **how: Unpack[HowTo]) -> Awaitable[M]:
        return self._request(model, "PUT", path, body, **how)

    def _patch(self, model: type[M], path: str, body: Any = UNSET, **how: Unpack[HowTo]) -> Awaitable[M]:
        return self._request(model, "PATCH", path, body, **how)

    async def _request(self, model: type[M], method: str, path: str, body: Any = UNSET, **how: Unpack[HowTo]) -> M:
        """The answer to any method."""
        with bare:
            return read(await self._client.pipeline.send(self._client.call(method, path, body, **how)), model)

    async def _delete(
        self, path: str, query: Query | None = None, *, missing_ok: bool = False, **how: Unpack[How]
    ) -> None:
        """Delete; nothing to delete is an error unless that is `missing_ok`."""
        with bare:
            try:
                await self._send("DELETE", path, query=query, **how)
            except NotFoundError:
                if not missing_ok:
                    raise

    async def _send(self, method: str, path: str, body: Any = UNSET, **how: Unpack[HowTo]) -> None:
        """Send to a route that answers without a body."""
        with bare:
            answer = await self._client.pipeline.send(self._client.call(method, path, body, **how))
            read_json(answer)  # an HTML page is no success

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._client.base_url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} has a client, and cannot be copied or pickled")

"""Bodies of answers: read whole and unpacked, or as they come, and never more of them at once than fits in memory."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import cast

import anyio
import httpx

from prisma_mgmt.core.wire import Body
from prisma_mgmt.errors import DecodeError

_LARGEST = 100_000_000  # bytes of an answer, packed or unpacked
_UNPACKED_AT_ONCE = 4096  # bytes, packed: a thousand times that is a lot, but no more
_GROWTH = 1032  # how many bytes a packed one can become at most
_READ_AHEAD = 65536  # bytes that httpcore reads at once


async def read_whole(response: httpx.Response) -> bytes:
    """The body, read whole and unpacked; past httpx's own readers, which take their time."""
    if response.is_closed:
        return response.content
    coded = packed(response)
    parts: list[Body] = []  # no raw bytes stay in a local, where a traceback would show them
    size = 0
    stream = aiter(cast("httpx.AsyncByteStream", response.stream))
    async for part in stream:
        size += len(part)
        parts.append(Body(part))
        del part
        if size > _LARGEST:
            await abandon(stream)
            raise refused(f"an answer longer than {_LARGEST:,} bytes", response)
    await response.aclose()
    return b"".join(_unpacked(response, parts) if coded else parts)


def packed(response: httpx.Response) -> bool:
    """Whether a body has a content coding; DecodeError for more than one, each of which multiplies."""
    if "content-encoding" not in response.headers:
        return False
    if len(response.headers.get_list("content-encoding", split_commas=True)) > 1:
        raise refused("an answer with more than one content coding", response)
    return True


class Pieces(httpx.AsyncByteStream):
    """A packed body in pieces, each of which unpacks to a bounded one."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            body = Body(part)
            del part
            for piece in _cut(body):
                yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Parts(httpx.SyncByteStream):
    def __init__(self, parts: list[Body]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            yield from _cut(part)


def _cut(body: Body) -> Iterator[bytes]:
    for i in range(0, len(body), _UNPACKED_AT_ONCE):
        yield body[i : i + _UNPACKED_AT_ONCE]


def _unpacked(response: httpx.Response, parts: list[Body]) -> Iterator[bytes]:
    size = 0
    for part in httpx.Response(200, headers=response.headers, stream=_Parts(parts)).iter_bytes():
        size += len(part)
        if size > _LARGEST:
            del part
            raise refused(f"an answer longer than {_LARGEST:,} bytes", response)
        yield part


def refused(what: str, response: httpx.Response) -> DecodeError:
    """The error of an answer that came, and cannot be read."""
    told = f"{what} (status {response.status_code})"
    return DecodeError(told, status=response.status_code, request_id=response.headers.get("x-request-id"))


async def abandon(chunks: AsyncIterator[bytes], *, coded: bool = False) -> None:
    """Run httpx's generators to their end, for one that is dropped midway is left to the event loop.

    Where another task is reading them (RuntimeError), that reading ends with the connection.
    """
    with anyio.CancelScope() as scope, suppress(Exception):  # nobody asks for it any more
        scope.cancel()
        skipped, most = 0, _READ_AHEAD * (_GROWTH if coded else 1)
        while skipped < most and (chunk := await anext(chunks, b"")):
            skipped += len(chunk)

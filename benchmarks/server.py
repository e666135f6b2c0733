"""A loopback server that costs little: HTTP/1.1 with keep-alive, prebuilt answers, a process of its own.

`python -m benchmarks.server` prints its port, and ends when its standard input does.
"""

import asyncio
import re
import sys
from functools import lru_cache

from benchmarks.answers import FIXED, PAGE, key, page

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_WALK = re.compile(rb"/v1/connections\?")
_ITEMS = re.compile(rb"databaseId=items(\d+)")
_CURSOR = re.compile(rb"cursor=(\d+)")
_EXPIRED = re.compile(rb"\r\nauthorization: *bearer expired", re.IGNORECASE)


def answer(status: bytes, body: bytes) -> bytes:
    """A whole answer, with the headers that an API sends."""
    return (
        b"HTTP/1.1 %b\r\ndate: Sun, 02 Nov 2025 09:30:12 GMT\r\ncontent-type: application/json; charset=utf-8\r\n"
        b"content-length: %d\r\nx-request-id: req_1\r\ncache-control: no-store\r\n\r\n%b"
    ) % (status, len(body), body)


ANSWERS = {path: answer(b"200 OK", body) for path, body in FIXED.items()}
UNAUTHORIZED = answer(b"401 Unauthorized", b'{"error":{"code":"token-expired","message":"the token has expired"}}')
NOT_FOUND = answer(b"404 Not Found", b'{"error":{"code":"not-found","message":"no such route"}}')


@lru_cache(maxsize=4096)
def part(items: int, next_cursor: str | None) -> bytes:
    return answer(b"200 OK", page(items, next_cursor))


class Server(asyncio.Protocol):
    """One connection. A client sends its next request after the answer to the last one."""

    refreshes = refused = 0  # by all connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = _LENGTH.search(head)
        if length and len(body) < int(length[1]):
            return
        self._received = b""
        if b"/silent_" not in head:
            self._transport.write(self._answer(head))

    def _answer(self, head: bytes) -> bytes:
        path = head.split(b" ", 2)[1]
        if _EXPIRED.search(head):
            Server.refused += 1
            return UNAUTHORIZED
        if fixed := ANSWERS.get(key(path)):
            return fixed
        if path == b"/token":
            return self._grant()
        if path == b"/counts":
            return answer(b"200 OK", b"[%d,%d]" % (Server.refreshes, Server.refused))
        return walk(path) if _WALK.match(path) else NOT_FOUND

    def _grant(self) -> bytes:
        Server.refreshes += 1
        grant = b'{"access_token":"fresh-%d","refresh_token":"refresh-%d","token_type":"Bearer","expires_in":3600}'
        return answer(b"200 OK", grant % (Server.refreshes, Server.refreshes))


def walk(path: bytes) -> bytes:
    """A page of a list whose length stands in its `databaseId`; the cursor is the number of the page."""
    items, cursor = _ITEMS.search(path), _CURSOR.search(path)
    if not items:
        return NOT_FOUND
    number = int(cursor[1]) if cursor else 0
    left = int(items[1]) - number * PAGE
    return part(min(PAGE, left), str(number + 1) if left > PAGE else None)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())

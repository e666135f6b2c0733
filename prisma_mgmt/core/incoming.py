"""An answer of HTTP/1.1 as it comes, read by llhttp (httptools). Nothing here waits, sends or closes."""

import re

import httptools

from prisma_mgmt.core.headers import Headers

_LONGEST_HEAD = 65_536  # bytes, of trailers and of what else is no body, too
_MOST_INTERIM = 32  # answers of 1xx before the one that counts
_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # RFC 9112 §4


class NoAnswer(Exception):  # noqa: N818  # never leaves the connection
    """What came is no answer, or not all of one, or more than one; nothing of it is quoted."""


class Incoming:
    """The answer that a connection reads; `begin` forgets it, and waits for the next.

    `bodiless` says that it has no body, whatever its headers say. `feed` raises NoAnswer.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Be ready for an answer."""
        self.status: int = 0
        self.headers: Headers | None = None  # once they have come
        self.bodiless: bool = False
        self.ended: bool = False  # nothing of it is still to come
        self.lives_on: bool = False  # after it, the peer would take another request
        self.unread: int = 0  # bytes of its body that nobody has taken
        self._pairs: list[tuple[bytes, bytes]] = []  # of headers
        self._parts: list[bytes] = []
        self._begun = False
        self._head_size = 0  # of its headers and trailers
        self._bodyless_bytes = 0  # that came since the last of its body
        self._interim = 0
        self._until_end = False  # the body ends with the connection
        self._received = 0
        self._expected: int | None = None

    def take(self) -> bytes:
        """What has come of the body."""
        part, self._parts, self.unread = b"".join(self._parts), [], 0
        return part

    def feed(self, data: bytes) -> None:
        """Read what has come; b"" says that the peer sends no more."""
        if not data:
            self._eof()
            return
        if not self._begun and data[:1] != b"H":  # llhttp skips empty lines
            raise NoAnswer("the answer is no HTTP: it begins with something else")
        self._begun = True
        self._bodyless_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise _nonsense(error) from None
        if self._bodyless_bytes > _LONGEST_HEAD:  # a field or a chunk's extension without an end
            raise NoAnswer("the head of the answer is too long")

    def _eof(self) -> None:
        self.lives_on = False
        if self._until_end:
            self.ended = True
        elif self.headers is None:
            raise NoAnswer("Server disconnected without sending a response.")
        elif not self.ended:
            sizes = f"received {self._received} bytes, expected {self._expected}"
            how = "incomplete chunked read" if self._expected is None else sizes
            raise NoAnswer(f"peer closed connection without sending complete message body ({how})")

    # What the parser calls

    def on_message_begin(self) -> None:
        if self.ended:  # the answer is good, the connection is not
            raise NoAnswer("the server sent more than the answer")

    def on_status(self, reason: bytes) -> None:
        if not _REASON.fullmatch(reason):  # llhttp lets a NUL pass
            raise NoAnswer("the status line holds what no line may hold")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4
        if self._head_size > _LONGEST_HEAD:  # trailers count too
            raise NoAnswer("the head of the answer is too long")
        if self.headers is None:
            self._pairs.append((name, value))

    def on_headers_complete(self) -> None:
        if self._parser.get_http_version() not in ("1.1", "1.0"):
            raise NoAnswer("the answer is of another version of HTTP")
        self.status = self._parser.get_status_code()
        if self.status < 100:
            raise NoAnswer("the answer has a status that is none")
        if self.status == 101:
            raise NoAnswer("the server switches to another protocol, which it was not asked for")
        if self.status < 200:
            return
        codings: list[bytes] = []
        for name, value in self._pairs:
            key = name.lower()
            if key == b"content-length":
                self._expected = int(value)
            elif key == b"transfer-encoding":
                codings.append(value.strip().lower())
        if codings not in ([], [b"chunked"]):
            raise NoAnswer("the answer has a transfer coding that is not known")
        self._until_end = not (codings or self._expected is not None or self.bodiless or self.status in (204, 304))
        self.headers, self.ended = Headers(self._pairs), self.bodiless

    def on_body(self, data: bytes) -> None:
        if self.headers is None:  # llhttp reads one, if its head announces one
            raise NoAnswer("an answer of 1xx has a body")
        self._bodyless_bytes = 0
        if not self.ended:  # or it belongs to an answer that has none
            self._parts.append(data)
            self.unread += len(data)
            self._received += len(data)

    def on_message_complete(self) -> None:
        if self.headers is not None and not self.bodiless:
            self.ended = True
            self.lives_on = self._parser.should_keep_alive()
        elif self.headers is None:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise NoAnswer("the server gives no answer, only that it is about to")
            self._pairs.clear()


def _nonsense(error: Exception) -> NoAnswer:
    """What our own callbacks said of an answer that is none, else what the parser says."""
    said = error.__context__
    return said if isinstance(said, NoAnswer) else NoAnswer(f"the answer is no HTTP: {error}")

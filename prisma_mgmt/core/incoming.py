"""An answer of HTTP/1.1 as it comes, read by llhttp (httptools). Nothing here waits, sends or closes."""

import re
from collections.abc import Iterator, Mapping

import httptools

_LONGEST_HEAD = 65_536  # bytes
_MOST_INTERIM = 32  # answers of 1xx before the one that counts
_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # RFC 9112 §4


class NoAnswer(Exception):  # noqa: N818  # never leaves the connection
    """What came is no answer, or not all of one, or more than one; nothing of it is quoted."""


class Headers(Mapping[str, str]):
    """The headers of an answer, by names in any case; those that came more than once are joined by commas."""

    __slots__ = ("_found",)

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._found: dict[str, str] = {}
        for name, value in pairs:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
            self._found[key] = f"{self._found[key]}, {text}" if key in self._found else text

    def __getitem__(self, name: str) -> str:
        return self._found[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<{len(self)} headers>"  # one may be a cookie


class Incoming:
    """The answer that a connection reads; `begin` forgets the last one.

    `feed` and `eof` raise NoAnswer.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begin(bodiless=False, upgrades=False)

    def begin(self, *, bodiless: bool, upgrades: bool) -> None:
        """Expect an answer, perhaps one that has no body, or one that may switch to another protocol."""
        self.status: int = 0
        self.pairs: list[tuple[bytes, bytes]] = []
        self.has_head: bool = False
        self.ended: bool = False  # nothing of it is still to come
        self.lives_on: bool = False  # after it, the peer would take another request
        self.unread: int = 0  # bytes of its body that nobody has taken
        self._parts: list[bytes] = []
        self._bodiless = bodiless
        self._upgrades = upgrades
        self._upgraded = False
        self._head_size = 0  # of its headers and trailers
        self._before_head = 0  # bytes that came before the head was whole
        self._interim = 0
        self._until_end = False  # the body ends with the connection
        self._received = 0
        self._expected: int | None = None

    def take(self) -> bytes:
        """What has come of the body."""
        part, self._parts, self.unread = b"".join(self._parts), [], 0
        return part

    def feed(self, data: bytes) -> None:
        """Read what has come."""
        if self._upgraded:
            self._keep(data)
            return
        if not self._before_head and not self.has_head and data[:1] != b"H":  # llhttp skips empty lines
            raise NoAnswer("the answer is no HTTP: it begins with something else")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.has_head = self._upgraded = True
            if rest := data[upgrade.args[0] :]:
                self._keep(rest)
        except httptools.HttpParserError as error:
            raise _nonsense(error) from None
        if not self.has_head:
            self._before_head += len(data)
            if self._before_head > _LONGEST_HEAD:
                raise NoAnswer("the head of the answer is too long")

    def eof(self) -> None:
        """The peer sends no more."""
        self.lives_on = False
        if self._until_end or self._upgraded:
            self.ended = True
        elif not self.has_head:
            raise NoAnswer("Server disconnected without sending a response.")
        elif not self.ended:
            sizes = f"received {self._received} bytes, expected {self._expected}"
            how = "incomplete chunked read" if self._expected is None else sizes
            raise NoAnswer(f"peer closed connection without sending complete message body ({how})")

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self.unread += len(data)
        self._received += len(data)

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
        if not self.has_head:
            self.pairs.append((name, value))

    def on_headers_complete(self) -> None:
        if self._parser.get_http_version() not in ("1.1", "1.0"):
            raise NoAnswer("the answer is of another version of HTTP")
        self.status = self._parser.get_status_code()
        if self.status < 100:
            raise NoAnswer("the answer has a status that is none")
        if self.status == 101 and not self._upgrades:
            raise NoAnswer("the server switches to another protocol, which it was not asked for")
        if self.status >= 200:
            self._until_end = not self._is_framed()
            self.has_head, self.ended = True, self._bodiless

    def _is_framed(self) -> bool:
        """If the answer says where its body ends."""
        framed = self._bodiless or self.status in (204, 304)
        for name, value in self.pairs:
            match name.lower():
                case b"content-length":
                    framed, self._expected = True, int(value)
                case b"transfer-encoding":
                    if value.strip().lower() != b"chunked":
                        raise NoAnswer("the answer has a transfer coding that is not known")
                    framed = True
                case _:
                    pass
        return framed

    def on_body(self, data: bytes) -> None:
        if not self.ended:  # or it belongs to an answer that has none
            self._keep(data)

    def on_message_complete(self) -> None:
        if self.has_head and not self._bodiless:
            self.ended = True
            self.lives_on = self._parser.should_keep_alive()
        elif not self.has_head and self.status != 101:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise NoAnswer("the server gives no answer, only that it is about to")
            self.pairs.clear()


def _nonsense(error: Exception) -> NoAnswer:
    """What our own callbacks said of an answer that is none, else what the parser says."""
    said = error.__context__
    return said if isinstance(said, NoAnswer) else NoAnswer(f"the answer is no HTTP: {error}")

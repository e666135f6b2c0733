"""Bodies of answers: unpacked as they come, whole or piece by piece, and never more at once than fits in memory."""

import zlib

from prisma_mgmt.core.connection import Readable, Reply
from prisma_mgmt.core.headers import request_id
from prisma_mgmt.errors import DecodeError, NetworkError

_PIECE = 1_000_000  # bytes that are unpacked at once, at most
_BROKEN = "DecodingError: a body that should be gzip:"
_GZIP = 31  # what zlib calls gzip with the largest window


async def read_whole(reply: Reply, most: int) -> bytes:
    """The body, read whole and unpacked; DecodeError if it is longer than `most` bytes."""
    whole = reply.content
    if whole is None or "content-encoding" in reply.headers:
        body, parts, size = body_of(reply), list[bytes](), 0
        while size <= most and (part := await body.read()):
            parts.append(part)
            size += len(part)
        whole = b"".join(parts)
    if len(whole) > most:
        raise _refused(f"an answer longer than {most:,} bytes", reply)
    return whole


def body_of(reply: Reply) -> Readable:
    """The body of an answer without its content coding; DecodeError for more than one, each of which multiplies.

    Only gzip is asked for, and only gzip is unpacked. Any other coding that comes unasked is left as it is.
    """
    named = [one.strip() for one in reply.headers.get("content-encoding", "").lower().split(",")]
    codings = [one for one in named if one not in ("", "identity")]
    if len(codings) > 1:
        raise _refused("an answer with more than one content coding", reply)
    return _Unpacked(reply) if codings in (["gzip"], ["x-gzip"]) else reply


class _Unpacked:
    """A gzip body, of one member or of several, in pieces that are bounded."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._packed = b""  # what is still to be unpacked
        self._unpacker = zlib.decompressobj(_GZIP)
        self._begun = False

    async def read(self) -> bytes:
        piece = b""
        try:
            while not piece:
                self._packed = self._packed or await self._reply.read()
                if not self._packed:
                    rest = self._unpacker.flush()
                    if self._begun and not self._unpacker.eof:
                        raise NetworkError(f"{_BROKEN} it stops short")
                    return rest
                self._begun = True
                if self._unpacker.eof:  # another member, or the zeros that some writers add
                    self._packed = self._packed.lstrip(b"\0")
                    self._unpacker = zlib.decompressobj(_GZIP) if self._packed else self._unpacker
                else:
                    piece = self._unpacker.decompress(self._packed, _PIECE)
                    self._packed = self._unpacker.unconsumed_tail or self._unpacker.unused_data
        except zlib.error as error:
            raise NetworkError(f"{_BROKEN} {error}") from None
        return piece


def _refused(what: str, reply: Reply) -> DecodeError:
    """The error of an answer that came, and cannot be read."""
    return DecodeError(f"{what} (status {reply.status})", status=reply.status, request_id=request_id(reply.headers))

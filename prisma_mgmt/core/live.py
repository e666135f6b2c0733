"""Live logs: after the handshake of an ordinary call, WebSocket messages (RFC 6455), read as the lines of a log.

Imported only if a log is followed live, for it needs `websockets`.
"""

import logging
from contextlib import suppress

import anyio
from websockets.exceptions import ConnectionClosedError, PayloadTooBig
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.utils import accept_key, generate_key

from prisma_mgmt.core.call import Answer
from prisma_mgmt.core.limits import Limits
from prisma_mgmt.core.pool import Place
from prisma_mgmt.errors import DecodeError, NetworkError

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_UNLOGGED = logging.Logger("websockets", logging.CRITICAL)  # at DEBUG, it would log what the messages say


class Handshake:
    """Asks for a WebSocket, and makes of the answer the messages that come over it.

    Any other answer is an error, even a 200: whoever follows a log would take what there is so far for all of it.
    """

    def __init__(self, limits: Limits) -> None:
        self._key = ""
        self._limits = limits

    def headers(self) -> dict[str, str]:
        self._key = generate_key()
        return {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-Websocket-Version": "13",
            "Sec-Websocket-Key": self._key,
        }

    def messages(self, answer: Answer) -> "Messages":
        """The lines of the log. Raises DecodeError if the server did not switch."""
        assert answer.open is not None  # the call asked for it
        if answer.status != 101 or answer.headers.get("sec-websocket-accept") != accept_key(self._key):
            told = "the server did not switch to a WebSocket; without follow= it may give the log so far"
            raise answer.error(DecodeError, f"{told} (status {answer.status})")
        return Messages(answer, answer.open, self._limits)


class Unframed:
    """Makes lines of frames: each message is one. What is to be sent in turn is in `protocol`."""

    def __init__(self, longest: int) -> None:
        self.protocol: Protocol = Protocol(Side.CLIENT, max_size=longest, logger=_UNLOGGED)
        self.message: bytearray = bytearray()  # whose end is still to come

    def feed(self, data: bytes) -> bytes:
        """The lines that are whole by now; b"" is the end of the connection."""
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        lines: list[bytes] = []
        for event in self.protocol.events_received():
            if isinstance(event, Frame) and event.opcode in _DATA:
                self.message += event.data
                if event.fin:
                    lines += [bytes(self.message), b"\n"]
                    self.message.clear()
        return b"".join(lines)


class Messages:
    """The body of a live log."""

    def __init__(self, answer: Answer, connection: Place, limits: Limits) -> None:
        self._answer = answer
        self._connection = connection
        self._limits = limits
        self._unframed = Unframed(limits.line)

    async def read(self) -> bytes:
        """The lines that came next. Raises NetworkError when the connection is over, which no live log may be."""
        lines = b""
        while not lines:
            if self._unframed.protocol.state is not State.OPEN:
                raise self._ended()
            lines = self._unframed.feed(await self._connection.read())
            await self._send()
        return lines

    def _ended(self) -> Exception:
        """Why nothing comes any more."""
        protocol = self._unframed.protocol
        if isinstance(protocol.parser_exc, PayloadTooBig):
            told = f"a message of the log is longer than {self._limits.line:,} bytes (status {self._answer.status})"
            return self._answer.error(DecodeError, told)
        why = ConnectionClosedError(protocol.close_rcvd, protocol.close_sent, protocol.close_rcvd_then_sent)
        return self._answer.error(NetworkError, f"the log was cut off before its terminal record: {why}")

    async def _send(self) -> None:
        """Send what the protocol has to say."""
        with anyio.move_on_after(self._limits.goodbye), suppress(Exception):  # reading tells how things stand
            await self._connection.write(b"".join(self._unframed.protocol.data_to_send()))

    async def aclose(self) -> None:
        """Say goodbye, and close the connection."""
        if self._unframed.protocol.state is State.OPEN:
            self._unframed.protocol.send_close(CloseCode.NORMAL_CLOSURE)
        try:
            with anyio.CancelScope(shield=True):
                await self._send()
        finally:
            await self._connection.aclose()

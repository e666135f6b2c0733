"""Live logs: after the handshake of an ordinary call, WebSocket messages (RFC 6455), read as the lines of a log.

Imported only where a log is followed, for it needs `websockets`.
"""

import logging
from contextlib import suppress
from typing import Any

import anyio
import httpcore
import httpx
from websockets.exceptions import ConnectionClosedError, PayloadTooBig
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.utils import accept_key, generate_key

from prisma_mgmt.core.reading import refused
from prisma_mgmt.core.streaming import LONGEST
from prisma_mgmt.core.transport import Stream, Transport

_SILENCE = 660.0  # seconds; the API ends a segment after 600, so a connection that says nothing for longer is dead
_SENDING = 1.0  # seconds, for what we have to say: pongs and goodbyes
_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_UNLOGGED = logging.Logger("websockets", logging.CRITICAL)  # at DEBUG, it would log what the messages say


class Live(Stream):
    """A log that comes as messages, each of them a line.

    Any answer but the switch to them is an error, a 200 too: who follows would take the log so far for the whole.
    """

    live = True

    def __init__(self, transport: Transport, connection: httpx.AsyncBaseTransport, response: httpx.Response) -> None:
        super().__init__(transport, connection, response)
        self._network: Any = response.extensions.get("network_stream")  # httpcore's
        if response.status_code == 101 and self._network is None:
            raise RuntimeError("this transport cannot follow a log: it gives no `network_stream`, as httpx's own does")
        accepted = response.headers.get("sec-websocket-accept")
        if response.status_code != 101 or accepted != accept_key(response.request.headers["sec-websocket-key"]):
            raise refused(
                "the server did not switch to a WebSocket; without follow= it may give the log so far", response
            )
        self._protocol = Protocol(Side.CLIENT, max_size=LONGEST, logger=_UNLOGGED)
        self._lines: list[bytes] = []
        self._message = bytearray()  # whose end is still to come

    @staticmethod
    def ask(request: httpx.Request) -> None:
        request.headers.update({"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"})
        request.headers["Sec-WebSocket-Key"] = generate_key()

    async def _next(self) -> bytes:
        while not self._lines:
            if self._protocol.state is not State.OPEN:
                raise self._ended()
            self._take_in(await self._receive())
            await self._send()
        lines, self._lines = self._lines, []
        return b"".join(lines)

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._network.read(65536, timeout=_SILENCE))
        except httpcore.TimeoutException:
            raise httpx.ReadTimeout(f"the WebSocket was silent for {_SILENCE:.0f} s") from None
        except httpcore.NetworkError as error:
            raise httpx.ReadError(str(error)) from error

    def _take_in(self, data: bytes) -> None:
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in _DATA:
                self._message += event.data
                if event.fin:
                    self._lines += [bytes(self._message), b"\n"]
                    self._message.clear()

    def _ended(self) -> Exception:
        """Why nothing comes any more."""
        protocol = self._protocol
        if isinstance(protocol.parser_exc, PayloadTooBig):
            return refused(f"a message of the log is longer than {LONGEST:,} bytes", self._response)
        told = ConnectionClosedError(protocol.close_rcvd, protocol.close_sent, protocol.close_rcvd_then_sent)
        return httpx.RemoteProtocolError(f"the log was cut off before its terminal record: {told}")

    async def _send(self) -> None:
        """Send what the protocol has to say."""
        with anyio.move_on_after(_SENDING), suppress(Exception):  # whatever it is, reading tells how things stand
            await self._network.write(b"".join(self._protocol.data_to_send()))

    async def _leave(self) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
        with anyio.CancelScope(shield=True):
            await self._send()

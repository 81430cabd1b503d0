"""WebSocket connections as transports, whichever end of them this is. With what listens and what dials: all that imports ``websockets``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from typing_extensions import override
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from nexus.abc.transport import Peer
from nexus.errors import ConnectionLost, NexusError, ProtocolError

_TOO_BIG: Final = 1009
_OUR_COMPLAINTS: Final = frozenset({1002, 1003, 1007, _TOO_BIG})
_TEXT: Final = Opcode.TEXT
_BINARY: Final = Opcode.BINARY

Codes = Mapping[int, Callable[[], NexusError]]
"""What it means when the other end closes the connection with one of these codes."""
_NONE: Final[Codes] = {}


class PromptConnection(Connection):
    """A connection whose messages can be looked at the moment they arrive: a class to derive from, before the library's own.

    Without it, or where a release of the library does not ask it, everything comes by ``recv``, a little later.
    """

    prompt: WebSocketTransport | None = None

    @override
    def process_event(self, event: Frame | Request | Response) -> None:
        if self.prompt is None or not isinstance(event, Frame) or not self.prompt.offered(event):
            super().process_event(event)

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.prompt is not None:
            self.prompt.offered_all()


class WebSocketTransport:
    """Implements :class:`~nexus.abc.transport.PromptTransport` over a connection whose handshake is done.

    Args:
        connection: The connection.
        peer: Who is at its other end.
        most: Bytes of a binary message at most; text has the connection's own limit.
        codes: Close codes that mean more than that the connection has ended.
    """

    def __init__(
        self, connection: PromptConnection, peer: Peer, *, most: int | None = None, codes: Codes = _NONE
    ) -> None:
        self._connection = connection
        self._peer = peer
        self._most = most
        self._codes = codes
        self._waiting = False
        """Whether somebody waits for a message, and none is before the next one."""
        self._take: Callable[[str | bytes], bool] | None = None
        self._taken: Callable[[], None] = lambda: None

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return self._peer

    async def receive(self) -> str | bytes:
        """Return the next message."""
        self._waiting = True
        try:
            message = await self._connection.recv()
        except ConnectionClosed as error:
            raise self._ended(error) from None
        finally:
            self._waiting = False
        if self._most is not None and isinstance(message, bytes) and len(message) > self._most:
            await self.aclose(_TOO_BIG, f"a binary message has at most {self._most} bytes")
            raise ProtocolError(f"a binary message of {len(message)} bytes; at most {self._most} are allowed")
        return message

    async def send(self, message: str | bytes) -> None:
        """Hand a message to the other end."""
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise self._ended(error) from None

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection."""
        await self._connection.close(code, reason.encode()[:123].decode(errors="ignore"))

    # At once --------------------------------------------------------------------------------------------------------

    def hand_over(self, take: Callable[[str | bytes], bool], taken: Callable[[], None]) -> None:
        """Offer messages the moment they arrive."""
        self._take, self._taken = take, taken
        self._connection.prompt = self

    def offered(self, frame: Frame) -> bool:
        """Return whether a frame was taken; what is more than a plain message is left to the library."""
        if frame.opcode is not _TEXT and frame.opcode is not _BINARY:
            return False
        if self._waiting and self._take is not None and frame.fin:
            message = self._plain(frame)
            if message is not None and self._take(message):
                return True
        self._waiting = False  # it comes by receive(), and those after it have to wait for that
        return False

    def _plain(self, frame: Frame) -> str | bytes | None:
        if frame.opcode is _BINARY:
            return bytes(frame.data) if self._most is None or len(frame.data) <= self._most else None
        try:
            return str(frame.data, "utf-8")
        except UnicodeDecodeError:
            return None

    def offered_all(self) -> None:
        """Tell that all messages were offered that had arrived."""
        self._taken()

    def send_now(self, messages: Sequence[str | bytes]) -> bool:
        """Send messages if nothing has to be waited for."""
        connection = self._connection
        if connection.protocol.state is not State.OPEN or connection.transport.get_write_buffer_size():
            return False
        for message in messages:
            if isinstance(message, str):
                connection.protocol.send_text(message.encode())
            else:
                connection.protocol.send_binary(message)
        connection.transport.write(b"".join(connection.protocol.data_to_send()))
        return True

    def _ended(self, error: ConnectionClosed) -> NexusError:
        if error.rcvd is not None and error.rcvd.code in self._codes:
            return self._codes[error.rcvd.code]()
        ours = error.sent is not None and not error.rcvd_then_sent and error.sent.code in _OUR_COMPLAINTS
        if ours and error.sent is not None:
            return ProtocolError(f"the other end broke the rules of WebSocket: {error.sent.reason or error.sent.code}")
        return ConnectionLost("the connection has ended")

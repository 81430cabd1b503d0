"""Messages in a stream of bytes, as the Language Server Protocol frames them: headers, an empty line, the content. Pure.

``Content-Length`` is the content's number of bytes. ``Content-Type: application/octet-stream`` tells binary messages, which that
protocol does not have, from text.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from nexus.errors import ProtocolError

MAX_MESSAGE_BYTES: Final = 1 << 20
_MAX_HEAD_BYTES: Final = 1024
_END: Final = b"\r\n\r\n"
_BINARY: Final = b"application/octet-stream"


def framed(message: str | bytes) -> bytes:
    """Return a message as it is sent."""
    data = message.encode() if isinstance(message, str) else message
    kind = b"" if isinstance(message, str) else b"Content-Type: " + _BINARY + b"\r\n"
    return b"Content-Length: %d\r\n%b\r\n%b" % (len(data), kind, data)


class Unframer:
    """Takes bytes however they come, gives messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._expected: tuple[int, bool] | None = None
        self._messages: deque[str | bytes] = deque()

    def feed(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            ProtocolError: When they are no such stream, or a message is too large. What came before it can still be taken.
        """
        self._buffer += data
        while self._step():
            pass

    def take(self) -> str | bytes | None:
        """Return the next message, ``None`` while there is none."""
        return self._messages.popleft() if self._messages else None

    @property
    def idle(self) -> bool:
        """Whether the stream may end here: no message has begun."""
        return not self._buffer and self._expected is None

    def _step(self) -> bool:
        if self._expected is None:
            return self._head()
        length, binary = self._expected
        if len(self._buffer) < length:
            return False
        data = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._expected = None
        try:
            self._messages.append(data if binary else data.decode())
        except UnicodeDecodeError:
            raise ProtocolError("a text message is not UTF-8") from None
        return True

    def _head(self) -> bool:
        end = self._buffer.find(_END)
        if end > _MAX_HEAD_BYTES or (end < 0 and len(self._buffer) > _MAX_HEAD_BYTES):
            raise ProtocolError(f"the headers of a message are longer than {_MAX_HEAD_BYTES} bytes")
        if end < 0:
            return False
        self._expected = _expected(bytes(self._buffer[:end]))
        del self._buffer[: end + len(_END)]
        return True


def _expected(head: bytes) -> tuple[int, bool]:
    """Return what headers announce: how long the content is, and whether it is binary."""
    fields = {}
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon or name.lower() in fields:
            raise ProtocolError("the headers of a message are not 'Name: value' lines, each once")
        fields[name.lower()] = value.strip()
    length = fields.get(b"content-length", b"")
    if not length.isdigit() or len(length) > 9:
        raise ProtocolError("a message has no 'Content-Length' that is a number")
    if int(length) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"a message of {int(length)} bytes; at most {MAX_MESSAGE_BYTES} are allowed")
    return int(length), fields.get(b"content-type", b"").lower() == _BINARY

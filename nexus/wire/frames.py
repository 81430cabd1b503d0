"""Binary messages: 16 bytes of header, then what the stream carries.

::

    0      1      2          4            8                             16
    | kind | flags| reserved | stream id  | offset (64 bit, big-endian) | payload, at most 65,536 bytes

``DATA``    payload at this absolute offset of its channel. With the flag ``SKIP`` and no payload: what lies before the offset is lost.
``END``     the channel ends here; the offset is its length. With the flag ``FAILED`` a notification has said why.
``WINDOW``  everything before the offset was taken; one window more may follow. On stream 0 for the connection as a whole.
``RESET``   the stream is over for both ends; the payload is a code.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from nexus.errors import ProtocolError
from nexus.wire.limits import MAX_SAFE_INTEGER

_HEADER: Final = struct.Struct(">BBHIQ")
HEADER_SIZE: Final = _HEADER.size
CONNECTION: Final = 0
"""The stream id that means the whole connection."""
MAX_STREAM: Final = 2**32 - 1
_LONGEST_CODE: Final = 256


class Kind(IntEnum):
    """What a frame is about."""

    DATA = 1
    END = 2
    WINDOW = 3
    RESET = 4


class Flag(IntFlag):
    """What more there is to say. Unknown bits are ignored."""

    NONE = 0
    FAILED = 1
    SKIP = 2


class Frame(NamedTuple):
    """One binary message."""

    kind: Kind
    stream: int
    offset: int
    payload: bytes = b""
    flags: Flag = Flag.NONE

    def encode(self) -> bytes:
        """Return it as bytes."""
        return _HEADER.pack(self.kind, self.flags, 0, self.stream, self.offset) + self.payload


def decode(message: bytes, *, most: int) -> Frame:
    """Return the frame in a message.

    Args:
        message: The whole message.
        most: Bytes of payload at most.

    Raises:
        ProtocolError: When it is no frame.
    """
    if len(message) < HEADER_SIZE:
        raise ProtocolError(f"a binary message of {len(message)} bytes is shorter than its header")
    if len(message) > HEADER_SIZE + most:
        raise ProtocolError(f"a binary message carries {len(message) - HEADER_SIZE} bytes; the most is {most}")
    number, flags, _, stream, offset = _HEADER.unpack_from(message)
    payload = message[HEADER_SIZE:]
    try:
        kind = Kind(number)
    except ValueError:
        raise ProtocolError(f"there is no frame of kind {number}") from None
    if offset > MAX_SAFE_INTEGER:
        raise ProtocolError("an offset is beyond 2^53")
    if stream == CONNECTION and kind is not Kind.WINDOW:
        raise ProtocolError(f"stream 0 is the connection itself and carries no {kind.name}")
    if payload and kind in {Kind.END, Kind.WINDOW}:
        raise ProtocolError(f"{kind.name} carries no payload")
    if kind is Kind.RESET and len(payload) > _LONGEST_CODE:
        raise ProtocolError("the code of a RESET is too long")
    if kind is Kind.DATA and bool(payload) == bool(flags & Flag.SKIP):
        raise ProtocolError("DATA carries bytes, or skips some")
    return Frame(kind, stream, offset, payload, Flag(flags & (Flag.FAILED | Flag.SKIP)))

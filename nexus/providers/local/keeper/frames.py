"""What passes over a keeper's socket: a kind, a length, that many bytes. Pure; both sides use it.

One connection is one request. The first frame is a ``REQUEST`` (a JSON object with ``op``); a ``spawn`` then gets ``STARTED``
or ``REFUSED``, output as it arrives and ``EXITED`` at the end, and takes ``STDIN`` and ``STDIN_END``. Every other request gets
one ``REPLY``. A keeper that shuts its reading side says that the command no longer reads standard input.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

PROTOCOL: Final = 1
"""Raised when a keeper and a provider of different releases would misunderstand each other."""

REQUEST: Final = 1
STDIN: Final = 2
STDIN_END: Final = 3
STARTED: Final = 16
REFUSED: Final = 17
STDOUT: Final = 18
STDERR: Final = 19
EXITED: Final = 20
REPLY: Final = 21

CHUNK: Final = 64 * 1024
"""Most bytes of output or input in one frame."""
LIMIT: Final = 16 * 1024 * 1024
"""Longest frame taken: room for the longest command line that a kernel takes, and never for a wrong length."""

_HEADER: Final = Struct("!BI")


class Frame(NamedTuple):
    """One message."""

    kind: int
    payload: bytes


class FrameError(ValueError):
    """The other side does not speak this protocol."""


def pack(kind: int, payload: bytes = b"") -> bytes:
    """Return one frame as bytes.

    Raises:
        FrameError: When the payload is longer than :data:`LIMIT`.
    """
    if len(payload) > LIMIT:
        raise FrameError(f"a frame of {len(payload)} bytes is longer than the {LIMIT} that one may have")
    return _HEADER.pack(kind, len(payload)) + payload


class FrameBuffer:
    """Cuts a stream of bytes into frames, however the bytes arrive."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._bytes += data

    def pop(self) -> Frame | None:
        """Return the next whole frame, or ``None`` until more bytes come.

        Raises:
            FrameError: When a frame claims to be longer than :data:`LIMIT`; nothing is kept for it.
        """
        if len(self._bytes) < _HEADER.size:
            return None
        kind, length = _HEADER.unpack_from(self._bytes)
        if length > LIMIT:
            raise FrameError(f"a frame claims {length} bytes, more than the {LIMIT} that one may have")
        end = _HEADER.size + length
        if len(self._bytes) < end:
            return None
        payload = bytes(memoryview(self._bytes)[_HEADER.size : end])
        del self._bytes[:end]
        return Frame(kind, payload)

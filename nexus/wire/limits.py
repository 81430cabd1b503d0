"""How much of everything one connection may take. The daemon announces its limits in the answer to ``initialize``."""

from __future__ import annotations

from typing import Final

from nexus.models.base import Model

PROTOCOL: Final = 1
"""The version that is spoken here. It rises only for a break; whatever is added has a capability of its own."""
OLDEST_PROTOCOL: Final = 1
SUBPROTOCOL: Final = "nexus.v1"
KIB: Final = 1024
MIB: Final = 1024 * KIB
MAX_SAFE_INTEGER: Final = 2**53 - 1
"""The largest whole number that every JSON implementation keeps exactly."""


class Limits(Model):
    """Limits of a connection. Bytes where nothing else is said."""

    text_frame: int = MIB
    """A text message."""
    data_frame: int = 64 * KIB
    """What one binary message carries behind its header."""
    depth: int = 64
    """Objects and arrays inside each other in a text message."""
    stream_window: int = 256 * KIB
    """What may be under way, or unread, on one stream."""
    connection_window: int = 4 * MIB
    """What may be under way on all streams together."""
    inline_file: int = 256 * KIB
    """The largest piece of a file that a result holds; more comes as a stream."""
    pending: int = 16 * MIB
    """Messages that wait for a slow reader, before its connection is closed."""
    in_flight: int = 256
    """Requests that are being worked on at the same time; one more is answered ``BUSY``."""
    streams: int = 1024
    """Streams that are open at the same time."""
    scrollback: int = MIB
    """What is kept of each channel of a command for those who come back."""
    session_grace_ms: int = 300_000
    """How long a session waits for its client to come back."""

    @property
    def binary_frame(self) -> int:
        """A whole binary message."""
        return self.data_frame + 16


DEFAULT_LIMITS: Final = Limits()

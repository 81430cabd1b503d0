"""Credit: how far each end may send, by absolute offsets. Pure.

The receiver says how far it has taken a stream (``WINDOW``); one window beyond that may be sent. Offsets count from the first byte of
the channel, so that what is sent twice after a cut is recognised, and what was lost is seen. A gap that the sender announces takes no
credit: nothing of it is ever kept.

Credit of the connection as a whole counts what is on its way, not what waits to be read: it is renewed when the bytes have arrived.
Were it renewed when they are read, sixteen commands whose output nobody looks at would stop everything else.
"""

from __future__ import annotations

from nexus.errors import ProtocolError


class SendWindow:
    """How far one stream may be sent.

    Args:
        window: Bytes that may be sent beyond what was taken.
        at: The offset of the first byte that will be sent.
    """

    def __init__(self, window: int, at: int = 0) -> None:
        self._window = window
        self._taken = at
        self._granted = at + window
        self.sent = at
        """The offset after the last byte that was sent."""

    @property
    def taken(self) -> int:
        """How far the receiver has said to have taken it."""
        return self._taken

    @property
    def room(self) -> int:
        """Bytes that may be sent now."""
        return self._granted - self.sent

    def send(self, count: int) -> None:
        """Take note of bytes that are sent.

        Raises:
            ValueError: When they are more than there is room for: a bug of the sender.
        """
        if count > self.room:
            msg = f"{count} bytes are sent where {self.room} may be"
            raise ValueError(msg)
        self.sent += count

    def skip(self, offset: int) -> None:
        """Take note of a gap: the next byte that is sent is at ``offset``."""
        self._granted += offset - self.sent
        self.sent = offset

    def grant(self, taken: int) -> bool:
        """Take what a ``WINDOW`` says; an old one changes nothing. Return whether there is more room now.

        Raises:
            ProtocolError: When bytes were taken that were never sent.
        """
        if taken > self.sent:
            raise ProtocolError(f"a WINDOW says that {taken} bytes were taken; {self.sent} were sent")
        self._taken = max(self._taken, taken)
        before, self._granted = self._granted, max(self._granted, taken + self._window)
        return self._granted > before


class ReceiveWindow:
    """What has come of one stream, and how much more may.

    Args:
        window: Bytes that may wait to be taken.
        at: The offset of the first byte that is expected.
    """

    def __init__(self, window: int, at: int = 0) -> None:
        self._window = window
        self._granted = at + window
        self._announced = at
        self.received = at
        """The offset after the last byte that has come."""
        self.taken = at
        """How far its reader has taken it."""

    def data(self, offset: int, payload: bytes) -> bytes:
        """Return what is new of bytes that came; those that had come before are left out.

        Raises:
            ProtocolError: When bytes before them are missing, or there was no credit for them.
        """
        if offset > self.received:
            raise ProtocolError(f"bytes {self.received} to {offset} of a stream are missing")
        new = payload[self.received - offset :]
        self.arrive(len(new))
        return new

    def arrive(self, count: int) -> None:
        """Take note of bytes that came in their order.

        Raises:
            ProtocolError: When there was no credit for them.
        """
        if self.received + count > self._granted:
            raise ProtocolError(f"a stream was sent to byte {self.received + count}; {self._granted} was granted")
        self.received += count

    def skip(self, offset: int) -> int:
        """Take note of a gap up to ``offset`` and return how many bytes are lost; none when that place is reached already."""
        lost = max(0, offset - self.received)
        self._granted += lost
        self.received += lost
        return lost

    def end(self, length: int) -> None:
        """Check the length that an ``END`` tells.

        Raises:
            ProtocolError: When it is not what has come.
        """
        if length != self.received:
            raise ProtocolError(f"a stream ends at byte {length}; {self.received} have come")

    def take(self, offset: int, *, at_once: bool = False) -> int | None:
        """Take note that the reader has taken everything before ``offset``.

        Args:
            offset: How far; never beyond what has come.
            at_once: Say so now. Otherwise only when half of the window is used, so that few messages are spent on it.

        Returns:
            What the ``WINDOW`` says; ``None`` when none is due.
        """
        self.taken = max(self.taken, min(offset, self.received))
        due = self.taken - self._announced
        if due <= 0 or (due < self._window // 2 and not at_once):
            return None
        self._announced = self.taken
        self._granted = max(self._granted, self.taken + self._window)
        return self.taken

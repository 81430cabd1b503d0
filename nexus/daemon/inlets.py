"""What comes on a stream from a client, until somebody takes it. Bounded by the stream's window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from nexus.errors import ConnectionLost


class Inlet:
    """Bytes in order, then the end or a break.

    Args:
        at: The offset of the first byte.
    """

    def __init__(self, at: int = 0) -> None:
        self.received = at
        """The offset after the last byte that came."""
        self.taken = at
        """How far it was taken."""
        self.ended = False
        self.broken = False
        self.on_taken: Callable[[int], None] | None = None
        """Told how far it was taken."""
        self._pieces: deque[bytes] = deque()
        self._something = anyio.Event()

    def push(self, data: bytes) -> None:
        """Take what came next."""
        self._pieces.append(data)
        self.received += len(data)
        self._something.set()

    def end(self) -> None:
        """Take note that nothing more comes."""
        self.ended = True
        self._something.set()

    def break_off(self) -> None:
        """Take note that the rest will never come."""
        self.broken = True
        self._something.set()

    async def receive(self) -> bytes:
        """Return the next bytes; :meth:`done` with them lets more come. A cancelled call loses none.

        Raises:
            anyio.EndOfStream: At the end.
            ConnectionLost: When it was given up.
        """
        while not self._pieces:
            if self.ended:
                raise anyio.EndOfStream
            if self.broken:
                raise ConnectionLost("the stream was given up before its end")
            self._something = anyio.Event()
            await self._something.wait()
        return self._pieces.popleft()

    def done(self, count: int) -> None:
        """Take note that this many bytes were used."""
        self.taken += count
        if self.on_taken is not None:
            self.on_taken(self.taken)

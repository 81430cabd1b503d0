"""What a stream printed lately, addressed by how many bytes came before. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

MIB: Final = 1024 * 1024


class Scrollback:
    """Keeps the last ``capacity`` bytes of a stream. Offsets count from the stream's first byte and never start again.

    Args:
        capacity: Bytes that are kept; older ones are dropped.
        start: The offset of the first byte that will be appended: not zero when a stream goes on that was kept elsewhere.
    """

    def __init__(self, capacity: int = MIB, *, start: int = 0) -> None:
        if capacity < 1:
            msg = f"a scrollback keeps at least one byte, not {capacity}"
            raise ValueError(msg)
        self._capacity = capacity
        self._pieces: deque[bytes] = deque()
        self._oldest = start
        self._newest = start

    @property
    def capacity(self) -> int:
        """Bytes that are kept."""
        return self._capacity

    @property
    def oldest(self) -> int:
        """The offset of the first byte that is still here."""
        return self._oldest

    @property
    def newest(self) -> int:
        """The offset after the last byte: how many the stream has had in all."""
        return self._newest

    def append(self, data: bytes) -> None:
        """Take what the stream printed next."""
        if not data:
            return
        self._newest += len(data)
        self._pieces.append(bytes(data[-self._capacity :]))
        self._oldest = max(self._oldest, self._newest - self._capacity)
        self._drop()

    def read(self, offset: int, limit: int | None = None) -> tuple[int, bytes]:
        """Return bytes from ``offset`` on, and where they really begin: later, when what was there has been dropped.

        Args:
            offset: Where to begin; at or beyond the end there is nothing.
            limit: Bytes at most; all when absent.
        """
        begin = max(offset, self._oldest)
        end = self._newest if limit is None else min(self._newest, begin + limit)
        if begin >= end:
            return begin, b""
        at, found = self._newest - sum(map(len, self._pieces)), []
        for piece in self._pieces:
            if at >= end:
                break
            if at + len(piece) > begin:
                found.append(piece[max(0, begin - at) : end - at])
            at += len(piece)
        return begin, b"".join(found)

    def _drop(self) -> None:
        """Let go of whole pieces that lie before the oldest byte."""
        at = self._newest - sum(map(len, self._pieces))
        while self._pieces and at + len(self._pieces[0]) <= self._oldest:
            at += len(self._pieces.popleft())

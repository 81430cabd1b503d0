"""What a stream printed lately, addressed by how many bytes came before. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

MIB: Final = 1024 * 1024
_PIECE: Final = 16 * 1024
"""Bytes up to which what comes next is joined to the last piece: a program that prints byte by byte must not cost a piece for each."""
_SEARCH: Final = 64 * 1024
"""How far a place to begin is looked for."""


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
        self._pieces: deque[bytearray] = deque()
        self._begin = start
        """Offset of the first piece's first byte; what lies before ``oldest`` in it is only not let go of yet."""
        self._oldest = start
        self._newest = start
        self._origin = start

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

    @property
    def whole(self) -> bool:
        """Whether nothing was dropped: the first byte that is here is the first that was appended."""
        return self._oldest == self._origin

    def append(self, data: bytes) -> None:
        """Take what the stream printed next."""
        if not data:
            return
        self._newest += len(data)
        kept = data[-self._capacity :]
        if len(kept) < len(data):
            self._pieces.clear()
            self._begin = self._newest - len(kept)
        if self._pieces and len(self._pieces[-1]) < _PIECE:
            self._pieces[-1] += kept
        else:
            self._pieces.append(bytearray(kept))
        self._oldest = max(self._oldest, self._newest - self._capacity)
        self._drop()

    def skip_to(self, offset: int) -> None:
        """Drop everything: what comes next has this offset, and what lies between was never seen.

        Raises:
            ValueError: When the stream has had that byte already.
        """
        if offset < self._newest:
            msg = f"the stream is at {self._newest} and cannot go on at {offset}"
            raise ValueError(msg)
        self._pieces.clear()
        self._begin = self._oldest = self._newest = offset

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
        at, found = self._newest, []
        for piece in reversed(self._pieces):  # what is asked for is nearly always near the end
            at -= len(piece)
            if at < end:
                found.append(bytes(memoryview(piece)[max(0, begin - at) : end - at]))
            if at <= begin:
                break
        return begin, b"".join(reversed(found))

    def safe_start(self, offset: int) -> int:
        r"""Return the first offset at or after ``offset`` from which what follows can be shown by itself.

        That is the stream's beginning, the byte after a ``\n``, or an ``ESC``: never the rest of an escape sequence, and never the rest of
        a character. Where there is none nearby, it is ``offset`` itself, or the oldest byte that is here.
        """
        begin = max(offset, self._oldest)
        if begin >= self._newest or (begin == self._oldest and self.whole):
            return min(begin, self._newest)
        before, data = self.read(max(self._oldest, begin - 1), _SEARCH)
        skip = begin - before
        if skip and data.startswith(b"\n"):
            return begin
        newline, escape = data.find(b"\n", skip), data.find(b"\x1b", skip)
        places = [newline + 1] * (newline >= 0) + [escape] * (escape >= 0)
        return before + min(places) if places else begin

    def _drop(self) -> None:
        """Let go of whole pieces that lie before the oldest byte."""
        while self._pieces and self._begin + len(self._pieces[0]) <= self._oldest:
            self._begin += len(self._pieces.popleft())

"""What a command printed lately, for whoever joins it later. Standard library alone: the keeper loads it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from nexus.providers.local.keeper import frames


class Backlog:
    """Keeps at least the last ``capacity`` bytes, and not much more. Offsets count from the command's first byte.

    Args:
        capacity: Bytes that are kept.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._pieces: deque[bytearray] = deque()
        self._oldest = 0
        self._newest = 0

    def append(self, data: bytes) -> None:
        """Take what comes next."""
        if self._pieces and len(self._pieces[-1]) + len(data) <= frames.CHUNK:
            self._pieces[-1] += data
        else:
            self._pieces.append(bytearray(data))
        self._newest += len(data)
        while self._pieces and self._newest - self._oldest - len(self._pieces[0]) >= self._capacity:
            self._oldest += len(self._pieces.popleft())

    def since(self, offset: int) -> tuple[int, list[bytes]]:
        """Return where what is still here begins, at or after ``offset``, and what there is from there on."""
        begin = min(max(offset, self._oldest), self._newest)
        at, found = self._oldest, []
        for piece in self._pieces:
            if at + len(piece) > begin:
                found.append(bytes(piece[max(0, begin - at) :]))
            at += len(piece)
        return begin, found


class Remains(NamedTuple):
    """A command that ended and that somebody may still ask for."""

    pid: int
    report: bytes
    """What was said of its end."""
    backlog: Backlog

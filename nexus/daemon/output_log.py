"""What a command or a log has printed lately, channel by channel, and in which order it came. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from nexus.terminals.scrollback import Scrollback

_MOST_RUNS: Final = 8192
"""Changes from one channel to the other that are remembered: bounds what a command costs that alternates with every byte."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a channel."""

    channel: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """Bytes of a channel that are not kept any more."""

    channel: str
    start: int
    end: int


@dataclass(slots=True)
class _Run:
    """Bytes of one channel that came with nothing of another in between."""

    channel: str
    start: int
    end: int


@dataclass(slots=True)
class Cursor:
    """Where one reader is. Each has its own: a slow one holds up nobody."""

    offsets: dict[str, int]
    run: int


Room: TypeAlias = Callable[[str], int]
"""Tells how many bytes of a channel may be read now."""


class OutputLog:
    """Keeps the last bytes of each channel.

    Args:
        channels: Their names.
        capacity: Bytes that are kept of each.
    """

    def __init__(self, channels: Sequence[str], capacity: int) -> None:
        self.capacity = capacity
        self._kept = {name: Scrollback(capacity) for name in channels}
        self._runs: deque[_Run] = deque()
        self._dropped = 0

    @property
    def oldest(self) -> Mapping[str, int]:
        """The offset of the first byte of each channel that is kept."""
        return {name: kept.oldest for name, kept in self._kept.items()}

    @property
    def newest(self) -> Mapping[str, int]:
        """The length of each channel so far."""
        return {name: kept.newest for name, kept in self._kept.items()}

    @property
    def crowded(self) -> bool:
        """Whether the order of what came is about to be forgotten."""
        return len(self._runs) >= _MOST_RUNS - 1

    def append(self, channel: str, data: bytes) -> None:
        """Take what was printed next."""
        if not data:
            return
        kept = self._kept[channel]
        start = kept.newest
        kept.append(data)
        if self._runs and self._runs[-1].channel == channel:
            self._runs[-1].end = kept.newest
        else:
            self._runs.append(_Run(channel, start, kept.newest))
        while self._runs[0].end <= self._kept[self._runs[0].channel].oldest or len(self._runs) > _MOST_RUNS:
            self._runs.popleft()
            self._dropped += 1

    def lose(self, channel: str, offset: int) -> None:
        """Take note that what comes next of a channel is at ``offset``: what lies before it was lost on the way here."""
        if offset <= self._kept[channel].newest:
            return
        self._kept[channel] = Scrollback(self.capacity, start=offset)
        while self._runs and self._runs[0].end <= self._kept[self._runs[0].channel].oldest:
            self._runs.popleft()
            self._dropped += 1
        if self._runs and self._runs[-1].channel == channel:
            self._runs.append(_Run(channel, offset, offset))

    def cursor(self, offsets: Mapping[str, int]) -> Cursor:
        """Return a reader's place. An offset beyond the end waits there."""
        return Cursor({name: offsets.get(name, 0) for name in self._kept}, self._dropped)

    def read(self, cursor: Cursor, room: Room) -> Piece | Lost | None:
        """Return what comes next for a reader and move on; ``None`` when there is nothing, or no room for it.

        What was printed first comes first, whichever channel it is of.

        Args:
            cursor: The reader's place.
            room: Tells how much of a channel may be read.
        """
        cursor.run = max(cursor.run, self._dropped)
        lost = self._lost(cursor)
        if lost is not None:
            return lost
        while (at := cursor.run - self._dropped) < len(self._runs):
            run = self._runs[at]
            offset = cursor.offsets[run.channel]
            if offset < run.end:
                return self._piece(cursor, run, room(run.channel))
            if at + 1 == len(self._runs):  # it may still grow
                return None
            cursor.run += 1
        return None

    def _piece(self, cursor: Cursor, run: _Run, room: int) -> Piece | None:
        offset = cursor.offsets[run.channel]
        begin, data = self._kept[run.channel].read(offset, min(room, run.end - offset))
        if not data:
            return None
        cursor.offsets[run.channel] = begin + len(data)
        return Piece(run.channel, begin, data)

    def _lost(self, cursor: Cursor) -> Lost | None:
        for name, offset in cursor.offsets.items():
            oldest = self._kept[name].oldest
            if offset < oldest:
                cursor.offsets[name] = oldest
                return Lost(name, offset, oldest)
        return None

"""What came of a terminal, in the order in which it is told: sizes and gaps have their places among the bytes. Pure."""

from __future__ import annotations

import base64
from collections import deque

from nexus.models.terminals import (
    SOFT_RESET,
    ResizeMark,
    TerminalChanged,
    TerminalEvent,
    TerminalExit,
    TerminalExited,
    TerminalGap,
    TerminalInfo,
    TerminalOutput,
    TerminalResized,
)
from nexus.wire.methods.terminals import Attached


class Arrivals:
    """The events that came of one terminal and that nobody has taken yet, over however many looks at it."""

    def __init__(self) -> None:
        self.received = 0
        """Offset behind the last byte that came, or that will not come."""
        self._events: deque[TerminalEvent] = deque()
        self._later: deque[ResizeMark] = deque()
        """Sizes that begin behind what came."""
        self._size = (0, 0)
        """Rows and columns that hold where ``received`` is."""
        self._prefixes: dict[int, bytes] = {}
        """What comes before the bytes behind a gap, by the offset at which it ends."""

    def __bool__(self) -> bool:
        return bool(self._events)

    @property
    def waiting(self) -> tuple[TerminalEvent, ...]:
        """What nobody has taken yet."""
        return tuple(self._events)

    def take(self) -> TerminalEvent:
        """Return the next event, once."""
        return self._events.popleft()

    def begin(self, found: Attached) -> None:
        """The first look begins."""
        self._size = (found.resizes[0].rows, found.resizes[0].cols)
        self.received = found.start

    def begin_again(self, found: Attached) -> None:
        """Tell what happened while nobody looked. What comes after ``found.start``, the daemon tells again."""
        self._later.clear()
        self._prefixes.clear()
        if found.start > self.received:
            prefix = base64.b64decode(found.prefix)
            self._events.append(TerminalGap(start=self.received, end=found.start, prefix=prefix))
        size = found.resizes[0]
        if (size.rows, size.cols) != self._size:
            self._resized(size)
        self._events.append(TerminalChanged(info=found.info))
        self.received = found.start

    def data(self, offset: int, data: bytes) -> None:
        """Bytes came; a size that begins among them is told at its place."""
        self.received = offset + len(data)
        while self._later and self._later[0].at_offset < self.received:
            mark = self._later.popleft()
            before = data[: max(0, mark.at_offset - offset)]
            if before:
                self._events.append(TerminalOutput(offset=offset, data=before))
                offset, data = offset + len(before), data[len(before) :]
            self._resized(mark)
        self._events.append(TerminalOutput(offset=offset, data=data))

    def gap(self, start: int, end: int) -> None:
        """Bytes are not given."""
        self.received = end
        self._events.append(TerminalGap(start=start, end=end, prefix=self._prefixes.pop(end, SOFT_RESET)))

    def skip(self, end: int, prefix: bytes) -> None:
        """A gap is about to end there, and this comes before what follows it."""
        self._prefixes[end] = prefix

    def resize(self, mark: ResizeMark) -> None:
        """The terminal has another size from some byte on."""
        if mark.at_offset <= self.received:
            self._resized(mark)
        else:
            self._later.append(mark)

    def change(self, info: TerminalInfo) -> None:
        """What is known of the terminal changed."""
        self._events.append(TerminalChanged(info=info))

    def exit(self, exit: TerminalExit) -> None:  # noqa: A002
        """Its program has ended; no bytes are to come."""
        while self._later:
            self._resized(self._later.popleft())
        self._events.append(TerminalExited(exit=exit))

    def _resized(self, mark: ResizeMark) -> None:
        self._size = (mark.rows, mark.cols)
        self._events.append(TerminalResized(mark=mark))

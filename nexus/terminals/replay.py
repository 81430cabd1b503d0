"""Where a client that attaches begins, and what its screen needs before. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

from nexus.models.terminals import AttachPoint, AttachRequest, ResizeMark
from nexus.terminals.modes import ScreenModes
from nexus.terminals.scrollback import Scrollback

TAIL: Final = 64 * 1024
"""Bytes of the past that ``tail`` gives: a few large screens."""
_MOST: Final = 512
"""Resize marks that are kept. A storm of them says nothing that its last one does not."""


class ResizeMarks:
    """The sizes of a terminal, by the offset from which each holds.

    Each mark has a number that never comes again, so that a reader knows which it has been told.

    Args:
        first: The size at the beginning.
    """

    def __init__(self, first: ResizeMark) -> None:
        self._marks: deque[tuple[int, ResizeMark]] = deque([(0, first)])

    @property
    def last(self) -> int:
        """The number of the newest mark."""
        return self._marks[-1][0]

    @property
    def current(self) -> ResizeMark:
        """The size now."""
        return self._marks[-1][1]

    @property
    def all(self) -> tuple[ResizeMark, ...]:
        """Every mark that is kept, the oldest first."""
        return tuple(mark for _, mark in self._marks)

    def add(self, mark: ResizeMark) -> bool:
        """Note another size; return whether it is another one. Of sizes between which nothing was printed the last one is kept."""
        if (mark.rows, mark.cols) == (self.current.rows, self.current.cols):
            return False
        number = self.last + 1
        if self.current.at_offset == mark.at_offset:
            self._marks.pop()
        self._marks.append((number, mark))
        if len(self._marks) > _MOST:
            self._marks.popleft()
        return True

    def drop_before(self, offset: int) -> None:
        """Forget the sizes that no kept byte was printed for."""
        while len(self._marks) > 1 and self._marks[1][1].at_offset <= offset:
            self._marks.popleft()

    def since(self, offset: int) -> tuple[ResizeMark, ...]:
        """Return the size in force at an offset, as of that offset, and all later ones."""
        marks = self.all
        force = [mark for mark in marks if mark.at_offset <= offset]
        first = (force[-1] if force else marks[0]).model_copy(update={"at_offset": offset})
        return (first, *(mark for mark in marks if mark.at_offset > offset))

    def after(self, number: int) -> tuple[int, ResizeMark] | None:
        """Return the first mark with a higher number, and its number; ``None`` when there is none."""
        if number >= self.last:
            return None
        return next((known, mark) for known, mark in self._marks if known > number)

    def number_at(self, offset: int) -> int:
        """Return the number of the size in force at an offset."""
        return max((number for number, mark in self._marks if mark.at_offset <= offset), default=self._marks[0][0])


def begin(kept: Scrollback, marks: ResizeMarks, modes: ScreenModes, request: AttachRequest) -> AttachPoint:
    """Return where an attachment begins.

    A client that goes on where it was gets just what follows. Every other one begins at a place that can be shown by itself, after a soft
    reset, so that no sequence that was cut disturbs its screen, and with the modes that hold there.
    """
    since = request.since
    if since is not None and kept.oldest <= since <= kept.newest:
        return _point(kept, marks, since)
    if since is not None and since < kept.oldest:
        start = kept.safe_start(kept.oldest)
        return _point(kept, marks, start, gap=(since, start), prefix=modes.prefix(start))
    if since is not None or request.replay == "none":
        start = kept.newest
    elif request.replay == "all":
        start = kept.safe_start(kept.oldest)
    else:
        start = tail_of(kept)
    return _point(kept, marks, start, prefix=modes.prefix(start))


def tail_of(kept: Scrollback) -> int:
    """Return where the last screens begin."""
    return kept.safe_start(max(kept.oldest, kept.newest - TAIL))


def _point(
    kept: Scrollback, marks: ResizeMarks, start: int, *, gap: tuple[int, int] | None = None, prefix: bytes = b""
) -> AttachPoint:
    return AttachPoint(
        start=start, oldest=kept.oldest, newest=kept.newest, gap=gap, prefix=prefix, resizes=marks.since(start)
    )

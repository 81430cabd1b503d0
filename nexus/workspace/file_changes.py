"""Changes gathered until somebody takes them: one for each path, never too many. Pure."""

from __future__ import annotations

from typing import Final

from nexus.models.files import FileChange, FileEvent, WatchBatch

MOST_WAITING: Final = 10_000
"""Changes that are kept for a watcher that does not come for them."""
BATCH: Final = 1000
"""Changes in one batch."""

_JOINED: Final[dict[tuple[FileChange, FileChange], FileChange | None]] = {
    (FileChange.CREATED, FileChange.CHANGED): FileChange.CREATED,
    (FileChange.CREATED, FileChange.DELETED): None,
    (FileChange.CHANGED, FileChange.CREATED): FileChange.CHANGED,
    (FileChange.DELETED, FileChange.CREATED): FileChange.CHANGED,
    (FileChange.DELETED, FileChange.CHANGED): FileChange.CHANGED,
}
"""What two changes of one path come to; the later one where the pair is not named."""


class Changes:
    """What has changed since the last batch was taken."""

    def __init__(self) -> None:
        self._waiting: dict[str, FileChange] = {}
        self._overflow = False

    def add(self, kind: FileChange, path: str) -> None:
        """Note a change. Too many are dropped, and that is noted instead."""
        before = self._waiting.get(path)
        after = kind if before is None else _JOINED.get((before, kind), kind)
        if after is None:
            del self._waiting[path]
        elif before is None and len(self._waiting) >= MOST_WAITING:
            self.overflow()
        else:
            self._waiting[path] = after

    def overflow(self) -> None:
        """Note that changes are missing. Those that are known do not matter any more."""
        self._waiting.clear()
        self._overflow = True

    def take(self) -> WatchBatch | None:
        """Return the next batch; ``None`` when nothing has changed."""
        if not self._waiting and not self._overflow:
            return None
        paths = sorted(self._waiting)[:BATCH]
        events = tuple(FileEvent(kind=self._waiting.pop(path), path=path) for path in paths)
        overflow, self._overflow = self._overflow, False
        return WatchBatch(events=events, overflow=overflow)

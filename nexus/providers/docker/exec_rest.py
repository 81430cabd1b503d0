"""What a command leaves in its pipes: its end is known before its last bytes have come, and who outlives it may go on printing. Pure."""

from __future__ import annotations

from typing import Final

_AFTER_END: Final = 0.15
"""Seconds that output may still come after the command's end; with the next, well within the 0.25 of the contract."""
_LATE_WAIT: Final = 0.05
"""Seconds spent waiting, all in all, for what a slow reader left in the pipes after that."""
_LATE_LIMIT: Final = 1024 * 1024
"""More than pipes and sockets between a command and us can hold: what comes beyond it after the end is not the command's."""
_SHORTEST: Final = 0.001


class Rest:
    """Judges for how long the output of a command that has ended is still waited for. It is told what time it is, in seconds."""

    def __init__(self) -> None:
        self._ended_at: float | None = None
        self._came = 0
        self._waited = 0.0

    @property
    def ended(self) -> bool:
        """Whether the command's end is known."""
        return self._ended_at is not None

    def end(self, now: float) -> None:
        """The command has ended."""
        self._ended_at = now

    def came(self, size: int) -> None:
        """So many bytes came."""
        if self._ended_at is not None:
            self._came += size

    def waited(self, since: float, now: float) -> None:
        """Somebody waited for bytes."""
        if self._ended_at is not None and since >= self._ended_at + _AFTER_END:
            self._waited += now - since

    def patience(self, now: float) -> float | None:
        """Return how long to wait for the next bytes; ``None`` while the command runs."""
        if self._ended_at is None:
            return None
        left = self._ended_at + _AFTER_END - now
        return left if left > 0 else max(_SHORTEST, _LATE_WAIT - self._waited)

    def is_over(self, now: float) -> bool:
        """Return whether whatever comes now is not the command's any more."""
        if self._ended_at is None or now < self._ended_at + _AFTER_END:
            return False
        # A slow reader still gets what the command left in the pipes; a background child's endless output is cut.
        return self._came > _LATE_LIMIT or self._waited >= _LATE_WAIT

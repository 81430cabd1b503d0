"""A clock that a test moves by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio


class ManualClock:
    """Implements :class:`nexus.abc.Clock`: its time stands still until :meth:`advance` moves it.

    Args:
        start: The time to begin with; the machine's own when absent.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime.now(UTC)
        self._passed = 0.0
        self._changed = anyio.Event()
        self._sleepers: list[float] = []

    def now(self) -> datetime:
        """Return the time it was moved to."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was moved this far."""
        until = self._passed + max(0.0, seconds)
        self._sleepers.append(until)
        self._ring()
        try:
            while self._passed < until:
                await self._changed.wait()
        finally:
            self._sleepers.remove(until)
            self._ring()

    def advance(self, by: float | timedelta) -> None:
        """Let time pass.

        Args:
            by: Seconds, or a span.
        """
        span = by if isinstance(by, timedelta) else timedelta(seconds=by)
        self._now += span
        self._passed += span.total_seconds()
        self._ring()

    def jump(self, by: float | timedelta) -> None:
        """Set the time of day to another one, as an administrator might, without any time passing.

        Args:
            by: Seconds, or a span; negative to set it back.
        """
        self._now += by if isinstance(by, timedelta) else timedelta(seconds=by)

    async def at_rest(self, sleepers: int = 1) -> None:
        """Return once this many tasks wait for a later time: whatever the last move has set off is done.

        Args:
            sleepers: How many.
        """
        while sum(until > self._passed for until in self._sleepers) < sleepers:
            await self._changed.wait()

    def _ring(self) -> None:
        bell, self._changed = self._changed, anyio.Event()
        bell.set()

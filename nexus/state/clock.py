"""The clock of this machine."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio


class SystemClock:
    """Implements :class:`nexus.abc.Clock` with the machine's own time."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Return when this many seconds have passed."""
        await anyio.sleep(seconds)

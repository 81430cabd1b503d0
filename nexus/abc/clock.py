"""What time it is, and waiting for a later one."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time that decisions about idleness, holds and expiry are made by."""

    def now(self) -> datetime:
        """Return the time, with its zone."""

    async def sleep(self, seconds: float) -> None:
        """Return when this many seconds have passed. Cancellation: at once."""

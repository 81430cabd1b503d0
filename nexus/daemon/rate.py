"""How often somebody may ask. Pure: whoever uses it says what time it is."""

from __future__ import annotations


class RateLimit:
    """A bucket that fills with time: short bursts pass, a steady flood does not.

    Args:
        per_second: Requests that may be made for ever.
        burst: Requests that may be made at once.
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._seen = 0.0

    def take(self, now: float) -> bool:
        """Return whether one more may be made now.

        Args:
            now: Seconds on a clock that never goes back.
        """
        if self._seen:
            self._left = min(self._burst, self._left + (now - self._seen) * self._per_second)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

"""When to try again. Pure: whoever uses it brings the randomness."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nexus.models.base import Model


class Backoff(Model):
    """Delays that grow, each shortened at random so that a thousand clients of one daemon do not come back at the same moment.

    Times are in seconds.
    """

    first: float = 0.05
    factor: float = 2.0
    longest: float = 5.0
    give_up_after: float = 60.0
    """How long a lost connection is tried to be made again."""

    def delays(self, random: Callable[[], float]) -> Iterator[float]:
        """Give the delays, without end.

        Args:
            random: Returns a number between 0 and 1.
        """
        delay = self.first
        while True:
            yield delay * (0.5 + random() / 2)
            delay = min(delay * self.factor, self.longest)

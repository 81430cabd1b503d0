"""Measuring: two things in turn, round by round, so that a machine whose speed drifts tells the truth about their ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

Measured = Callable[[], Awaitable[float]]
"""One round: does the work and returns the seconds that count (setting up and clearing away do not)."""

_ENOUGH: Final = 3
"""Rounds that are measured however long they take."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured."""

    rounds: int = 10
    """Counted rounds of each measurement."""
    seconds: float = 25.0
    """A measurement that has taken longer ends after three rounds or the one it is in."""
    quick: bool = False
    """Smaller repositories and fewer workspaces as well: to see that a benchmark works."""

    def times(self, factor: int) -> Effort:
        """Return the same for something so quick that it can be measured more often."""
        return Effort(rounds=self.rounds * factor, seconds=self.seconds, quick=self.quick)


QUICK: Final = Effort(rounds=3, seconds=5.0, quick=True)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One line of the report."""

    name: str
    median: float
    p95: float
    unit: str = "ms"
    beside: str | None = None
    """What it was run beside."""
    beside_median: float | None = None
    ratio: float | None = None
    """Median of the ratios of the rounds."""
    budget: str = ""
    met: bool | None = None
    rounds: int = 0

    def as_dict(self) -> dict[str, object]:
        """Return the line as JSON values."""
        return asdict(self)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


async def timed(act: Callable[[], Awaitable[object]]) -> float:
    """Return the seconds that one call took."""
    begun = time.perf_counter()
    await act()
    return time.perf_counter() - begun


async def alone(
    name: str, ours: Measured, *, effort: Effort, limit_ms: float | None = None, warm_up: int = 1
) -> Sample:
    """Measure one thing against a limit in milliseconds."""
    for _ in range(warm_up):
        await ours()
    values: list[float] = []
    begun = time.perf_counter()
    while _goes_on(len(values), begun, effort):
        values.append(1000 * await ours())
    return judged(name, values, limit_ms=limit_ms)


def judged(name: str, values: Sequence[float], *, limit_ms: float | None = None) -> Sample:
    """Return the line for milliseconds that were measured, against a limit for their median."""
    median = statistics.median(values)
    return Sample(
        name=name,
        median=median,
        p95=percentile(values, 0.95),
        budget="" if limit_ms is None else f"≤ {limit_ms:g} ms",
        met=None if limit_ms is None else median <= limit_ms,
        rounds=len(values),
    )


async def beside(
    name: str,
    ours: Measured,
    other: str,
    theirs: Measured,
    *,
    effort: Effort,
    at_most: float | None = None,
    warm_up: int = 1,
) -> Sample:
    """Measure two things in turn, A B A B …, against a limit on the ratio."""
    for _ in range(warm_up):
        await ours()
        await theirs()
    pairs: list[tuple[float, float]] = []
    begun = time.perf_counter()
    while _goes_on(len(pairs), begun, effort):
        pairs.append((1000 * await ours(), 1000 * await theirs()))
    return compared(name, pairs, other, at_most=at_most)


def compared(name: str, pairs: Sequence[tuple[float, float]], other: str, *, at_most: float | None = None) -> Sample:
    """Return the line for pairs of milliseconds, ours first, against a limit for the median of their ratios."""
    ratio = statistics.median(a / b for a, b in pairs)
    mine = [a for a, _ in pairs]
    return Sample(
        name=name,
        median=statistics.median(mine),
        p95=percentile(mine, 0.95),
        beside=other,
        beside_median=statistics.median(b for _, b in pairs),
        ratio=ratio,
        budget="" if at_most is None else f"≤ {at_most:g} x",
        met=None if at_most is None else ratio <= at_most,
        rounds=len(pairs),
    )


def _goes_on(done: int, begun: float, effort: Effort) -> bool:
    if done < min(_ENOUGH, effort.rounds):
        return True
    return done < effort.rounds and time.perf_counter() - begun < effort.seconds

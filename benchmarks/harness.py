"""Measuring: two things in turn, round by round, so that a machine whose speed drifts tells the truth about their ratio."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass

Measured = Callable[[], Awaitable[float]]
"""One round: does the work and returns the seconds that count (setting up and clearing away do not)."""


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


def environment() -> str:
    """Return one line about the machine."""
    python, today = platform.python_version(), time.strftime("%Y-%m-%d")
    return f"{platform.system()} {platform.release()}, Python {python}, {os.cpu_count()} cores, {today}"


async def timed(act: Callable[[], Awaitable[object]]) -> float:
    """Return the seconds that one call took."""
    begun = time.perf_counter()
    await act()
    return time.perf_counter() - begun


async def alone(name: str, ours: Measured, *, rounds: int, limit_ms: float | None = None, warm_up: int = 1) -> Sample:
    """Measure one thing against a limit in milliseconds."""
    for _ in range(warm_up):
        await ours()
    values = [1000 * await ours() for _ in range(rounds)]
    median = statistics.median(values)
    return Sample(
        name=name,
        median=median,
        p95=percentile(values, 0.95),
        budget="" if limit_ms is None else f"≤ {limit_ms:g} ms",
        met=None if limit_ms is None else median <= limit_ms,
        rounds=rounds,
    )


async def beside(
    name: str,
    ours: Measured,
    other: str,
    theirs: Measured,
    *,
    rounds: int,
    at_most: float | None = None,
    warm_up: int = 1,
) -> Sample:
    """Measure two things in turn, A B A B …, against a limit on the ratio."""
    for _ in range(warm_up):
        await ours()
        await theirs()
    pairs = [(1000 * await ours(), 1000 * await theirs()) for _ in range(rounds)]
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
        rounds=rounds,
    )


def table(samples: Sequence[Sample]) -> str:
    """Return the report as aligned text."""
    head = ("what", "median", "p95", "beside", "its median", "ratio", "budget", "")
    rows = [head, *(_row(sample) for sample in samples)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(sample: Sample) -> tuple[str, ...]:
    verdict = {True: "met", False: "MISSED", None: ""}[sample.met]
    return (
        sample.name,
        f"{sample.median:.2f} {sample.unit}",
        f"{sample.p95:.2f} {sample.unit}",
        sample.beside or "",
        "" if sample.beside_median is None else f"{sample.beside_median:.2f} {sample.unit}",
        "" if sample.ratio is None else f"{sample.ratio:.2f} x",
        sample.budget,
        verdict,
    )

"""What a container uses, from the engine's raw counters. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from nexus.models.instances import ResourceStats
from nexus.providers.docker.client import Answer

_NO_LIMIT = 1 << 60
"""The kernel writes a number near 2⁶³ where there is no limit."""


class _Cpu(Answer):
    total: int = Field(default=0, alias="total_usage")


class _CpuStats(Answer):
    usage: _Cpu = Field(default=_Cpu(), alias="cpu_usage")


class _MemoryStats(Answer):
    usage: int | None = Field(default=None, alias="usage")
    limit: int | None = Field(default=None, alias="limit")
    stats: Mapping[str, int] | None = Field(default=None, alias="stats")


class _PidsStats(Answer):
    current: int = Field(default=0, alias="current")


class Counters(Answer):
    """What ``GET /containers/{id}/stats`` says."""

    cpu: _CpuStats = Field(default=_CpuStats(), alias="cpu_stats")
    memory: _MemoryStats = Field(default=_MemoryStats(), alias="memory_stats")
    pids: _PidsStats = Field(default=_PidsStats(), alias="pids_stats")

    @property
    def empty(self) -> bool:
        """Whether there is nothing to count: the container does not run."""
        return self.memory.usage is None and self.pids.current == 0


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading of the processor's counter, to compare the next one with."""

    at: float
    """The loop's clock, in seconds."""
    cpu_seconds: float


def stats_of(counters: Counters, at: float, previous: Reading | None) -> tuple[ResourceStats, Reading]:
    """Return what is used now, and the reading to keep.

    Args:
        counters: What the engine says.
        at: When, on the same clock as ``previous``.
        previous: The reading before this one.
    """
    seconds = counters.cpu.usage.total / 1e9
    percent = None
    # A counter that went back is another container's, or the same one's after a start.
    if previous is not None and at > previous.at and seconds >= previous.cpu_seconds:
        percent = (seconds - previous.cpu_seconds) / (at - previous.at) * 100
    memory = counters.memory
    limit = memory.limit if memory.limit is not None and 0 < memory.limit < _NO_LIMIT else None
    stats = ResourceStats(
        cpu_seconds=seconds,
        cpu_percent=percent,
        memory_bytes=max(0, (memory.usage or 0) - _reclaimable(memory.stats or {})),
        memory_limit=limit,
        processes=counters.pids.current,
    )
    return stats, Reading(at, seconds)


def _reclaimable(stats: Mapping[str, int]) -> int:
    """Return the page cache that the kernel would give back at once, which nobody means by memory in use."""
    return stats.get("total_inactive_file", stats.get("inactive_file", 0))

"""What a workspace's processes use. Blocking; run in a worker thread."""

from __future__ import annotations

import os
import re
import time
from typing import Final, NamedTuple

from nexus.models.instances import ResourceStats
from nexus.providers.local.keeper import tree

_PSS: Final = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)


class Reading(NamedTuple):
    """Processor seconds at a moment of the monotonic clock."""

    at: float
    cpu_seconds: float


def measure(keeper: int, previous: Reading | None) -> tuple[ResourceStats, Reading]:
    """Add up everything below a keeper, and what it has reaped already; the keeper itself is not counted.

    Memory is the proportional share (PSS), so that pages which processes have in common count once; where the system does
    not tell that, it is the resident size.
    """
    own = tree.read(keeper)
    processes = tree.descendants(keeper)
    ticks = sum(process.ticks for process in processes) + (own.waited_ticks if own is not None else 0)
    reading = Reading(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"))
    living = [process for process in processes if not process.ended]
    stats = ResourceStats(
        cpu_seconds=reading.cpu_seconds,
        cpu_percent=_share(previous, reading),
        memory_bytes=sum(_memory(process.pid) for process in living),
        processes=len(living),
    )
    return stats, reading


def _share(previous: Reading | None, now: Reading) -> float | None:
    if previous is None or now.at <= previous.at:
        return None
    # A process whose parent ignores its end takes its time with it, so the sum may fall.
    return max(0.0, now.cpu_seconds - previous.cpu_seconds) / (now.at - previous.at) * 100


def _memory(pid: int) -> int:
    share = _PSS.search(tree.slurp(f"/proc/{pid}/smaps_rollup") or b"")
    if share is not None:
        return int(share[1]) * 1024
    pages = (tree.slurp(f"/proc/{pid}/statm") or b"0 0").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE")

"""Counting what a process holds: descriptors, threads, tasks, memory; and what an engine holds for us."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import aiodocker

from nexus.models.instances import LABEL_REPOSITORY

_KIB = 1024
_MIB = 1024 * 1024
_WORKER = "AnyIO worker thread"


class _Allocator(ctypes.Structure):
    """What ``mallinfo2`` tells (glibc 2.33 or later)."""

    _fields_ = [  # type: ignore[mutable-override]  # a list is how ctypes has it
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]

    fordblks: int


def memory() -> float:
    """Return the memory of this process that is its own and in use, in MiB."""
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) / _KIB
    return 0.0


def freed() -> float:
    """Return how much of that memory has been freed and is kept by the C library for what comes next, in MiB.

    It keeps a store for each thread that has ever run beside others, up to eight for each processor, so this levels off late.
    """
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return 0.0
    ask.restype = _Allocator
    told = ask()
    return float(told.fordblks) / _MIB


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What there is at one moment."""

    descriptors: int
    threads: int
    """Without the pool's workers: it is bounded, and as large as the last burst until they have been idle for a while."""
    tasks: int
    children: int
    containers: int
    networks: int
    memory: float
    """MiB"""
    freed: float
    """MiB of it that are free again; see :func:`freed`."""


async def count(docker: aiodocker.Docker | None, repository: Path) -> Counts:
    """Count now, with the garbage gone. Without an engine it has nothing of ours.

    Args:
        docker: The engine.
        repository: Whose workspaces are counted there.
    """
    gc.collect()
    containers = networks = 0
    if docker is not None:
        ours = {"label": [f"{LABEL_REPOSITORY}={repository}"]}
        containers = len(await docker.containers.list(all=True, filters=ours))
        networks = len(await docker.networks.list(filters=ours))
    return Counts(
        descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - the listing itself holds one, each time
        threads=sum(thread.name != _WORKER for thread in threading.enumerate()),
        tasks=len(asyncio.all_tasks()),
        children=_children(),
        containers=containers,
        networks=networks,
        memory=memory(),
        freed=freed(),
    )


def _children() -> int:
    found = 0
    for task in Path("/proc/self/task").iterdir():
        try:
            found += len((task / "children").read_text(encoding="ascii").split())
        except OSError:
            continue  # the thread has just ended
    return found

"""What the kernel lets a user limit who may make no control groups. Blocking, for microseconds.

Two things, set on the keeper and inherited by everything that it starts: which processors they may run on, and how much memory each
single process may write to (``RLIMIT_DATA``). There is no limit on what all of them use together, on disk space, or on how many there
are, and a program may widen the choice of processors again: this keeps honest programs in bounds and no others.
"""

from __future__ import annotations

import math
import os
import resource
import zlib
from collections.abc import Collection
from contextlib import suppress

from nexus.models.ids import WorkspaceId
from nexus.models.resources import ResourceAllocation
from nexus.providers.local.cgroups import Held


def choose_processors(workspace: WorkspaceId, limit: float, there: Collection[int]) -> frozenset[int]:
    """Return the processors that a workspace may use: as many as its limit, rounded up, another group for each workspace. Pure.

    Args:
        workspace: Its id.
        limit: Its limit in cores.
        there: The processors that this program itself may use.
    """
    count = max(1, math.ceil(limit))
    if count >= len(there):
        return frozenset(there)
    ordered = sorted(there)
    first = zlib.crc32(workspace.encode()) % len(ordered)
    return frozenset((ordered * 2)[first : first + count])


def apply_limits(workspace: WorkspaceId, keeper: int, resources: ResourceAllocation, *, but: Held) -> None:
    """Limit a keeper that has just started, and so what it will start. One that has ended already is fine.

    Args:
        workspace: The workspace's id.
        keeper: The keeper's process id.
        resources: What the workspace is given.
        but: What control groups keep already, and better.
    """
    if but.cpu is None:
        with suppress(OSError):  # a machine that allows fewer processors by now, or a keeper that ended
            os.sched_setaffinity(keeper, choose_processors(workspace, resources.cpu_limit, os.sched_getaffinity(0)))
    if but.memory is not None:
        return
    with suppress(OSError, ValueError):
        _, hard = resource.prlimit(keeper, resource.RLIMIT_DATA)
        most = resources.memory_limit if hard == resource.RLIM_INFINITY else min(hard, resources.memory_limit)
        resource.prlimit(keeper, resource.RLIMIT_DATA, (most, most))


def processors_of(keeper: int) -> int | None:
    """Return how many processors a workspace may use; ``None`` where that is all of them, or not known."""
    try:
        allowed = len(os.sched_getaffinity(keeper))
    except OSError:
        return None
    return allowed if allowed < (os.cpu_count() or allowed) else None

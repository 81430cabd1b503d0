"""Processes of a workspace that have no keeper any more: found by the mark in their environment, and ended."""

from __future__ import annotations

import os
import signal

import anyio
from anyio import to_thread

from nexus.errors import CleanupError
from nexus.providers.local.environment import mark
from nexus.providers.local.keeper import tree

_POLL = 0.02
_UNKILLABLE = 5.0


async def end_leftovers(workspace: str, *, grace: float) -> int:
    """End every process of this user that carries the workspace's mark, this one apart; return how many there were.

    The caller holds the workspace's lock, so that no new keeper is taken for a leftover.

    Args:
        workspace: Its id.
        grace: Seconds between TERM and KILL.

    Raises:
        CleanupError: When some are there still, seconds after KILL.

    Cancellation: some may be left; asking again goes on.
    """
    told: set[tuple[int, int]] = set()
    deadline = anyio.current_time() + grace
    while True:
        late = anyio.current_time() - deadline
        left = await to_thread.run_sync(_round, workspace, told, late >= 0)
        if not left:
            return len(told)
        if late > _UNKILLABLE:
            raise CleanupError(
                f"{len(left)} processes of the workspace do not end although they were killed",
                hint="they wait for the kernel, for example for a disk that does not answer",
                details={"left": left},
            )
        await anyio.sleep(_POLL)


def _round(workspace: str, told: set[tuple[int, int]], kill: bool) -> list[int]:
    found = tree.marked(mark(workspace), but=frozenset({os.getpid()}))
    for process in found:
        if kill:
            tree.send(process, signal.SIGKILL)
        elif process.key not in told:
            tree.send(process, signal.SIGTERM)
            if process.terminal:
                tree.send(process, signal.SIGHUP)
            tree.send(process, signal.SIGCONT)
        told.add(process.key)
    return [process.pid for process in found]

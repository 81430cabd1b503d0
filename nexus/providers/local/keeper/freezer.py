"""Pause and resume: every descendant frozen or stopped where it is, and exactly those let go on again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import Final

from nexus.providers.local.keeper import tree
from nexus.providers.local.keeper.frozen_group import FrozenGroup

_ROUNDS: Final = 200
_WAIT: Final = 0.001


class Freezer:
    """Freezes by a control group where there is one, else by signals.

    It remembers whom it stopped: what was stopped by somebody else before stays so.

    Args:
        folder: The workspace's own folder, where its group is noted.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._group: FrozenGroup | None = None
        self._held: dict[tuple[int, int], tree.Process] = {}

    def freeze(self) -> str:
        """Freeze every descendant of this process, and say how."""
        group = FrozenGroup.noted(self._folder)
        if group is not None and group.freeze(_running):
            self._group = group
            return "frozen by its control group"
        self._stop()
        return "stopped by signals"

    def _stop(self) -> None:
        """Stop every descendant.

        Rounds follow until one finds nothing new and nothing that still runs: a process may have started another before its
        own signal came. Parents are stopped before their children, so that no shell sees a child stop and calls it a job. One
        asleep in the kernel (state D) stops when it comes out; it is not waited for.
        """
        for _ in range(_ROUNDS):
            moving = False
            for process in _running():
                if process.stopped:
                    continue
                if process.key not in self._held:
                    moving = True
                    if tree.send(process, signal.SIGSTOP):
                        self._held[process.key] = process
                elif process.state != "D":
                    moving = True
            if not moving:
                return
            time.sleep(_WAIT)

    def let_die(self, killed: Sequence[tree.Process]) -> None:
        """Let processes that were killed meanwhile end, and no others go on."""
        if self._group is not None:
            self._group.expel(killed)

    def thaw(self) -> None:
        """Let everything that :meth:`freeze` has frozen or stopped go on, children before their parents."""
        if self._group is not None:
            self._group.thaw()
            self._group = None
        for process in reversed(self._held.values()):
            tree.send(process, signal.SIGCONT)
        self._held.clear()


def _running() -> list[tree.Process]:
    return [process for process in tree.descendants(os.getpid()) if not process.ended]

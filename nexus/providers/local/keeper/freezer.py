"""Pause and resume: every descendant stopped where it is, and exactly those let go on again."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

from nexus.providers.local.keeper import tree

_ROUNDS: Final = 200
_WAIT: Final = 0.001


class Freezer:
    """Remembers whom it stopped: what was stopped by somebody else before stays so."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], tree.Process] = {}

    def freeze(self) -> None:
        """Stop every descendant of this process.

        Rounds follow until one finds nothing new and nothing that still runs: a process may have started another before its
        own signal came. Parents are stopped before their children, so that no shell sees a child stop and calls it a job. One
        asleep in the kernel (state D) stops when it comes out; it is not waited for.
        """
        for _ in range(_ROUNDS):
            moving = False
            for process in tree.descendants(os.getpid()):
                if process.ended or process.stopped:
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

    def thaw(self) -> None:
        """Let everything that :meth:`freeze` stopped go on, children before their parents."""
        for process in reversed(self._held.values()):
            tree.send(process, signal.SIGCONT)
        self._held.clear()

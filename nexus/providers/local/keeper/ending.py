"""The end of a workspace: every descendant is told, then killed, until there is none."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Final

from nexus.providers.local.keeper import tree
from nexus.providers.local.keeper.command import HANG_UP_AGAIN
from nexus.providers.local.keeper.loop import Loop

_TICK: Final = 0.02
_UNKILLABLE: Final = 5.0
"""Seconds after KILL until what is left (asleep in the kernel) is reported."""


class Ending:
    """Runs on the loop until no descendant is left.

    Args:
        loop: The keeper's loop.
        is_over: Whether no child is left; reaps on the way.
        on_over: Called once when none is left.
        on_stuck: Called with the ids of what does not go away although it was killed. The work goes on.
    """

    def __init__(
        self,
        loop: Loop,
        is_over: Callable[[], bool],
        on_over: Callable[[], None],
        on_stuck: Callable[[Sequence[int]], None],
    ) -> None:
        self._loop = loop
        self._is_over = is_over
        self._on_over = on_over
        self._on_stuck = on_stuck
        self._deadline: float | None = None
        self._told: dict[tuple[int, int], float] = {}
        """Who was told to end, and when they last were told that their terminal is gone."""
        self._stuck = False
        self._over = False

    @property
    def begun(self) -> bool:
        """Whether it was asked for."""
        return self._deadline is not None

    def begin(self, grace: float) -> None:
        """End everything: TERM now, KILL after ``grace`` seconds. Asked again: the earlier moment counts."""
        deadline = time.monotonic() + grace
        if self._deadline is None:
            self._deadline = deadline
            self._round()
        else:
            self._deadline = min(self._deadline, deadline)

    def check(self) -> None:
        """Look whether it is over; called whenever a child has ended."""
        if self.begun and not self._over and self._is_over():
            self._over = True
            self._on_over()

    def _round(self) -> None:
        self.check()
        if self._over or self._deadline is None:
            return
        late = time.monotonic() - self._deadline
        living = [process for process in tree.descendants(os.getpid()) if not process.ended]
        for process in living:
            if late >= 0:
                tree.send(process, signal.SIGKILL)
            else:
                self._tell(process)
        if late >= _UNKILLABLE and not self._stuck:
            self._stuck = True
            self._on_stuck([process.pid for process in living])
        self._loop.call_later(min(_TICK, -late) if late < 0 else _TICK, self._round)

    def _tell(self, process: tree.Process) -> None:
        now = time.monotonic()
        first = process.key not in self._told
        if first:
            tree.send(process, signal.SIGTERM)
        if first or (process.terminal and now - self._told[process.key] > HANG_UP_AGAIN):
            self._told[process.key] = now
            if process.terminal:
                tree.send(process, signal.SIGHUP)
        if first or process.stopped:
            # At first also to one that does not look stopped: its SIGSTOP may still wait for the kernel to let it go.
            tree.send(process, signal.SIGCONT)

"""Background tasks of an object that one task opens and another may close.

A task group has to be left by the task that entered it. A provider is often opened on its first use, deep inside one call, and
closed much later by another task, so its simulated programs are tasks of this set instead. It owns every one: none outlives
:meth:`Tasks.aclose`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine


class Tasks:
    """A set of running tasks. Needs asyncio; nothing is bound to a loop before the first :meth:`start`."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run ``work`` beside the caller. It deals with its own errors; one that it lets out is raised by :meth:`aclose`."""
        task = asyncio.get_running_loop().create_task(work())
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # A task that failed stays in the set, so that aclose finds and raises its error.
        if task.cancelled() or task.exception() is None:
            self._running.discard(task)

    async def aclose(self) -> None:
        """Cancel what still runs and wait until all of it has ended.

        Raises:
            BaseExceptionGroup: When tasks failed.
        """
        tasks = tuple(self._running)
        self._running.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        failures = [error for task in tasks if not task.cancelled() and (error := task.exception())]
        if failures:
            raise BaseExceptionGroup("simulated processes failed", failures)

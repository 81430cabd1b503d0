"""Work that goes on between two calls of a manager: begun by one of them, ended and waited for when the manager closes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from anyio.abc import TaskGroup

_log = logging.getLogger(__name__)

_CLOSING: Final = 10.0


class Background:
    """A task group that belongs to an object, not to a block: whoever opens a manager in a test's fixture leaves it in another task."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._group: TaskGroup | None = None
        self._end: anyio.Event | None = None

    async def start(self, work: Callable[[], Awaitable[None]], *, what: str) -> anyio.CancelScope:
        """Begin a piece of work and return the scope that ends it. One that fails is logged and harms no other.

        Args:
            work: The work.
            what: The work in words, for the log.
        """
        group = await self._open()
        scope = anyio.CancelScope()

        async def guarded() -> None:
            with scope:
                try:
                    await work()
                except Exception:  # noqa: BLE001 - whatever it is, it is told and harms nothing else
                    _log.exception("%s has failed", what)

        group.start_soon(guarded)
        return scope

    async def aclose(self) -> None:
        """End everything that goes on, and wait for it."""
        task, self._task, self._group = self._task, None, None
        if task is None or self._end is None:
            return
        self._end.set()
        await asyncio.wait([task], timeout=_CLOSING)

    async def _open(self) -> TaskGroup:
        if self._group is None:
            ready, self._end = anyio.Event(), anyio.Event()
            self._task = asyncio.get_running_loop().create_task(self._run(ready, self._end))
            await ready.wait()
        if self._group is None:
            raise RuntimeError("it has been closed")
        return self._group

    async def _run(self, ready: anyio.Event, end: anyio.Event) -> None:
        async with anyio.create_task_group() as group:
            self._group = group
            ready.set()
            await end.wait()
            group.cancel_scope.cancel()

"""Blocking git work in a worker thread that can be told to stop, and that is always waited for.

A thread cannot be cancelled. If a cancelled call simply left its thread running, that thread would go on writing files
while the caller cleans up. So a cancelled call asks the thread to stop, waits until it has, and only then lets go. That
also holds for asyncio's own ``Task.cancel``, which reaches through anyio's shields.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread

from nexus.git.trouble import refusals_told

T = TypeVar("T")


class Stopped(Exception):
    """The work noticed that it should stop, and has cleaned up. Never leaves this package."""


class Stop:
    """Asked by the work, now and then, whether to go on."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the work to stop."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Return when the work may go on.

        Raises:
            Stopped: When it should not.
        """
        if self._event.is_set():
            raise Stopped


class _Run(Generic[T]):
    """One run of the work: who came first, the thread that takes it or the caller that gives it up?"""

    def __init__(self, work: Callable[[Stop], T]) -> None:
        self._work = work
        self._turn = threading.Lock()
        self.stop = Stop()
        self.ended = anyio.Event()
        self.result: list[T] = []
        self.error: BaseException | None = None

    def __call__(self) -> None:
        if not self._turn.acquire(blocking=False):
            return
        try:
            with refusals_told():
                self.result.append(self._work(self.stop))
        except BaseException as error:  # noqa: BLE001  carried over to the caller, whole
            self.error = error
        finally:
            anyio.from_thread.run_sync(self.ended.set)

    def give_up(self) -> bool:
        """Keep the work from being started; ``False`` when it has been started already."""
        return self._turn.acquire(blocking=False)


async def in_thread(work: Callable[[Stop], T], *, undo: Callable[[T], None] | None = None) -> T:
    """Run ``work`` in a worker thread and return what it returns.

    Args:
        work: Takes the :class:`Stop` that it asks now and then. When it raises, it has cleaned up.
        undo: Takes back a finished work whose caller was cancelled at the last moment.

    Cancellation: the work is asked to stop and is waited for.
    """
    run = _Run(work)
    try:
        await anyio.to_thread.run_sync(run, abandon_on_cancel=True)
    except anyio.get_cancelled_exc_class():
        run.stop.set()
        if not run.give_up():
            await _wait_for(run.ended)
            if run.result and undo is not None:
                result = run.result[0]
                await in_thread_to_the_end(lambda: undo(result))
        raise
    if run.error is not None:
        raise run.error
    return run.result[0]


async def in_thread_to_the_end(work: Callable[[], None]) -> None:
    """Run short work in a worker thread, whatever happens to the caller meanwhile."""
    run = _Run(lambda _: work())
    with anyio.CancelScope(shield=True):
        try:
            await anyio.to_thread.run_sync(run, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            if not run.give_up():
                await _wait_for(run.ended)
            raise
    if run.error is not None:
        raise run.error


async def _wait_for(ended: anyio.Event) -> None:
    """Wait, even through asyncio's own cancellation, which no anyio shield holds off."""
    with anyio.CancelScope(shield=True):
        while not ended.is_set():
            try:
                await ended.wait()
            except anyio.get_cancelled_exc_class():
                continue

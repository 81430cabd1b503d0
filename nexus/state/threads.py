"""Blocking work on a worker thread that is never left half-done behind its caller's back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio import to_thread
from anyio.lowlevel import checkpoint_if_cancelled

T = TypeVar("T")


async def run_whole(work: Callable[[], T]) -> T:
    """Run blocking ``work`` on a worker thread and wait for its end, even when the caller is cancelled meanwhile.

    A plain ``to_thread.run_sync`` shields its thread from anyio's cancellation but not from ``asyncio``'s own (``wait_for``,
    ``asyncio.timeout``, ``Task.cancel``): the thread then goes on by itself, and an old write can land after a newer one.
    Here the work is done by a task of its own, so both kinds of cancellation take effect only after it.

    Returns:
        What ``work`` returns.

    Raises:
        Exception: What ``work`` raises.

    Cancellation:
        Cancelled before the start: nothing was done. Later: the work was done to its end, and its result is dropped.
    """
    await checkpoint_if_cancelled()
    results: list[T] = []
    failures: list[Exception] = []

    async def carry_out() -> None:
        with anyio.CancelScope(shield=True):
            try:
                results.append(await to_thread.run_sync(work))
            except Exception as error:  # noqa: BLE001 - raised again below, outside of the task group's wrapping
                failures.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(carry_out)
    if failures:
        raise failures[0]
    return results[0]

"""Cleanup that a cancelled caller cannot interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

import anyio

T = TypeVar("T")


async def make_or_unmake(
    make: Coroutine[object, object, T], unmake: Callable[[T], Coroutine[object, object, None]], *, limit: float
) -> T:
    """Make something, and when the caller is cancelled meanwhile, unmake it before that goes on.

    A request that is cut off may be carried out all the same, a moment after everybody has looked for what it left. So it is
    seen to its end, however the caller fares.
    """
    made: list[T] = []

    async def work() -> None:
        made.append(await make)

    try:
        await finish(work(), limit=limit)
    except BaseException:
        for thing in made:
            await finish(unmake(thing), limit=limit)
        raise
    return made[0]


async def single(work: Coroutine[object, object, T]) -> T:
    """Await work that does several things at once, and raise its first error as it is."""
    try:
        return await work
    except BaseExceptionGroup as failed:
        error: BaseException = failed
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


async def finish(work: Coroutine[object, object, T], *, limit: float) -> T:
    """Run ``work`` to its end, or until ``limit`` seconds have passed, even when the caller is cancelled meanwhile.

    The work runs in a task that is awaited here, so it never outlives the call. A cancellation that came meanwhile is
    raised afterwards.

    Raises:
        TimeoutError: When the work took longer than ``limit`` seconds; it was cancelled.
    """

    async def bounded() -> T:
        async with asyncio.timeout(limit):
            return await work

    task = asyncio.ensure_future(bounded())
    cancelled: asyncio.CancelledError | None = None
    # The scope keeps anyio's cancellation out, the loop keeps asyncio's: `wait` leaves the task alone when it is cancelled.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as exc:
                cancelled = exc
    if cancelled is not None:
        if not task.cancelled():
            # Looked at, so that the loop does not report it as forgotten; the cancellation is what the caller gets.
            task.exception()
        raise cancelled
    return task.result()

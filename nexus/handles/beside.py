"""One piece of work with a helper running beside it, and plain errors from both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


async def beside(main: Callable[[], Awaitable[T]], aside: Callable[[], Awaitable[None]]) -> T:
    """Run ``main`` and return its value; ``aside`` runs at the same time and is cancelled once ``main`` has ended.

    Raises:
        Exception: What ``main`` raised or, when ``aside`` failed first, what that raised. Never an exception group, which a task
            group would make of it: the caller asked for one thing.

    Cancellation: both are cancelled and have ended when the call returns.
    """
    failures: list[BaseException] = []
    values: list[T] = []
    cancelled = anyio.get_cancelled_exc_class()
    async with anyio.create_task_group() as group:

        async def guarded() -> None:
            try:
                await aside()
            except cancelled:
                raise
            except BaseException as error:  # noqa: BLE001 - raised again below, outside of the group
                failures.append(error)
                group.cancel_scope.cancel()

        group.start_soon(guarded)
        try:
            values.append(await main())
        except cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again below, outside of the group
            failures.append(error)
        group.cancel_scope.cancel()
    if failures:
        raise failures[0]
    return values[0]

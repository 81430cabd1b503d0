from __future__ import annotations

import anyio
import pytest

from nexus.errors import StateError
from nexus.workspace.at_once import both, for_each


async def test_both_run_at_once_and_give_what_they_return() -> None:
    met = anyio.Event()

    async def waits() -> int:
        await met.wait()
        return 1

    async def meets() -> str:
        met.set()
        return "two"

    assert await both(waits, meets) == (1, "two")


async def test_an_error_ends_the_other_and_is_raised_as_it_is() -> None:
    ended = anyio.Event()

    async def goes_on() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async def fails() -> None:
        raise StateError("no")

    with pytest.raises(StateError, match="no"):
        await both(goes_on, fails)
    assert ended.is_set()


async def test_groups_within_groups_give_the_one_error() -> None:
    async def fails() -> None:
        raise StateError("deep")

    async def nothing() -> None:
        pass

    with pytest.raises(StateError, match="deep"):
        await both(nothing, lambda: both(nothing, lambda: both(fails, nothing)))


async def test_cancelling_reaches_all() -> None:
    cancelled: list[int] = []

    async def waits(number: int) -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            cancelled.append(number)
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(for_each, waits, range(3))
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert sorted(cancelled) == [0, 1, 2]

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from nexus.errors import CleanupError, InvalidArgument, UnsavedWork
from nexus.handles.operation import Operation, OwnedExit


class Made:
    """Something that is made and closed, and remembers it."""

    def __init__(self, closing: Callable[[], Awaitable[None]] | None = None) -> None:
        self.started = 0
        self.exits: list[OwnedExit] = []
        self.closed = 0
        self._closing = closing

    async def start(self) -> str:
        self.started += 1
        return "thing"

    async def close(self, value: str, how: OwnedExit) -> None:
        assert value == "thing"
        self.exits.append(how)
        if self._closing is not None:
            await self._closing()
        self.closed += 1

    def operation(self, *, cleanup_timeout: float = 30.0) -> Operation[str]:
        return Operation(self.start, self.close, what="create 'a'", cleanup_timeout=cleanup_timeout)


async def fail() -> None:
    raise OSError("disk on fire")


async def test_awaiting_keeps() -> None:
    made = Made()
    assert await made.operation() == "thing"
    assert (made.started, made.closed) == (1, 0)


async def test_block_owns() -> None:
    made = Made()
    async with made.operation() as value:
        assert value == "thing"
        assert made.closed == 0
    assert made.exits == [OwnedExit.DONE]
    assert made.closed == 1


async def test_nothing_starts_before_use() -> None:
    made = Made()
    operation = made.operation()
    await anyio.lowlevel.checkpoint()
    assert made.started == 0
    await operation


async def test_second_use_is_refused() -> None:
    made = Made()
    operation = made.operation()
    await operation
    with pytest.raises(InvalidArgument, match="has been used"):
        await operation
    with pytest.raises(InvalidArgument):
        async with operation:
            pass
    assert made.started == 1


async def test_failed_start_closes_nothing() -> None:
    made = Made()

    async def start() -> str:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        async with Operation(start, made.close, what="create 'a'"):
            pytest.fail("the block must not run")
    assert made.exits == []


def test_dropped_operation_warns() -> None:
    held = [Made().operation()]
    with pytest.warns(RuntimeWarning, match="operation create 'a' was never awaited"):
        held.clear()


async def test_used_operation_does_not_warn() -> None:
    operation = Made().operation()
    await operation
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del operation
        gc.collect()
    assert told == []


async def test_body_error_goes_through_after_cleanup() -> None:
    made = Made()
    with pytest.raises(KeyError):
        async with made.operation():
            raise KeyError("mine")
    assert made.exits == [OwnedExit.FAILED]
    assert made.closed == 1


async def test_failing_cleanup_after_a_good_body() -> None:
    made = Made(fail)
    with pytest.raises(CleanupError, match="disk on fire") as caught:
        async with made.operation():
            pass
    assert caught.value.details["left"] == ["create 'a'"]
    assert isinstance(caught.value.__cause__, OSError)


async def test_failing_cleanup_never_masks_the_body() -> None:
    made = Made(fail)
    with pytest.warns(RuntimeWarning, match="disk on fire"), pytest.raises(KeyError) as caught:
        async with made.operation():
            raise KeyError("mine")
    assert any("disk on fire" in note for note in caught.value.__notes__)


async def test_failing_cleanup_never_masks_the_body_where_warnings_are_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyError) as caught:
            async with Made(fail).operation():
                raise KeyError("mine")
    assert any("disk on fire" in note for note in caught.value.__notes__)


async def test_hanging_cleanup_is_bounded() -> None:
    made = Made(anyio.sleep_forever)
    with pytest.raises(CleanupError, match="did not end within"):
        async with made.operation(cleanup_timeout=0.01):
            pass
    assert made.exits == [OwnedExit.DONE]
    assert made.closed == 0


async def test_unsaved_work_is_kept_and_listed() -> None:
    async def refuse() -> None:
        raise UnsavedWork("no", lost=["modified: a.py", "commit 1234567"], hint="commit it")

    with pytest.raises(CleanupError, match="was kept") as caught:
        async with Made(refuse).operation():
            pass
    assert caught.value.details["lost"] == ["modified: a.py", "commit 1234567"]
    assert caught.value.hint == "commit it"
    assert isinstance(caught.value.__cause__, UnsavedWork)


async def test_unsaved_work_is_noted_on_a_failed_body() -> None:
    async def refuse() -> None:
        raise UnsavedWork("no", lost=["modified: a.py"])

    with pytest.warns(RuntimeWarning, match="was kept"), pytest.raises(KeyError) as caught:
        async with Made(refuse).operation():
            raise KeyError("mine")
    assert any("modified: a.py" in note for note in caught.value.__notes__)


async def test_no_exception_group_leaks_from_cleanup() -> None:
    async def grouped() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)

    with pytest.raises(CleanupError):
        async with Made(grouped).operation():
            pass


async def test_cleanup_runs_inside_a_cancelled_scope() -> None:
    async def slow() -> None:
        for _ in range(5):
            await anyio.lowlevel.checkpoint()

    made = Made(slow)
    with anyio.CancelScope() as scope:
        async with made.operation():
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert made.exits == [OwnedExit.CANCELLED]
    assert made.closed == 1


async def test_outer_deadline_becomes_time_out_after_cleanup() -> None:
    made = Made(anyio.lowlevel.checkpoint)

    async def work() -> None:
        with anyio.fail_after(0.01):
            async with made.operation():
                await anyio.sleep_forever()

    with pytest.raises(TimeoutError):
        await work()
    assert made.closed == 1


async def test_asyncio_time_out_around_it() -> None:
    made = Made(anyio.lowlevel.checkpoint)

    async def work() -> None:
        async with asyncio.timeout(0.01), made.operation():
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await work()
    assert made.closed == 1


async def test_deadline_that_passes_during_cleanup_waits_for_it() -> None:
    release, inside = anyio.Event(), anyio.Event()

    async def closing() -> None:
        inside.set()
        await release.wait()

    made = Made(closing)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def interfere() -> None:
                await inside.wait()
                scope.cancel()
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()
                release.set()

            group.start_soon(interfere)
            async with made.operation():
                pass
    assert made.closed == 1


async def test_task_cancelled_twice_still_cleans_up() -> None:
    inside, release = asyncio.Event(), asyncio.Event()

    async def closing() -> None:
        inside.set()
        await release.wait()

    made = Made(closing)

    async def work() -> None:
        async with made.operation():
            entered.set()
            await asyncio.Event().wait()

    entered = asyncio.Event()
    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    await inside.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    assert made.closed == 0
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made.exits == [OwnedExit.CANCELLED]
    assert made.closed == 1


async def test_task_cancelled_while_a_good_body_is_cleaned_up() -> None:
    inside, release = asyncio.Event(), asyncio.Event()

    async def closing() -> None:
        inside.set()
        await release.wait()
        raise OSError("disk on fire")

    made = Made(closing)

    async def work() -> None:
        async with made.operation():
            pass

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    await asyncio.sleep(0)
    release.set()
    with pytest.warns(RuntimeWarning, match="disk on fire"), pytest.raises(asyncio.CancelledError):
        await task

"""Switching: wake the target and put the current workspace to sleep at the same time; what fails is taken back.

The order of guarantees: the target runs before ``.nexus/current`` names it, and when it cannot be woken the workspace one came
from is as it was.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import anyio

from nexus.abc import SupportsPause
from nexus.errors import NexusError, StateConflict
from nexus.models.events import Switched
from nexus.models.requests import SwitchOutcome
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.workspace import running
from nexus.workspace.context import Context


async def switch(context: Context, name: str) -> SwitchOutcome:
    """Make a workspace the current one.

    Raises:
        WorkspaceNotFound: When there is no such workspace.
        NexusError: Whatever waking it raised; then nothing has changed.
    """
    begun = time.monotonic()
    target = await context.record(name)
    previous = await context.store.current()
    async with AsyncExitStack() as held:
        # Always in the same order, so that two switches in opposite directions cannot wait for each other.
        for each in sorted({target.name, previous or target.name}):
            await held.enter_async_context(context.workspace_lock(each, f"switching to {target.name}"))
        target = await context.record(target.name)
        old = await _previous(context, previous, target)
        asleep, warnings = await _swap(context, old, target)
        await context.store.set_current(target.name)
    context.bus.publish(Switched(workspace=target.id, name=target.name, previous=previous))
    return SwitchOutcome(
        previous=old.name if old else None,
        current=target.name,
        previous_status=asleep,
        seconds=time.monotonic() - begun,
        warnings=warnings,
    )


async def _previous(context: Context, name: str | None, target: WorkspaceRecord) -> WorkspaceRecord | None:
    if name is None or name == target.name:
        return None
    try:
        return await context.record(name)
    except NexusError:
        return None  # destroyed or damaged meanwhile: there is nothing to put to sleep


async def _swap(
    context: Context, old: WorkspaceRecord | None, target: WorkspaceRecord
) -> tuple[WorkspaceStatus | None, tuple[str, ...]]:
    """Wake and put to sleep at once. Waking decides; a workspace that cannot be put to sleep is a warning."""
    woken: list[NexusError | None] = []
    slept: list[WorkspaceRecord | NexusError] = []

    async def wake() -> None:
        woken.append(await _attempt(lambda: running.start(context, target)))

    async def sleep(record: WorkspaceRecord) -> None:
        try:
            slept.append(await _to_sleep(context, record))
        except NexusError as error:
            slept.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(wake)
        if old is not None:
            group.start_soon(sleep, old)
    failure = woken[0]
    if failure is not None:
        if old is not None and isinstance(slept[0], WorkspaceRecord) and slept[0].status is not old.status:
            await _rouse(context, slept[0], failure)
        raise failure
    if not slept:
        return None, ()
    result = slept[0]
    if isinstance(result, NexusError):
        return None, (f"{old.name if old else ''} could not be put to sleep: {result.message}",)
    return result.status, ()


async def _attempt(act: Callable[[], Awaitable[object]]) -> NexusError | None:
    try:
        await act()
    except NexusError as error:
        return error
    return None


async def _to_sleep(context: Context, record: WorkspaceRecord) -> WorkspaceRecord:
    """Pause where the backend can, stop where it cannot; leave alone what does not run."""
    if not isinstance(await context.instance(record), SupportsPause):
        return await running.stop(context, record, grace=context.stop_grace(record.backend))
    try:
        return await running.pause(context, record)
    except StateConflict:
        return record


async def _rouse(context: Context, record: WorkspaceRecord, failure: NexusError) -> None:
    """Bring the workspace we came from back to what it was."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(30.0):
        error = await _attempt(lambda: running.start(context, record))
        if error is not None:
            failure.add_note(f"and {record.name!r} could not be woken again: {error.message}")

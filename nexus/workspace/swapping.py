"""Waking one workspace and putting another to sleep at the same time. Waking decides; what fails is taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import anyio

from nexus.errors import NexusError, StateConflict, WorkspaceUnavailable
from nexus.models.instances import InstanceState
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.state import OpenJournal
from nexus.workspace import places, running
from nexus.workspace.at_once import both
from nexus.workspace.bringup import freeze, thaw
from nexus.workspace.context import Context
from nexus.workspace.going import Going, Sleep, Sleeper
from nexus.workspace.hibernating import are_kept
from nexus.workspace.settling import let_go_on

T = TypeVar("T")

_ROUSE_TIMEOUT = 30.0


class Swapped(NamedTuple):
    """What became of the workspace one came from."""

    status: WorkspaceStatus | None = None
    """``None`` where there was none, or it is not known."""
    warnings: tuple[str, ...] = ()


async def swap(context: Context, going: Going, journal: OpenJournal, let_go: Callable[[], None]) -> Swapped:
    """Wake the target, make it the current workspace, and put the other to sleep. The caller holds the locks of both.

    Args:
        context: The parts.
        going: Who is woken, and who is put to sleep.
        journal: Is open already; it may be closed afterwards.
        let_go: Lets go of the locks, and blocks. It may have been called afterwards, when everything was done.

    Raises:
        NexusError: Whatever waking raised; the other workspace is as it was.
    """
    old, target = going.sleeper, going.target
    if old is not None and _both_alive(going, old):
        return await _exchange(context, going, old, journal, let_go)

    async def wake() -> None:
        await running.wake(context, target, going.place, journal)
        await context.store.set_current(target.name)

    slept, failure = await both(lambda: _to_sleep(context, old), lambda: _attempt(wake))
    return await _ended(context, old, slept, failure)


def _both_alive(going: Going, old: Sleeper) -> bool:
    """Whether one is only to be frozen and the other only to be thawed, so that what will have to be written is known now."""
    known = (old.record.status, going.target.status) == (WorkspaceStatus.RUNNING, WorkspaceStatus.PAUSED)
    return known and (old.how, going.place.waking) == ("pause", "thaw")


async def _exchange(
    context: Context, going: Going, old: Sleeper, journal: OpenJournal, let_go: Callable[[], None]
) -> Swapped:
    """Freeze one and thaw the other; what is written down of both is on the disk, and takes its place, when they are."""
    target = going.target
    left = places.Sleep("paused", context.clock.now(), left=True)
    asleep = places.changed(old.record, WorkspaceStatus.PAUSED, sleep=left)
    awake = places.changed(target, WorkspaceStatus.RUNNING)
    draft = context.store.draft(awake, asleep, current=target.name)
    try:
        # The engine is asked first: the rest is done while it works.
        slept, (woken, problem) = await both(
            lambda: _result(lambda: freeze(context, old.record, old.place.instance)),
            lambda: both(
                lambda: _result(lambda: thaw(context, target, going.place.instance)),
                lambda: _attempt(lambda: draft.write(context.in_use.marking(target.id))),
            ),
        )
        if slept is old.record and woken is target and problem is None:
            # Cancelled from here on, it is done all the same, and everybody is told.
            with anyio.CancelScope(shield=True):
                problem = await _attempt(lambda: journal.close(draft.place, let_go))
            if draft.placed:
                places.announce(context, asleep, old.record.status, left.reason)
                places.announce(context, awake, target.status, "resumed")
                context.terminals.paused(old.record.id)
                if problem is not None:
                    raise problem  # it is done, and only its journal is still there
                return Swapped(asleep.status)
    finally:
        with anyio.CancelScope(shield=True):
            await draft.drop()
    # A script said something that has to be written too, or one of them was not what its record says.
    failure = woken if isinstance(woken, NexusError) else problem
    if failure is None and isinstance(woken, WorkspaceRecord):
        failure = await _attempt(lambda: _woke(context, woken))
    if failure is None:
        slept = await _fell_asleep(context, slept, left)
    return await _ended(context, old, _excused(old, slept), failure)


async def _woke(context: Context, record: WorkspaceRecord) -> None:
    await places.settled(context, record, WorkspaceStatus.RUNNING, "resumed")
    await context.store.set_current(record.name)


async def _fell_asleep(
    context: Context, slept: WorkspaceRecord | NexusError, sleep: places.Sleep
) -> WorkspaceRecord | NexusError:
    if isinstance(slept, NexusError):
        return slept
    context.terminals.paused(slept.id)
    return await _result(lambda: places.settled(context, slept, WorkspaceStatus.PAUSED, "paused", sleep=sleep))


async def _to_sleep(context: Context, old: Sleeper | None) -> WorkspaceRecord | NexusError | None:
    if old is None or (old.how == "none" and old.place.seen.state is not InstanceState.PAUSED):
        return old.record if old is not None else None
    if old.how == "stop":
        grace = context.backends.stop_grace(old.record.backend)
        return await _result(
            lambda: running.put_down(context, old.record, old.place, grace=grace, processes=old.processes)
        )
    left = places.Sleep("paused", context.clock.now(), left=True)
    return _excused(old, await _result(lambda: running.put_to_sleep(context, old.record, old.place, sleep=left)))


def _excused(old: Sleeper, slept: WorkspaceRecord | NexusError) -> WorkspaceRecord | NexusError:
    """Take what does not run, or is not there any more, for asleep: it was to be frozen, and there is nothing to freeze."""
    return old.record if isinstance(slept, StateConflict | WorkspaceUnavailable) else slept


async def _ended(
    context: Context, old: Sleeper | None, slept: WorkspaceRecord | NexusError | None, failure: NexusError | None
) -> Swapped:
    if failure is not None:
        if old is not None and old.how != "none" and isinstance(slept, WorkspaceRecord):
            await _rouse(context, slept, old.how, failure)
        raise failure
    if isinstance(slept, NexusError):
        return Swapped(None, (warning(old.record if old else None, slept),))
    if slept is None:
        return Swapped()
    ended = old is not None and old.how == "stop" and not are_kept(slept) and slept.status_message
    return Swapped(slept.status, (f"{slept.name} is {ended}",) if ended else ())


async def _rouse(context: Context, record: WorkspaceRecord, how: Sleep, failure: NexusError) -> None:
    """Bring the workspace we came from back to what it was."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(_ROUSE_TIMEOUT):
        act = let_go_on if how == "pause" else running.start
        error = await _attempt(lambda: act(context, record))
        if error is not None:
            failure.add_note(f"and {record.name!r} could not be woken again: {error.message}")


def warning(old: WorkspaceRecord | None, error: NexusError) -> str:
    """Return what users are told of a workspace that stays awake."""
    return f"{old.name if old else ''} could not be put to sleep: {error.message}"


async def _attempt(act: Callable[[], Awaitable[object]]) -> NexusError | None:
    ended = await _result(act)
    return ended if isinstance(ended, NexusError) else None


async def _result(act: Callable[[], Awaitable[T]]) -> T | NexusError:
    try:
        return await act()
    except NexusError as error:
        return error

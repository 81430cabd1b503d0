"""Switching: wake the target and put the current workspace to sleep at the same time; what fails is taken back.

The order of guarantees: the target runs before ``.nexus/current`` names it, and when it cannot be woken the workspace one came
from is as it was.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Literal, NamedTuple, Protocol

import anyio
from pydantic import JsonValue

from nexus.abc import SupportsPause
from nexus.errors import NexusError, StateConflict
from nexus.models.events import Switched
from nexus.models.instances import InstanceState
from nexus.models.requests import SwitchOutcome
from nexus.models.workspace import SwitchStrategy, WorkspaceRecord, WorkspaceStatus
from nexus.state import JournalEntry, OpenJournal
from nexus.workspace import leaving, places, running
from nexus.workspace.at_once import both
from nexus.workspace.context import Context
from nexus.workspace.hibernating import Processes, are_kept
from nexus.workspace.left_running import left_running
from nexus.workspace.places import Place, look
from nexus.workspace.plan import WITH, Operation, StartStep, switch_verdict
from nexus.workspace.settling import let_go_on, put_back_to_sleep, record_of, settle_start, take_down, wanted
from nexus.workspace.underway import underway

Sleep = Literal["pause", "stop", "none"]


class Sleeper(NamedTuple):
    """The workspace one comes from, and how it is put to sleep."""

    record: WorkspaceRecord
    place: Place
    how: Sleep


class Glance(NamedTuple):
    """What was seen of a workspace while its lock was still being taken, and the record that it was found by."""

    record: WorkspaceRecord
    place: Place


class Ahead(NamedTuple):
    """What was seen of both."""

    target: Glance | None = None
    old: Glance | None = None


class Holding(Protocol):
    """What :func:`nexus.workspace.recovery.holding` is, which knows this module."""

    def __call__(self, context: Context, /, *names: str, purpose: str) -> AbstractAsyncContextManager[None]:
        """Hold workspaces against everybody else, with whatever a crash left of them settled first."""
        ...


async def switch(context: Context, name: str, holding: Holding) -> SwitchOutcome:
    """Make a workspace the current one.

    Args:
        context: The parts.
        name: The workspace to go to, by its name or id.
        holding: How it and the one that is current are held against everybody else.

    Raises:
        NexusError: Whatever waking it raised; then nothing has changed.

    Cancellation: it is wholly done, or nothing has changed.
    """
    begun = time.monotonic()
    outcome: SwitchOutcome | None = None
    while outcome is None:
        target, previous = await both(lambda: context.record(name), context.store.current)
        outcome = await _switch_from(context, target, previous, holding)
    return outcome.model_copy(update={"seconds": time.monotonic() - begun})


async def _switch_from(
    context: Context, known: WorkspaceRecord, previous: str | None, holding: Holding
) -> SwitchOutcome | None:
    """Switch when ``previous`` is still the current one under the locks. Otherwise nothing is done, and ``None`` is returned."""
    held = holding(context, known.name, previous or known.name, purpose=f"switching to {known.name}")
    async with AsyncExitStack() as stack:
        _, ahead = await both(lambda: stack.enter_async_context(held), lambda: _look_ahead(context, known, previous))
        (target, old), current = await both(
            lambda: both(lambda: context.record(known.name), lambda: _previous(context, previous, known)),
            context.store.current,
        )
        # Another switch may have come first, or one that was cut short has just been completed.
        return await _switch(context, target, old, previous, ahead) if current == previous else None


async def _look_ahead(context: Context, target: WorkspaceRecord, previous: str | None) -> Ahead:
    """Ask about both workspaces before their locks are held, so that nobody waits for the answers. What fails is asked again."""

    async def ask(record: WorkspaceRecord | None) -> Glance | None:
        try:
            return None if record is None else Glance(record, await look(context, record))
        except NexusError:
            return None

    async def ask_old() -> Glance | None:
        return await ask(await _previous(context, previous, target))

    return Ahead(*await both(lambda: ask(target), ask_old))


async def _switch(
    context: Context, target: WorkspaceRecord, old: WorkspaceRecord | None, previous: str | None, ahead: Ahead
) -> SwitchOutcome:
    place, found = await both(
        lambda: _asked(context, target, ahead.target, InstanceState.PAUSED),
        lambda: _look_into(context, old, ahead.old),
    )
    sleeper = found if isinstance(found, Sleeper) else None
    kept: tuple[str, ...] = ()
    if sleeper is not None and sleeper.how == "stop" and context.settings.switch == "checkpoint":
        kept = await leaving.keep(context, sleeper.record)
    facts: dict[str, JsonValue] = {
        WITH: [] if sleeper is None else [sleeper.record.name],
        "wake": place.waking,
        "again": place.lost,
        "sleep": "none" if sleeper is None else sleeper.how,
        "processes": _processes(context).value,
    }
    async with underway(context, target, Operation.SWITCH, settle, plan=tuple(StartStep), facts=facts) as journal:
        asleep, warnings = await _swap(context, sleeper, target, place, journal)
    if isinstance(found, NexusError):
        warnings += (_warning(old, found),)
    warnings = (*kept, *warnings)
    context.bus.publish(Switched(workspace=target.id, name=target.name, previous=previous))
    return SwitchOutcome(
        previous=old.name if old else None,
        current=target.name,
        previous_status=asleep,
        seconds=0.0,
        warnings=warnings,
    )


async def settle(context: Context, entry: JournalEntry) -> None:
    """Settle a switch that was cut short. The caller holds the locks of both workspaces.

    It is carried on to the end where the target is up or quickly is. Otherwise the target is taken down, and the workspace one
    came from is as it was.
    """
    target = await record_of(context, entry)
    others = entry.facts.get(WITH)
    name = others[0] if isinstance(others, list) and others else None
    old = await record_of(context, entry, name) if isinstance(name, str) else None
    how, sleep = str(entry.facts.get("wake")), entry.facts.get("sleep")
    forward = target is not None and switch_verdict(how, entry.finished) == "finish"
    if target is not None and forward:
        target = await (let_go_on(context, target) if how != "start" else settle_start(context, target, entry))
        forward = target.status is WorkspaceStatus.RUNNING
    elif target is not None and entry.started:
        await settle_start(context, target, entry)
    if old is not None and sleep == "pause":
        await (put_back_to_sleep(context, old) if forward else let_go_on(context, old))
    elif old is not None and sleep == "stop":
        await (take_down(context, old, processes=wanted(entry)) if forward else _start_again(context, old, entry))
    if target is not None and forward:
        await context.store.set_current(target.name)


async def _start_again(context: Context, old: WorkspaceRecord, entry: JournalEntry) -> None:
    """Have the workspace run that one came from. It may have been stopped already, and its record not know what was kept."""
    if wanted(entry) is Processes.TRY:
        left = left_running(context, old).model_copy(update={"processes": True})
        old = old.model_copy(update={"left_running": left})
    await running.start(context, old)


def _processes(context: Context) -> Processes:
    """Return what becomes of the processes of a workspace that a switch stops."""
    return Processes.TRY if context.settings.switch == "checkpoint" else Processes.END


async def _asked(context: Context, record: WorkspaceRecord, ahead: Glance | None, expected: InstanceState) -> Place:
    """Return what a workspace does, as it was seen ahead where that still counts, else asked again.

    It counts when nobody has finished anything with the workspace since, which would show in its record, and when acting on it
    proves it: a backend refuses to resume what is not paused, and to pause what does not run.
    """
    if ahead is not None and ahead.record == record and ahead.place.seen.state is expected:
        return ahead.place
    return await look(context, record)


async def _look_into(
    context: Context, old: WorkspaceRecord | None, ahead: Glance | None
) -> Sleeper | NexusError | None:
    """Find out how a workspace can be put to sleep. One that cannot be asked is a warning: it does not hold up the switch."""
    if old is None:
        return None
    try:
        place = await _asked(context, old, ahead, InstanceState.RUNNING)
        return Sleeper(old, place, _sleep(place, context.settings.switch))
    except NexusError as error:
        return error


def _sleep(place: Place, wanted: SwitchStrategy) -> Sleep:
    """Pause where that is wanted and the backend can, else stop; leave alone what does not run."""
    if wanted != "pause" or not isinstance(place.instance, SupportsPause):
        return "none" if place.down else "stop"
    return "pause" if place.seen.state is InstanceState.RUNNING else "none"


async def _previous(context: Context, name: str | None, target: WorkspaceRecord) -> WorkspaceRecord | None:
    if name is None or name == target.name:
        return None
    try:
        return await context.record(name)
    except NexusError:
        return None  # destroyed or damaged meanwhile: there is nothing to put to sleep


async def _swap(
    context: Context, old: Sleeper | None, target: WorkspaceRecord, place: Place, journal: OpenJournal
) -> tuple[WorkspaceStatus | None, tuple[str, ...]]:
    """Wake and put to sleep at once. Waking decides; a workspace that cannot be put to sleep is a warning."""

    async def wake() -> None:
        await running.wake(context, target, place, journal)
        await context.store.set_current(target.name)

    slept, failure = await both(lambda: _to_sleep(context, old), lambda: _attempt(wake))
    if failure is not None:
        if old is not None and old.how != "none" and isinstance(slept, WorkspaceRecord):
            await _rouse(context, slept, old.how, failure)
        raise failure
    if isinstance(slept, NexusError):
        return None, (_warning(old.record if old else None, slept),)
    if slept is None:
        return None, ()
    ended = old is not None and old.how == "stop" and not are_kept(slept) and slept.status_message
    return slept.status, (f"{slept.name} is {ended}",) if ended else ()


def _warning(old: WorkspaceRecord | None, error: NexusError) -> str:
    return f"{old.name if old else ''} could not be put to sleep: {error.message}"


async def _attempt(act: Callable[[], Awaitable[object]]) -> NexusError | None:
    try:
        await act()
    except NexusError as error:
        return error
    return None


async def _to_sleep(context: Context, old: Sleeper | None) -> WorkspaceRecord | NexusError | None:
    if old is None or (old.how == "none" and old.place.seen.state is not InstanceState.PAUSED):
        return old.record if old is not None else None
    try:
        if old.how == "stop":
            grace, processes = context.stop_grace(old.record.backend), _processes(context)
            return await running.put_down(context, old.record, old.place, grace=grace, processes=processes)
        left = places.Sleep("paused", context.clock.now(), left=True)
        return await running.put_to_sleep(context, old.record, old.place, sleep=left)
    except StateConflict as error:
        return old.record if old.how != "stop" else error
    except NexusError as error:
        return error


async def _rouse(context: Context, record: WorkspaceRecord, how: Sleep, failure: NexusError) -> None:
    """Bring the workspace we came from back to what it was."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(30.0):
        act = let_go_on if how == "pause" else running.start
        error = await _attempt(lambda: act(context, record))
        if error is not None:
            failure.add_note(f"and {record.name!r} could not be woken again: {error.message}")

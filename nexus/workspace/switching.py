"""Switching: wake the target and put the current workspace to sleep at the same time; what fails is taken back.

The order of guarantees: the target runs before ``.nexus/current`` names it, and when it cannot be woken the workspace one came
from is as it was.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

import anyio
from pydantic import JsonValue

from nexus.abc import SupportsPause
from nexus.errors import NexusError, StateConflict
from nexus.models.events import Switched
from nexus.models.instances import InstanceState
from nexus.models.requests import SwitchOutcome
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.state import JournalEntry, OpenJournal
from nexus.workspace import running
from nexus.workspace.context import Context
from nexus.workspace.places import Place, look
from nexus.workspace.plan import WITH, Operation, StartStep, switch_verdict
from nexus.workspace.settling import let_go_on, put_back_to_sleep, record_of, settle_start, take_down
from nexus.workspace.underway import underway

Sleep = Literal["pause", "stop", "none"]


class Sleeper(NamedTuple):
    """The workspace one comes from, and how it is put to sleep."""

    record: WorkspaceRecord
    place: Place
    how: Sleep


async def switch(context: Context, target: WorkspaceRecord, previous: str | None) -> SwitchOutcome:
    """Make a workspace the current one. The caller holds its lock, and that of the one that was current.

    Args:
        context: The parts.
        target: The workspace to go to.
        previous: The name in ``.nexus/current``.

    Raises:
        NexusError: Whatever waking it raised; then nothing has changed.

    Cancellation: it is wholly done, or nothing has changed.
    """
    begun = time.monotonic()
    old = await _previous(context, previous, target)
    # Both at once: asking the engine is a good part of the time that a switch takes.
    places: list[Place] = []
    sleepers: list[Sleeper | NexusError] = []

    async with anyio.create_task_group() as group:
        group.start_soon(_look_into, context, old, sleepers)
        failure = await _attempt(lambda: _append(places, look(context, target)))
    if failure is not None:
        raise failure
    sleeper = next((each for each in sleepers if isinstance(each, Sleeper)), None)
    facts: dict[str, JsonValue] = {
        WITH: [] if sleeper is None else [sleeper.record.name],
        "wake": places[0].waking,
        "again": places[0].lost,
        "sleep": "none" if sleeper is None else sleeper.how,
    }
    async with underway(context, target, Operation.SWITCH, settle, plan=tuple(StartStep), facts=facts) as journal:
        asleep, warnings = await _swap(context, sleeper, target, places[0], journal)
        await context.store.set_current(target.name)
    warnings += tuple(_warning(old, each) for each in sleepers if isinstance(each, NexusError))
    context.bus.publish(Switched(workspace=target.id, name=target.name, previous=previous))
    return SwitchOutcome(
        previous=old.name if old else None,
        current=target.name,
        previous_status=asleep,
        seconds=time.monotonic() - begun,
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
        await (take_down(context, old) if forward else running.start(context, old))
    if target is not None and forward:
        await context.store.set_current(target.name)


async def _look_into(context: Context, old: WorkspaceRecord | None, found: list[Sleeper | NexusError]) -> None:
    """Find out how a workspace can be put to sleep. One that cannot be asked is a warning: it does not hold up the switch."""
    if old is None:
        return
    try:
        place = await look(context, old)
        found.append(Sleeper(old, place, _sleep(place)))
    except NexusError as error:
        found.append(error)


def _sleep(place: Place) -> Sleep:
    """Pause where the backend can, stop where it cannot; leave alone what does not run."""
    if not isinstance(place.instance, SupportsPause):
        return "none" if place.down else "stop"
    return "pause" if place.seen.state is InstanceState.RUNNING else "none"


async def _append(places: list[Place], found: Awaitable[Place]) -> None:
    places.append(await found)


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
    woken: list[NexusError | None] = []
    slept: list[WorkspaceRecord | NexusError] = []

    async def wake() -> None:
        woken.append(await _attempt(lambda: running.wake(context, target, place, journal)))

    async def sleep(sleeper: Sleeper) -> None:
        try:
            slept.append(await _to_sleep(context, sleeper))
        except NexusError as error:
            slept.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(wake)
        if old is not None:
            group.start_soon(sleep, old)
    failure = woken[0]
    if failure is not None:
        if old is not None and old.how != "none" and isinstance(slept[0], WorkspaceRecord):
            await _rouse(context, slept[0], old.how, failure)
        raise failure
    if not slept:
        return None, ()
    result = slept[0]
    if isinstance(result, NexusError):
        return None, (_warning(old.record if old else None, result),)
    return result.status, ()


def _warning(old: WorkspaceRecord | None, error: NexusError) -> str:
    return f"{old.name if old else ''} could not be put to sleep: {error.message}"


async def _attempt(act: Callable[[], Awaitable[object]]) -> NexusError | None:
    try:
        await act()
    except NexusError as error:
        return error
    return None


async def _to_sleep(context: Context, old: Sleeper) -> WorkspaceRecord:
    if old.how == "stop":
        return await running.put_down(context, old.record, old.place, grace=context.stop_grace(old.record.backend))
    if old.how == "none" and old.place.seen.state is not InstanceState.PAUSED:
        return old.record
    try:
        return await running.put_to_sleep(context, old.record, old.place)
    except StateConflict:
        return old.record


async def _rouse(context: Context, record: WorkspaceRecord, how: Sleep, failure: NexusError) -> None:
    """Bring the workspace we came from back to what it was."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(30.0):
        act = let_go_on if how == "pause" else running.start
        error = await _attempt(lambda: act(context, record))
        if error is not None:
            failure.add_note(f"and {record.name!r} could not be woken again: {error.message}")

"""Switching: wake the target and put the current workspace to sleep at the same time; what fails is taken back.

The order of guarantees: the target runs before ``.nexus/current`` names it, and when it cannot be woken the workspace one came
from is as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import anyio.to_thread
from pydantic import JsonValue

from nexus.abc import SupportsPause
from nexus.errors import NexusError, WorkspaceUnavailable
from nexus.models.events import Switched
from nexus.models.instances import InstanceState, InstanceStatus
from nexus.models.requests import SwitchOutcome
from nexus.models.workspace import SwitchStrategy, WorkspaceRecord, WorkspaceStatus
from nexus.state import JournalEntry
from nexus.workspace import leaving, running
from nexus.workspace.at_once import both
from nexus.workspace.context import Context
from nexus.workspace.hibernating import Processes
from nexus.workspace.left_running import left_running
from nexus.workspace.own_records import ID, Glance
from nexus.workspace.places import Place, look
from nexus.workspace.plan import WITH, Operation, StartStep, switch_verdict
from nexus.workspace.settling import let_go_on, put_back_to_sleep, record_of, settle_start, take_down, wanted
from nexus.workspace.swapping import Sleep, Sleeper, swap, warning
from nexus.workspace.underway import underway


class Holding(Protocol):
    """What :func:`nexus.workspace.recovery.holding` is, which knows this module."""

    def __call__(
        self,
        context: Context,
        /,
        *names: str,
        purpose: str,
        besides: Callable[[], Iterable[str]] | None = None,
        first: Callable[[], object] | None = None,
    ) -> AbstractAsyncContextManager[None]:
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
    if ID.fullmatch(name):
        name = (await context.records.load(name)).name
    outcome: SwitchOutcome | None = None
    while outcome is None:
        outcome = await _switch_from_current(context, name, holding)
    return outcome.model_copy(update={"seconds": time.monotonic() - begun})


async def _switch_from_current(context: Context, name: str, holding: Holding) -> SwitchOutcome | None:
    """Switch when the same workspace is the current one before and under the locks. Otherwise nothing is done: ``None``."""
    before: list[str | None] = []
    under: list[Glance] = []

    def besides() -> tuple[str, ...]:
        context.store.require(name)  # before a lock is made for it
        current = context.store.read_current()
        before[:] = [current]
        return () if current is None else (current,)

    def look() -> None:
        under[:] = [context.records.glance(name)]

    async with holding(context, name, purpose=f"switching to {name}", besides=besides, first=look):
        # Another switch may have come first, or one that was cut short has just been completed.
        if under[0].current != before[0]:
            return None
        try:
            return await _switch(context, under[0], ask=False)
        except WorkspaceUnavailable:
            if under[0].record.status is not WorkspaceStatus.PAUSED:
                raise
        # It was not paused as its record says, and nothing has changed: ask what it is, which says what it takes to wake it.
        return await _switch(context, await anyio.to_thread.run_sync(context.records.glance, name), ask=True)


async def _switch(context: Context, glance: Glance, *, ask: bool) -> SwitchOutcome:
    target, previous, old = glance
    place, found = await both(
        lambda: _place(context, target, InstanceState.PAUSED, ask=ask),
        lambda: _look_into(context, old, ask=ask),
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
        "processes": (Processes.END if sleeper is None else sleeper.processes).value,
    }
    async with underway(context, target, Operation.SWITCH, settle, plan=tuple(StartStep), facts=facts) as journal:
        swapped = await swap(context, sleeper, target, place, journal)
    unasked = (warning(old, found),) if isinstance(found, NexusError) else ()
    context.bus.publish(Switched(workspace=target.id, name=target.name, previous=previous))
    return SwitchOutcome(
        previous=old.name if old else None,
        current=target.name,
        previous_status=swapped.status,
        seconds=0.0,
        warnings=(*kept, *swapped.warnings, *unasked),
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


async def _place(context: Context, record: WorkspaceRecord, state: InstanceState, *, ask: bool) -> Place:
    """Return where a workspace runs and what it does: ``state`` without asking, where its record says so and we may believe it.

    We may, because acting on it proves it: a backend resumes only what is paused, and pauses only what runs.
    """
    if ask or record.status != state.value:
        return await look(context, record)
    instance = await context.backends.instance(record)
    return Place(instance, InstanceStatus(ref=instance.ref, state=state))


async def _look_into(context: Context, old: WorkspaceRecord | None, *, ask: bool) -> Sleeper | NexusError | None:
    """Find out how a workspace can be put to sleep. One that cannot be asked is a warning: it does not hold up the switch."""
    if old is None:
        return None
    try:
        place = await _place(context, old, InstanceState.RUNNING, ask=ask or context.settings.switch != "pause")
        return Sleeper(old, place, _sleep(place, context.settings.switch), _processes(context))
    except NexusError as error:
        return error


def _sleep(place: Place, wanted: SwitchStrategy) -> Sleep:
    """Pause where that is wanted and the backend can, else stop; leave alone what does not run."""
    if wanted != "pause" or not isinstance(place.instance, SupportsPause):
        return "none" if place.down else "stop"
    return "pause" if place.seen.state is InstanceState.RUNNING else "none"

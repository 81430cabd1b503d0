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

from nexus.errors import NexusError, WorkspaceUnavailable
from nexus.models.events import Switched
from nexus.models.requests import SwitchOutcome
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.state import JournalEntry, OpenJournal
from nexus.workspace import leaving, running
from nexus.workspace.context import Context
from nexus.workspace.going import Going, believed, found_out
from nexus.workspace.hibernating import Processes
from nexus.workspace.left_running import left_running
from nexus.workspace.own_records import ID, Glance
from nexus.workspace.plan import WITH, switch_verdict
from nexus.workspace.settling import let_go_on, put_back_to_sleep, record_of, settle_start, take_down, wanted
from nexus.workspace.swapping import swap, warning
from nexus.workspace.underway import begun


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
        last: Callable[[], object] | None = None,
    ) -> AbstractAsyncContextManager[Callable[[], None]]:
        """Hold workspaces against everybody else, with whatever a crash left of them settled first."""
        ...


class _Sight:
    """What a switch finds out while it takes the locks, on the same visit to a thread. All methods block.

    Where records say all there is to know, its journal is begun there as well.
    """

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._name = name
        self._before: str | None = None
        self._glance: Glance | None = None
        self._going: Going | None = None
        self._journal: OpenJournal | None = None

    def others(self) -> tuple[str, ...]:
        """Return the one that is current, which has to be held too."""
        self._context.store.require(self._name)  # before a lock is made for it
        self._before = self._context.store.read_current()
        return () if self._before is None else (self._before,)

    def look(self) -> None:
        """Look at both, which are held."""
        self._glance = self._context.records.glance(self._name)
        self._going = believed(self._context, self._glance) if self.same is not None else None
        if self._going is not None:
            journal = self._going.journal(self._context)
            journal.write()
            self._journal = journal

    def take(self) -> tuple[Going, OpenJournal] | None:
        """Return how one gets there, where that needed no question, with the journal of it; whoever takes it goes on with both."""
        going, journal, self._journal = self._going, self._journal, None
        return None if going is None or journal is None else (going, journal)

    def leave(self) -> None:
        """Take back what nobody has gone on with: whoever is cancelled while he takes the locks has begun nothing."""
        if self._journal is not None:
            self._journal.delete()

    @property
    def same(self) -> Glance | None:
        """What was seen, where the one that is held is still the current one."""
        return self._glance if self._glance is not None and self._glance.current == self._before else None


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
    since = time.monotonic()
    if ID.fullmatch(name):
        name = (await context.records.load(name)).name
    outcome: SwitchOutcome | None = None
    while outcome is None:
        outcome = await _switch_from_current(context, name, holding)
    return outcome.model_copy(update={"seconds": time.monotonic() - since})


async def _switch_from_current(context: Context, name: str, holding: Holding) -> SwitchOutcome | None:
    """Switch when the same workspace is the current one before and under the locks. Otherwise nothing is done: ``None``."""
    sight = _Sight(context, name)
    purpose = f"switching to {name}"
    async with holding(
        context, name, purpose=purpose, besides=sight.others, first=sight.look, last=sight.leave
    ) as let_go:
        glance = sight.same
        # Another switch may have come first, or one that was cut short has just been completed.
        if glance is None:
            return None
        try:
            going, journal = sight.take() or (await found_out(context, glance, ask=False), None)
            return await _go(context, glance, going, journal, let_go)
        except WorkspaceUnavailable:
            if glance.record.status is not WorkspaceStatus.PAUSED:
                raise
        # It was not paused as its record says, and nothing has changed: ask what it is, which says what it takes to wake it.
        glance = await anyio.to_thread.run_sync(context.records.glance, name)
        return await _go(context, glance, await found_out(context, glance, ask=True), None, let_go)


async def _go(
    context: Context, glance: Glance, going: Going, journal: OpenJournal | None, let_go: Callable[[], None]
) -> SwitchOutcome:
    target, sleeper, old = going.target, going.sleeper, glance.other
    kept: tuple[str, ...] = ()
    if journal is None:
        if sleeper is not None and sleeper.how == "stop" and context.settings.switch == "checkpoint":
            kept = await leaving.keep(context, sleeper.record)
        journal = going.journal(context)
        await journal.begin()
    async with begun(context, journal, settle):
        swapped = await swap(context, going, journal, let_go)
    unasked = (warning(old, going.old),) if isinstance(going.old, NexusError) else ()
    context.bus.publish(Switched(workspace=target.id, name=target.name, previous=glance.current))
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

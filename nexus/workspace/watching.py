"""Watching over the workspaces of a repository: those in which nothing happens are put to sleep, those past their time destroyed.

One watch per repository is enough; several do no harm, since each looks again under the workspace's lock before it acts. It acts
late rather than wrongly: what cannot be found out counts as a reason to stay awake, and what fails is tried again later.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import anyio
import anyio.lowlevel

from nexus.errors import NexusError, WorkspaceNotFound
from nexus.models.activity import FROM_THE_FUTURE
from nexus.models.events import StatusChanged, Switched, WorkspaceEvent
from nexus.models.ids import WorkspaceId
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.workspace import memory, running
from nexus.workspace.activity import examine, glance, patience
from nexus.workspace.context import Context
from nexus.workspace.hibernating import Processes
from nexus.workspace.idle import Step, Verdict, decide
from nexus.workspace.places import Sleep
from nexus.workspace.sweeping import expire

_log = logging.getLogger(__name__)

SHORTEST: Final = 0.1
"""Seconds between two looks at least, however short the configured spans are."""
LONGEST: Final = 60.0
"""Seconds between two looks at the list: other processes make, start and hold workspaces without a word to this one."""
_AGAIN: Final = timedelta(minutes=1)
"""Time until what failed is tried again."""
_KEPT: Final = timedelta(minutes=15)
"""Time until one that is past its time and holds unsaved work is looked at again."""


class IdleWatch:
    """Puts to sleep, stops and destroys what is due.

    Args:
        context: The open repository.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._later: dict[WorkspaceId, datetime] = {}
        """Workspaces that are left alone until then: what failed, and what is kept although its time is over."""

    async def run(self) -> None:
        """Watch until cancelled.

        Cancellation: what was begun for a workspace is left as a cancelled call of that operation leaves it.
        """
        bell = _Bell()
        forget = self._context.bus.observe(bell.heard)
        try:
            while True:
                bell.silence()
                due = await self._round()
                rest = LONGEST if due is None else (due - self._context.clock.now()).total_seconds()
                if rest > 0:
                    await _rest(self._context, bell, min(max(rest, SHORTEST), LONGEST))
                else:
                    await anyio.sleep(SHORTEST)  # already due: time went on while the others were looked at
        finally:
            forget()

    async def _round(self) -> datetime | None:
        """Look at every workspace once; return when the first of them has to be looked at again."""
        try:
            records, _ = await self._context.records.all()
        except NexusError as error:
            _log.warning("the idle watch cannot list the workspaces and tries again: %s", error)
            return self._context.clock.now() + _AGAIN
        due: list[datetime] = []
        pressed = await self._pressed(records)

        async def see(record: WorkspaceRecord) -> None:
            again = await self._see(record, pressed=record.id == pressed)
            if again is not None:
                due.append(again)

        async with anyio.create_task_group() as group:
            for record in records:
                group.start_soon(see, record)
        for gone in self._later.keys() - {record.id for record in records}:
            del self._later[gone]
        return min(due, default=None)

    async def _pressed(self, records: Sequence[WorkspaceRecord]) -> WorkspaceId | None:
        """Return the workspace that has to give up its memory: the one that has slept longest, when memory is short."""
        least = self._context.settings.stop_below
        asleep = [
            (since, record.id)
            for record in records
            if record.status is WorkspaceStatus.PAUSED
            and record.id not in self._later
            and (since := record.asleep_since or record.left_at) is not None
        ]
        if not asleep or least is None:
            return None
        left = await anyio.to_thread.run_sync(memory.available)
        return min(asleep)[1] if left is not None and left < least else None

    async def _see(self, record: WorkspaceRecord, *, pressed: bool) -> datetime | None:
        now = self._context.clock.now()
        postponed = self._later.pop(record.id, None)
        if postponed is not None and now < postponed <= now + _KEPT:
            return self._postpone(record, postponed)
        try:
            return await self._decide(record, pressed=pressed)
        except WorkspaceNotFound:
            return None
        except NexusError as error:
            _log.warning("the idle watch could not look after %s and tries again: %s", record.name, error)
            return self._postpone(record, self._context.clock.now() + _AGAIN)

    def _postpone(self, record: WorkspaceRecord, until: datetime) -> datetime:
        self._later[record.id] = until
        return until

    async def _decide(self, record: WorkspaceRecord, *, pressed: bool) -> datetime | None:
        """Decide by our own files first, then by what the backend sees, then once more under the lock, and act."""
        context = self._context
        await _forgive(context, record)
        seen = await glance(context, record, pressed=pressed)
        quick = decide(seen, patience(context, record), context.clock.now())
        if quick.step is Step.KEEP:
            return quick.again
        verdict = await _verdict(context, record, pressed=pressed)
        if verdict.step is Step.KEEP:
            return verdict.again
        if verdict.step is Step.EXPIRE:
            action = await expire(context, record)
            _log.info("workspace %s is past its time: %s (%s)", record.name, action.action, action.reason)
            return self._postpone(record, context.clock.now() + _KEPT) if action.action == "kept" else None
        async with context.locks.workspace(record.name, f"putting workspace {record.name} to sleep"):
            return await _put_to_sleep(context, await context.records.load(record.id), pressed=pressed)


async def _forgive(context: Context, record: WorkspaceRecord) -> None:
    """Count from now on when the clock was set back: a time that is still to come would keep a workspace awake until then."""
    if (await glance(context, record)).last_active > context.clock.now() + FROM_THE_FUTURE:
        await context.in_use.mark(record.id)


async def _verdict(context: Context, record: WorkspaceRecord, *, pressed: bool) -> Verdict:
    seen = await examine(context, record, pressed=pressed)
    if any(command.keeps_awake and not command.interactive for command in seen.commands or ()):
        await context.in_use.mark(record.id)  # idleness counts from the moment at which work was last seen
    return decide(seen, patience(context, record), context.clock.now())


async def _put_to_sleep(context: Context, record: WorkspaceRecord, *, pressed: bool) -> datetime | None:
    """Look once more, and pause or stop. The caller holds the lock."""
    judged, noted = context.clock.now(), context.in_use.last(record.id)
    verdict = await _verdict(context, record, pressed=pressed)
    sleep = Sleep(next(iter(verdict.because), ""), record.asleep_since or record.left_at or judged)
    match verdict.step:
        case Step.PAUSE:
            slept = await running.pause(context, record, sleep=sleep)
        case Step.STOP:
            grace = context.backends.stop_grace(record.backend)
            slept = await running.stop(context, record, grace=grace, sleep=sleep, processes=Processes.TRY)
        case _:
            return verdict.again
    _log.info("workspace %s is %s: %s", record.name, slept.status, ", ".join(verdict.because))
    if slept.status is WorkspaceStatus.PAUSED and context.in_use.last(record.id) != noted:
        # A command began between the last look and the pause: it must not stay frozen.
        await running.resume(context, slept)
        return context.clock.now() + _AGAIN
    if pressed:
        return context.clock.now()  # memory may be short still, and the next one's turn come
    stop = patience(context, record).stop
    return judged + stop if slept.status is WorkspaceStatus.PAUSED and stop is not None else None


async def _rest(context: Context, bell: _Bell, seconds: float) -> None:
    """Return after some seconds, or as soon as something happens; at once where something has."""
    if bell.rang:
        await anyio.lowlevel.checkpoint()
        return
    async with anyio.create_task_group() as group:

        async def nap() -> None:
            await context.clock.sleep(seconds)
            group.cancel_scope.cancel()

        group.start_soon(nap)
        await bell.wait()
        group.cancel_scope.cancel()


class _Bell:
    """Rings when something happened that may change a decision. Never falls behind, unlike a queue of events."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def heard(self, event: WorkspaceEvent) -> None:
        if isinstance(event, StatusChanged | Switched):
            self._event.set()

    @property
    def rang(self) -> bool:
        return self._event.is_set()

    def silence(self) -> None:
        if self._event.is_set():
            self._event = anyio.Event()

    async def wait(self) -> None:
        await self._event.wait()

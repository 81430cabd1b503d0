"""How one gets from one workspace to another: what it takes to wake the one, and how the other is put to sleep."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import JsonValue

from nexus.abc import Instance, SupportsPause
from nexus.errors import NexusError
from nexus.models.instances import InstanceState, InstanceStatus
from nexus.models.workspace import SwitchStrategy, WorkspaceRecord, WorkspaceStatus
from nexus.state import OpenJournal
from nexus.workspace.at_once import both
from nexus.workspace.context import Context
from nexus.workspace.hibernating import Processes
from nexus.workspace.own_records import Glance
from nexus.workspace.places import Place, look
from nexus.workspace.plan import WITH, Operation, StartStep

Sleep = Literal["pause", "stop", "none"]


class Sleeper(NamedTuple):
    """The workspace one comes from, and how it is put to sleep."""

    record: WorkspaceRecord
    place: Place
    how: Sleep
    processes: Processes = Processes.END
    """What becomes of its processes when it is stopped."""


class Going(NamedTuple):
    """How one gets to a workspace."""

    target: WorkspaceRecord
    place: Place
    old: Sleeper | NexusError | None
    """The one that one comes from; an error where it cannot be asked, ``None`` where there is none."""

    @property
    def sleeper(self) -> Sleeper | None:
        """The one that is put to sleep."""
        return self.old if isinstance(self.old, Sleeper) else None

    def journal(self, context: Context) -> OpenJournal:
        """Return the journal of the switch, which is not on the disk yet."""
        sleeper = self.sleeper
        facts: dict[str, JsonValue] = {
            WITH: [] if sleeper is None else [sleeper.record.name],
            "wake": self.place.waking,
            "again": self.place.lost,
            "sleep": "none" if sleeper is None else sleeper.how,
            "processes": (Processes.END if sleeper is None else sleeper.processes).value,
        }
        return context.journal.draw_up(
            operation=Operation.SWITCH,
            workspace=self.target.id,
            name=self.target.name,
            plan=tuple(StartStep),
            facts=facts,
            durable=False,
        )


def believed(context: Context, glance: Glance) -> Going | None:
    """Return how one gets there where the records say that both are alive, and their instances are at hand.

    We may believe them, because acting on it proves it: a backend resumes only what is paused, and pauses only what runs.
    """
    target, old = glance.record, glance.other
    if old is None or (target.status, old.status) != (WorkspaceStatus.PAUSED, WorkspaceStatus.RUNNING):
        return None
    awake, asleep = context.backends.known_instance(old), context.backends.known_instance(target)
    if context.settings.switch != "pause" or awake is None or asleep is None:
        return None
    place, other = _assumed(asleep, InstanceState.PAUSED), _assumed(awake, InstanceState.RUNNING)
    return Going(target, place, _sleeper(context, old, other))


def _assumed(instance: Instance, state: InstanceState) -> Place:
    return Place(instance, InstanceStatus(ref=instance.ref, state=state))


async def found_out(context: Context, glance: Glance, *, ask: bool) -> Going:
    """Find out how one gets there; ``ask`` says not to believe any record."""
    place, old = await both(
        lambda: _place(context, glance.record, InstanceState.PAUSED, ask=ask),
        lambda: _look_into(context, glance.other, ask=ask),
    )
    return Going(glance.record, place, old)


async def _place(context: Context, record: WorkspaceRecord, state: InstanceState, *, ask: bool) -> Place:
    """Return where a workspace runs and what it does: ``state`` without asking, where its record says so and may be believed."""
    if ask or record.status != state.value:
        return await look(context, record)
    return _assumed(await context.backends.instance(record), state)


async def _look_into(context: Context, old: WorkspaceRecord | None, *, ask: bool) -> Sleeper | NexusError | None:
    """Find out how a workspace can be put to sleep. One that cannot be asked is a warning: it does not hold up the switch."""
    if old is None:
        return None
    try:
        place = await _place(context, old, InstanceState.RUNNING, ask=ask or context.settings.switch != "pause")
        return _sleeper(context, old, place)
    except NexusError as error:
        return error


def _sleeper(context: Context, old: WorkspaceRecord, place: Place) -> Sleeper:
    return Sleeper(old, place, _sleep(place, context.settings.switch), _processes(context))


def _sleep(place: Place, wanted: SwitchStrategy) -> Sleep:
    """Pause where that is wanted and the backend can, else stop; leave alone what does not run."""
    if wanted != "pause" or not isinstance(place.instance, SupportsPause):
        return "none" if place.down else "stop"
    return "pause" if place.seen.state is InstanceState.RUNNING else "none"


def _processes(context: Context) -> Processes:
    """Return what becomes of the processes of a workspace that a switch stops."""
    return Processes.TRY if context.settings.switch == "checkpoint" else Processes.END

"""Where a workspace runs: asking about it, making it again, giving it other ports, and writing down what was learned."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from nexus.abc import Instance, ProgressCallback, SupportsPortChange
from nexus.errors import NexusError, PortInUse, ProviderUnavailable
from nexus.models.events import PortChanged, StatusChanged
from nexus.models.instances import InstanceState, InstanceStatus
from nexus.models.ports import PortMapping
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.state import OpenJournal
from nexus.workspace.at_once import both
from nexus.workspace.context import Context
from nexus.workspace.lifecycle import Event, after, observed
from nexus.workspace.plan import StartStep
from nexus.workspace.records import touched, with_ports, with_user
from nexus.workspace.specifying import specify
from nexus.workspace.visibility import bound


class Sleep(NamedTuple):
    """Why a workspace was put to sleep that nobody had asked to."""

    reason: str
    since: datetime
    left: bool = False
    """Whether a switch to another one did it: the next command does not wake it, but in time it is stopped like one that was idle."""


class Place(NamedTuple):
    """Where a workspace runs, and what it was doing when it was asked."""

    instance: Instance
    seen: InstanceStatus

    @property
    def waking(self) -> Literal["none", "thaw", "start"]:
        """What it takes to have it running."""
        if self.seen.state is InstanceState.RUNNING:
            return "none"
        return "thaw" if self.seen.state is InstanceState.PAUSED else "start"

    @property
    def lost(self) -> bool:
        """Whether it has to be made again."""
        return self.seen.state is InstanceState.GONE

    @property
    def down(self) -> bool:
        """Whether nothing of it runs, and nothing has to be ended."""
        return self.seen.state in {InstanceState.STOPPED, InstanceState.GONE}


async def look(context: Context, record: WorkspaceRecord) -> Place:
    """Return the instance and what it is doing now; a backend that cannot be asked is an error here, not a guess."""
    instance = await context.backends.instance(record)
    seen = await instance.status()
    if seen.state is InstanceState.UNKNOWN:
        raise ProviderUnavailable(
            f"the {record.backend} backend cannot be asked about workspace {record.name!r}: {seen.detail}",
            hint="'boulder doctor' says what is wrong with it",
            details={"provider": record.backend},
        )
    return Place(instance, seen)


def expect(record: WorkspaceRecord, seen: InstanceStatus, event: Event) -> WorkspaceStatus:
    """Return the status after an event. The record may be behind: what the provider sees counts."""
    status, _, _ = observed(record.status, record.status_message, seen)
    return after(status, event, name=record.name)


async def make_again(
    context: Context, record: WorkspaceRecord, report: ProgressCallback
) -> tuple[WorkspaceRecord, Instance]:
    """Make the place again from the record: same image, ports, mounts and limits."""
    mappings, changed = await _verified(context, record)
    if changed:
        record = with_ports(record, mappings)
    provider = await context.backends.provider(record.backend)
    prepared = await provider.prepare(specify(context, with_user(record, None)), progress=report)
    record = with_user(record, prepared.remote_user)
    instance = await provider.create(specify(context, record), progress=report)
    record = record.model_copy(update={"container_id": instance.ref.handle})
    await context.store.save(record)
    return record, instance


async def secure_ports(
    context: Context, record: WorkspaceRecord, instance: Instance, journal: OpenJournal
) -> tuple[WorkspaceRecord, Instance]:
    """Replace ports that somebody else took while the workspace was down, in the lease, the record and the instance."""
    mappings, changed = await _verified(context, record)
    if not changed:
        return record, instance
    await journal.doing(StartStep.PLACE)
    record, instance = await _change_ports(context, record, instance, mappings)
    await journal.done(StartStep.PLACE)
    return record, instance


async def replace_ports(
    context: Context, record: WorkspaceRecord, instance: Instance, refusal: PortInUse
) -> tuple[WorkspaceRecord, Instance]:
    """Replace what somebody took between the lease and the start: building an image in between may take minutes.

    Raises:
        PortInUse: ``refusal``, when every port is free after all, or one that is fixed is taken.
    """
    mappings, changed = await _verified(context, record)
    if not changed:
        raise refusal
    return await _change_ports(context, record, instance, mappings)


async def make_whole(context: Context, record: WorkspaceRecord, place: Place, *, again: bool) -> WorkspaceRecord:
    """Finish what a start that was cut short had begun to make. Everything in it may be done twice.

    Args:
        context: The parts.
        record: Its record.
        place: What is there.
        again: Whether a lost place was being made again; otherwise one was being given other ports.
    """
    if place.lost:
        return record
    if not place.down:
        return record.model_copy(update={"container_id": place.instance.ref.handle})
    if again:
        # One that is there is only set up to the end.
        provider = await context.backends.provider(record.backend)
        instance = await provider.create(specify(context, record))
        return record.model_copy(update={"container_id": instance.ref.handle})
    mappings, _ = await _verified(context, record)
    record, _ = await _change_ports(context, record, place.instance, mappings)
    return record


async def _change_ports(
    context: Context, record: WorkspaceRecord, instance: Instance, mappings: tuple[PortMapping, ...]
) -> tuple[WorkspaceRecord, Instance]:
    record = with_ports(record, mappings)
    if isinstance(instance, SupportsPortChange):
        instance = await instance.change_ports(mappings)
    record = record.model_copy(update={"container_id": instance.ref.handle})
    await context.store.save(record)
    return record, instance


async def _verified(context: Context, record: WorkspaceRecord) -> tuple[tuple[PortMapping, ...], bool]:
    if not record.port_mappings:
        return (), False  # nothing that the registry would have to be asked about
    mappings, changes = await context.allocator.verify(
        record.id,
        record.port_mappings,
        key=f"{record.repository.root}:{record.name}",
        backend=record.backend,
    )
    for change in changes:
        context.bus.publish(PortChanged(workspace=record.id, name=record.name, change=change))
    mappings = await bound(context, mappings)
    return mappings, mappings != record.port_mappings


async def failed(context: Context, record: WorkspaceRecord, error: NexusError) -> None:
    """Note that a workspace could not be brought up."""
    # The message is written down and announced: nothing that programs inside were given may be in it.
    reason = context.secrets.redactor().redact(error.message)
    broken = touched(record, after(record.status, Event.FAIL, name=record.name), reason)
    await context.store.save(broken)
    announce(context, broken, record.status, reason)


async def settled(
    context: Context,
    record: WorkspaceRecord,
    status: WorkspaceStatus,
    reason: str,
    *,
    message: str | None = None,
    sleep: Sleep | None = None,
) -> WorkspaceRecord:
    """Write the record in its new status, and tell everybody when it is another one."""
    previous = record.status
    record = changed(record, status, message=message, sleep=sleep)
    if status is WorkspaceStatus.RUNNING:
        await both(lambda: context.store.save(record), lambda: context.in_use.mark(record.id))
    else:
        await context.store.save(record)
    if status is not previous:
        announce(context, record, previous, sleep.reason if sleep else reason)
    return record


def changed(
    record: WorkspaceRecord, status: WorkspaceStatus, *, message: str | None = None, sleep: Sleep | None = None
) -> WorkspaceRecord:
    """Return the record in its new status, as it is to be written."""
    idle, left = (None, sleep) if sleep is not None and sleep.left else (sleep, None)
    return touched(
        record, status, message, asleep_since=idle.since if idle else None, left_at=left.since if left else None
    )


def announce(context: Context, record: WorkspaceRecord, previous: WorkspaceStatus, reason: str) -> None:
    """Tell everybody that a workspace has another status than before."""
    context.bus.publish(
        StatusChanged(workspace=record.id, name=record.name, previous=previous, status=record.status, reason=reason)
    )

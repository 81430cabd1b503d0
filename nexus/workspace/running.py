"""Starting, stopping, pausing and resuming. The provider is asked first; the record is written after."""

from __future__ import annotations

from nexus.abc import Instance, ProgressCallback, SupportsPortChange
from nexus.errors import NexusError, ProviderUnavailable
from nexus.models.events import PortChanged, StatusChanged
from nexus.models.instances import InstanceState, InstanceStatus
from nexus.models.ports import PortMapping
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.workspace import services_life
from nexus.workspace.bringup import bring_down, bring_up, freeze, thaw
from nexus.workspace.context import Context
from nexus.workspace.lifecycle import Event, after, observed
from nexus.workspace.records import touched, with_ports


async def start(context: Context, record: WorkspaceRecord, progress: ProgressCallback | None = None) -> WorkspaceRecord:
    """Make a workspace run, whatever state its place is in. The caller holds its lock."""
    report = context.reporter(record, progress)
    instance, seen = await _look(context, record)
    status = _expect(record, seen, Event.START)
    if seen.state is InstanceState.RUNNING:
        await services_life.mend(context, record, instance, report)
        return await _record(context, record, status, "runs already")
    if seen.state is InstanceState.PAUSED:
        await thaw(context, record, instance)
        return await _record(context, record, status, "resumed")
    record = services_life.refreshed(context, record, report)
    if seen.state is InstanceState.GONE:
        report("create", "its place is gone: making it again around the worktree")
        record, instance = await _make_again(context, record, report)
    else:
        record, instance = await _secure_ports(context, record, instance)
    try:
        record = await bring_up(context, record, instance, report)
    except NexusError as error:
        await _fail(context, record, error)
        raise
    return await _record(context, record, status, "started")


async def stop(context: Context, record: WorkspaceRecord, *, grace: float) -> WorkspaceRecord:
    """End a workspace's processes. The caller holds its lock."""
    instance, seen = await _look(context, record)
    status = _expect(record, seen, Event.STOP)
    if seen.state not in {InstanceState.STOPPED, InstanceState.GONE}:
        await bring_down(context, record, instance, grace=grace)
    else:
        await services_life.down(context, record, instance, grace=grace)
    return await _record(context, record.model_copy(update={"process_state": None}), status, "stopped")


async def pause(context: Context, record: WorkspaceRecord) -> WorkspaceRecord:
    """Freeze a workspace's processes. The caller holds its lock.

    Raises:
        Unsupported: When its backend cannot freeze.
    """
    instance, seen = await _look(context, record)
    status = _expect(record, seen, Event.PAUSE)
    if seen.state is not InstanceState.PAUSED:
        await freeze(context, record, instance)
    return await _record(context, record, status, "paused")


async def resume(context: Context, record: WorkspaceRecord) -> WorkspaceRecord:
    """Let a workspace's frozen processes go on. The caller holds its lock."""
    instance, seen = await _look(context, record)
    status = _expect(record, seen, Event.RESUME)
    if seen.state is not InstanceState.RUNNING:
        await thaw(context, record, instance)
    return await _record(context, record, status, "resumed")


async def _look(context: Context, record: WorkspaceRecord) -> tuple[Instance, InstanceStatus]:
    """Return the instance and what it is doing now; a backend that cannot be asked is an error here, not a guess."""
    instance = await context.instance(record)
    seen = await instance.status()
    if seen.state is InstanceState.UNKNOWN:
        raise ProviderUnavailable(
            f"the {record.backend} backend cannot be asked about workspace {record.name!r}: {seen.detail}",
            hint="'boulder doctor' says what is wrong with it",
            details={"provider": record.backend},
        )
    return instance, seen


def _expect(record: WorkspaceRecord, seen: InstanceStatus, event: Event) -> WorkspaceStatus:
    status, _, _ = observed(record.status, record.status_message, seen)
    return after(status, event, name=record.name)


async def _make_again(
    context: Context, record: WorkspaceRecord, report: ProgressCallback
) -> tuple[WorkspaceRecord, Instance]:
    """Make the place again from the record: same image, ports, mounts and limits."""
    mappings, changed = await _verified(context, record)
    if changed:
        record = with_ports(record, mappings)
    provider = await context.provider(record.backend)
    await provider.prepare(context.specification(record), progress=report)
    instance = await provider.create(context.specification(record), progress=report)
    record = record.model_copy(update={"container_id": instance.ref.handle})
    await context.store.save(record)
    return record, instance


async def _secure_ports(
    context: Context, record: WorkspaceRecord, instance: Instance
) -> tuple[WorkspaceRecord, Instance]:
    """Replace ports that somebody else took while the workspace was down, in the lease, the record and the instance."""
    mappings, changed = await _verified(context, record)
    if not changed:
        return record, instance
    record = with_ports(record, mappings)
    if isinstance(instance, SupportsPortChange):
        instance = await instance.change_ports(mappings)
    record = record.model_copy(update={"container_id": instance.ref.handle})
    await context.store.save(record)
    return record, instance


async def _verified(context: Context, record: WorkspaceRecord) -> tuple[tuple[PortMapping, ...], bool]:
    mappings, changes = await context.allocator.verify(record.id, record.port_mappings)
    for change in changes:
        context.bus.publish(PortChanged(workspace=record.id, name=record.name, change=change))
    return mappings, bool(changes)


async def _fail(context: Context, record: WorkspaceRecord, error: NexusError) -> None:
    failed = touched(record, after(record.status, Event.FAIL, name=record.name), error.message)
    await context.store.save(failed)
    _announce(context, failed, record.status, error.message)


async def _record(context: Context, record: WorkspaceRecord, status: WorkspaceStatus, reason: str) -> WorkspaceRecord:
    previous = record.status
    record = touched(record, status)
    await context.store.save(record)
    if status is not previous:
        _announce(context, record, previous, reason)
    return record


def _announce(context: Context, record: WorkspaceRecord, previous: WorkspaceStatus, reason: str) -> None:
    context.bus.publish(
        StatusChanged(workspace=record.id, name=record.name, previous=previous, status=record.status, reason=reason)
    )

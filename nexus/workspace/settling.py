"""Putting in order what a start, stop, pause or resume has left that was cut short. See :mod:`nexus.workspace.plan` for what comes out."""

from __future__ import annotations

from contextlib import suppress

from nexus.abc import Instance
from nexus.errors import NexusError, WorkspaceGone, WorkspaceNotFound, WorkspaceStopped
from nexus.models.instances import InstanceState
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.state import JournalEntry
from nexus.workspace.bringup import bring_down, freeze, thaw
from nexus.workspace.context import Context
from nexus.workspace.hibernating import KEPT, Processes, are_kept, can, hibernate, without
from nexus.workspace.left_running import left_running
from nexus.workspace.lifecycle import observed
from nexus.workspace.places import Place, look, make_whole, settled
from nexus.workspace.plan import Operation, start_verdict

_OTHERS = frozenset({WorkspaceStatus.PENDING, WorkspaceStatus.DESTROYING, WorkspaceStatus.DESTROYED})


async def settle_run(context: Context, entry: JournalEntry) -> None:
    """Settle one start, stop, pause or resume. The caller holds the workspace's lock."""
    record = await record_of(context, entry)
    if record is None:
        return
    match entry.operation:
        case Operation.START:
            await settle_start(context, record, entry)
        case Operation.STOP:
            grace = entry.facts.get("grace")
            limit = grace if isinstance(grace, int | float) else None
            await take_down(context, record, grace=limit, processes=wanted(entry))
        case Operation.PAUSE:
            await put_back_to_sleep(context, record)
        case _:  # a resume
            await let_go_on(context, record)


async def record_of(context: Context, entry: JournalEntry, name: str | None = None) -> WorkspaceRecord | None:
    """Return the record that a journal is about; ``None`` when it is gone, or another operation has it in hand."""
    try:
        record = await context.records.load(name or entry.name)
    except WorkspaceNotFound:
        return None
    if record.status in _OTHERS or (name is None and record.id != entry.workspace):
        return None
    return record


async def settle_start(context: Context, record: WorkspaceRecord, entry: JournalEntry) -> WorkspaceRecord:
    """Settle what is left of a start."""
    match start_verdict(entry.started, entry.finished):
        case "down":
            message = "starting it was cut short, so what had come up was taken down again"
            # What was going on goes on later, as if nothing had been begun.
            processes = Processes.TRY if are_kept(record) else Processes.END
            return await take_down(context, record, message=message, processes=processes)
        case "place":
            record = await make_whole(
                context, record, await look(context, record), again=bool(entry.facts.get("again"))
            )
            return await _as_seen(context, record, await look(context, record))
        case _:
            return await _as_seen(context, record, await look(context, record))


def wanted(entry: JournalEntry) -> Processes:
    """Return what was to become of the processes of a workspace whose stop was cut short. They are never a reason not to stop it."""
    said = entry.facts.get("processes")
    return Processes.TRY if said in {Processes.KEEP, Processes.TRY} else Processes.END


async def end(
    context: Context, record: WorkspaceRecord, instance: Instance, *, grace: float, processes: Processes
) -> tuple[WorkspaceRecord, bool, str | None]:
    """End everything that runs for a workspace, keeping its processes where that is wanted and can be done.

    Returns:
        The record with what was learned, not yet written; whether they are kept; and why they are not, when that was tried.

    Raises:
        Unsupported: When they have to be kept and cannot be. It goes on.
    """
    message: str | None = None
    if processes is Processes.KEEP or (processes is Processes.TRY and await can(context, record)):
        try:
            return await hibernate(context, record, instance), True, None
        except NexusError as error:
            if processes is Processes.KEEP:
                raise
            message = f"stopped, and its processes ended: {error.message}"
    return await bring_down(context, record, instance, grace=grace), False, message


async def take_down(
    context: Context,
    record: WorkspaceRecord,
    *,
    grace: float | None = None,
    message: str | None = None,
    processes: Processes = Processes.END,
) -> WorkspaceRecord:
    """Stop everything of a workspace, also what is up in part."""
    place, kept = await look(context, record), False
    if place.seen.state is not InstanceState.GONE:
        limit = context.backends.stop_grace(record.backend) if grace is None else grace
        # It may end by itself meanwhile.
        with suppress(WorkspaceGone, WorkspaceStopped):
            record, kept, _ = await end(context, record, place.instance, grace=limit, processes=processes)
    left = left_running(context, record) if kept else without(record.left_running)
    known = {
        "process_state": None,
        "container_id": place.instance.ref.handle or record.container_id,
        "left_running": left.model_copy(update={"processes": kept}) if left is not None else None,
    }
    record, message = record.model_copy(update=known), KEPT if kept else message
    return await settled(context, record, WorkspaceStatus.STOPPED, "cut short", message=message)


async def put_back_to_sleep(context: Context, record: WorkspaceRecord) -> WorkspaceRecord:
    """Freeze a workspace to the end; one that does not run is what its provider sees."""
    place = await look(context, record)
    if place.seen.state is InstanceState.RUNNING:
        record = await freeze(context, record, place.instance)
        place = await look(context, record)
    return await _as_seen(context, record, place)


async def let_go_on(context: Context, record: WorkspaceRecord) -> WorkspaceRecord:
    """Thaw a workspace to the end; one that does not run is what its provider sees."""
    place = await look(context, record)
    if place.seen.state in {InstanceState.PAUSED, InstanceState.RUNNING}:
        record = await thaw(context, record, place.instance)
        place = await look(context, record)
    return await _as_seen(context, record, place)


async def _as_seen(context: Context, record: WorkspaceRecord, place: Place) -> WorkspaceRecord:
    """Write down what the provider sees."""
    status, message, _ = observed(record.status, record.status_message, place.seen)
    known = {"process_state": place.seen.process, "container_id": place.instance.ref.handle or record.container_id}
    return await settled(context, record.model_copy(update=known), status, "cut short", message=message)

"""Starting, stopping, pausing and resuming. The provider is asked first; the record is written after.

What is about to be done is in a journal, so that a process that dies on the way leaves something to be settled; see
:mod:`nexus.workspace.plan` for how.
"""

from __future__ import annotations

from nexus.abc import Instance, ProgressCallback
from nexus.errors import NexusError
from nexus.models.instances import InstanceState
from nexus.models.workspace import WorkspaceRecord
from nexus.state import OpenJournal
from nexus.workspace import hibernating, hooks, service_trust, services_life
from nexus.workspace.bringup import bring_up, freeze, thaw
from nexus.workspace.context import Context
from nexus.workspace.hibernating import Processes
from nexus.workspace.left_running import left_running
from nexus.workspace.lifecycle import Event
from nexus.workspace.places import Place, Sleep, expect, failed, look, make_again, secure_ports, settled
from nexus.workspace.plan import Operation, StartStep
from nexus.workspace.reporting import reporter
from nexus.workspace.resizing import resized
from nexus.workspace.settling import end, settle_run
from nexus.workspace.ssh_access import hand_over, look_up
from nexus.workspace.underway import underway


async def start(context: Context, record: WorkspaceRecord, progress: ProgressCallback | None = None) -> WorkspaceRecord:
    """Make a workspace run, whatever state its place is in. The caller holds its lock.

    Cancellation: what came up is taken down again; one that was paused runs.
    """
    place = await look(context, record)
    if place.waking == "none":
        return await wake(context, record, place, None, progress)
    operation = Operation.RESUME if place.waking == "thaw" else Operation.START
    plan = tuple(StartStep) if operation is Operation.START else ()
    facts = {"again": place.lost}
    async with underway(context, record, operation, settle_run, plan=plan, facts=facts) as journal:
        return await wake(context, record, place, journal, progress)


async def wake(
    context: Context,
    record: WorkspaceRecord,
    place: Place,
    journal: OpenJournal | None,
    progress: ProgressCallback | None = None,
) -> WorkspaceRecord:
    """Start or thaw, under a journal that is open already; without one only for a workspace that runs."""
    report = reporter(context.bus, record, progress)
    status = expect(record, place.seen, Event.START)
    if place.waking == "none" or journal is None:
        await service_trust.check(context, record)
        await services_life.mend(context, record, place.instance, report)
        return await settled(context, record, status, "runs already")
    instance = place.instance
    if place.waking == "thaw":
        record = await thaw(context, record, instance)
        return await settled(context, record, status, "resumed")
    record = services_life.refreshed(context, record, report)
    await hooks.check(context, record)
    await service_trust.check(context, record)
    before, record = record, await look_up(context, record, report)
    if place.lost:
        report("create", "its place is gone: making it again around the worktree")
        await journal.doing(StartStep.PLACE)
        record, instance = await make_again(context, record, report)
        await journal.done(StartStep.PLACE)
    else:
        # First what is taken away: a record says what a container has only once it has it.
        record, instance = await hand_over(context, before, record, instance)
        record, instance = await secure_ports(context, record, instance, journal)
        record = await resized(context, record, instance, report)
    await journal.doing(StartStep.UP)
    message: str | None = None
    try:
        if hibernating.are_kept(record):
            record, message = await _go_on(context, record, instance, report)
        else:
            record = await bring_up(context, record, instance, report)
    except NexusError as error:
        await failed(context, record, error)
        raise
    await journal.done(StartStep.UP)
    reason = message or ("its processes go on" if hibernating.are_kept(record) else "started")
    record = record.model_copy(update={"left_running": None})
    record = await settled(context, record, status, reason, message=message)
    await context.terminals.started(record.id)
    return record


async def _go_on(
    context: Context, record: WorkspaceRecord, instance: Instance, report: ProgressCallback
) -> tuple[WorkspaceRecord, str | None]:
    """Let kept processes go on; where they do not, start it as after a stop, and say so."""
    record, lost = await hibernating.wake(context, record, instance, report)
    if lost is None:
        return record, None
    message = f"started anew: the processes that were kept could not go on ({lost})"
    report("start", message)
    return await bring_up(context, record, instance, report), message


async def stop(
    context: Context,
    record: WorkspaceRecord,
    *,
    grace: float,
    sleep: Sleep | None = None,
    processes: Processes = Processes.END,
) -> WorkspaceRecord:
    """End a workspace's processes, or keep them on a disk. The caller holds its lock, and says why when nobody has asked for it.

    Raises:
        Unsupported: When they have to be kept and cannot be. It goes on.

    Cancellation: they are ended, or kept, all the same.
    """
    place = await look(context, record)
    if place.down:
        return await put_down(context, record, place, grace=grace, sleep=sleep, processes=processes)
    facts = {"grace": grace, "processes": processes.value}
    async with underway(context, record, Operation.STOP, settle_run, facts=facts):
        return await put_down(context, record, place, grace=grace, sleep=sleep, processes=processes)


async def put_down(
    context: Context,
    record: WorkspaceRecord,
    place: Place,
    *,
    grace: float,
    sleep: Sleep | None = None,
    processes: Processes = Processes.END,
) -> WorkspaceRecord:
    """Stop, under a journal that is open already."""
    status = expect(record, place.seen, Event.STOP)
    left, message = record.left_running, None
    if not place.down:
        await context.terminals.stopping(record.id)
        left = left_running(context, record)
        try:
            record, kept, message = await end(context, record, place.instance, grace=grace, processes=processes)
        except BaseException:
            context.terminals.not_stopped(record.id)
            raise
        left = left.model_copy(update={"processes": kept})
    else:
        if processes is Processes.END:
            left = await hibernating.forget(record, place.instance)
        await services_life.down(context, record, place.instance, grace=grace)
    record = record.model_copy(update={"process_state": None, "left_running": left})
    if hibernating.are_kept(record):
        message = hibernating.KEPT
    record = await settled(context, record, status, message or "stopped", message=message, sleep=sleep)
    await context.terminals.stopped(record.id)
    return record


async def pause(context: Context, record: WorkspaceRecord, *, sleep: Sleep | None = None) -> WorkspaceRecord:
    """Freeze a workspace's processes. The caller holds its lock, and says why when nobody has asked for it.

    Raises:
        Unsupported: When its backend cannot freeze.

    Cancellation: it is paused all the same, unless it does not run any more.
    """
    place = await look(context, record)
    async with underway(context, record, Operation.PAUSE, settle_run):
        return await put_to_sleep(context, record, place, sleep=sleep)


async def put_to_sleep(
    context: Context, record: WorkspaceRecord, place: Place, *, sleep: Sleep | None = None
) -> WorkspaceRecord:
    """Pause, under a journal that is open already."""
    status = expect(record, place.seen, Event.PAUSE)
    if place.seen.state is not InstanceState.PAUSED:
        record = await freeze(context, record, place.instance)
    record = await settled(context, record, status, "paused", sleep=sleep)
    context.terminals.paused(record.id)
    return record


async def resume(context: Context, record: WorkspaceRecord) -> WorkspaceRecord:
    """Let a workspace's frozen processes go on. The caller holds its lock.

    Cancellation: they go on all the same.
    """
    place = await look(context, record)
    status = expect(record, place.seen, Event.RESUME)
    async with underway(context, record, Operation.RESUME, settle_run):
        if place.seen.state is not InstanceState.RUNNING:
            record = await thaw(context, record, place.instance)
        return await settled(context, record, status, "resumed")

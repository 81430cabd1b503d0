"""Restoring a checkpoint in place: what the workspace is now is kept first, and whatever fails after that goes back to it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, NamedTuple

import anyio

from nexus.abc import Instance, ProgressCallback
from nexus.errors import CheckpointDamaged, CheckpointNotFound, NexusError, Unsupported
from nexus.models.checkpoints import CheckpointEntry
from nexus.models.events import Restored
from nexus.models.instances import Capability
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.state import JournalEntry, OpenJournal
from nexus.workspace import checkpointing, running
from nexus.workspace.at_once import both
from nexus.workspace.context import Context
from nexus.workspace.forked_records import renamed_volumes
from nexus.workspace.hibernating import are_kept, without
from nexus.workspace.places import Place, look
from nexus.workspace.plan import Operation, RewindStep, rewind_verdict
from nexus.workspace.records import reference, touched
from nexus.workspace.reporting import reporter
from nexus.workspace.settling import record_of, settle_run
from nexus.workspace.specifying import specify
from nexus.workspace.underway import underway

_log = logging.getLogger(__name__)

_BACK_LIMIT: Final = 120.0
"""Seconds that going back may take when a restore has failed."""
_WITHIN: Final = frozenset({Operation.CHECKPOINT, Operation.START, Operation.RESUME, Operation.PAUSE})
_CONFIGURATION: Final = (
    "backend_config",
    "resources",
    "env_vars",
    "image",
    "declared_volumes",
    "services",
    "config",
    "degraded",
    "hooks_due",
)
"""What of a record is a workspace's configuration, and so comes back with a checkpoint. Its ports are leased to it, and stay."""

_FORGOTTEN: Final = "its processes, which its stop had kept, do not go on: a checkpoint holds files"


class Rewound(NamedTuple):
    """What came out of a restore."""

    record: WorkspaceRecord
    undo: CheckpointEntry
    notes: tuple[str, ...]


async def restore(
    context: Context, record: WorkspaceRecord, entry: CheckpointEntry, progress: ProgressCallback | None = None
) -> Rewound:
    """Make a workspace what it was at a checkpoint. The caller holds its lock.

    Raises:
        CheckpointDamaged, Unsupported: When something of the checkpoint is gone, or cannot be put back here. Nothing has changed.
        NexusError: When something failed. It is what it was before, or the error's notes say why not.

    Cancellation: it is carried out all the same, for up to a minute; recovery does the rest.
    """
    await context.trees.secure(entry.checkpoint.ref, entry.checkpoint.commit)
    if entry.place is not None and await checkpointing.keeper_of(context, record) is None:
        raise Unsupported(
            f"the checkpoint {entry.checkpoint.label} holds files that the {record.backend} backend cannot put back any more",
            hint="fork its tree, or take files out of it: git checkout <its ref> -- .",
            details={"capability": str(Capability.CHECKPOINTS), "provider": record.backend},
        )
    place = await look(context, record)
    facts = {"checkpoint": str(entry.checkpoint.id), "was": place.waking}
    plan = tuple(RewindStep)
    async with underway(
        context, record, Operation.RESTORE_CHECKPOINT, settle, plan=plan, facts=facts, durable=True
    ) as journal:
        record = await _stop(context, record, place, journal)
        try:
            undo = await _keep(context, record, entry, journal)
        except NexusError as error:
            await _leave(context, record, place.waking, error)
            raise
        try:
            record, notes = await _carry_out(context, record, entry, journal, progress)
        except NexusError as error:
            await _go_back(context, record, undo, place.waking, error)
            raise
        context.bus.publish(
            Restored(workspace=record.id, name=record.name, checkpoint=entry.checkpoint, undo=undo.checkpoint.id)
        )
        try:
            record = await _up(context, record, place.waking, journal, progress)
        except NexusError as error:
            error.add_note(f"{record.name!r} is what it was at the checkpoint, but it does not run")
            raise
    return Rewound(record, undo, notes)


async def settle(context: Context, entry: JournalEntry) -> None:
    """Settle a restore that was cut short. The caller holds the workspace's lock."""
    record = await record_of(context, entry)
    if record is None:
        return
    was = str(entry.facts.get("was"))
    await _settle_within(context, entry)
    await context.trees.clear_after_crash(record.name)
    if RewindStep.PLACE not in entry.finished and rewind_verdict(entry.started, entry.finished) == "finish":
        try:
            record = await _complete(context, record, str(entry.facts.get("checkpoint")))
        except (CheckpointNotFound, CheckpointDamaged) as error:
            # It can never be completed. What it was before is in a checkpoint of its own.
            _log.warning("a restore of %s was cut short and cannot be carried on: %s", record.name, error.message)
    try:
        await _up(context, record, was, None, None)
    except NexusError as error:
        # Its status says so. Trying again and again would not help.
        _log.warning("%s does not run after a restore that was cut short: %s", record.name, error.message)


async def _complete(context: Context, record: WorkspaceRecord, identifier: str) -> WorkspaceRecord:
    target = await checkpointing.find(context, record, identifier)
    await context.trees.secure(target.checkpoint.ref, target.checkpoint.commit)
    place = await look(context, record)
    if not place.down:
        record = await running.put_down(context, record, place, grace=context.backends.stop_grace(record.backend))
    # It may have been worked in since, and what it was before that is kept already.
    await checkpointing.create(context, record, reason=f"before restoring {target.checkpoint.label} was completed")
    record, _ = await _carry_out(context, record, target, None, None)
    return record


async def _settle_within(context: Context, entry: JournalEntry) -> None:
    """Settle what the restore was doing by operations with journals of their own, before it is carried on itself."""
    for other in await context.journal.unfinished():
        if other.damaged or other.workspace != entry.workspace or other.operation not in _WITHIN:
            continue
        journal = await context.journal.reopen(other)
        await (checkpointing.settle if other.operation == Operation.CHECKPOINT else settle_run)(context, journal.entry)
        await journal.close()


async def _stop(context: Context, record: WorkspaceRecord, place: Place, journal: OpenJournal) -> WorkspaceRecord:
    """End its processes first: what they write while they end belongs to what it is now."""
    if place.down:
        return record
    await journal.doing(RewindStep.STOP)
    record = await running.put_down(context, record, place, grace=context.backends.stop_grace(record.backend))
    await journal.done(RewindStep.STOP)
    return record


async def _keep(
    context: Context, record: WorkspaceRecord, entry: CheckpointEntry, journal: OpenJournal
) -> CheckpointEntry:
    await journal.doing(RewindStep.KEEP)
    undo = await checkpointing.create(context, record, reason=f"before restoring {entry.checkpoint.label}")
    await journal.done(RewindStep.KEEP, {"undo": str(undo.checkpoint.id)})
    return undo


async def _carry_out(
    context: Context,
    record: WorkspaceRecord,
    entry: CheckpointEntry,
    journal: OpenJournal | None,
    progress: ProgressCallback | None,
) -> tuple[WorkspaceRecord, tuple[str, ...]]:
    """Put tree, place and configuration back. The workspace is stopped; everything in it may be done twice."""
    reporter(context.bus, record, progress)("checkpoint", f"restoring {entry.checkpoint.label}")
    if journal is not None:
        await journal.doing(RewindStep.TREE)
        await journal.doing(RewindStep.PLACE)
    before, record = record, touched(configured(record, entry.record), WorkspaceStatus.STOPPED)
    if _mounts_of_tree(record):
        # The engine looks for what is mounted, which may be there again only with the tree.
        notes = await _put_tree_back(context, before, entry)
        record, more = await _make_place(context, before, record, entry)
    else:
        notes, (record, more) = await both(
            lambda: _put_tree_back(context, before, entry),
            lambda: _make_place(context, before, record, entry),
        )
    if journal is not None:
        await journal.done(RewindStep.TREE)
    await context.store.save(record)
    if journal is not None:
        await journal.done(RewindStep.PLACE)
    return record, (*notes, *more)


def _mounts_of_tree(record: WorkspaceRecord) -> bool:
    return any(
        mount.kind == "bind" and Path(mount.source).is_relative_to(record.worktree_path)
        for mount in record.declared_volumes
    )


async def _put_tree_back(context: Context, record: WorkspaceRecord, entry: CheckpointEntry) -> tuple[str, ...]:
    async with context.locks.repository(f"restoring a checkpoint of {record.name}"):
        now = await context.trees.look(record.name)
        return await context.trees.rewind(record.name, now=now, then=entry.checkpoint.commit)


def configured(record: WorkspaceRecord, then: WorkspaceRecord) -> WorkspaceRecord:
    """Return a record with the configuration that another one has."""
    return record.model_copy(update={field: getattr(then, field) for field in _CONFIGURATION})


async def _make_place(
    context: Context, before: WorkspaceRecord, record: WorkspaceRecord, entry: CheckpointEntry
) -> tuple[WorkspaceRecord, tuple[str, ...]]:
    keeper = await checkpointing.keeper_of(context, record)
    spec = specify(context, record)
    forgotten = (_FORGOTTEN,) if are_kept(before) else ()
    if keeper is not None and entry.place is not None:
        # By its own id, whatever the note says: nothing but its own volumes is written.
        names = renamed_volumes(entry.place, record.id)
        return _placed(record, await keeper.make_from(spec, entry.place, names)), forgotten
    if keeper is not None:
        return record, ("its place is left as it is: it was missing when the checkpoint was taken",)
    if spec == specify(context, before):
        return record, ()
    # What such a backend makes has nothing of its own that would be lost.
    provider = await context.backends.provider(record.backend)
    await provider.destroy(reference(record))
    return _placed(record, await provider.create(spec)), forgotten


def _placed(record: WorkspaceRecord, instance: Instance) -> WorkspaceRecord:
    return record.model_copy(
        update={
            "container_id": instance.ref.handle,
            "process_state": None,
            "left_running": without(record.left_running),
        }
    )


async def _up(
    context: Context,
    record: WorkspaceRecord,
    was: str,
    journal: OpenJournal | None,
    progress: ProgressCallback | None,
) -> WorkspaceRecord:
    """Have it running when it ran, and frozen when it was frozen."""
    if was == "start":
        return record
    if journal is not None:
        await journal.doing(RewindStep.UP)
    record = await running.start(context, record, progress)
    if was == "thaw":
        record = await running.pause(context, record)
    if journal is not None:
        await journal.done(RewindStep.UP)
    return record


async def _leave(context: Context, record: WorkspaceRecord, was: str, error: NexusError) -> None:
    """Nothing has changed but that it was stopped: have it run again."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(_BACK_LIMIT):
        try:
            await _up(context, record, was, None, None)
        except NexusError as left:
            error.add_note(f"and {record.name!r} could not be started again: {left.message}")


async def _go_back(
    context: Context, record: WorkspaceRecord, undo: CheckpointEntry, was: str, error: NexusError
) -> None:
    """Make it what it was before a restore that failed."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(_BACK_LIMIT) as scope:
        try:
            record, _ = await _carry_out(context, record, undo, None, None)
            await _up(context, record, was, None, None)
        except NexusError as left:
            error.add_note(
                f"and going back failed too ({left.message}); "
                f"'boulder ws checkpoint restore {record.name} {undo.checkpoint.id}' tries again"
            )
    if scope.cancelled_caught:
        error.add_note(f"and going back took too long; what it was is in the checkpoint {undo.checkpoint.id}")

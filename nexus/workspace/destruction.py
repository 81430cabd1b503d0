"""Destroying a workspace without losing work: stop it, look, keep what is unsaved or refuse, then remove step by step.

Every step may be taken twice, so a destruction that a crash cut short is simply carried on.
"""

from __future__ import annotations

from contextlib import suppress

from pydantic import JsonValue

from nexus.abc import SupportsVolumes
from nexus.errors import GitError, ProviderUnavailable, UnsavedWork, WorkspaceGone, WorkspaceStopped
from nexus.git import WorkReport
from nexus.models.events import StatusChanged
from nexus.models.requests import DestroyOutcome
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.state import JournalEntry, OpenJournal
from nexus.workspace import kept_checkpoints, references
from nexus.workspace.bringup import bring_down
from nexus.workspace.context import Context
from nexus.workspace.creation_undo import branch_tip
from nexus.workspace.keeping_work import keep_work, tree_to_keep
from nexus.workspace.lifecycle import Event, after
from nexus.workspace.plan import DestroyStep, Operation
from nexus.workspace.records import reference, touched
from nexus.workspace.remembering import remember


async def refuse_unsaved(context: Context, record: WorkspaceRecord) -> None:
    """Raise ``UnsavedWork`` when destroying would lose something, or when that cannot be found out."""
    report = await context.worktrees.report(record.name)
    if not report.clean:
        raise _unsaved(record, report)


async def revive(context: Context, record: WorkspaceRecord) -> bool:
    """Make the branch again that somebody deleted under the worktree: what it led to is work, and would be seen as none."""
    if record.name not in await context.worktrees.lost_branches():
        return False
    async with context.locks.repository(f"reviving {record.branch}"):
        return await context.worktrees.revive_branch(record.name) is not None


async def destroy(
    context: Context, record: WorkspaceRecord, *, force: bool, keep_volumes: bool = False
) -> DestroyOutcome:
    """Destroy a workspace. The caller holds its lock.

    Raises:
        UnsavedWork: When work would be lost and ``force`` is off. Nothing has changed, or, when the work appeared while the
            workspace was being stopped, it is stopped.
        CleanupError: When something could not be removed; the workspace stays listed as ``destroying``.
    """
    with suppress(GitError):  # what keeps us from looking shows in the report, which decides
        await revive(context, record)
    if not force:
        await refuse_unsaved(context, record)
    previous = record.status
    status = after(previous, Event.DESTROY, name=record.name)
    journal = await context.journal.begin(
        operation=Operation.DESTROY,
        workspace=record.id,
        name=record.name,
        plan=tuple(DestroyStep),
        facts={"record": record.model_dump(mode="json"), "force": force, "keep_volumes": keep_volumes},
    )
    record = touched(record, status)
    await context.store.save(record)
    _announce(context, record, previous, "destroy was asked for")
    return await _Destruction(context, record, journal, force=force).run()


async def resume(context: Context, entry: JournalEntry) -> DestroyOutcome:
    """Carry on a destruction that a crash cut short. Work that appeared since is kept or refused as in the first try."""
    journal = await context.journal.reopen(entry)
    record = WorkspaceRecord.model_validate(entry.facts["record"])
    return await _Destruction(context, record, journal, force=bool(entry.facts.get("force"))).run()


class _Destruction:
    """What is left of one workspace's destruction. Its steps find out what later ones and the outcome need; the journal keeps that.

    Args:
        context: The parts.
        record: The workspace.
        journal: Its journal, begun just now or left by a crash.
        force: Whether work that would be lost is kept elsewhere, instead of ending the destruction.
    """

    def __init__(self, context: Context, record: WorkspaceRecord, journal: OpenJournal, *, force: bool) -> None:
        self._context = context
        self._record = record
        self._journal = journal
        self._force = force
        self._facts = dict(journal.entry.facts)
        self._branch_deleted = False

    async def run(self) -> DestroyOutcome:
        """Take the steps that are left. Each is skipped when the journal says that it was done."""
        done = frozenset(self._journal.entry.finished)
        for step in DestroyStep:
            if step not in done:
                await self._journal.doing(step)
                found = await self._take(step)
                await self._journal.done(step, found)
                self._facts |= found
        await self._journal.close()
        record = self._record
        _announce(self._context, touched(record, WorkspaceStatus.DESTROYED), record.status, "destroyed")
        return DestroyOutcome(
            name=record.name,
            rescued=self._rescued,
            restore=_text(self._facts.get("restore")),
            kept_volumes=_texts(self._facts.get("kept_volumes")),
            branch_deleted=self._branch_deleted,
        )

    @property
    def _rescued(self) -> str | None:
        return _text(self._facts.get("rescued"))

    @property
    def _tip(self) -> str | None:
        return _text(self._facts.get("tip"))

    async def _take(self, step: DestroyStep) -> dict[str, JsonValue]:
        """Take one step, and return what it found out."""
        context, record, facts = self._context, self._record, self._facts
        match step:
            case DestroyStep.STOP:
                await _stop(context, record)
            case DestroyStep.RESCUE:
                return await self._look_a_last_time()
            case DestroyStep.INSTANCE:
                kept = await _remove_instance(context, record, keep_volumes=bool(facts.get("keep_volumes")))
                return {"kept_volumes": list(kept)}
            case DestroyStep.CHECKPOINTS:
                await kept_checkpoints.end_all(context, record)
            case DestroyStep.REMEMBER:
                entry = await remember(context, record, tip=self._tip, rescued=self._rescued)
                return {"restore": entry.restore}
            case DestroyStep.WORKTREE:
                ours = facts.get("ours") is not False
                self._branch_deleted = await _remove_worktree(
                    context, record, self._tip, ours=ours, rescued=self._rescued
                )
            case DestroyStep.PORTS:
                await context.allocator.release(record.id)
            case DestroyStep.CLAIM:
                await context.registry.unclaim(record.id)
            case DestroyStep.RECORD:
                await _forget(context, record)
        return {}

    async def _look_a_last_time(self) -> dict[str, JsonValue]:
        context, record = self._context, self._record
        await _bring_back(context, record)
        # Before looking: a commit that comes in later leaves the branch elsewhere, and it is not deleted.
        tip = await branch_tip(context, record)
        ours = await _is_ours(context, record, tip)
        try:
            rescued = await _rescue(context, record, force=self._force)
        except UnsavedWork:
            await _give_up(context, record, self._journal)
            raise
        return {"rescued": rescued, "tip": tip, "ours": ours}


async def _stop(context: Context, record: WorkspaceRecord) -> None:
    """End its processes. A provider that cannot be asked stops the whole destruction: never remove a tree in use."""
    instance = await context.backends.instance(record)
    try:
        await bring_down(context, record, instance, grace=context.backends.stop_grace(record.backend))
    except (WorkspaceGone, WorkspaceStopped):
        return


async def _rescue(context: Context, record: WorkspaceRecord, *, force: bool) -> str | None:
    report = await context.worktrees.report(record.name)
    if report.clean:
        return None
    if not force:
        raise _unsaved(record, report)
    if await context.worktrees.get(record.name) is None:
        return None  # Tree and entry are gone: what is left are the branch's commits, and its tip is kept in the next step.
    try:
        return await keep_work(context, record)
    except GitError as error:
        raise UnsavedWork(
            f"workspace {record.name!r} holds work that could not be kept: {error.message}",
            lost=report.lines(),
            hint=error.hint or f"save it by hand from {record.worktree_path}, then try again",
            report=report.model_dump(mode="json"),
        ) from error


async def _is_ours(context: Context, record: WorkspaceRecord, tip: str | None) -> bool:
    """Return whether the branch holds only what is this workspace's. Asked while the tree is there, and written down."""
    tree = await context.worktrees.get(record.name)
    # Where somebody else moved the branch that a clone's comes back to, it holds what was never the clone's: it stays.
    return tree is None or tree.isolation != "clone" or tree.returned == tip


async def _bring_back(context: Context, record: WorkspaceRecord) -> None:
    """Fetch a clone's branch while it is there. What cannot be brought shows in the report, which decides."""
    if record.isolation == "clone":
        with suppress(GitError):
            async with context.locks.repository(f"bringing back {record.branch}"):
                await context.worktrees.bring_back(record.name)


async def _give_up(context: Context, record: WorkspaceRecord, journal: OpenJournal) -> None:
    stopped = touched(record, WorkspaceStatus.STOPPED, "destroy was refused: it holds unsaved work")
    await context.store.save(stopped)
    await journal.close()
    _announce(context, stopped, WorkspaceStatus.DESTROYING, "destroy was refused: unsaved work")


async def _remove_instance(context: Context, record: WorkspaceRecord, *, keep_volumes: bool) -> tuple[str, ...]:
    provider = await context.backends.provider(record.backend)
    try:
        if keep_volumes and isinstance(provider, SupportsVolumes):
            return await provider.destroy_but_volumes(reference(record))
        await provider.destroy(reference(record))
    except ProviderUnavailable as error:
        # Forgetting it now would leave an orphan that nobody lists: the record stays, and the next try carries on.
        error.add_note(f"workspace {record.name!r} stays listed as destroying until its backend answers")
        raise
    return ()


async def _remove_worktree(
    context: Context, record: WorkspaceRecord, tip: str | None, *, ours: bool, rescued: str | None
) -> bool:
    """Remove the tree and, when we made it and nobody has moved it since we looked, the branch."""
    async with context.locks.repository(f"destroying workspace {record.name}"):
        deleted = await context.worktrees.remove(
            record.name,
            expected_tip=tip,
            delete_branch=record.branch_created and ours,
            behind=True,
            aside=tree_to_keep(rescued),
        )
    context.trash.wake()
    return deleted


async def _forget(context: Context, record: WorkspaceRecord) -> None:
    if await context.store.current() == record.name:
        await context.store.set_current(None)
    await context.in_use.remove(record.id)
    await context.hook_logs.remove(record.name)
    await context.holds.clear(record.id)
    await references.forget(context, record)
    await context.terminals.destroyed(record.id)
    context.forget(record)
    await context.store.delete(record.name)


def _unsaved(record: WorkspaceRecord, report: WorkReport) -> UnsavedWork:
    lines = report.lines()
    return UnsavedWork(
        f"workspace {record.name!r} holds work that exists nowhere else ({len(lines)} {'item' if len(lines) == 1 else 'items'})",
        lost=lines,
        hint=f"commit and push it from {record.worktree_path}, or use force (--force): it is then kept under refs/nexus/rescue/",
        report=report.model_dump(mode="json"),
    )


def _announce(context: Context, record: WorkspaceRecord, previous: WorkspaceStatus, reason: str) -> None:
    context.bus.publish(
        StatusChanged(workspace=record.id, name=record.name, previous=previous, status=record.status, reason=reason)
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()

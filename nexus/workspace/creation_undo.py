"""Taking back a creation that failed or was cut short, step by step in reverse. Everything in it may be done twice."""

from __future__ import annotations

import logging
from contextlib import suppress

from nexus.errors import (
    CleanupError,
    GitError,
    NexusError,
)
from nexus.models.workspace import WorkspaceRecord
from nexus.state import JournalEntry, OpenJournal
from nexus.workspace.context import Context
from nexus.workspace.keeping_work import keep_work, tree_to_keep
from nexus.workspace.plan import UNDO, CreateStep, Undo, undo_steps
from nexus.workspace.records import reference

_log = logging.getLogger(__name__)

FORKED = "forked"
"""Key of a record's ``config``: the checkpoint that it was made from."""


async def undo(context: Context, journal: OpenJournal, entry: JournalEntry, record: WorkspaceRecord) -> None:
    """Take back every step that was begun, in reverse, and close the journal when all are.

    Raises:
        CleanupError: When something is left; the journal stays, so that it can be tried again.
    """
    if entry.started:
        await journal.doing(UNDO)
    for taken in undo_steps(entry.started, entry.finished):
        try:
            await _undo_step(context, taken, record)
        except NexusError as error:
            # What comes after depends on it: a tree in use is not removed, and what is left stays listed under its name.
            _log.warning("undoing step %s of %s: %s", taken.step, record.name, error)
            raise CleanupError(
                f"step {taken.step} of creating {record.name!r} could not be undone: {error.message}",
                hint="'boulder doctor --fix' tries again",
                details={"left": [str(taken.step)]},
            ) from error
    await journal.close()


async def _undo_step(context: Context, taken: Undo, record: WorkspaceRecord) -> None:
    match taken.step:
        case CreateStep.INSTANCE:
            provider = await context.backends.provider(record.backend)
            await provider.destroy(reference(record))
        case CreateStep.WORKTREE:
            await _undo_worktree(context, record, finished=taken.finished)
        case CreateStep.PORTS:
            await context.allocator.release(record.id)
        case CreateStep.CLAIM:
            await context.registry.unclaim(record.id)
        case CreateStep.RECORD:
            await context.store.delete(record.name)
            await context.in_use.remove(record.id)
            await context.hook_logs.remove(record.name)
        case CreateStep.START | CreateStep.IMAGE:
            pass  # removing the instance ends what was started; an image is a cache


async def _undo_worktree(context: Context, record: WorkspaceRecord, *, finished: bool) -> None:
    """Remove the tree and the branch that was made for it; whatever somebody wrote there meanwhile is kept under a rescue ref."""
    async with context.locks.repository(f"undoing workspace {record.name}"):
        aside = None
        if finished and not await _holds_nothing_new(context, record):
            aside = tree_to_keep(await keep_work(context, record))
        if not finished:
            await context.worktrees.drop_stale_lock(record.name)
        tip = record.base_commit if record.branch_created else None
        await context.worktrees.remove(record.name, expected_tip=tip, delete_branch=record.branch_created, aside=aside)


async def _holds_nothing_new(context: Context, record: WorkspaceRecord) -> bool:
    """Whether a tree that was made just now can go: it is clean, or holds what a checkpoint holds as well."""
    if (await context.worktrees.report(record.name)).clean:
        return True
    identifier = record.config.get(FORKED)
    entries = [each for each in await context.checkpoints.load_all() if each.checkpoint.id == identifier]
    if not entries or await branch_tip(context, record) != record.base_commit:
        return False
    with suppress(GitError):
        now = await context.trees.look(record.name)
        return await context.trees.differences(entries[0].checkpoint.commit, now) == ()
    return False


async def branch_tip(context: Context, record: WorkspaceRecord) -> str | None:
    """Return the commit that the workspace's branch is at; ``None`` when there is no such branch."""
    try:
        return await context.worktrees.resolve(f"refs/heads/{record.branch}")
    except GitError:
        return None

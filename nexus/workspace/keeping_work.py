"""Keeping a workspace's unsaved work when it goes away by force: always possible, and never dropping anything."""

from __future__ import annotations

from nexus.errors import GitError
from nexus.git import KEPT_PREFIX
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context


async def keep_work(context: Context, record: WorkspaceRecord) -> str:
    """Keep what a workspace holds: in a commit, or, where that is not possible, by noting that its tree has to be set aside whole.

    Returns:
        The full name of the ref, for :func:`tree_to_keep` and for restoring.

    Raises:
        GitError: When not even that can be noted.
    """
    try:
        return await context.worktrees.rescue(record.name)
    except GitError as error:
        return await context.worktrees.pin(record.name, error.message)


def tree_to_keep(rescued: str | None) -> str | None:
    """Return the ref whose tree must be moved aside, not deleted; ``None`` where a commit holds everything."""
    return rescued if rescued is not None and rescued.startswith(KEPT_PREFIX) else None

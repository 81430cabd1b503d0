"""Which folder a repository's trees are in: below it, or where the node's file puts the workspaces of its users."""

from __future__ import annotations

from pathlib import Path

import anyio

from nexus import git, grounds
from nexus.config import Settings
from nexus.errors import NexusError
from nexus.models.workspace import Repository


async def with_grounds(repository: Repository, settings: Settings) -> Repository:
    """Return the repository with the folder that its trees are in.

    One repository's trees are all in one folder. Where they are already, the next ones go too, whatever the node's file says by
    now: what was made before stays reachable, and the new place counts once nothing is left in the old one.

    Args:
        repository: The repository as it was found.
        settings: The settings, of which ``workspace_root`` counts.
    """
    wanted = await anyio.to_thread.run_sync(wanted_grounds, repository, settings)
    before = await anyio.to_thread.run_sync(grounds.noted, repository.root, repository.common_dir)
    chosen = repository.model_copy(update={"grounds": wanted})
    if before == wanted:
        return chosen
    there = repository.model_copy(update={"grounds": before})
    return there if await _in_use(there) else chosen


def wanted_grounds(repository: Repository, settings: Settings) -> Path | None:
    """Return the folder that the settings ask for; ``None`` for the one below the repository."""
    if settings.workspace_root is None:
        return None
    _, _, user = grounds.owner_of(repository.common_dir)
    return grounds.grounds_for(settings.workspace_root, user, repository.root)


async def _in_use(repository: Repository) -> bool:
    """Say whether trees of ours are there, or work that was set aside. Only what git's own folder vouches for counts."""
    worktrees = git.Worktrees(repository)
    try:
        trees, rescues = await worktrees.list(), await worktrees.rescues()
    except NexusError:
        return True  # what cannot be found out is taken for work
    return any(tree.present and tree.registered for tree in trees) or any(
        rescue.tree is not None and rescue.tree.exists() for rescue in rescues
    )

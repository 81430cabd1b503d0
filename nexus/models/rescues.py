"""What is left of destroyed workspaces: rescues of unsaved work, entries to restore from, and what pruning does with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from nexus.models.base import Model
from nexus.models.ids import Name, WorkspaceId


def stamp(moment: datetime) -> str:
    """Return a time as the names of rescues have it."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


class Rescue(Model):
    """Unsaved work of a workspace, kept under a ref of its own until it is pruned."""

    ref: str
    """The full name of the ref: ``refs/nexus/rescue/<name>/<time>``, or ``refs/nexus/kept/…`` for a tree that was set aside whole."""
    name: str
    """The workspace's name."""
    time: datetime
    """When it was kept, to the second, in UTC."""
    commit: str
    """The commit that holds everything."""
    base: str | None = None
    """Where the workspace's branch was; ``None`` when there was no branch."""
    head: str | None = None
    """The commit that was checked out; ``None`` on a branch without a commit."""
    operation: str | None = None
    """What was begun and not ended: ``rebase``, ``merge`` …"""
    files: int | None = None
    """How many files it holds that differed from the index; ``None`` when only commits were kept."""
    size: int | None = None
    """Bytes of those files, before git compresses them."""
    stashes: int = 0
    """Stash entries that were made on the branch."""
    left: tuple[str, ...] = ()
    """What git has no way to hold, and so was not kept: sockets, pipes, devices."""
    tree: Path | None = None
    """The folder of a tree that was set aside whole, because it could not be kept in a commit."""
    reason: str | None = None
    """Why it could not."""


class DestroyedWorkspace(Model):
    """A workspace that was destroyed and can still be restored."""

    id: WorkspaceId
    name: Name
    display_name: str | None = None
    status: Literal["destroyed"] = "destroyed"
    backend: str
    image: str | None = None
    branch: str
    isolation: Literal["worktree", "clone"] = "worktree"
    """What its tree was."""
    tip: str | None = None
    """Where its branch was; ``None`` when there was none."""
    ref: str | None = None
    """The ref that keeps that commit: ``refs/nexus/destroyed/<name>/<id8>``."""
    rescued: str | None = None
    """The ref of its unsaved work, when there was any."""
    labels: Mapping[str, str] = {}
    created_at: datetime
    destroyed_at: datetime
    restore: str
    """The command that brings it back."""


class PruneAction(Model):
    """One thing that ``prune`` removed, or would remove on a dry run, or kept and why."""

    kind: Literal["destroyed", "rescue", "trash", "volume", "prebuild", "checkpoint", "image"]
    name: str
    action: Literal["removed", "would-remove", "kept"]
    reason: str
    ref: str | None = None
    time: datetime | None = None
    """How old it is, where that is known."""
    size: int | None = None
    """Bytes that it holds, where that is known; git frees those of a ref when it collects garbage next."""

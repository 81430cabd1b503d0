"""The git repository that workspaces belong to."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from nexus.models.base import Model


class Repository(Model):
    """The git repository a workspace belongs to."""

    root: Path
    """The main work tree."""
    common_dir: Path
    """The git directory that all worktrees share."""
    remote: str | None = None
    """Address of ``origin``, when there is one."""
    grounds: Path | None = Field(default=None, exclude=True)
    """Folder that its work trees, their trash and what was set aside are in; ``.nexus`` of the main work tree when absent. No
    record says so: where they are is found out when the repository is opened."""

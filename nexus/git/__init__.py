"""All git work: repositories found, worktrees made, examined, kept and removed. Needs no git program.

- :func:`find_repository` finds the repository a folder is in.
- :class:`Worktrees` makes and removes the worktrees of one repository; :class:`Worktree` and :class:`WorkReport` are what it tells.
- :func:`container_mounts` says how a container has to see a worktree so that git works in it.
"""

from __future__ import annotations

from nexus.git.layout import Worktree, container_mounts
from nexus.git.repository import find_repository
from nexus.git.work_report import WorkReport
from nexus.git.worktrees import Worktrees

__all__ = ["WorkReport", "Worktree", "Worktrees", "container_mounts", "find_repository"]

"""The worktrees of one repository: the one class that the rest of Nexus holds, put together from what it does."""

from __future__ import annotations

from nexus.git.worktrees.exchange import Exchange
from nexus.git.worktrees.making import Making
from nexus.git.worktrees.removal import Removal
from nexus.git.worktrees.work import Work


class Worktrees(Making, Work, Exchange, Removal):
    """Makes, lists, examines, brings up to date and removes the worktrees of one repository.

    Nothing here takes a lock between processes: whoever makes or removes worktrees holds the repository's. Git itself may run at
    the same time; where it holds one of its own locks, ``Busy`` is raised. Hooks and filter programs are never run, and what
    an agent can write inside a worktree (its ``.git`` file, configuration, hooks) is never obeyed.

    Args:
        repository: What :func:`nexus.git.find_repository` returned. The constructor only stores it.
        precious: Patterns of ignored files that count as work all the same: ``.env``, ``notes/**``.
    """

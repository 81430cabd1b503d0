"""What a new worktree is to be, and what was made."""

from __future__ import annotations

from typing import NamedTuple

from nexus.git.including import Include
from nexus.git.layout import Worktree
from nexus.models.workspace import Isolation


class Fill(NamedTuple):
    """What is filled where its content is in the repository already."""

    submodules: bool = False
    lfs: bool = False


class Order(NamedTuple):
    """What to make."""

    name: str
    start: str
    reason: str
    adopt: bool
    include: Include = Include()
    isolation: Isolation = "worktree"
    fill: Fill = Fill()


class Made(NamedTuple):
    """What was made."""

    worktree: Worktree
    tip: str
    branch_made: bool

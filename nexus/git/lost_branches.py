"""Branches of worktrees that somebody deleted while they were checked out: made again where the worktree's own log says they were."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from dulwich.objects import Commit, ObjectID
from dulwich.refs import Ref

from nexus.errors import GitError
from nexus.git import beneath, layout
from nexus.git.layout import Worktree
from nexus.git.listing import get_worktree, list_worktrees
from nexus.git.refs import require_real_path
from nexus.git.repository import opened
from nexus.models.workspace import Repository

_LOG_LIMIT: Final = 64 << 20
_LINE: Final = re.compile(rb"[0-9a-f]{40} ([0-9a-f]{40}) ")
_MESSAGE: Final = b"nexus: made again; somebody had deleted it"


def lost_branches(repository: Repository) -> tuple[str, ...]:
    """Return the names of the worktrees whose branch is gone, blocking."""
    return tuple(tree.name for tree in list_worktrees(repository) if _is_lost(tree))


def revive_branch(repository: Repository, name: str) -> str | None:
    """Make a worktree's branch again at the commit that its ``HEAD`` was at last, blocking.

    Returns:
        That commit; ``None`` when the branch is there, or nobody knows where it was.

    Raises:
        GitError: When the log is no plain file.
    """
    tree = get_worktree(repository, name)
    if tree is None or not _is_lost(tree):
        return None
    ref = layout.branch_ref(name)
    require_real_path(repository.common_dir, ref)
    # A program inside can write this log. Whatever it says, a branch only ever gets to a commit that the repository holds.
    wanted = _last(tree.admin_dir / "logs" / "HEAD")
    if wanted is None:
        return None
    with opened(repository) as repo:
        sha = ObjectID(wanted)
        if sha not in repo.object_store or not isinstance(repo.object_store[sha], Commit):
            return None
        made = repo.refs.add_if_new(Ref(os.fsencode(ref)), sha, message=_MESSAGE)
    return wanted.decode() if made else None


def _is_lost(tree: Worktree) -> bool:
    on_it = tree.checked_out == f"refs/heads/{tree.branch}"
    return tree.registered and tree.isolation == "worktree" and tree.head is None and on_it


def _last(log: Path) -> bytes | None:
    try:
        content = beneath.read_regular(log, limit=_LOG_LIMIT)
    except OSError as error:
        raise GitError(f"the log {log} cannot be read: {error.strerror}", details={"path": str(log)}) from error
    lines = (content or b"").splitlines()
    match = _LINE.match(lines[-1]) if lines else None
    return None if match is None or match[1] == b"0" * 40 else match[1]

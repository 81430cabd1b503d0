"""Removing a worktree: its tree, its entry in git, its branch; each if it is there, and nothing else."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from nexus.errors import CleanupError, GitError
from nexus.git import beneath, layout, reflog
from nexus.git.creating import draft_path
from nexus.git.deleting import delete_tree, move_away
from nexus.git.guarding import unguard
from nexus.git.listing import lock_of
from nexus.git.ref_deletion import delete_ref
from nexus.git.refs import Refs, checked_out, require_real_path
from nexus.git.repository import opened
from nexus.models.workspace import Repository

_SPILL = "nexus-trash"
_STALE = 1.0
"""Seconds after which a lock that nobody touches is taken for one that was left behind."""
_LOOKS = 20


def remove_worktree(
    repository: Repository, name: str, *, expected_tip: str | None, delete_branch: bool, behind: bool = False
) -> bool:
    """Remove a worktree, blocking. See :meth:`nexus.git.Worktrees.remove`."""
    admin = layout.admin_path(repository, name)
    _require_our_lock(admin)
    # First the tree, out of sight in one step: a crash from here on leaves trash, never half a tree.
    left = _remove_tree(repository, name, behind=behind)
    left += _remove_entry(repository, admin)
    left += _remove_entry(repository, draft_path(repository, name))
    with suppress(OSError):
        (repository.common_dir / "worktrees").rmdir()
    unguard(repository)
    deleted = delete_branch and expected_tip is not None and _delete_branch(repository, name, expected_tip)
    if left:
        raise CleanupError(
            f"the worktree {name!r} is removed, but {len(left)} of its files or folders cannot be deleted",
            hint="they belong to another user, as a rule to root inside a container; "
            f"delete them with that right: {layout.trash_folder(repository)}",
            details={"left": left, "branch_deleted": deleted},
        )
    return deleted


def _require_our_lock(admin: Path) -> None:
    reason = lock_of(admin)
    if reason is not None and not reason.startswith(layout.LOCK_PREFIX):
        raise GitError(
            f"{admin.name} is locked by somebody else: {reason or 'no reason given'}",
            hint="unlock it when it is no longer needed: git worktree unlock <path>",
            details={"path": str(admin), "reason": reason},
        )


def _remove_tree(repository: Repository, name: str, *, behind: bool) -> list[str]:
    tree = layout.worktree_path(repository, name)
    if not beneath.exists(layout.worktrees_folder(repository)) and not beneath.exists(layout.trash_folder(repository)):
        return []
    beneath.require_grounds(repository, "trash")
    beneath.require_grounds(repository, "worktrees")
    trash = layout.trash_folder(repository)
    left: list[str] = []
    try:
        if tree.is_symlink():
            tree.unlink()
        else:
            move_away(tree, trash, name)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise GitError(
            f"{tree} cannot be moved away: {error.strerror}", details={"path": str(tree), "left": [str(tree)]}
        ) from error
    if behind:
        return left
    for leftover in sorted(trash.glob(f"{name}.*")):
        left += delete_tree(leftover, trash)
    return left


def _remove_entry(repository: Repository, admin: Path) -> list[str]:
    # Beside the entries and not among them, where git would take it for one more.
    spill = repository.common_dir / _SPILL
    if not beneath.exists(admin) and not beneath.exists(spill):
        return []
    while beneath.exists(admin):
        beneath.require_real_folders(repository.common_dir, _SPILL)
        try:
            move_away(admin, spill, admin.name)
        except FileNotFoundError:
            continue  # Another removal has just tidied the folder away that this one was to go to.
        except OSError as error:
            raise GitError(f"{admin} cannot be removed: {error.strerror}", details={"path": str(admin)}) from error
    left: list[str] = []
    for gone in sorted(spill.glob(f"{admin.name}.*")):
        left += delete_tree(gone, spill)
    with suppress(OSError):
        spill.rmdir()
    return left


def drop_stale_lock(repository: Repository, name: str) -> bool:
    """Remove the lock on a worktree's branch that a killed process of ours left; say whether there was one. Blocks.

    Git keeps such a lock for milliseconds. One that the same file holds for a whole second, while nothing of the workspace runs,
    has no owner any more.
    """
    ref = layout.branch_ref(name)
    require_real_path(repository.common_dir, ref)
    lock = repository.common_dir / f"{ref}.lock"
    seen = _identity(lock)
    for _ in range(_LOOKS):
        if seen is None:
            return False
        time.sleep(_STALE / _LOOKS)
        now = _identity(lock)
        if now != seen:
            return False
    with suppress(FileNotFoundError):
        lock.unlink()
    return True


def _identity(lock: Path) -> tuple[int, int, int] | None:
    try:
        status = lock.lstat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size) if stat.S_ISREG(status.st_mode) else None


def _delete_branch(repository: Repository, name: str, expected_tip: str) -> bool:
    """Delete the branch if nobody moved it, and nobody has it checked out."""
    ref = layout.branch_ref(name)
    require_real_path(repository.common_dir, ref)
    if Refs(repository.common_dir).get(os.fsencode(ref)) != expected_tip.encode():
        return False
    if checked_out(repository.common_dir, ref) is not None:
        return False
    with opened(repository) as repo:
        deleted = delete_ref(repo, os.fsencode(ref), expected_tip.encode())
    if deleted:
        reflog.forget(repository.common_dir, ref)
    return deleted

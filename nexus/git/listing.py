"""What worktrees of ours there are, read from git's entries and from the disk."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from nexus.errors import GitError
from nexus.git import beneath, layout
from nexus.git.clone_marker import CloneMarker, read_marker
from nexus.git.layout import Worktree
from nexus.git.refs import Refs, read_head
from nexus.models.workspace import Repository

_LIMIT: Final = 1 << 16
UNREADABLE: Final = "nexus: (the reason cannot be read)"


def list_worktrees(repository: Repository) -> tuple[Worktree, ...]:
    """Return every worktree of ours, by name: those with a tree, with an entry in git, or with both."""
    names = {
        *_entries(repository.common_dir / "worktrees", ours=True),
        *_entries(layout.worktrees_folder(repository), ours=False),
    }
    refs = Refs(repository.common_dir)
    found = (_describe(repository, name, refs) for name in sorted(names))
    return tuple(worktree for worktree in found if worktree is not None)


def get_worktree(repository: Repository, name: str) -> Worktree | None:
    """Return one worktree of ours; ``None`` when there is neither a tree nor an entry."""
    return _describe(repository, name, Refs(repository.common_dir))


def _entries(folder: Path, *, ours: bool) -> list[str]:
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = (layout.name_of_admin(name if ours else f"{layout.ADMIN_PREFIX}{name}") for name in names)
    return [name for name in found if name is not None]


def _describe(repository: Repository, name: str, refs: Refs) -> Worktree | None:
    path = layout.worktree_path(repository, name)
    marker = read_marker(repository, name)
    if marker is not None:
        return _describe_clone(repository, name, marker)
    admin = layout.admin_path(repository, name)
    present, registered = _is_folder(path), _is_folder(admin)
    if not present and not registered:
        return None
    head, checked_out = head_of(admin, refs)
    return Worktree(
        name=name,
        path=path,
        branch=layout.branch_name(name),
        admin_dir=admin,
        head=head,
        checked_out=checked_out,
        lock=lock_of(admin),
        present=present,
        registered=registered,
        protected=protected(repository),
    )


def _describe_clone(repository: Repository, name: str, marker: CloneMarker) -> Worktree | None:
    """Describe a private clone. Where its HEAD is, it says itself; what else it is, only we do."""
    path = layout.worktree_path(repository, name)
    if not _is_folder(path):
        return None
    git_dir = path / ".git"
    registered, head, ref = _is_folder(git_dir), None, None
    if registered:
        with suppress(GitError, OSError):
            head, ref = head_of(git_dir, Refs(git_dir))
    return Worktree(
        name=name,
        path=path,
        branch=layout.branch_name(name),
        admin_dir=git_dir,
        head=head,
        checked_out=ref,
        lock=marker.reason,
        registered=registered,
        protected=(),
        isolation="clone",
        returned=marker.returned,
    )


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def head_of(admin: Path, refs: Refs) -> tuple[str | None, str | None]:
    """Return the commit and the ref that an entry's ``HEAD`` stands for; ``None`` for what cannot be told."""
    try:
        line = read_head(admin / "HEAD")
    except GitError:
        return None, None
    if line is None:
        return None, None
    if line.startswith(b"ref: "):
        ref = line.removeprefix(b"ref: ").strip()
        commit = refs.get(ref) if ref.startswith(b"refs/") else None
        return (commit.decode() if commit else None), ref.decode("utf-8", "backslashreplace")
    return (line.decode() if len(line) == 40 and line.isalnum() else None), None


def lock_of(admin: Path) -> str | None:
    """Return the reason in an entry's ``locked`` file; ``None`` when it is not locked."""
    try:
        content = beneath.read_regular(admin / "locked", limit=_LIMIT)
    except NotADirectoryError:
        return None
    except OSError:
        return UNREADABLE
    return None if content is None else content.decode("utf-8", "backslashreplace").strip()


def protected(repository: Repository) -> tuple[str, ...]:
    """Return the entries of the common dir that a container must not write."""
    more = (entry for entry in layout.SHADOWED_IF_PRESENT if beneath.exists(repository.common_dir / entry))
    return (*layout.SHADOWED, *more)

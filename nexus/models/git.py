"""What git says about a workspace: status, differences, commits, branches. Paths that are no UTF-8 are written with escapes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from nexus.models.base import Model


class GitChangeKind(StrEnum):
    """How a path differs."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    TYPE_CHANGED = "type-changed"
    """A file, link or submodule where another kind of these was."""
    UNKNOWN = "unknown"
    """Only a program that is not run here could tell."""


class GitChange(Model):
    """A path that differs."""

    path: str
    kind: GitChangeKind


class GitStatus(Model):
    """How a workspace's tree, its index and its commit differ. Renames are told as a deletion and an addition."""

    branch: str | None
    """The branch that is checked out; ``None`` when ``HEAD`` is on none."""
    head: str | None
    """The commit that is checked out; ``None`` before the first one."""
    upstream: str | None = None
    """The branch it follows: ``origin/main``."""
    ahead: int | None = None
    """Commits that upstream lacks; ``None`` without upstream."""
    behind: int | None = None
    """Commits of upstream that are missing here, as far as the last fetch knows."""
    staged: tuple[GitChange, ...] = ()
    """What the index holds otherwise than the commit."""
    changed: tuple[GitChange, ...] = ()
    """What the tree holds otherwise than the index."""
    untracked: tuple[str, ...] = ()
    """Files that git does not know and does not ignore; a nested repository ends in ``/``."""
    conflicted: tuple[str, ...] = ()
    """Paths with conflicts that are not resolved; they are in no other list."""
    operation: str | None = None
    """What was begun and not ended: ``rebase``, ``merge``, ``cherry-pick``, ``revert``, ``bisect``, ``am``."""
    problems: tuple[str, ...] = ()
    """Why the answer is not complete, where it is not."""

    @property
    def clean(self) -> bool:
        """Whether there is nothing to commit, and that is certain."""
        return not (self.staged or self.changed or self.untracked or self.conflicted or self.problems)


class FileDiff(Model):
    """How one path differs."""

    path: str
    kind: GitChangeKind
    old_mode: str | None = None
    """``100644``, ``100755``, ``120000`` for a link, ``160000`` for a submodule; ``None`` where there was nothing."""
    new_mode: str | None = None
    binary: bool = False
    """Whether it holds bytes that are no text; ``patch`` then only says so."""
    added: int = 0
    """Lines."""
    removed: int = 0
    patch: str = ""
    """The difference as ``git diff`` writes it, header included. Bytes that are no UTF-8 become U+FFFD."""
    truncated: bool = False
    """Whether the patch was left out because it, or the files, are too large."""


class GitDiff(Model):
    """What differs, by path."""

    files: tuple[FileDiff, ...] = ()
    truncated: bool = False
    """Whether patches are missing because there would be too much."""

    @property
    def patch(self) -> str:
        """All patches, one after the other."""
        return "".join(file.patch for file in self.files)


class GitSignature(Model):
    """Who, and when."""

    name: str
    email: str
    at: datetime


class GitCommit(Model):
    """A commit."""

    id: str
    parents: tuple[str, ...]
    author: GitSignature
    committer: GitSignature
    message: str

    @property
    def subject(self) -> str:
        """The message's first line."""
        return self.message.strip().partition("\n")[0]


class GitBranch(Model):
    """A branch."""

    name: str
    """``main``; ``origin/main`` for one of a remote."""
    commit: str
    remote: bool = False
    upstream: str | None = None
    """The branch it follows."""
    current: bool = False
    """Whether the workspace has it checked out."""
    workspace: str | None = None
    """The workspace whose branch it is."""


class GitAuthor(Model):
    """Who a commit is by."""

    name: str
    email: str

"""Errors about repositories and worktrees."""

from __future__ import annotations

from typing import ClassVar

from nexus.errors.base import NexusError


class GitError(NexusError):
    """Git work failed."""

    code = "GIT_ERROR"


class NotARepository(GitError):
    """Neither the folder nor any folder above it is a git repository."""

    code = "GIT_NOT_A_REPOSITORY"
    retryable: ClassVar[bool | None] = False


class BareRepository(GitError):
    """The repository has no work tree, so no worktree of ours has a place."""

    code = "GIT_BARE_REPOSITORY"
    retryable: ClassVar[bool | None] = False


class UnbornHead(GitError):
    """The repository has no commit yet."""

    code = "GIT_UNBORN_HEAD"
    retryable: ClassVar[bool | None] = False


class RefNotFound(GitError, LookupError):
    """No commit, branch or tag has this name."""

    code = "GIT_REF_NOT_FOUND"
    retryable: ClassVar[bool | None] = False


class BranchInUse(GitError):
    """The branch exists already, is checked out elsewhere, or collides with another name."""

    code = "GIT_BRANCH_IN_USE"
    retryable: ClassVar[bool | None] = False


class SyncConflict(GitError):
    """The branch and its upstream have both moved, or files in the way would be overwritten."""

    code = "GIT_SYNC_CONFLICT"
    retryable: ClassVar[bool | None] = False

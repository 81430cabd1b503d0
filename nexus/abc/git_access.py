"""What a workspace's git knows and does, asked from outside of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from nexus.models.git import GitAuthor, GitBranch, GitCommit, GitDiff, GitStatus
from nexus.models.requests import SyncOutcome


@runtime_checkable
class GitAccess(Protocol):
    """The git of one workspace. No hook, filter or other program of the repository's is run.

    Every call raises ``WorkspaceGone`` when the work tree is not there, ``RefNotFound`` for a name that means no commit, and
    ``GitError`` when the repository cannot be read.
    """

    async def status(self) -> GitStatus:
        """Return how tree, index and commit differ."""

    async def diff(
        self,
        old: str | None = None,
        new: str | None = None,
        *,
        staged: bool = False,
        paths: Sequence[str] = (),
        context: int = 3,
    ) -> GitDiff:
        """Return what differs, as text.

        Without names: the tree against the index, or with ``staged`` the index against the commit. With ``old``: the tree (with
        ``staged`` the index) against that commit. With both: one commit against the other. Untracked files are not shown.

        Args:
            old: A branch, tag or commit.
            new: Another one.
            staged: Look at the index instead of the tree.
            paths: Only these files, and what is in these folders.
            context: Lines around each change.

        Raises:
            InvalidArgument: For ``new`` without ``old`` or with ``staged``, or a negative ``context``.
        """

    async def commit(
        self, message: str, *, paths: Sequence[str] | None = None, author: GitAuthor | None = None
    ) -> GitCommit:
        """Commit to the workspace's branch.

        Args:
            message: What the commit is for; trailing white space is dropped.
            paths: Commit these files, and everything in these folders, as they are in the tree, with what is staged already;
                everything that is not ignored when absent.
            author: Who it is by; the user's own git identity when absent. The committer is always the user.

        Returns:
            The commit.

        Raises:
            InvalidArgument: When the message is empty, or nobody has said who the user is.
            StateConflict: While there are conflicts, an operation such as a rebase is in progress, ``HEAD`` is on no branch, or
                there is nothing to commit.
            Busy: When git works in the tree at the same time.

        Cancellation: the commit is there or it is not; what it was to hold may be staged, and objects that nothing refers to left.
        """

    async def branches(self, *, remote: bool = False) -> tuple[GitBranch, ...]:
        """Return the repository's branches by name; with ``remote`` those of remotes too, as the last fetch saw them."""

    async def log(
        self, ref: str = "HEAD", *, limit: int = 50, path: str | None = None, after: str | None = None
    ) -> tuple[GitCommit, ...]:
        """Return commits, the newest first.

        Args:
            ref: Where to begin; ``HEAD`` is the workspace's.
            limit: How many at most.
            path: Only those that changed this file or folder.
            after: Go on after this commit of the same list.
        """

    async def show(self, path: str, *, ref: str = "HEAD") -> bytes:
        """Return a file as it is in a commit, without conversions.

        Raises:
            PathNotFound, PathIsADirectory: When there is none, or a folder.
        """

    async def sync(self) -> SyncOutcome:
        """Fetch, and fast-forward the workspace's branch where that is possible."""

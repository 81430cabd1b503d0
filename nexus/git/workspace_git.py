"""The git of one workspace: the one class by which the rest of Nexus asks about it."""

from __future__ import annotations

from collections.abc import Sequence

from nexus.git.browsing import show_file, tell_branches, tell_log
from nexus.git.committing import Order, commit_tree
from nexus.git.diffing import Question, tell_diff
from nexus.git.identity import GitIdentity
from nexus.git.picking import listed
from nexus.git.telling import tell_status
from nexus.git.threads import in_thread
from nexus.models.git import GitAuthor, GitBranch, GitCommit, GitDiff, GitStatus
from nexus.models.workspace import Repository


class WorkspaceGit:
    """Asks about a worktree or private clone of ours, and commits. The contract is :class:`nexus.abc.git_access.GitAccess`.

    Nothing that the tree's own ``.git`` says is obeyed, no program is run. Of a private clone everything that it holds is brought
    into the repository's object database first, where nothing refers to it; its own branches have no names here.

    Args:
        repository: The repository.
        name: The workspace's name.
    """

    def __init__(self, repository: Repository, name: str) -> None:
        self._repository = repository
        self._name = name

    async def status(self) -> GitStatus:
        """Return how tree, index and commit differ."""
        return await in_thread(lambda stop: tell_status(self._repository, self._name, stop))

    async def diff(
        self, old: str | None, new: str | None, *, staged: bool, paths: Sequence[str], context: int
    ) -> GitDiff:
        """Return what differs, as text. A file of more than four mebibytes, and all after sixteen, are told without theirs."""
        question = Question(old, new, staged, listed(paths), context)
        return await in_thread(lambda stop: tell_diff(self._repository, self._name, question, stop))

    async def commit(
        self, message: str, *, user: GitIdentity, paths: Sequence[str] | None, author: GitAuthor | None
    ) -> GitCommit:
        """Commit to the branch that is checked out.

        Raises:
            Unsupported: In a private clone, whose repository is not written from outside.
            GitError: When a file cannot be kept without a filter program.
            BranchInUse: When the branch is checked out elsewhere too.
        """
        order = Order(message, None if paths is None else listed(paths), author, user)
        return await in_thread(lambda stop: commit_tree(self._repository, self._name, order, stop))

    async def branches(self, *, remote: bool) -> tuple[GitBranch, ...]:
        """Return the branches by name."""
        return await in_thread(lambda stop: tell_branches(self._repository, self._name, stop, remote=remote))

    async def log(self, ref: str, *, limit: int, path: str | None, after: str | None) -> tuple[GitCommit, ...]:
        """Return commits, the newest first."""
        return await in_thread(
            lambda stop: tell_log(self._repository, self._name, ref, stop, limit=limit, path=path, after=after)
        )

    async def show(self, path: str, *, ref: str) -> bytes:
        """Return a file as it is in a commit."""
        return await in_thread(lambda stop: show_file(self._repository, self._name, path, ref, stop))

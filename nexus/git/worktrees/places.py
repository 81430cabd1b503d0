"""Which worktrees of a repository there are, and where each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nexus.git import layout
from nexus.git.excluding import exclude
from nexus.git.layout import Worktree
from nexus.git.listing import get_worktree, list_worktrees
from nexus.git.precious import Precious
from nexus.git.refs import Refs, resolve
from nexus.git.repository import opened
from nexus.git.threads import in_thread
from nexus.models.workspace import Repository


class Places:
    """Names, folders and branches.

    Args:
        repository: What :func:`nexus.git.find_repository` returned. The constructor only stores it.
        precious: Patterns of ignored files that count as work all the same: ``.env``, ``notes/**``.
    """

    def __init__(self, repository: Repository, *, precious: Sequence[str] = ()) -> None:
        self._repository = repository
        self._precious = Precious(precious) or None

    @property
    def repository(self) -> Repository:
        """The repository."""
        return self._repository

    def path(self, name: str) -> Path:
        """Return the folder of a worktree, whether there is one or not.

        Raises:
            InvalidName: When ``name`` is no workspace name.
        """
        return layout.worktree_path(self._repository, name)

    def branch(self, name: str) -> str:
        """Return the branch that belongs to a worktree: ``nexus/<name>``.

        Raises:
            InvalidName: When ``name`` is no workspace name.
        """
        return layout.branch_name(name)

    def admin_dir(self, name: str) -> Path:
        """Return git's entry for a worktree, whether there is one or not.

        Raises:
            InvalidName: When ``name`` is no workspace name.
        """
        return layout.admin_path(self._repository, name)

    async def resolve(self, ref: str) -> str:
        """Return the commit that ``ref`` names, as 40 hexadecimal digits.

        Args:
            ref: ``HEAD`` (the main checkout's), a branch, a tag, a remote branch, a full ref name or a commit id of at least four
                digits; ``~n``, ``^n`` and ``^{commit}`` may follow.

        Raises:
            UnbornHead: When it starts from ``HEAD`` and there is no commit yet.
            RefNotFound: When nothing has this name, it is ambiguous, or it leads to no commit.
        """

        def work(_: object) -> str:
            with opened(self._repository) as repo:
                return resolve(repo, Refs(self._repository.common_dir), ref)

        return await in_thread(work)

    async def list(self) -> tuple[Worktree, ...]:
        """Return the worktrees that are ours, by name; also those of which only the tree or only git's entry is left."""
        return await in_thread(lambda _: list_worktrees(self._repository))

    async def get(self, name: str) -> Worktree | None:
        """Return one worktree; ``None`` when neither a tree nor an entry of git's is there.

        Raises:
            InvalidName: When ``name`` is no workspace name.
        """
        return await in_thread(lambda _: get_worktree(self._repository, name))

    async def exclude(self) -> None:
        """Have ``info/exclude`` keep our folders out of ``git status``. What the file holds stays; a second call changes nothing.

        Raises:
            GitError: When the file cannot be read or written.
        """
        await in_thread(lambda _: exclude(self._repository))

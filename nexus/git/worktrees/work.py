"""What is in a worktree that nobody else has: seeing it, keeping it, and what was kept so far."""

from __future__ import annotations

from typing import Final

from nexus.git.clone_work import report_any, rescue_any
from nexus.git.kept_trees import pin
from nexus.git.rescues import destroyed_ref, drop_ref, keep_commit, list_destroyed_refs, list_rescues
from nexus.git.threads import in_thread
from nexus.git.work_report import WorkReport
from nexus.git.worktrees.places import Places
from nexus.models.rescues import Rescue

MAX_RESCUED_FILE: Final = 100 << 20


class Work(Places):
    """Looks after work. Nothing in a worktree is changed."""

    async def report(self, name: str) -> WorkReport:
        """Work out what would be lost if the worktree and its branch went away. Writes nothing.

        A worktree that does not exist has nothing to lose but its branch's commits. What cannot be found out is said in
        ``unknown`` and counts as dirty; this call does not raise for it. Of a private clone everything counts that it holds: its
        commits on every branch, its stashes. To examine them they are brought into the repository's object database, where
        nothing refers to them.

        Raises:
            InvalidName: When ``name`` is no workspace name.
        """
        return await in_thread(lambda stop: report_any(self._repository, name, stop, self._precious))

    async def rescue(self, name: str, *, max_file_bytes: int = MAX_RESCUED_FILE) -> str:
        """Keep everything in the worktree in a commit under ``refs/nexus/rescue/<name>/<time>``.

        The commit's tree is the worktree as it is: changes, untracked files that are not ignored, ignored ones that are precious,
        links, executable bits. Its parents are the checked-out commit, the branch's tip where that is another one, where
        something else was staged a commit of the index, and last a commit of everything else: conflicts and marks of the
        index, stashes made on the branch, the files of a rebase, merge, cherry-pick, revert or bisect in progress.
        :meth:`restore` brings all of it back, ``git checkout <ref> -- .`` the files.

        Args:
            name: The workspace's name.
            max_file_bytes: Largest file that is kept.

        Returns:
            The full name of the ref.

        Raises:
            GitError: When a file cannot be kept: unreadable, too large, or in a repository nested in the tree. Nothing is dropped.

        Cancellation: unused objects may be left in the database; ``git gc`` removes them.
        """
        return await in_thread(lambda stop: rescue_any(self._repository, name, max_file_bytes, stop, self._precious))

    async def pin(self, name: str, reason: str) -> str:
        """Prepare for setting a tree aside that :meth:`rescue` refuses: note what it is, and keep the commits that it needs.

        Args:
            name: The workspace's name.
            reason: Why it cannot be kept in a commit.

        Returns:
            The full name of a ref under ``refs/nexus/kept/``, for :meth:`remove`. The tree has not been touched.

        Raises:
            GitError: When the repository cannot be written.
        """
        return await in_thread(lambda _: pin(self._repository, name, reason))

    async def rescues(self, name: str | None = None) -> tuple[Rescue, ...]:
        """Return what was rescued and not pruned since, the newest first: commits, and trees that were set aside whole.

        A ref that leads to nothing readable is left out.

        Args:
            name: Of which workspace; of all when absent.
        """
        return await in_thread(lambda _: list_rescues(self._repository, name))

    async def keep_tip(self, name: str, identifier: str, commit: str) -> str:
        """Keep a commit under ``refs/nexus/destroyed/<name>/<id8>`` and return that ref. The same call may be made twice."""
        ref = destroyed_ref(name, identifier)
        await in_thread(lambda _: keep_commit(self._repository, ref, commit))
        return ref

    async def destroyed_tips(self) -> dict[str, str]:
        """Return the refs that :meth:`keep_tip` made, with their commits."""
        return await in_thread(lambda _: list_destroyed_refs(self._repository))

    async def drop(self, ref: str, *, expected: str) -> bool:
        """Delete the ref of a rescue or of a destroyed workspace, if it still leads to ``expected``.

        Returns:
            Whether it is gone.

        Raises:
            GitError: When it is no such ref.
            Busy: When git holds a lock on it.
        """
        return await in_thread(lambda _: drop_ref(self._repository, ref, expected))

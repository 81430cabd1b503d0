"""Removing worktrees, and clearing up after those that were cut short."""

from __future__ import annotations

from datetime import datetime

from nexus.git.clone_work import remove_any
from nexus.git.drafts import drop_drafts
from nexus.git.lost_branches import lost_branches, revive_branch
from nexus.git.removing import drop_stale_lock
from nexus.git.stale_locks import drop_stale_locks
from nexus.git.threads import in_thread
from nexus.git.worktrees.places import Places


class Removal(Places):
    """Removes worktrees. What a call does, it does to its end."""

    async def remove(
        self,
        name: str,
        *,
        expected_tip: str | None,
        delete_branch: bool,
        behind: bool = False,
        aside: str | None = None,
    ) -> bool:
        """Remove the tree, git's entry and, when asked, the branch. Legal at any time, also for half a worktree; idempotent.

        Whether work would be lost is not looked at: ask :meth:`report` before.

        Args:
            name: The workspace's name.
            expected_tip: The commit that the branch must still be at to be deleted; ``None`` keeps the branch.
            delete_branch: Whether to delete the branch. One that is checked out in another worktree stays.
            behind: Whether the tree is only moved to the trash, which takes the same time however many files it has;
                :func:`nexus.git.empty_trash` deletes it.
            aside: The ref that :meth:`pin` returned: nothing is deleted then, tree and entry are moved to ``.nexus/kept/``.

        Returns:
            Whether the branch was deleted.

        Raises:
            GitError: When the worktree is locked by somebody else, or cannot be moved away; then it is as it was.
            Busy: When git holds a lock on the branch.
            CleanupError: When files could not be deleted; git's entry and the branch are gone all the same.

        Cancellation: the call runs to its end.
        """
        return await in_thread(
            lambda _: remove_any(
                self._repository,
                name,
                expected_tip=expected_tip,
                delete_branch=delete_branch,
                behind=behind,
                aside=aside,
            )
        )

    async def drop_stale_lock(self, name: str) -> bool:
        """Remove the lock on a worktree's branch that a killed creation left, and say whether there was one.

        Only for a worktree in which nothing runs yet: the caller holds its lock and the repository's, and is undoing its creation.
        """
        return await in_thread(lambda _: drop_stale_lock(self._repository, name))

    async def clear_after_crash(self, *, since: datetime | None) -> int:
        """Remove what a killed process of ours left in git's folders: half-written files of ours, and locks on refs and objects.

        The caller holds the repository's lock and knows of the killed process, from its journal.

        Args:
            since: When that process began; without, no lock is removed.

        Returns:
            How many locks there were.

        Cancellation: the call runs to its end.
        """

        def clear() -> int:
            drop_drafts(self._repository)
            return 0 if since is None else drop_stale_locks(self._repository, since.timestamp())

        return await in_thread(lambda _: clear())

    async def lost_branches(self) -> tuple[str, ...]:
        """Return the names of the worktrees whose branch somebody deleted although it is checked out there."""
        return await in_thread(lambda _: lost_branches(self._repository))

    async def revive_branch(self, name: str) -> str | None:
        """Make such a branch again at the commit that the worktree was at last, so that its history is not lost.

        Returns:
            That commit; ``None`` when the branch is there, or when nobody knows where it was.

        Raises:
            GitError: When the worktree's log is no plain file, or git is changing the branch.
        """
        return await in_thread(lambda _: revive_branch(self._repository, name))

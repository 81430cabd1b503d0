"""Making worktrees, from a commit or from what was kept of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio.from_thread

from nexus.abc import ProgressCallback
from nexus.git.checkout import Report
from nexus.git.clone_work import remove_any
from nexus.git.creating import create_worktree
from nexus.git.including import DEFAULT_LIMIT, Include
from nexus.git.layout import Worktree
from nexus.git.orders import Fill, Made, Order
from nexus.git.restoring import restore_worktree, tip_of
from nexus.git.threads import Stop, in_thread
from nexus.git.worktrees.places import Places
from nexus.models.workspace import Isolation

_STEP: Final = "worktree"


class Making(Places):
    """Makes worktrees. A call that fails or is cancelled leaves nothing."""

    async def create(
        self,
        name: str,
        *,
        start: str = "HEAD",
        reason: str,
        adopt: bool = False,
        isolation: Isolation = "worktree",
        include: Sequence[str] = (),
        include_max: int = DEFAULT_LIMIT,
        fill: Fill = Fill(),  # noqa: B008 - frozen
        progress: ProgressCallback | None = None,
    ) -> Worktree:
        """Make the branch ``nexus/<name>`` and a locked worktree in which it is checked out.

        Files come from the main checkout where its index proves them unchanged, else from the object database; uncommitted
        changes of the main checkout never come along. Line ends are converted as git would; what a filter program (such as Git
        LFS) would have to convert is left as stored, and said in ``notes``. Submodules are empty folders,
        unless ``fill`` says so. A sparse checkout of the main tree is not taken over: every file is written. Ignored files of the
        main checkout that ``.worktreeinclude`` or ``include`` name come along; ``notes`` says how many, and what could not.

        Args:
            name: The workspace's name.
            start: What the branch starts from, as for :meth:`resolve`. Not used when a branch is adopted.
            reason: Lock reason; starts with ``nexus:``.
            adopt: Whether a branch that exists is used as it is.
            isolation: ``clone`` makes a private clone instead of a linked worktree: it borrows the repository's objects and shares
                nothing else with it. Its branch comes back by :meth:`bring_back` and :meth:`sync`.
            include: More patterns of ignored files, written as in ``.gitignore``; they rank above ``.worktreeinclude``.
            include_max: Bytes that the files which come along may have together; more is an error.
            fill: Whether submodules and LFS files get their content, where the repository has it; ``notes`` says what it lacks.
            progress: Told how many files are written.

        Returns:
            The worktree.

        Raises:
            UnbornHead, RefNotFound: As for :meth:`resolve`.
            BranchInUse: When the branch exists and is not to be adopted, is checked out elsewhere, or collides with another.
            Busy: When git holds a lock.
            GitError: When something is in the way, the commit holds a path that is not safe, more would come along than may, or
                the disk refuses.

        Cancellation: what the call made is removed before it returns; so it is when it fails.
        """
        report = None if progress is None else _reporter(progress, "files")
        coming = None if progress is None else _reporter(progress, "ignored files")
        order = Order(name, start, reason, adopt, Include(tuple(include), include_max, coming), isolation, fill)
        made = await in_thread(
            lambda stop: create_worktree(self._repository, order, stop, report),
            undo=lambda made: self._undo(name, made),
        )
        return made.worktree

    async def restore(
        self,
        name: str,
        ref: str,
        *,
        reason: str,
        isolation: Isolation = "worktree",
        include: Sequence[str] = (),
        include_max: int = DEFAULT_LIMIT,
        fork: bool = False,
        progress: ProgressCallback | None = None,
    ) -> Worktree:
        """Make a worktree again from a rescue or a checkpoint, or from the tip of a destroyed workspace's branch.

        Branch, files, index, an operation in progress and dropped stash entries are as they were; ignored files come along as for
        :meth:`create`, and none replaces a file that was kept. The ref stays.

        Args:
            name: The new workspace's name; that of the old one or another.
            ref: As for :meth:`restorable_tip`.
            reason: Lock reason; starts with ``nexus:``.
            isolation: ``clone`` makes a private clone where only a branch was kept; from a rescue it is a linked worktree all the
                same, and ``notes`` says so.
            include: As for :meth:`create`.
            include_max: As for :meth:`create`.
            fork: Whether the workspace that it was kept of is still there: stash entries stay that one's, and ``isolation`` is kept.
            progress: Told how many files are written.

        Returns:
            The worktree; its notes say what could not be as it was.

        Raises:
            RefNotFound: When there is no such ref.
            BranchInUse: When the branch exists and is elsewhere, or is checked out.
            Busy: When git holds a lock.
            GitError: When what was kept is damaged or not safe to write, or something is in the way.

        Cancellation: what the call made is removed before it returns; so it is when it fails.
        """
        report = None if progress is None else _reporter(progress, "files")
        coming = Include(
            tuple(include), include_max, None if progress is None else _reporter(progress, "ignored files")
        )

        def work(stop: Stop) -> Made:
            return restore_worktree(
                self._repository,
                name,
                ref,
                reason=reason,
                include=coming,
                isolation=isolation,
                stop=stop,
                report=report,
                fork=fork,
            )

        made = await in_thread(work, undo=lambda made: self._undo(name, made))
        return made.worktree

    async def restorable_tip(self, ref: str) -> str:
        """Return the commit that a branch restored from ``ref`` will be at.

        Args:
            ref: The full name of a ref under ``refs/nexus/rescue/``, ``refs/nexus/kept/`` or ``refs/nexus/destroyed/``.

        Raises:
            RefNotFound: When there is no such ref.
            GitError: When what it leads to is damaged or not safe to write.
        """
        return await in_thread(lambda _: tip_of(self._repository, ref))

    def _undo(self, name: str, made: Made) -> None:
        remove_any(self._repository, name, expected_tip=made.tip, delete_branch=made.branch_made)


def _reporter(progress: ProgressCallback, what: str) -> Report:
    def report(done: int, total: int) -> None:
        anyio.from_thread.run_sync(progress, _STEP, f"{done} of {total} {what}", done, total)

    return report

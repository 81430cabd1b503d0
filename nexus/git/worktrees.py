"""The worktrees of one repository: the one class that the rest of Nexus holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import anyio.from_thread

from nexus.abc import ProgressCallback
from nexus.git import layout
from nexus.git.checkout import Report
from nexus.git.clone_sync import sync_clone
from nexus.git.clone_work import bring_back, is_clone, remove_any, report_any, rescue_any
from nexus.git.creating import Fill, Made, Order, create_worktree
from nexus.git.drafts import drop_drafts
from nexus.git.excluding import exclude
from nexus.git.including import DEFAULT_LIMIT, Include
from nexus.git.kept_trees import pin
from nexus.git.layout import Worktree
from nexus.git.listing import get_worktree, list_worktrees
from nexus.git.lost_branches import lost_branches, revive_branch
from nexus.git.precious import Precious
from nexus.git.refs import Refs, resolve
from nexus.git.removing import drop_stale_lock
from nexus.git.repository import opened
from nexus.git.rescues import destroyed_ref, drop_ref, keep_commit, list_destroyed_refs, list_rescues
from nexus.git.restoring import restore_worktree, tip_of
from nexus.git.stale_locks import drop_stale_locks
from nexus.git.sync import Announce, sync_worktree
from nexus.git.sync_settling import settle_sync
from nexus.git.threads import Stop, in_thread
from nexus.git.work_report import WorkReport
from nexus.models.requests import SyncOutcome
from nexus.models.rescues import Rescue
from nexus.models.workspace import Isolation, Repository

MAX_RESCUED_FILE: Final = 100 << 20
SYNC_TIMEOUT: Final = 120.0
_STEP: Final = "worktree"


class Worktrees:
    """Makes, lists, examines, brings up to date and removes the worktrees of one repository.

    Nothing here takes a lock between processes: whoever makes or removes worktrees holds the repository's. Git itself may run at
    the same time; where it holds one of its own locks, ``Busy`` is raised. Hooks and filter programs are never run, and what
    an agent can write inside a worktree (its ``.git`` file, configuration, hooks) is never obeyed.

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

    def _undo(self, name: str, made: Made) -> None:
        remove_any(self._repository, name, expected_tip=made.tip, delete_branch=made.branch_made)

    async def list(self) -> tuple[Worktree, ...]:
        """Return the worktrees that are ours, by name; also those of which only the tree or only git's entry is left."""
        return await in_thread(lambda _: list_worktrees(self._repository))

    async def get(self, name: str) -> Worktree | None:
        """Return one worktree; ``None`` when neither a tree nor an entry of git's is there.

        Raises:
            InvalidName: When ``name`` is no workspace name.
        """
        return await in_thread(lambda _: get_worktree(self._repository, name))

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

    async def restorable_tip(self, ref: str) -> str:
        """Return the commit that a branch restored from ``ref`` will be at.

        Args:
            ref: The full name of a ref under ``refs/nexus/rescue/``, ``refs/nexus/kept/`` or ``refs/nexus/destroyed/``.

        Raises:
            RefNotFound: When there is no such ref.
            GitError: When what it leads to is damaged or not safe to write.
        """
        return await in_thread(lambda _: tip_of(self._repository, ref))

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

    async def keep_tip(self, name: str, identifier: str, commit: str) -> str:
        """Keep a commit under ``refs/nexus/destroyed/<name>/<id8>`` and return that ref. The same call may be made twice."""
        ref = destroyed_ref(name, identifier)
        await in_thread(lambda _: keep_commit(self._repository, ref, commit))
        return ref

    async def destroyed_tips(self) -> dict[str, str]:
        """Return the refs that :meth:`keep_tip` made, with their commits."""
        return await in_thread(lambda _: list_destroyed_refs(self._repository))

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

    async def drop(self, ref: str, *, expected: str) -> bool:
        """Delete the ref of a rescue or of a destroyed workspace, if it still leads to ``expected``.

        Returns:
            Whether it is gone.

        Raises:
            GitError: When it is no such ref.
            Busy: When git holds a lock on it.
        """
        return await in_thread(lambda _: drop_ref(self._repository, ref, expected))

    async def drop_stale_lock(self, name: str) -> bool:
        """Remove the lock on a worktree's branch that a killed creation left, and say whether there was one.

        Only for a worktree in which nothing runs yet: the caller holds its lock and the repository's, and is undoing its creation.
        """
        return await in_thread(lambda _: drop_stale_lock(self._repository, name))

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

    async def settle_sync(self, name: str, *, before: str, after: str) -> str:
        """Put in order what a :meth:`sync` left that was killed while it changed the tree.

        Where the branch was moved already, the index follows; otherwise the files are put back. Files that were changed since
        stay as they are. The caller holds the workspace's lock and the repository's.

        Args:
            name: The workspace's name.
            before: The commit that it was at, as ``announce`` was told.
            after: The commit that it went to.

        Returns:
            What was done, as a clause.

        Raises:
            GitError: When a file cannot be put back, or an object is missing.

        Cancellation: the call runs to its end.
        """
        return await in_thread(lambda _: settle_sync(self._repository, name, before, after))

    async def sync(
        self,
        name: str,
        *,
        remote: str = "origin",
        timeout: float | None = SYNC_TIMEOUT,
        announce: Callable[[str, str], Awaitable[None]] | None = None,
    ) -> SyncOutcome:
        """Fetch, and fast-forward the worktree's branch from its upstream; of a private clone, :meth:`bring_back` before that.

        The upstream is the branch's configured one, else the branch that the worktree started from, else the remote's default.

        Args:
            name: The workspace's name.
            remote: The remote.
            timeout: Seconds that the fetch may take; ``None`` is no limit.
            announce: Awaited before the tree is changed, with the commits it goes from and to; :meth:`settle_sync` needs them after
                a crash.

        Returns:
            What changed. Without such a remote, or without an upstream, nothing did, and ``message`` says why. A clone that cannot be
            fast-forwarded is no error: its work has come back, and ``message`` says the rest.

        Raises:
            SyncConflict: When both have moved, local changes are in the way, or the worktree is not on its branch.
            GitError: When the remote cannot be reached, or there is no such worktree.
            Busy: When git is at work in the worktree.

        Cancellation: the branch and the tree are as before or wholly moved; refs of the remote may have been updated.
        """
        if await in_thread(lambda _: is_clone(self._repository, name)):
            return await sync_clone(self._repository, name, remote, timeout)
        told = None if announce is None else _from_thread(announce)
        return await sync_worktree(self._repository, name, remote, timeout, told)

    async def bring_back(self, name: str) -> SyncOutcome:
        """Bring a private clone's branch into the repository: its commits, and where ``nexus/<name>`` is.

        Every object is verified and the clone is obeyed in nothing; afterwards the repository does not need the clone.

        Returns:
            Where the branch was and is. For a linked worktree there is nothing to bring, and ``message`` says so.

        Raises:
            SyncConflict: When the branch was moved in the repository meanwhile, or is checked out there.
            GitError: When an object of the clone is missing, damaged, too large or not what it should be.

        Cancellation: the branch is where it was, or wholly moved; objects may have come that nothing refers to.
        """
        return await in_thread(lambda stop: bring_back(self._repository, name, stop))

    async def exclude(self) -> None:
        """Have ``info/exclude`` keep our folders out of ``git status``. What the file holds stays; a second call changes nothing.

        Raises:
            GitError: When the file cannot be read or written.
        """
        await in_thread(lambda _: exclude(self._repository))


def _from_thread(announce: Callable[[str, str], Awaitable[None]]) -> Announce:
    async def told(before: str, after: str) -> None:
        await announce(before, after)

    return lambda before, after: anyio.from_thread.run(told, before, after)


def _reporter(progress: ProgressCallback, what: str) -> Report:
    def report(done: int, total: int) -> None:
        anyio.from_thread.run_sync(progress, _STEP, f"{done} of {total} {what}", done, total)

    return report

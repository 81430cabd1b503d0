"""What comes into a worktree from a remote, and into the repository from a private clone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio.from_thread

from nexus.git.clone_sync import sync_clone
from nexus.git.clone_work import bring_back, is_clone
from nexus.git.sync import Announce, sync_worktree
from nexus.git.sync_settling import settle_sync
from nexus.git.threads import in_thread
from nexus.git.worktrees.places import Places
from nexus.models.requests import SyncOutcome

SYNC_TIMEOUT: Final = 120.0


class Exchange(Places):
    """Brings branches up to date."""

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


def _from_thread(announce: Callable[[str, str], Awaitable[None]]) -> Announce:
    async def told(before: str, after: str) -> None:
        await announce(before, after)

    return lambda before, after: anyio.from_thread.run(told, before, after)

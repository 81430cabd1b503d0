"""``fs.watch``: by the kernel's news where it gives them, by looking again and again where it does not."""

from __future__ import annotations

import errno
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal, Self

import anyio

from nexus.errors import FsError, InvalidArgument
from nexus.handles.glob_pattern import Exclusion
from nexus.models.files import WatchBatch, WatchMode
from nexus.workspace.beneath import Tree
from nexus.workspace.file_changes import Changes
from nexus.workspace.tree_access import TreeAccess
from nexus.workspace.watch_native import NativeWatch, TooManyFolders
from nexus.workspace.watch_poll import PollWatch
from nexus.workspace.watch_scope import WatchScope

_GATHERING: Final = 0.05
"""Seconds in which changes are gathered into one batch."""
_REASONS: Final = {
    errno.ENOSPC: "this user may watch no more folders (fs.inotify.max_user_watches)",
    errno.EMFILE: "this user may have no more watches (fs.inotify.max_user_instances)",
}

Wish = Literal["auto", "native", "poll"]


class TreeWatch:
    """What changes in a part of a tree. Nothing runs between two calls: the kernel keeps what happens meanwhile, up to its limit.

    Args:
        access: The tree.
        scope: What is watched.
        native: The kernel's watches, where there are any.
        poll: The last look at it, where there are none.
        notice: Why it is not the kernel that tells.
    """

    def __init__(
        self,
        access: TreeAccess,
        scope: WatchScope,
        *,
        native: NativeWatch | None,
        poll: PollWatch | None,
        notice: str | None = None,
    ) -> None:
        self._access = access
        self._scope = scope
        self._native = native
        self._poll = poll
        self._notice = notice
        self._changes = Changes()

    @property
    def mode(self) -> WatchMode:
        """How changes are learned of. It may become ``poll`` when the kernel refuses to watch what comes later."""
        return WatchMode.NATIVE if self._native is not None else WatchMode.POLL

    @property
    def notice(self) -> str | None:
        """Why it is not the way that was hoped for; ``None`` when it is."""
        return self._notice

    async def receive(self) -> WatchBatch:
        """Wait for the next batch: at most a thousand changes, each path once, gathered over a twentieth of a second.

        Raises:
            WorkspaceGone: When the work tree was removed.
            PathNotFound: When what is watched was removed or renamed.
            FsError: When it holds too much by now to be looked at again and again.

        Cancellation: no change is lost.
        """
        while True:
            batch = self._changes.take()
            if batch is not None:
                return batch
            if self._native is not None:
                await anyio.wait_readable(self._native.fd)
                await anyio.sleep(_GATHERING)
            elif self._poll is not None:
                await anyio.sleep(self._poll.interval)
            await self._access.do(self._scope.path, self._collect)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        return await self.receive()

    def close(self) -> None:
        """End the watch."""
        if self._native is not None:
            self._native.close()

    def _collect(self, tree: Tree) -> None:
        if self._native is None:
            if self._poll is not None:
                self._poll.collect(tree, self._changes)
            return
        try:
            self._native.collect(tree, self._changes)
        except OSError as error:
            if not _refuses(error):
                raise
            self._poll = PollWatch(tree, self._scope)
            self._native.close()
            self._native, self._notice = None, _notice(error)
            self._changes.overflow()


@asynccontextmanager
async def watch(
    access: TreeAccess, path: str, *, recursive: bool, exclude: Sequence[str], mode: Wish
) -> AsyncGenerator[TreeWatch, None]:
    """Watch a folder or a file for as long as the block lasts."""
    if mode not in {"auto", "native", "poll"}:
        raise InvalidArgument(f"a watch is 'auto', 'native' or 'poll', not {mode!r}")
    excluded = Exclusion.parse(exclude)

    def begin(tree: Tree) -> TreeWatch:
        scope = WatchScope.find(tree, path, recursive=recursive, exclude=excluded)
        if mode == "poll":
            return TreeWatch(access, scope, native=None, poll=PollWatch(tree, scope))
        try:
            return TreeWatch(access, scope, native=NativeWatch(tree, scope), poll=None)
        except OSError as error:
            if not _refuses(error):
                raise
            if mode == "native":
                raise FsError(_notice(error), path=path, hint="use mode='auto', or raise the limit") from error
            return TreeWatch(access, scope, native=None, poll=PollWatch(tree, scope), notice=_notice(error))

    begun = await access.take(path, begin, close=TreeWatch.close)
    try:
        yield begun
    finally:
        begun.close()


def _refuses(error: OSError) -> bool:
    return isinstance(error, TooManyFolders) or error.errno in _REASONS


def _notice(error: OSError) -> str:
    reason = str(error) if isinstance(error, TooManyFolders) else _REASONS[error.errno or errno.ENOSPC]
    return f"the kernel does not tell what changes here, so the tree is looked at again and again: {reason}"

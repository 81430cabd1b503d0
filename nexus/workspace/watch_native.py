"""Learning from the kernel what changes in a tree. Blocks; works on an open tree; no symbolic link is followed."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from nexus.models.files import FileChange
from nexus.workspace.beneath import Tree
from nexus.workspace.file_changes import Changes
from nexus.workspace.folders import open_below
from nexus.workspace.inotify import IN_FOLDER, ITSELF, Event, Inotify, Mask
from nexus.workspace.watch_scope import Below, WatchScope

MOST_FOLDERS: Final = 65_536
"""Folders of one watch: the kernel keeps about a kilobyte for each, and every user has a limit."""
_READS: Final = 64
"""Full buffers of events that one call takes."""


class TooManyFolders(OSError):
    """The tree has more folders than one watch may take."""


class _Folder(NamedTuple):
    below: Below
    names: set[bytes]


class NativeWatch:
    """The kernel's watches for one scope. Made with everything that is there; closed by its owner.

    Args:
        tree: The open tree.
        scope: What to watch.

    Raises:
        OSError: When the kernel refuses: ``ENOSPC`` for too many watches, ``EMFILE`` for too many queues.
    """

    def __init__(self, tree: Tree, scope: WatchScope) -> None:
        self._scope = scope
        self._folders: dict[int, _Folder] = {}
        self._numbers: dict[Below, int] = {}
        self._queue = Inotify()
        try:
            self._watch_above(tree)
            with scope.opened(tree) as top:
                self._enter(top, (), None)
        except BaseException:
            self.close()
            raise

    @property
    def fd(self) -> int:
        """Readable when something has changed."""
        return self._queue.fd

    def close(self) -> None:
        """End it."""
        self._queue.close()

    def collect(self, tree: Tree, changes: Changes) -> None:
        """Note what has changed since the last time.

        Raises:
            PathNotFound: When the watched folder is gone, or another one is in its place.
            OSError: When the kernel takes no more watches; some changes may be missing then.
        """
        with self._scope.opened(tree) as top:
            for _ in range(_READS):
                events = self._queue.read()
                for event in events:
                    self._note(top, event, changes)
                if not events:
                    return

    def _watch_above(self, tree: Tree) -> None:
        """Be woken when the folder goes away by the name of one above."""
        shown = self._scope.shown
        for depth in range(len(shown)):
            try:
                folder = open_below(tree.fd, shown[:depth])
            except OSError:
                return  # the path leads through a link: then a link that is changed goes unnoticed until something else happens
            try:
                self._queue.add(folder, ITSELF)
            finally:
                os.close(folder)

    def _enter(self, top: int, start: Below, changes: Changes | None) -> None:
        """Watch a folder and those below; with ``changes`` everything in them is new."""
        waiting = [start]
        while waiting:
            below = waiting.pop()
            try:
                fd = open_below(top, below, os.O_RDONLY)
            except OSError:
                continue  # gone, closed to us, or a link by now
            try:
                waiting += self._watch(fd, below, changes)
            finally:
                os.close(fd)

    def _watch(self, fd: int, below: Below, changes: Changes | None) -> list[Below]:
        """Watch one folder, note what is in it, and return the folders to watch next."""
        number = self._queue.add(fd, IN_FOLDER if below else IN_FOLDER | ITSELF)
        if self._numbers.get(below) == number:
            return []  # this very folder is watched already
        if len(self._folders) >= MOST_FOLDERS:
            raise TooManyFolders(f"there are more than {MOST_FOLDERS} folders")
        folder = _Folder(below, set())
        self._folders[number], self._numbers[below] = folder, number
        inner: list[Below] = []
        # After the watch was set: what comes into the folder from now on is an event, what came before is in the list.
        with os.scandir(fd) as entries:
            for entry in entries:
                path = (*below, os.fsencode(entry.name))
                if not self._scope.covers(path):
                    continue
                folder.names.add(path[-1])
                if changes is not None:
                    changes.add(FileChange.CREATED, self._scope.name(path))
                if self._scope.recursive and entry.is_dir(follow_symlinks=False):
                    inner.append(path)
        return inner

    def _note(self, top: int, event: Event, changes: Changes) -> None:
        if event.mask & Mask.OVERFLOW:
            self._start_over(top, changes)
            return
        folder = self._folders.get(event.watch)
        if folder is None:
            return
        if event.mask & Mask.IGNORED:
            self._forget(folder.below)
            return
        path = (*folder.below, event.name)
        if not event.name or not self._scope.covers(path):
            return
        if event.mask & (Mask.CREATE | Mask.MOVED_TO):
            self._come(top, folder, path, event, changes)
        elif event.mask & (Mask.DELETE | Mask.MOVED_FROM):
            self._go(folder, path, event, changes)
        elif event.name in folder.names:
            changes.add(FileChange.CHANGED, self._scope.name(path))

    def _come(self, top: int, folder: _Folder, path: Below, event: Event, changes: Changes) -> None:
        known = event.name in folder.names
        folder.names.add(event.name)
        if event.mask & Mask.ISDIR and self._scope.recursive:
            if not known:
                changes.add(FileChange.CREATED, self._scope.name(path))
            self._enter(top, path, changes)
        else:
            changes.add(FileChange.CHANGED if known else FileChange.CREATED, self._scope.name(path))

    def _go(self, folder: _Folder, path: Below, event: Event, changes: Changes) -> None:
        folder.names.discard(event.name)
        changes.add(FileChange.DELETED, self._scope.name(path))
        if event.mask & Mask.ISDIR and event.mask & Mask.MOVED_FROM:
            # It is watched still, wherever it is now.
            for below in [known for known in self._numbers if known[: len(path)] == path]:
                self._queue.drop(self._numbers[below])
                self._forget(below)
        elif event.mask & Mask.ISDIR:
            self._forget(path)

    def _forget(self, below: Below) -> None:
        number = self._numbers.pop(below, None)
        if number is not None:
            self._folders.pop(number, None)

    def _start_over(self, top: int, changes: Changes) -> None:
        """Watch everything anew after events were dropped: nobody knows which folders came and went."""
        changes.overflow()
        former = set(self._folders)
        self._folders.clear()
        self._numbers.clear()
        self._enter(top, (), None)
        for number in former - set(self._folders):
            self._queue.drop(number)

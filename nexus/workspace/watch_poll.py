"""Learning what changes in a tree by looking at it again and again, where the kernel does not tell. Blocks; works on an open tree."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from nexus.errors import FsError
from nexus.models.files import FileChange
from nexus.workspace.beneath import Tree
from nexus.workspace.file_changes import Changes
from nexus.workspace.folders import open_below
from nexus.workspace.watch_scope import Below, WatchScope

MOST_ENTRIES: Final = 500_000
_SHORTEST: Final = 1.0
_SHARE: Final = 10
"""Looking takes at most this part of the time."""

_Entry: TypeAlias = "tuple[int, int, int, int, int]"
"""Kind and permissions, device, inode, time of the last change, size; of a folder only the first three."""
_Picture: TypeAlias = "dict[bytes, _Entry]"


class Difference(NamedTuple):
    """What differs between two looks."""

    kind: FileChange
    path: bytes


def compare(before: _Picture, now: _Picture) -> Iterator[Difference]:
    """Give what has changed. Pure."""
    for path in before.keys() - now.keys():
        yield Difference(FileChange.DELETED, path)
    for path, entry in now.items():
        former = before.get(path)
        if former is None:
            yield Difference(FileChange.CREATED, path)
        elif former != entry:
            yield Difference(FileChange.CHANGED, path)


class PollWatch:
    """Looks at one scope.

    Args:
        tree: The open tree.
        scope: What to watch.

    Raises:
        FsError: When it holds too much.
    """

    def __init__(self, tree: Tree, scope: WatchScope) -> None:
        self._scope = scope
        self.interval = _SHORTEST
        """Seconds until the next look."""
        self._picture = self._look(tree)

    def collect(self, tree: Tree, changes: Changes) -> None:
        """Note what has changed since the last look.

        Raises:
            PathNotFound: When the watched folder is gone, or another one is in its place.
            FsError: When it holds too much by now.
        """
        now = self._look(tree)
        for difference in compare(self._picture, now):
            changes.add(difference.kind, self._scope.name(tuple(difference.path.split(b"/"))))
        self._picture = now

    def _look(self, tree: Tree) -> _Picture:
        begun = time.monotonic()
        picture: _Picture = {}
        with self._scope.opened(tree) as top:
            waiting: list[Below] = [()]
            while waiting:
                waiting += self._look_into(top, waiting.pop(), picture)
        self.interval = max(_SHORTEST, _SHARE * (time.monotonic() - begun))
        return picture

    def _look_into(self, top: int, below: Below, picture: _Picture) -> list[Below]:
        try:
            fd = open_below(top, below, os.O_RDONLY)
        except OSError:
            return []  # gone, closed to us, or a link by now
        inner: list[Below] = []
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    path = (*below, os.fsencode(entry.name))
                    if not self._scope.covers(path):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    folder = stat.S_ISDIR(status.st_mode)
                    rest = (0, 0) if folder else (status.st_mtime_ns, status.st_size)
                    picture[b"/".join(path)] = (status.st_mode, status.st_dev, status.st_ino, *rest)
                    if folder and self._scope.recursive:
                        inner.append(path)
        finally:
            os.close(fd)
        if len(picture) > MOST_ENTRIES:
            raise FsError(
                f"{self._scope.path} holds more than {MOST_ENTRIES} files, too many to watch",
                path=self._scope.path,
                hint="watch a smaller folder, or leave some out: exclude=['node_modules']",
            )
        return inner

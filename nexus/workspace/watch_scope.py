"""What a watch is about: a folder or one file, what is left out, and how paths in it are called."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

from nexus.errors import PathNotFound
from nexus.handles.glob_pattern import Exclusion
from nexus.workspace.beneath import GIT_POINTER, Tree
from nexus.workspace.files_read import named
from nexus.workspace.replacing import is_temporary

Below = tuple[bytes, ...]
"""A path from the watched folder; empty for that folder."""


class WatchScope(NamedTuple):
    """What is watched. Found once; the watch ends when something else is at the path."""

    path: str
    """As the caller wrote it."""
    start: str
    """The folder: the path itself, or the one around a single file."""
    shown: Below
    """The folder's path from the root."""
    identity: tuple[int, int]
    """Device and inode of the folder."""
    recursive: bool
    exclude: Exclusion
    only: bytes | None = None
    """The one name that counts, when a file is watched."""

    @classmethod
    def find(cls, tree: Tree, path: str, *, recursive: bool, exclude: Exclusion) -> WatchScope:
        """Look at what is to be watched.

        Raises:
            OSError: When it is not there.
        """
        only, start = None, path
        with tree.found(path) as found:
            if not stat.S_ISDIR(os.fstat(found).st_mode):
                parts = tree.parts(path)
                only, start = parts[-1], named(parts[:-1])
        with tree.found(start) as folder:
            status = os.fstat(folder)
        return cls(
            path=path,
            start=start,
            shown=tree.parts(start),
            identity=(status.st_dev, status.st_ino),
            recursive=recursive and only is None,
            exclude=exclude,
            only=only,
        )

    @contextmanager
    def opened(self, tree: Tree) -> Generator[int, None, None]:
        """Give the watched folder's descriptor.

        Raises:
            PathNotFound: When another folder is at the path by now.
            OSError: When nothing is.
        """
        with tree.found(self.start) as found:
            status = os.fstat(found)
            if (status.st_dev, status.st_ino) != self.identity:
                raise PathNotFound(
                    f"{self.path} is not the folder any more that was watched", path=self.path, hint="watch it again"
                )
            yield found

    def covers(self, below: Below) -> bool:
        """Return whether changes of a path are told. What is below a path that does not count is never asked about."""
        name = below[-1]
        if name.lower() == GIT_POINTER or is_temporary(name) or (self.only is not None and below != (self.only,)):
            return False
        return tuple(os.fsdecode(part) for part in below) not in self.exclude

    def name(self, below: Below) -> str:
        """Return how a path is called, from the workspace's root."""
        return named((*self.shown, *below))

"""Records that were read before, for as long as their files are surely the same.

A list of a thousand workspaces is read over and over by a program that lives long; a look at each file's status costs a tenth
of reading it. A file of the same identity but other content is possible only when it was changed twice within one tick of the
file system's clock, so a file that was touched just now is read again, as git does with its index.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from nexus.models.workspace import WorkspaceRecord

_TICK: Final = 100_000_000
"""Nanoseconds that are longer than any tick of a file system with fine time stamps."""
_SECOND: Final = 1_000_000_000


class Identity(NamedTuple):
    """What changes whenever a file is replaced or written."""

    device: int
    inode: int
    size: int
    changed: int
    modified: int


class Remembered:
    """What each file held when it was read last. Several threads may read at once: each step is one on a dictionary."""

    def __init__(self) -> None:
        self._records: dict[str, tuple[Identity, WorkspaceRecord]] = {}

    def get(self, name: str, identity: Identity | None) -> WorkspaceRecord | None:
        """Return what a file of this name and identity holds, when that is known."""
        known = self._records.get(name)
        return known[1] if known is not None and known[0] == identity else None

    def note(self, name: str, identity: Identity | None, record: WorkspaceRecord) -> None:
        """Note what a file was read to hold; its identity was taken before it was read."""
        if identity is not None:
            self._records[name] = (identity, record)

    def keep(self, names: Iterable[str]) -> None:
        """Forget the files that have none of these names."""
        gone = self._records.keys() - set(names)
        for name in gone:
            self._records.pop(name, None)


def settled_identity(folder: int, name: str) -> Identity | None:
    """Return a file's identity; ``None`` when there is no plain file or its identity may not tell it from another content."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    age = time.time_ns() - status.st_ctime_ns
    coarse = status.st_ctime_ns % _SECOND == 0  # a file system that counts whole seconds
    if age < _TICK or coarse or not stat.S_ISREG(status.st_mode):
        return None
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns, status.st_mtime_ns)

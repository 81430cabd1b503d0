"""Records that were read before, for as long as their files are surely the same.

A list of a thousand workspaces is read over and over by a program that lives long; a look at each file's status costs a tenth
of reading it. A file of the same identity but other content is possible only when it was changed twice within one tick of the
file system's clock, so a file that was touched just now is read again, as git does with its index.
"""

from __future__ import annotations

import os
import stat
import time
from typing import Final, NamedTuple, TypeAlias

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


Remembered: TypeAlias = dict[str, tuple[Identity, WorkspaceRecord]]


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

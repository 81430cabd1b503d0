"""What git would keep of a file that is in a tree."""

from __future__ import annotations

import os
import stat

from nexus.git.index_file import EXECUTABLE, FILE, LINK, IndexEntry
from nexus.git.status import Content


def mode_of(status: os.stat_result, entry: IndexEntry | None, content: Content) -> int | None:
    """Return the mode that git gives a file or link; ``None`` for what git never keeps.

    Args:
        status: What ``lstat`` says.
        entry: What the index holds for the path: where the file system knows no links or no executable bit, that counts.
        content: The tree's reader.
    """
    if stat.S_ISLNK(status.st_mode):
        return LINK
    if not stat.S_ISREG(status.st_mode):
        return None
    if entry is not None and entry.mode == LINK and not content.symlinks:
        return LINK
    if not content.filemode and entry is not None and entry.mode in {FILE, EXECUTABLE}:
        return entry.mode
    return EXECUTABLE if status.st_mode & 0o100 and content.filemode else FILE

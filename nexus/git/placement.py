"""Telling the file system that the trees in a folder have nothing to do with each other, so that it lays them out apart.

The ext family puts a folder near the one it is in, and files near their folder. All trees of a repository, and what was deleted with
those that are gone, then share a corner of the disk. An ext4 without a journal, which small virtual machines often have, goes past
every file that was deleted there in the last minutes for each one that it makes: next to a tree of 5,000 files that is gone, a new one
takes ten times as long. ``chattr +T`` is the remedy that the file system has for it, made for folders such as ``/home``.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from nexus.git import beneath

_FLAGS: Final = struct.Struct("i")
_LONG: Final = struct.calcsize("l")
# From <linux/fs.h>: both say that they carry a long, and carry an int.
_GET: Final = 2 << 30 | _LONG << 16 | 0x6601
_SET: Final = 1 << 30 | _LONG << 16 | 0x6602
_TOP_OF_HIERARCHIES: Final = 0x20000


def lay_out_apart(folder: Path) -> bool:
    """Have what is made in a folder from now on laid out apart, and return whether the file system does so. Most need no telling."""
    with suppress(OSError):
        at = os.open(folder, beneath.FOLDER)
        try:
            (flags,) = _FLAGS.unpack_from(fcntl.ioctl(at, _GET, bytes(_LONG)))
            if not flags & _TOP_OF_HIERARCHIES:
                fcntl.ioctl(at, _SET, _FLAGS.pack(flags | _TOP_OF_HIERARCHIES).ljust(_LONG, b"\0"))
            return True
        finally:
            os.close(at)
    return False

"""Small files that the kernel has in memory, read without waiting for anything: so quickly that a worker thread would only be in the way.

The event loop may not block, and here the kernel itself keeps that promise: it walks the path only through what is cached
(``RESOLVE_CACHED``) and gives only bytes that are cached (``RWF_NOWAIT``), on file systems of this machine, and refuses otherwise.
Whatever is not plain, an error included, is left to the ordinary way, which waits in a thread.
"""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path
from typing import Final

from nexus.workspace.folders import FOLDER
from nexus.workspace.kernel_paths import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2

MOST: Final = 256 * 1024
_RESOLVE_NO_XDEV: Final = 0x01
_RESOLVE_CACHED: Final = 0x20
_RULES: Final = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | _RESOLVE_NO_XDEV | _RESOLVE_CACHED
_AT_FDCWD: Final = -100
_LOOKING: Final = os.O_PATH | os.O_NOFOLLOW
_READING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_HERE: Final = frozenset({0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x794C7630, 0xF2F52010, 0x2FC12FC1})
"""ext, xfs, btrfs, tmpfs, overlay, f2fs, zfs: opening and looking at a file asks nobody else."""
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class CachedFiles:
    """Reads files of one tree at once, where that is possible.

    Args:
        root: The tree.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(root)
        self._local: bool | None = None

    def learn(self) -> None:
        """Find out whether the tree is on a file system of this machine. Blocks; once is enough."""
        if self._local is None:
            self._local = _file_system(self._root) in _HERE

    def read(self, path: str, offset: int, limit: int | None) -> bytes | None:
        """Return a file's bytes; ``None`` when it cannot be had at once, or not at all. Never waits.

        Args:
            path: Relative to the root.
            offset: Where to begin.
            limit: Bytes at most.
        """
        if not self._local or path.startswith("/") or "\0" in path:
            return None
        try:
            return self._read(os.fsencode(path), offset, MOST if limit is None else limit)
        except (OSError, UnicodeEncodeError):
            return None

    def _read(self, path: bytes, offset: int, limit: int) -> bytes | None:
        root = openat2(_AT_FDCWD, self._root, FOLDER, _RESOLVE_CACHED)
        try:
            found = openat2(root, path, _LOOKING, _RULES)
        finally:
            os.close(root)
        try:
            status = os.fstat(found)
            rest = max(0, status.st_size - offset)
            if not stat.S_ISREG(status.st_mode) or rest > MOST:
                return None
            opened = os.open(f"/proc/self/fd/{found}", _READING)
        finally:
            os.close(found)
        try:
            return _all_at_once(opened, offset, min(rest, limit))
        finally:
            os.close(opened)


def _all_at_once(fd: int, offset: int, count: int) -> bytes | None:
    if not count:
        return b""
    buffer = bytearray(count)
    read = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
    return bytes(buffer) if read == count else None


def _file_system(path: bytes) -> int:
    """Return what kind of file system a path is on, as ``statfs(2)`` numbers them; 0 when that cannot be said."""
    answer = (ctypes.c_long * 32)()
    return answer[0] & 0xFFFFFFFF if _LIBC.statfs(ctypes.c_char_p(path), ctypes.byref(answer)) == 0 else 0

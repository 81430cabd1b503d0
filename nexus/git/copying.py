"""Copying one proven-unchanged file from one checkout to another, as cheaply as the file system allows."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from typing import Final

from nexus.git.index_file import IndexEntry, proves_unchanged

_FICLONE: Final = 0x40049409
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_ONE_GO: Final = 1 << 17
"""Up to this size one read and one write are cheaper than any clever call."""
_CANNOT_CLONE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM})


class Copier:
    """Copies files, and remembers what the file system turned out not to support."""

    def __init__(self) -> None:
        self._can_clone = True
        self._can_copy_range = hasattr(os, "copy_file_range")

    def copy(
        self, name: bytes, entry: IndexEntry, written_ns: int, *, source: int, target: int, mode: int
    ) -> os.stat_result | None:
        """Copy a file when its index entry proves what it holds.

        The modification time comes along: build tools compare it, and it is older than the new index, so git need not read the
        file again to be sure.

        Args:
            name: The file's name in both folders.
            entry: The entry in the source's index.
            written_ns: When that index was written.
            source: Descriptor of the source folder.
            target: Descriptor of the target folder; the name must be free there.
            mode: Permission bits before the umask.

        Returns:
            What ``stat`` says of the new file; ``None`` when nothing was proven, and nothing is left at the target.
        """
        try:
            reading = os.open(name, _READ, dir_fd=source)
        except OSError:
            return None
        try:
            before = os.fstat(reading)
            if not proves_unchanged(entry, before, written_ns) or not stat.S_ISREG(before.st_mode):
                return None
            return self._written(name, reading, before, target, mode)
        finally:
            os.close(reading)

    def _written(
        self, name: bytes, reading: int, before: os.stat_result, target: int, mode: int
    ) -> os.stat_result | None:
        writing = os.open(name, _CREATE, mode, dir_fd=target)
        try:
            whole = self._fill(reading, writing, before.st_size)
            after = os.fstat(reading)
            if whole and (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns):
                os.utime(writing, ns=(before.st_mtime_ns, before.st_mtime_ns))
                return os.fstat(writing)
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=target)
            raise
        finally:
            os.close(writing)
        # It changed while it was copied.
        os.unlink(name, dir_fd=target)
        return None

    def _fill(self, reading: int, writing: int, size: int) -> bool:
        if size <= _IN_ONE_GO:
            content = os.read(reading, size + 1)
            write_all(writing, content)
            return len(content) == size
        if self._can_clone:
            try:
                fcntl.ioctl(writing, _FICLONE, reading)
            except OSError as error:
                if error.errno not in _CANNOT_CLONE:
                    raise
                self._can_clone = False
            else:
                return True
        return self._by_range(reading, writing, size)

    def _by_range(self, reading: int, writing: int, size: int) -> bool:
        done = 0
        while done < size:
            if self._can_copy_range:
                try:
                    moved = os.copy_file_range(reading, writing, size - done)
                except OSError as error:
                    if done or error.errno not in _CANNOT_CLONE:
                        raise
                    self._can_copy_range = False
                    continue
            else:
                content = os.read(reading, 1 << 20)
                write_all(writing, content)
                moved = len(content)
            if moved == 0:
                return False
            done += moved
        return True


def create(name: bytes, content: bytes, target: int, mode: int, mtime_ns: int | None) -> os.stat_result:
    """Write a new file.

    Args:
        name: Its name; must be free.
        content: What it holds.
        target: Descriptor of its folder.
        mode: Permission bits before the umask.
        mtime_ns: Its modification time; now when absent.

    Returns:
        What ``stat`` says of it.
    """
    writing = os.open(name, _CREATE, mode, dir_fd=target)
    try:
        write_all(writing, content)
        if mtime_ns is not None:
            os.utime(writing, ns=(mtime_ns, mtime_ns))
        return os.fstat(writing)
    finally:
        os.close(writing)


def write_all(descriptor: int, content: bytes) -> None:
    """Write everything, however many calls it takes."""
    done = os.write(descriptor, content)
    while done < len(content):
        done += os.write(descriptor, memoryview(content)[done:])

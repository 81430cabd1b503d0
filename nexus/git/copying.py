"""Copying one proven-unchanged file from one checkout to another, as cheaply as the file system allows."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Final

from nexus.git.index_file import IndexEntry, matches

_FICLONE: Final = 0x40049409
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_ONE_GO: Final = 1 << 17
"""Up to this size one read and one write are cheaper than any clever call."""
_CANNOT: Final = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM})


class Copier:
    """Copies files, and remembers what the file system turned out not to support."""

    def __init__(self) -> None:
        self._can_clone = True
        self._can_copy_range = hasattr(os, "copy_file_range")

    def copy(self, name: bytes, entry: IndexEntry, source: int, target: int, mode: int) -> os.stat_result | None:
        """Copy a file when its index entry proves what it holds.

        The file is read first and looked at then: a change time that is still the old one says that nothing was written until
        after the reading. The modification time comes along: build tools compare it, and it is older than the new index, so git
        need not read the file again to be sure.

        Args:
            name: The file's name in both folders.
            entry: The settled entry in the source's index.
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
            if entry.size > _IN_ONE_GO:
                return self._large(name, entry, reading, target, mode)
            try:
                content = os.read(reading, entry.size + 1)
            except OSError:
                return None
            status = os.fstat(reading)
        finally:
            os.close(reading)
        if len(content) != entry.size or not matches(entry, status):
            return None
        return create(name, content, target, mode, status.st_mtime_ns)

    def _large(self, name: bytes, entry: IndexEntry, reading: int, target: int, mode: int) -> os.stat_result | None:
        if not matches(entry, os.fstat(reading)):
            return None
        writing = os.open(name, _CREATE, mode, dir_fd=target)
        proven = False
        try:
            self.fill(reading, writing, os.fstat(reading).st_size)
            status = os.fstat(reading)
            proven = matches(entry, status)
            os.utime(writing, ns=(status.st_mtime_ns, status.st_mtime_ns))
            return os.fstat(writing) if proven else None
        finally:
            os.close(writing)
            if not proven:
                os.unlink(name, dir_fd=target)

    def fill(self, reading: int, writing: int, size: int) -> None:
        """Give an empty file the content of another one, at least ``size`` bytes of it where there are that many."""
        if self._can_clone:
            try:
                fcntl.ioctl(writing, _FICLONE, reading)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                self._can_clone = False
            else:
                return
        done = 0
        while done < size:
            moved = self._move(reading, writing, size - done, first=done == 0)
            if moved == 0:
                return
            done += moved

    def _move(self, reading: int, writing: int, size: int, *, first: bool) -> int:
        if self._can_copy_range:
            try:
                return os.copy_file_range(reading, writing, size)
            except OSError as error:
                if not first or error.errno not in _CANNOT:
                    raise
                self._can_copy_range = False
        content = os.read(reading, 1 << 20)
        write_all(writing, content)
        return len(content)


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
        if content:
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

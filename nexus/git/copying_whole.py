"""Copying a folder with everything in it, hostile or not: holes stay holes, links stay links, what is no file is left out and named."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from nexus.git import beneath
from nexus.git.copying import Copier
from nexus.git.threads import Stop
from nexus.git.trees import shown

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BITS: Final = 0o777
"""What is kept of a mode: never the bits that lend a program its owner's rights."""
_PIECE: Final = 1 << 26


def copy_whole(source: Path, target: Path, stop: Stop) -> list[str]:
    """Copy a folder to a place where nothing is yet. Neither side is entered through a link.

    Args:
        source: The folder.
        target: Where the copy is to be; the folder above it is there.
        stop: Asked for every file.

    Returns:
        What was left out, one line each: sockets, pipes, devices, and what cannot be read.

    Raises:
        OSError: When the disk refuses. What was copied by then stays.
        Stopped: When asked to stop.
    """
    target.mkdir(mode=0o700)
    left: list[str] = []
    made: list[tuple[bytes, os.stat_result]] = []
    copier = Copier()
    reading, writing = (os.open(folder, beneath.FOLDER) for folder in (source, target))
    try:
        waiting = [b""]
        while waiting:
            at = waiting.pop()
            try:
                with beneath.folder(reading, at) as here, os.scandir(here) as entries:
                    found = sorted(os.fsencode(entry.name) for entry in entries)
                    status = os.fstat(here)
            except OSError as error:
                left.append(f"{shown(at)}/ ({error.strerror})")
                continue
            made.append((at, status))
            with beneath.folder(reading, at) as here, beneath.folder(writing, at) as there:
                for name in found:
                    stop.check()
                    path = at + b"/" + name if at else name
                    if _copy_entry(name, here, there, copier, stop, left=left, path=path):
                        waiting.append(path)
        for path, status in reversed(made):
            with beneath.folder(writing, path) as at_last:
                os.fchmod(at_last, status.st_mode & _BITS | 0o700)
                os.utime(at_last, ns=(status.st_mtime_ns, status.st_mtime_ns))
    finally:
        os.close(reading)
        os.close(writing)
    return left


def _copy_entry(
    name: bytes, here: int, there: int, copier: Copier, stop: Stop, *, left: list[str], path: bytes
) -> bool:
    """Copy one entry; a folder is only made, and ``True`` says that it has to be looked into."""
    status = os.stat(name, dir_fd=here, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(name, 0o700, dir_fd=there)
        return True
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
        os.utime(name, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=there, follow_symlinks=False)
        return False
    if not stat.S_ISREG(status.st_mode):
        left.append(f"{shown(path)} (no file)")
        return False
    try:
        reading = os.open(name, beneath.FILE, dir_fd=here)
    except OSError as error:
        left.append(f"{shown(path)} ({error.strerror})")
        return False
    try:
        _copy_file(reading, name, there, copier, stop)
    finally:
        os.close(reading)
    return False


def _copy_file(reading: int, name: bytes, there: int, copier: Copier, stop: Stop) -> None:
    before = os.fstat(reading)
    writing = os.open(name, _CREATE, 0o600, dir_fd=there)
    try:
        if before.st_blocks * 512 >= before.st_size:
            copier.fill(reading, writing, before.st_size)
        else:
            _fill_with_holes(reading, writing, before.st_size, stop)
        os.fchmod(writing, before.st_mode & _BITS)
        os.utime(writing, ns=(before.st_mtime_ns, before.st_mtime_ns))
    finally:
        os.close(writing)


def _fill_with_holes(reading: int, writing: int, size: int, stop: Stop) -> None:
    """Copy only what is really there: a file that claims a terabyte may hold nothing."""
    os.ftruncate(writing, size)
    at = 0
    while at < size:
        try:
            start = os.lseek(reading, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return  # Nothing but a hole is left.
        at = os.lseek(reading, start, os.SEEK_HOLE)
        _copy_range(reading, writing, start, at, stop)


def _copy_range(reading: int, writing: int, start: int, end: int, stop: Stop) -> None:
    while start < end:
        stop.check()
        content = os.pread(reading, min(_PIECE, end - start), start)
        if not content:
            return
        done = 0
        while done < len(content):
            done += os.pwrite(writing, memoryview(content)[done:], start + done)
        start += len(content)

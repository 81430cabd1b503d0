"""Files in a folder that somebody hostile can write: read, walked and deleted without ever leaving that folder.

A path inside such a folder is never handed to the system in one piece. Every component is opened on its own, relative to
the one before, and none may be a symbolic link; so a folder that is swapped for a link while we look leads nowhere. Only regular
files are read: a named pipe in their place would block the reader for ever.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nexus.errors import GitError
from nexus.models.repository import Repository

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
ENTERED = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
"""For a folder of ours that is named by a descriptor: ``/proc/self/fd/…`` is a link."""
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_CHUNK = 1 << 20


class NotARegularFile(OSError):
    """Something else is where a regular file was expected, or a link stands on the way to it."""


@contextmanager
def folder(root: int, path: bytes) -> Iterator[int]:
    """Open a folder below ``root`` component by component; the descriptor is closed on leaving.

    Raises:
        OSError: When a component is missing, is no folder, or is a symbolic link.
    """
    current = os.dup(root)
    try:
        for part in path.split(b"/") if path else ():
            deeper = os.open(part, FOLDER, dir_fd=current)
            os.close(current)
            current = deeper
        yield current
    finally:
        os.close(current)


@contextmanager
def made_folder(root: int, path: bytes) -> Iterator[int]:
    """Open a folder below ``root`` as :func:`folder` does, making what is missing of it."""
    current = os.dup(root)
    try:
        for part in path.split(b"/") if path else ():
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=current)
            deeper = os.open(part, FOLDER, dir_fd=current)
            os.close(current)
            current = deeper
        yield current
    finally:
        os.close(current)


def read_file(root: int, path: bytes, *, limit: int | None = None) -> bytes:
    """Return the content of a regular file below ``root``.

    Raises:
        NotARegularFile: When it is not one, or is larger than ``limit`` bytes.
        OSError: When it cannot be opened or read.
    """
    parent, _, name = path.rpartition(b"/")
    with folder(root, parent) as at:
        return _read(os.open(name, FILE, dir_fd=at), limit)


def read_link(root: int, path: bytes) -> bytes:
    """Return the target of a symbolic link below ``root``."""
    parent, _, name = path.rpartition(b"/")
    with folder(root, parent) as at:
        return os.readlink(name, dir_fd=at)


def read_regular(path: Path, *, limit: int = 1 << 30) -> bytes | None:
    """Return the content of one regular file; ``None`` when there is nothing.

    The folders above it are trusted, the file is not.

    Raises:
        NotARegularFile: When something else is there, or it is larger than ``limit`` bytes.
        OSError: When it cannot be read.
    """
    try:
        return _read(os.open(path, FILE), limit)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise NotARegularFile(errno.EINVAL, "not a regular file", str(path)) from error
        raise


def _read(descriptor: int, limit: int | None) -> bytes:
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotARegularFile(errno.EINVAL, "not a regular file")
        if limit is not None and status.st_size > limit:
            raise NotARegularFile(errno.EFBIG, f"larger than {limit} bytes")
        parts: list[bytes] = []
        total = 0
        # One byte more than the size: a file that grows while it is read must not pass for a whole one.
        while part := os.read(descriptor, min(_CHUNK, status.st_size + 1) or 1):
            parts.append(part)
            total += len(part)
            if limit is not None and total > limit:
                raise NotARegularFile(errno.EFBIG, f"larger than {limit} bytes")
        return b"".join(parts)
    finally:
        os.close(descriptor)


def require_real_folders(base: Path, *parts: str) -> None:
    """Make ``base/parts…`` where it is missing, and refuse when a component is a symbolic link or a file.

    A clone can carry ``.nexus`` as a link to anywhere; we would then write there.

    Raises:
        GitError: When a component is not a real folder.
    """
    current = base
    for part in parts:
        current /= part
        if not stat.S_ISDIR(_made_or_found(current).st_mode):
            raise GitError(
                f"{current} is not a folder of its own",
                hint="a symbolic link or a file stands where Nexus keeps its worktrees; remove it and try again",
                details={"path": str(current)},
            )


def require_grounds(repository: Repository, *parts: str) -> None:
    """Do so below the folder that holds the repository's trees, with what lies between it and the repository.

    Raises:
        GitError: When a component is not a real folder.
    """
    if repository.grounds is None:
        require_real_folders(repository.root, ".nexus", *parts)
    else:  # its own folders, and whose they are, are looked at whenever the repository is opened
        require_real_folders(repository.grounds, *parts)


def _made_or_found(path: Path) -> os.stat_result:
    while True:
        with suppress(FileExistsError):
            path.mkdir()
        # Somebody may tidy an empty folder away between the two calls.
        with suppress(FileNotFoundError):
            return path.lstat()


def exists(path: Path) -> bool:
    """Return whether anything is at ``path``; a symbolic link counts, whatever it points at."""
    return os.path.lexists(path)

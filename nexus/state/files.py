"""Small private files, written so that a crash leaves the old one or the new one, and read without following links.

A clone may carry symbolic links where our files belong, so folders are opened link by link with ``O_NOFOLLOW`` and everything
below works on descriptors: what was checked is what is used. All functions block; they are called on worker threads.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from nexus.errors import StateError

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
_TEMPORARY: Final = ".tmp"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class UnfitFile(Exception):
    """What is there is no small plain file; the text says what it is instead."""


@contextmanager
def translated(action: str, path: Path) -> Iterator[None]:
    """Turn an ``OSError`` from the body into ``StateError``: ``cannot <action>: <reason>``, with numbers when the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _no_space(action, path, error) from error
        reason = error.strerror or type(error).__name__
        raise StateError(
            f"cannot {action}: {reason} ({path})",
            hint="check that the folder exists and belongs to you",
            details={"path": str(path), "errno": error.errno},
        ) from error


def _no_space(action: str, path: Path, error: OSError) -> StateError:
    free = _free_space(path)
    return StateError(
        f"cannot {action}: {error.strerror}, {free['bytes']} bytes and {free['inodes']} inodes are free ({path})",
        hint="free some disk space and try again; what was stored before is still there",
        details={"path": str(path), "errno": error.errno, "free_bytes": free["bytes"], "free_inodes": free["inodes"]},
    )


def _free_space(path: Path) -> dict[str, int]:
    for place in (path, *path.parents):
        with suppress(OSError):
            numbers = os.statvfs(place)
            return {"bytes": numbers.f_bavail * numbers.f_frsize, "inodes": numbers.f_favail}
    return {"bytes": 0, "inodes": 0}


@contextmanager
def open_folder(root: Path, *parts: str, create: bool = False) -> Iterator[int]:
    """Give a descriptor of ``root/parts…``. Neither ``root`` nor anything below it may be a symbolic link.

    Args:
        root: The first folder that is checked; the folders above it are the user's own business.
        parts: Names below it, one folder each.
        create: Make what is missing, for the owner only. The folder above ``root`` must exist.

    Raises:
        FileNotFoundError: When a folder is missing and ``create`` is false.
        StateError: When one of them is a symbolic link or no folder, or cannot be made.
    """
    handle = _enter(None, str(root), root, create=create)
    try:
        path = root
        for part in parts:
            path /= part
            deeper = _enter(handle, part, path, create=create)
            os.close(handle)
            handle = deeper
        yield handle
    finally:
        os.close(handle)


def _enter(above: int | None, name: str, path: Path, *, create: bool) -> int:
    try:
        return _open_or_make(above, name, path, create=create)
    except FileNotFoundError as error:
        if not create:
            raise
        raise StateError(f"cannot make the folder {path}: the folder above it does not exist") from error
    except OSError as error:
        if path.is_symlink():
            raise StateError(
                f"{path} is a symbolic link; state is kept in real folders only",
                hint="a repository can carry such a link to make us write elsewhere: remove it and try again",
                details={"path": str(path)},
            ) from error
        if error.errno == errno.ENOTDIR:
            raise StateError(f"{path} must be a folder", details={"path": str(path)}) from error
        with translated(f"open the folder {path.name}", path):
            raise


def _open_or_make(above: int | None, name: str, path: Path, *, create: bool) -> int:
    try:
        return os.open(name, _FOLDER_FLAGS, dir_fd=above)
    except FileNotFoundError:
        if not create:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, FOLDER_MODE, dir_fd=above)
        _sync_parent(above, path)
    return os.open(name, _FOLDER_FLAGS, dir_fd=above)


def _sync_parent(above: int | None, path: Path) -> None:
    if above is not None:
        os.fsync(above)
        return
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def read_small(folder: int, name: str, limit: int) -> bytes:
    """Return the content of a plain file of at most ``limit`` bytes.

    Raises:
        FileNotFoundError: When there is none.
        UnfitFile: When it is a link, a folder, a device or a pipe, too large, or may not be read.
    """
    try:
        handle = os.open(name, _READ_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnfitFile("it is a symbolic link") from error
        raise UnfitFile(f"it cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UnfitFile("it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not a plain file")
        if status.st_size > limit:
            raise UnfitFile(f"it has {status.st_size} bytes, more than the {limit} that are allowed")
        return _read_all(handle, status.st_size, limit)
    except OSError as error:
        raise UnfitFile(f"it cannot be read: {error.strerror}") from error
    finally:
        os.close(handle)


def _read_all(handle: int, size: int, limit: int) -> bytes:
    data = os.read(handle, size + 1)
    if len(data) == size:  # a rename may replace the name, but nobody of ours changes the file in place
        return data
    chunks = [data]
    while data and sum(map(len, chunks)) <= limit:
        data = os.read(handle, limit)
        chunks.append(data)
    return b"".join(chunks)


def write_atomic(folder: int, name: str, data: bytes, *, durable: bool = True) -> None:
    """Replace ``name`` by a file that holds ``data``: a reader sees the old content or the new, also after a power cut.

    Args:
        folder: Descriptor of the folder.
        name: File name in it.
        data: The whole content.
        durable: Whether the call returns only when file and folder are on the disk.

    Raises:
        OSError: The old file is untouched, and no other is left behind.
    """
    aside = write_aside(folder, name, data, durable=durable)
    try:
        aside.place(folder, name)
    except BaseException:
        aside.discard(folder)
        raise
    if durable:
        os.fsync(folder)


class Unplaced(NamedTuple):
    """A file whose content is written, under a temporary name."""

    temporary: str
    handle: int
    """Open, and locked: a sweep leaves the file alone as long as its writer lives."""

    def place(self, folder: int, name: str) -> None:
        """Have it take its place. The folder is not flushed.

        Raises:
            OSError: It has not, and has still to be discarded.
        """
        os.rename(self.temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.close(self.handle)

    def discard(self, folder: int) -> None:
        """Remove it. What cannot be removed is swept later."""
        with suppress(OSError):
            os.unlink(self.temporary, dir_fd=folder)
        os.close(self.handle)


def write_aside(folder: int, name: str, data: bytes, *, durable: bool = True) -> Unplaced:
    """Write the whole content of a file that is to take the place of ``name``.

    Args:
        folder: Descriptor of the folder.
        name: File name in it.
        data: The whole content.
        durable: Whether the call returns only when the content is on the disk.

    Raises:
        OSError: Nothing is left behind.
    """
    aside = Unplaced(*_create_temporary(folder, name))
    try:
        write_all(aside.handle, data)
        if durable:
            os.fsync(aside.handle)
    except BaseException:
        aside.discard(folder)
        raise
    return aside


def hurry(handle: int) -> None:
    """Have a file's content begin its way to the disk, where the system lets us say so; nothing is waited for."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def _create_temporary(folder: int, name: str) -> tuple[str, int]:
    # The writer holds a lock on its temporary file, so that a sweep tells a writer at work from one that was killed.
    while True:
        temporary = f".{name}.{secrets.token_hex(8)}{_TEMPORARY}"
        handle = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=folder
        )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_nlink:
                return temporary, handle
        except BlockingIOError:
            pass  # a sweep was quicker than our lock and is about to remove the file
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def write_all(handle: int, data: bytes) -> None:
    """Write all of ``data``; the system may take it in pieces."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def remove(folder: int, name: str, *, durable: bool = True) -> bool:
    """Remove a file, for good when ``durable``; return whether it was there."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    if durable:
        os.fsync(folder)
    return True


def is_temporary(name: str) -> bool:
    """Return whether this is the name of a file that is being written, or was when its writer died."""
    return name.startswith(".") and name.endswith(_TEMPORARY)


def sweep(folder: int, names: list[str]) -> None:
    """Remove those temporary files whose writers are gone. What cannot be removed stays: it is ignored anyway."""
    for name in filter(is_temporary, names):
        with suppress(OSError):
            handle = os.open(name, _READ_FLAGS, dir_fd=folder)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=folder)
            finally:
                os.close(handle)

"""Copying files and folders between trees, by descriptors on both sides. Every function blocks.

Neither side is trusted: a source that is changed meanwhile cannot make us read elsewhere, a target that holds symbolic links
cannot make us write elsewhere. Files take the place of files, folders are merged, anything else in the way is an error.
Permission bits are kept without set-user-id and its like; times and owners are new.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nexus.errors import FsError
from nexus.handles.glob_pattern import Exclusion
from nexus.workspace.beneath import GIT_POINTER
from nexus.workspace.files_read import describe, open_file
from nexus.workspace.folders import make_folder, open_below
from nexus.workspace.replacing import is_temporary, replace, status_of, temporary_name, turn, write_all
from nexus.workspace.transfer_count import TransferCount

_CHUNK: Final = 1024 * 1024
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_NOT_HERE: Final = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM})


@dataclass(slots=True)
class Transfer(TransferCount):
    """One copy under way."""

    excluded: Exclusion
    check: Callable[[], None]
    """Called before each entry; what it raises goes on, and leaves what was copied by then."""
    only_inner_links: bool = False
    """Leave out symbolic links that lead out of what is copied: outside of the workspace they would point to files of the host."""
    refuse: Callable[[tuple[bytes, ...]], None] | None = None
    """Told of each path before it is written; may raise."""
    without_git: bool = False
    """Leave out ``.git`` at the top: a copy of a work tree's pointer would make git take the copy for the work tree."""


@dataclass(frozen=True, slots=True)
class _Folder:
    path: tuple[bytes, ...]
    mode: int
    """The permissions it is to have when it is filled."""
    new: bool


def copy_folder(source: int, target: int, transfer: Transfer) -> None:
    """Copy everything in one folder into another.

    Args:
        source: Descriptor of the folder to copy from.
        target: Descriptor of the folder to copy into.
        transfer: What to leave out; counts what is done.
    """
    waiting: list[tuple[bytes, ...]] = [()]
    made: list[_Folder] = []
    while waiting:
        below = waiting.pop()
        inner = _copy_entries(source, target, below, transfer)
        waiting += [folder.path for folder in inner]
        made += [folder for folder in inner if folder.new]
    # Last and from the inside out: a folder that may not be written to could not have been filled.
    for folder in reversed(made):
        fd = open_below(target, folder.path, os.O_RDONLY)
        try:
            os.fchmod(fd, folder.mode)
        finally:
            os.close(fd)


def copy_entry(found: int, target: int, new: bytes, *, shown: str, transfer: Transfer) -> None:
    """Copy the file or symbolic link that an ``O_PATH`` descriptor stands for; anything else is noted as skipped."""
    mode = os.fstat(found).st_mode
    if stat.S_ISREG(mode):
        copy_file(found, target, new, shown, transfer)
    elif stat.S_ISLNK(mode):
        _copy_link(os.readlink(b"", dir_fd=found), target, new, shown, transfer)
    else:
        transfer.skipped.append(f"{shown}: {describe(mode)}")


def copy_file(found: int, target: int, new: bytes, shown: str, transfer: Transfer) -> None:
    """Copy the file that an ``O_PATH`` descriptor stands for."""
    fd = open_file(found, shown)
    try:
        status = os.fstat(fd)
        with turn(target):
            old = status_of(target, new)
            if old is not None and not stat.S_ISREG(old.st_mode):
                raise _in_the_way(shown, old.st_mode)
            replace(
                target,
                new,
                old,
                lambda out: _pump(fd, out, status.st_size, transfer.check),
                stat.S_IMODE(status.st_mode) & 0o777,
            )
        transfer.files += 1
        transfer.size += status.st_size
    finally:
        os.close(fd)


def _copy_entries(source: int, target: int, below: tuple[bytes, ...], transfer: Transfer) -> list[_Folder]:
    """Copy what is in one folder; return the folders in it, made and not filled."""
    try:
        out_of = open_below(source, below, os.O_RDONLY)
    except OSError as error:
        if not below or error.errno not in _GONE:
            raise
        transfer.skipped.append(f"{_shown(below)}: it changed while it was copied")
        return []
    try:
        into = open_below(target, below)
        try:
            inner: list[_Folder] = []
            for name in sorted(os.fsencode(entry) for entry in os.listdir(out_of)):  # noqa: PTH208 - a descriptor
                path = (*below, name)
                if _is_wanted(path, transfer):
                    folder = _copy_one(out_of, into, path, transfer, os.fstat(target))
                    inner += [] if folder is None else [folder]
            return inner
        finally:
            os.close(into)
    finally:
        os.close(out_of)


def _is_wanted(path: tuple[bytes, ...], transfer: Transfer) -> bool:
    if is_temporary(path[-1]) or tuple(os.fsdecode(part) for part in path) in transfer.excluded:
        return False
    if transfer.without_git and path == (GIT_POINTER,):
        transfer.skipped.append(".git: it belongs to this work tree alone")
        return False
    transfer.check()
    if transfer.refuse is not None:
        transfer.refuse(path)
    return True


def _copy_one(
    out_of: int, into: int, path: tuple[bytes, ...], transfer: Transfer, top: os.stat_result
) -> _Folder | None:
    shown = _shown(path)
    try:
        found = os.open(path[-1], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=out_of)
    except FileNotFoundError:
        transfer.skipped.append(f"{shown}: it changed while it was copied")
        return None
    try:
        status = os.fstat(found)
        if not stat.S_ISDIR(status.st_mode):
            copy_entry(found, into, path[-1], shown=shown, transfer=transfer)
            return None
        if os.path.samestat(status, top):
            transfer.skipped.append(f"{shown}: the folder that is copied into")
            return None
        transfer.directories += 1
        return _Folder(path=path, mode=stat.S_IMODE(status.st_mode) & 0o777, new=_make(into, path[-1], shown))
    finally:
        os.close(found)


def _shown(path: tuple[bytes, ...]) -> str:
    return os.fsdecode(b"/".join(path))


def _make(directory: int, name: bytes, shown: str) -> bool:
    made = make_folder(directory, name)
    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    if not stat.S_ISDIR(mode):
        raise _in_the_way(shown, mode)
    return made


def _copy_link(text: bytes, target: int, new: bytes, shown: str, transfer: Transfer) -> None:
    if transfer.only_inner_links and leads_out(os.fsencode(shown), text):
        transfer.skipped.append(f"{shown}: a symbolic link that leads out, to {os.fsdecode(text)}")
        return
    old = status_of(target, new)
    if old is not None and not stat.S_ISLNK(old.st_mode):
        raise _in_the_way(shown, old.st_mode)
    temporary = temporary_name()
    os.symlink(text, temporary, dir_fd=target)
    try:
        os.rename(temporary, new, src_dir_fd=target, dst_dir_fd=target)
    except BaseException:
        os.unlink(temporary, dir_fd=target)
        raise
    transfer.symlinks += 1


def leads_out(path: bytes, text: bytes) -> bool:
    """Return whether a symbolic link at ``path``, relative to a folder, says something outside of that folder. Pure.

    Where other links are on the way this is an estimate; what follows the link later has to keep its own rules.
    """
    if text.startswith(b"/"):
        return True
    depth = 0
    for part in posixpath.join(posixpath.dirname(path), text).split(b"/"):
        depth += {b"": 0, b".": 0, b"..": -1}.get(part, 1)
        if depth < 0:
            return True
    return False


def _in_the_way(shown: str, mode: int) -> FsError:
    error = FsError(f"{describe(mode)} is in the way: {shown}", path=shown, hint="remove it first")
    error.errno = errno.EEXIST
    return error


def _pump(source: int, target: int, size: int, check: Callable[[], None]) -> None:
    """Copy the first ``size`` bytes: a file that grows as fast as it is read must have an end."""
    left = size
    while left > 0:
        check()
        done = _copy_range(source, target, min(left, 64 * _CHUNK))
        if done == 0:
            return
        left -= done


def _copy_range(source: int, target: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    data = os.read(source, min(count, _CHUNK))
    write_all(target, data)
    return len(data)

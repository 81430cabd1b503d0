"""Removing and renaming, by descriptors: no symbolic link is ever followed. Every function blocks and works on an open tree."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from nexus.workspace.beneath import ATTEMPTS, Tree
from nexus.workspace.files_write import named_place
from nexus.workspace.folders import open_below
from nexus.workspace.kernel_paths import rename_without_replacing
from nexus.workspace.replacing import status_of, temporary_name, turn

_DEPTH: Final = 100
"""Folders deeper than this are moved up before they are emptied: a tree may be deeper than any path or stack."""
_SWAPPED: Final = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EISDIR})


def remove(tree: Tree, path: str, *, recursive: bool, missing_ok: bool, check: Callable[[], None]) -> None:
    """Remove what is at a path; ``check`` may stop it between two entries."""
    try:
        with tree.place(path, follow=False, writing=True) as place:
            name = named_place(place, path)
            status = os.stat(name, dir_fd=place.fd, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(name, dir_fd=place.fd)
            elif recursive:
                remove_tree(place.fd, name, check)
            else:
                os.rmdir(name, dir_fd=place.fd)
    except FileNotFoundError:
        if not missing_ok:
            raise


def remove_tree(directory: int, name: bytes, check: Callable[[], None]) -> None:
    """Remove a folder with everything in it.

    Args:
        directory: Descriptor of the folder around it.
        name: Its name there.
        check: Called before each folder; what it raises goes on.
    """
    # Each entry: a folder by its names below ``directory``, and whether it has been emptied.
    stack: list[tuple[tuple[bytes, ...], bool]] = [((name,), False)]
    attempts = 0
    while stack:
        check()
        below, emptied = stack.pop()
        try:
            if emptied:
                _drop_folder(directory, below)
            else:
                found = _empty(directory, below, name)
                stack.append((below, True))
                stack += [(inner, False) for inner in found]
        except FileNotFoundError:
            continue
        except OSError as error:
            # Somebody puts things in, or swaps folders for other things, while we remove.
            attempts += 1
            if error.errno not in _SWAPPED | {errno.ENOTEMPTY} or attempts > ATTEMPTS:
                raise
            stack.append((below, False))


def _drop_folder(directory: int, below: tuple[bytes, ...]) -> None:
    around = _open_around(directory, below)
    try:
        os.rmdir(below[-1], dir_fd=around)
    finally:
        os.close(around)


def _open_around(directory: int, below: tuple[bytes, ...]) -> int:
    """Open the folder that an entry is in; where that has become something else the entry is gone."""
    try:
        return open_below(directory, below[:-1])
    except OSError as error:
        if error.errno not in _SWAPPED:
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error


def _empty(directory: int, below: tuple[bytes, ...], top: bytes) -> list[tuple[bytes, ...]]:
    """Remove all but the folders from a folder; return those. A folder that has become something else is removed itself."""
    try:
        fd = open_below(directory, below, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _SWAPPED:
            raise
        around = _open_around(directory, below)
        try:
            os.unlink(below[-1], dir_fd=around)
        finally:
            os.close(around)
        return []
    try:
        with os.scandir(fd) as entries:
            listed = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        folders: list[tuple[bytes, ...]] = []
        for name, is_folder in listed:
            if is_folder:
                folders.append(_moved_up(directory, fd, name, top) if len(below) >= _DEPTH else (*below, name))
            else:
                _unlink(fd, name)
        return folders
    finally:
        os.close(fd)


def _unlink(fd: int, name: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):  # somebody was faster
        os.unlink(name, dir_fd=fd)


def _moved_up(directory: int, fd: int, name: bytes, top: bytes) -> tuple[bytes, ...]:
    """Move a folder to the top of the tree that is being removed."""
    target = open_below(directory, (top,))
    try:
        new = temporary_name()
        os.rename(name, new, src_dir_fd=fd, dst_dir_fd=target)
    finally:
        os.close(target)
    return (top, new)


def rename(tree: Tree, source: str, target: str, *, replace: bool) -> None:
    """Give what is at ``source`` the name ``target``."""
    with (
        tree.place(source, follow=False, writing=True) as old,
        tree.place(target, follow=False, writing=True) as new,
    ):
        old_name, new_name = named_place(old, source), named_place(new, target)
        if status_of(old.fd, old_name) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
        with turn(new.fd):
            if replace:
                os.rename(old_name, new_name, src_dir_fd=old.fd, dst_dir_fd=new.fd)
            else:
                try:
                    rename_without_replacing(old.fd, old_name, new.fd, new_name)
                except FileExistsError as error:
                    error.filename = target
                    raise

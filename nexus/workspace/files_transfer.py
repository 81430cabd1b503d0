"""Copying within a work tree, into it and out of it. Every function blocks and works on an open tree."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from nexus.errors import InvalidArgument, PathDenied
from nexus.handles.glob_pattern import Exclusion
from nexus.models.files import TransferResult
from nexus.workspace.beneath import GIT_POINTER, Place, Tree
from nexus.workspace.files_read import not_a_file
from nexus.workspace.files_write import make_dir, named_place
from nexus.workspace.folders import make_folder
from nexus.workspace.path_errors import told
from nexus.workspace.replacing import status_of
from nexus.workspace.tree_transfer import Transfer, copy_entry, copy_file, copy_folder


def copy(tree: Tree, source: str, target: str, *, replace: bool, check: Callable[[], None]) -> TransferResult:
    """Copy within the tree."""
    transfer = Transfer(excluded=Exclusion.parse(()), check=check)
    with tree.place(source, follow=False) as old, tree.place(target, follow=False, writing=True) as new:
        new_name = named_place(new, target)
        if not replace and status_of(new.fd, new_name) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        found = os.open(old.name or b".", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=old.fd)
        try:
            mode = os.fstat(found).st_mode
            if stat.S_ISDIR(mode):
                if _contains(old, (*new.where, new_name)):
                    raise InvalidArgument(f"{source} cannot be copied into itself ({target})")
                transfer.without_git = old.name is None and not old.where
                _copy_folder(found, new.fd, new_name, transfer)
            elif stat.S_ISREG(mode) or stat.S_ISLNK(mode):
                copy_entry(found, new.fd, new_name, shown=target, transfer=transfer)
            else:
                raise not_a_file(source, mode)
        finally:
            os.close(found)
    return transfer.result()


def _contains(folder: Place, path: tuple[bytes, ...]) -> bool:
    own = folder.where if folder.name is None else (*folder.where, folder.name)
    return path[: len(own)] == own


def _copy_folder(folder: int, directory: int, name: bytes, transfer: Transfer) -> None:
    made = make_folder(directory, name)
    into = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        copy_folder(folder, into, transfer)
        if made:
            os.fchmod(into, stat.S_IMODE(os.fstat(folder).st_mode) & 0o777)
    finally:
        os.close(into)
    transfer.directories += 1


def upload(
    tree: Tree, local: Path, remote: str, *, exclude: tuple[str, ...], check: Callable[[], None]
) -> TransferResult:
    """Copy a file or folder of this host into the tree."""
    transfer = Transfer(excluded=Exclusion.parse(exclude), check=check)
    with told(str(local)):
        found = os.open(local, os.O_PATH | os.O_CLOEXEC)
    try:
        if stat.S_ISDIR(os.fstat(found).st_mode):
            make_dir(tree, remote, parents=True, exist_ok=True)
            with tree.place(remote, writing=True) as place:
                into = os.open(place.name or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place.fd)
                try:
                    if os.path.samestat(os.fstat(into), os.fstat(tree.fd)):
                        transfer.refuse = _refuse_git
                    copy_folder(found, into, transfer)
                finally:
                    os.close(into)
        else:
            with tree.place(remote, writing=True, create=True) as place:
                if place.name is None:
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), remote)
                copy_file(found, place.fd, place.name, remote, transfer)
    finally:
        os.close(found)
    return transfer.result()


def download(
    tree: Tree, remote: str, local: Path, *, exclude: tuple[str, ...], check: Callable[[], None]
) -> TransferResult:
    """Copy a file or folder of the tree to this host."""
    transfer = Transfer(excluded=Exclusion.parse(exclude), check=check, only_inner_links=True)
    if not local.name:
        raise InvalidArgument(f"{local} names no file or folder to download to")
    with tree.found(remote) as found:
        with told(str(local.parent)):
            around = os.open(local.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        name = os.fsencode(local.name)
        try:
            if stat.S_ISDIR(os.fstat(found).st_mode):
                with told(str(local)):
                    make_folder(around, name)
                    into = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=around)
                transfer.without_git = os.path.samestat(os.fstat(found), os.fstat(tree.fd))
                try:
                    copy_folder(found, into, transfer)
                finally:
                    os.close(into)
            else:
                copy_file(found, around, name, str(local), transfer)
        finally:
            os.close(around)
    return transfer.result()


def _refuse_git(path: tuple[bytes, ...]) -> None:
    if path[0].lower() == GIT_POINTER:
        shown = os.fsdecode(b"/".join(path))
        raise PathDenied(
            f"{shown} belongs to git and cannot be changed through the workspace's files",
            path=shown,
            hint="leave it out: exclude=['.git']",
        )

"""Opening and making folders below a descriptor, following no symbolic link."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Sequence
from typing import Final

from nexus.workspace import kernel_paths
from nexus.workspace.kernel_paths import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS

FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags that open a folder for calls relative to it, and nothing else."""
TRY_BY_HAND: Final = frozenset(
    {errno.ENOSYS, errno.EPERM, errno.EXDEV, errno.ENAMETOOLONG, errno.EAGAIN, errno.EINVAL, errno.E2BIG, errno.ELOOP}
)
"""Answers of ``openat2`` that do not settle it: the call is missing or forbidden, the path too long, or a link needs a look."""

_PIECE: Final = 4000


def open_below(root: int, parts: Sequence[bytes], flags: int = os.O_PATH) -> int:
    """Open a folder below another one, following no symbolic link at all.

    Raises:
        OSError: ``ELOOP`` or ``ENOTDIR`` when a component is a link or something else; ``ENOENT`` when it is gone.
    """
    fd = os.open(b".", FOLDER, dir_fd=root)
    try:
        for piece in _pieces(parts):
            deeper = _descend(fd, piece)
            os.close(fd)
            fd = deeper
        return os.open(b".", flags | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    finally:
        os.close(fd)


def _pieces(parts: Sequence[bytes]) -> Generator[list[bytes], None, None]:
    """Cut a path into pieces that the kernel takes."""
    piece: list[bytes] = []
    size = 0
    for part in parts:
        if piece and size + len(part) >= _PIECE:
            yield piece
            piece, size = [], 0
        piece.append(part)
        size += len(part) + 1
    if piece:
        yield piece


def _descend(start: int, parts: Sequence[bytes]) -> int:
    try:
        rules = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
        return kernel_paths.openat2(start, b"/".join(parts), os.O_PATH | os.O_DIRECTORY, rules)
    except OSError as error:
        if error.errno not in TRY_BY_HAND - {errno.ELOOP}:
            raise
    fd = os.dup(start)
    for part in parts:
        try:
            deeper = os.open(part, FOLDER, dir_fd=fd)
        finally:
            os.close(fd)
        fd = deeper
    return fd


def make_folder(directory: int, name: bytes, *, exist_ok: bool = True) -> bool:
    """Make a folder as anybody would, and return whether it was not there. It belongs to whom the folder around it belongs to.

    Raises:
        FileExistsError: When the name is taken, by whatever it be, and ``exist_ok`` is not set.
    """
    try:
        os.mkdir(name, dir_fd=directory)
    except FileExistsError:
        if not exist_ok:
            raise
        return False
    made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        give_to_owner_of(directory, made)
    finally:
        os.close(made)
    return True


def give_to_owner_of(directory: int, made: int) -> None:
    """Let what root has just made belong to whom the folder around it belongs to; for anybody else there is nothing to do."""
    around, own = os.fstat(directory), os.fstat(made)
    if os.geteuid() == own.st_uid == 0 and (around.st_uid, around.st_gid) != (own.st_uid, own.st_gid):
        os.fchown(made, around.st_uid, around.st_gid)

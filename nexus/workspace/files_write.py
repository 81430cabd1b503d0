"""Changing files. Every function blocks and works on an open tree."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

from nexus.errors import ContentModified, InvalidArgument, PathDenied
from nexus.models.files import ABSENT, Edit, EditResult, Etag, FileInfo
from nexus.workspace.beneath import ATTEMPTS, Place, Tree, changing
from nexus.workspace.files_read import etag_of, info_of, named, not_a_file, open_file, read_from
from nexus.workspace.folders import make_folder
from nexus.workspace.replacing import replace, status_of, turn, write_all

Change = Callable[[bytes | None], bytes]
"""Gives the new content; gets the old one, or ``None`` when there is no file or it was not asked for."""


def write(tree: Tree, path: str, data: bytes, *, mode: int | None, if_match: Etag | None, parents: bool) -> FileInfo:
    """Give a file this content."""
    require_bits(mode)
    return _rewrite(tree, path, lambda _: data, reads=False, mode=mode, if_match=if_match, parents=parents)


def set_mode(tree: Tree, path: str, mode: int) -> FileInfo:
    """Set permission bits."""
    require_bits(mode)
    with tree.place(path, writing=True) as place:
        found = os.open(place.name or b".", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.fd)
        try:
            if stat.S_ISLNK(os.fstat(found).st_mode):
                raise changing(path)
            os.chmod(f"/proc/self/fd/{found}", mode)  # noqa: PTH101 - the very thing that was looked at
            return info_of(named(tree.parts(path)), os.fstat(found))
        finally:
            os.close(found)


def require_bits(mode: int | None) -> None:
    """Refuse a mode that is more than permissions: set-user-id is for nobody to give.

    Raises:
        InvalidArgument: When it is.
    """
    if mode is not None and not 0 <= mode <= 0o777:
        raise InvalidArgument(f"mode {mode:#o} is not made of permission bits alone", hint="use 0o000 to 0o777")


def edit(tree: Tree, path: str, edits: Sequence[Edit], *, if_match: Etag | None) -> EditResult:
    """Replace pieces of a file. All edits are done, or none."""
    replaced = 0

    def change(old: bytes | None) -> bytes:
        nonlocal replaced
        if old is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        data, replaced = apply_edits(old, edits)
        return data

    info = _rewrite(tree, path, change, reads=True, mode=None, if_match=if_match, parents=False)
    return EditResult(info=info, replaced=replaced)


def apply_edits(data: bytes, edits: Sequence[Edit]) -> tuple[bytes, int]:
    """Return the content after all edits, one after the other, and how many places were replaced.

    Done on bytes: line ends and bytes that are no UTF-8 stay as they are.

    Raises:
        InvalidArgument: When the text of an edit is not there, or there more than once without ``all``.
    """
    if not edits:
        raise InvalidArgument("there is no edit to apply")
    replaced = 0
    for number, one in enumerate(edits, 1):
        old, new = (text.encode("utf-8", "surrogateescape") for text in (one.old, one.new))
        first = data.find(old)
        if first < 0:
            raise InvalidArgument(
                f"the text of edit {number} is not in the file: {_shown(one.old)}",
                hint="it has to match exactly, white space and line ends included; read the file again",
                details={"edit": number, "found": 0},
            )
        # From first + 1: two places that overlap are two places.
        if not one.all and data.find(old, first + 1) >= 0:
            raise InvalidArgument(
                f"the text of edit {number} is in the file more than once: {_shown(one.old)}",
                hint="give more of the text around it, or set all=True",
                details={"edit": number, "found": data.count(old)},
            )
        replaced += data.count(old) if one.all else 1
        data = data.replace(old, new) if one.all else data[:first] + new + data[first + len(old) :]
    return data, replaced


def make_dir(tree: Tree, path: str, *, parents: bool, exist_ok: bool) -> None:
    """Make a folder."""
    with tree.place(path, writing=True, create=parents) as place:
        status = None if place.name is None else status_of(place.fd, place.name)
        if place.name is None or status is not None:
            if exist_ok and (status is None or stat.S_ISDIR(status.st_mode)):
                return
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        make_folder(place.fd, place.name, exist_ok=exist_ok)


def named_place(place: Place, path: str) -> bytes:
    """Return the name at a place.

    Raises:
        PathDenied: When the path is the root, or ends with ``..`` or in a link to a folder above: nothing there can be replaced.
    """
    if place.name is None:
        raise PathDenied(f"{path} is a folder that cannot be moved, replaced or removed", path=path)
    return place.name


def _rewrite(
    tree: Tree, path: str, change: Change, *, reads: bool, mode: int | None, if_match: Etag | None, parents: bool
) -> FileInfo:
    for _ in range(ATTEMPTS):
        with tree.place(path, writing=True, create=parents) as place:
            if place.name is None:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            with turn(place.fd):
                old = status_of(place.fd, place.name)
                if old is not None and stat.S_ISLNK(old.st_mode):
                    continue  # it has become a link since
                refuse_unless_file(old, path)
                compare(old, if_match, path)
                data = change(_content(place.fd, place.name, path) if reads and old is not None else None)
                new = replace(place.fd, place.name, old, lambda fd: write_all(fd, data), mode)  # noqa: B023 - called at once
        return info_of(named(tree.parts(path)), new)
    raise changing(path)


def refuse_unless_file(old: os.stat_result | None, path: str) -> None:
    """Refuse to put a file where something else is."""
    if old is None or stat.S_ISREG(old.st_mode):
        return
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise not_a_file(path, old.st_mode)


def compare(old: os.stat_result | None, if_match: Etag | None, path: str) -> None:
    """Refuse when a file is not the one that ``if_match`` names any more."""
    found = ABSENT if old is None else etag_of(old)
    if if_match is not None and found != if_match:
        raise ContentModified(
            f"{path} has changed since it was read"
            if old is not None
            else f"{path} has been removed since it was read",
            path=path,
            hint="read it again and redo the change",
        )


def _content(directory: int, name: bytes, path: str) -> bytes:
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        fd = open_file(found, path)
    finally:
        os.close(found)
    try:
        return read_from(fd)
    finally:
        os.close(fd)


def _shown(text: str) -> str:
    """Return the beginning of a text, for a message of one line."""
    line = text.strip().partition("\n")[0]
    return repr(line if len(line) <= 60 else f"{line[:57]}...")

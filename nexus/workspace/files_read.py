"""Looking at files and reading them. Every function blocks and works on an open tree."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from nexus.errors import FsError
from nexus.models.files import Etag, FileInfo, FileKind, FolderPage
from nexus.workspace.beneath import Tree
from nexus.workspace.folders import open_below

_CHUNK: Final = 1024 * 1024
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def etag_of(status: os.stat_result) -> Etag:
    """Return the etag of a file: it changes with the file itself, the time of its last change, and its size."""
    text = f"{status.st_ino}:{status.st_mtime_ns}:{status.st_size}"
    return Etag(hashlib.blake2b(text.encode(), digest_size=12).hexdigest())


def kind_of(mode: int) -> FileKind:
    """Return what a path with this ``st_mode`` is."""
    if stat.S_ISREG(mode):
        return FileKind.FILE
    if stat.S_ISDIR(mode):
        return FileKind.DIRECTORY
    return FileKind.SYMLINK if stat.S_ISLNK(mode) else FileKind.OTHER


def info_of(path: str, status: os.stat_result, target: str | None = None) -> FileInfo:
    """Return what a ``stat`` says about ``path``."""
    return FileInfo(
        path=path,
        kind=kind_of(status.st_mode),
        size=status.st_size,
        mtime=status.st_mtime,
        mode=stat.S_IMODE(status.st_mode),
        etag=etag_of(status),
        target=target,
    )


def named(parts: Sequence[bytes]) -> str:
    """Return components as the path users see."""
    return os.fsdecode(b"/".join(parts)) or "."


def open_file(fd: int, path: str) -> int:
    """Open for reading what was found by an ``O_PATH`` descriptor; only ever a regular file, so that it cannot block.

    Raises:
        PathIsADirectory: When it is a folder.
        FsError: When it is a FIFO, socket, device, or a symbolic link.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise not_a_file(path, mode)
    # The magic link opens the very file that was looked at. O_NONBLOCK: somebody may hold a lease on it.
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def not_a_file(path: str, mode: int) -> FsError:
    """Return the error for something that is neither file nor folder."""
    error = FsError(
        f"{path} is {describe(mode)}, not a file", path=path, hint="only regular files are read and written here"
    )
    error.errno = errno.EINVAL
    return error


def describe(mode: int) -> str:
    """Return the kind of a path in words."""
    words = {
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
    }
    return words.get(stat.S_IFMT(mode), "a device")


def read(tree: Tree, path: str, offset: int, limit: int | None) -> bytes:
    """Return the bytes of a file from ``offset`` on, at most ``limit``."""
    with tree.found(path) as found:
        fd = open_file(found, path)
    try:
        return read_from(fd, offset, limit)
    finally:
        os.close(fd)


def read_from(fd: int, offset: int = 0, limit: int | None = None) -> bytes:
    """Read to the end of a file or to the limit."""
    chunks: list[bytes] = []
    while limit is None or limit > 0:
        chunk = os.pread(fd, _CHUNK if limit is None else min(limit, _CHUNK), offset)
        if not chunk:
            break
        chunks.append(chunk)
        offset += len(chunk)
        limit = None if limit is None else limit - len(chunk)
    return b"".join(chunks)


def look(tree: Tree, path: str, *, follow: bool) -> FileInfo:
    """Return what is at a path."""
    with tree.found(path, follow=follow) as fd:
        status = os.fstat(fd)
        target = os.fsdecode(os.readlink(b"", dir_fd=fd)) if stat.S_ISLNK(status.st_mode) else None
    return info_of(named(tree.parts(path)), status, target)


def real_path(tree: Tree, path: str) -> str:
    """Return where a path leads, links followed. It has to be there."""
    with tree.place(path) as place:
        if place.name is None:
            return named(place.where)
        os.stat(place.name, dir_fd=place.fd, follow_symlinks=False)
        return named((*place.where, place.name))


def list_page(tree: Tree, path: str, *, after: str | None, limit: int, hidden: bool) -> FolderPage:
    """Return some entries of a folder, by name."""
    names = list_names(tree, path, ())
    if not hidden:
        names = [name for name in names if not name.startswith(b".")]
    first = 0 if after is None else bisect_right(names, os.fsencode(after))
    page = names[first : first + limit]
    more = first + limit < len(names)
    return FolderPage(
        entries=tuple(look_at_all(tree, path, (), page)), next=os.fsdecode(page[-1]) if more and page else None
    )


def list_names(tree: Tree, start: str, below: Sequence[bytes]) -> list[bytes]:
    """Return the sorted names in a folder: ``start``, links followed, and ``below`` it, following none.

    A folder below that is gone by now, or is closed to us, has none.

    Raises:
        PathNotADirectory: When ``start`` is something else.
    """
    try:
        with tree.found(start) as found:
            if not below and not stat.S_ISDIR(os.fstat(found).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), start)
            fd = open_below(found, below, os.O_RDONLY)
    except OSError as error:
        if below and error.errno in _GONE | {errno.EACCES}:
            return []
        raise
    try:
        return sorted(os.fsencode(name) for name in os.listdir(fd))  # noqa: PTH208 - pathlib cannot list a descriptor
    finally:
        os.close(fd)


def look_at_all(tree: Tree, start: str, below: Sequence[bytes], names: Iterable[bytes]) -> list[FileInfo]:
    """Return what these names of a folder are, without those that are gone by now."""
    shown = (*tree.parts(start), *below)
    infos: list[FileInfo] = []
    try:
        with tree.found(start) as found:
            fd = open_below(found, below)
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise
    try:
        for name in names:
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                target = os.fsdecode(os.readlink(name, dir_fd=fd)) if stat.S_ISLNK(status.st_mode) else None
            except (FileNotFoundError, PermissionError):
                continue
            except OSError as error:
                if error.errno != errno.EINVAL:  # it was a link a moment ago
                    raise
                continue
            infos.append(info_of(named((*shown, name)), status, target))
    finally:
        os.close(fd)
    return infos

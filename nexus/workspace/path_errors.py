"""Errors of the operating system in words of ours."""

from __future__ import annotations

import errno
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

from nexus.errors import FsError, PathDenied, PathExists, PathIsADirectory, PathNotADirectory, PathNotFound

_CLASSES: Final[Mapping[int, tuple[type[FsError], str]]] = {
    errno.ENOENT: (PathNotFound, "there is no"),
    errno.EEXIST: (PathExists, "there is already a"),
    errno.ENOTDIR: (PathNotADirectory, "not a folder:"),
    errno.EISDIR: (PathIsADirectory, "a folder, not a file:"),
    errno.EACCES: (PathDenied, "the system refuses access to"),
    errno.EPERM: (PathDenied, "the system refuses access to"),
}
_HINTS: Final[Mapping[int, str]] = {
    errno.ENOTEMPTY: "remove it with recursive=True",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EXDEV: "copy it, then remove the original",
}


def from_os(error: OSError, path: str) -> FsError:
    """Return the error of ours that says the same about ``path``; its ``errno`` is the system's."""
    number = error.errno or errno.EIO
    known = _CLASSES.get(number)
    if known is not None:
        found: FsError = known[0](f"{known[1]} {path}", path=path)
    else:
        found = FsError(f"{error.strerror or error}: {path}", path=path, hint=_HINTS.get(number))
    found.errno = number
    return found


@contextmanager
def told(path: str, *others: str) -> Generator[None, None, None]:
    """Turn every error of the system that comes out of the block into one of ours.

    Args:
        path: What the block is about.
        others: Further paths it is about; an error that names one of them is about that one.
    """
    try:
        yield
    except FsError:
        raise
    except OSError as error:
        about = error.filename if error.filename in others else path
        raise from_os(error, about) from error

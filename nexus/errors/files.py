"""Errors about files of a workspace."""

from __future__ import annotations

import errno as _errno
from collections.abc import Mapping
from typing import ClassVar, Self

from typing_extensions import override

from nexus.errors.base import Detail, NexusError


class FsError(NexusError, OSError):
    """A file operation inside a workspace failed.

    Args:
        message: What failed.
        path: The path as the caller wrote it.
        hint: The next step.
    """

    code = "FS_ERROR"
    number: ClassVar[int] = _errno.EIO

    def __init__(self, message: str, *, path: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, details={"path": path})
        self.path: str = path
        self.errno = self.number
        self.filename = path

    @classmethod
    @override
    def revive(cls, message: str, hint: str | None, details: Mapping[str, Detail]) -> Self:
        return cls(message, path=str(details["path"]), hint=hint)

    def __setstate__(self, state: dict[str, object] | None) -> None:
        super().__setstate__(state)
        # These two are no part of the object's __dict__, so pickling leaves them out.
        self.errno = self.number
        self.filename = self.path


class PathNotFound(FsError, FileNotFoundError):
    """No such file or folder."""

    code = "FS_NOT_FOUND"
    number = _errno.ENOENT


class PathExists(FsError, FileExistsError):
    """The path exists already."""

    code = "FS_EXISTS"
    number = _errno.EEXIST


class PathNotADirectory(FsError, NotADirectoryError):
    """A folder was needed, something else is there."""

    code = "FS_NOT_A_DIRECTORY"
    number = _errno.ENOTDIR


class PathIsADirectory(FsError, IsADirectoryError):
    """A file was needed, a folder is there."""

    code = "FS_IS_A_DIRECTORY"
    number = _errno.EISDIR


class PathDenied(FsError, PermissionError):
    """The system refused access."""

    code = "FS_PERMISSION_DENIED"
    number = _errno.EACCES


class PathEscape(FsError):
    """The path, or a symbolic link on it, leaves the workspace."""

    code = "FS_PATH_ESCAPE"
    number = _errno.EXDEV


class ContentModified(FsError):
    """The file has changed since it was read (``if_match`` does not match)."""

    code = "FS_CONTENT_MODIFIED"
    number = _errno.ESTALE

"""One lock of the kernel's on one file, and the note beside it that says who holds it. All functions block.

A lock is taken for every change of a workspace, so it is a handful of system calls: whoever wants a library that finds out where a path
really leads, makes its folders and counts how often it is held pays more for that than a change costs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final

from nexus.errors import StateError
from nexus.state.files import FILE_MODE, FOLDER_MODE, UnfitFile, open_folder, read_small, translated, write_all

_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOTE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FILE: Final = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO})
_MAX_NOTE_BYTES: Final = 4096


class LockFile:
    """One taking of the lock on ``path``. Each excludes every other, in this process too.

    The file stays where it is for ever: removing it would let two holders in.

    Args:
        path: The lock file. Its folder is made when it is missing, and may not be a symbolic link.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        """Whether it is taken."""
        return self._handle is not None

    def take(self, note: bytes) -> bool:
        """Take it if nobody has it, and leave a note; return whether that was so.

        Raises:
            StateError: When the file cannot be a lock. A note that cannot be left is none.
        """
        with _folder(self.path) as folder, translated("take the lock", self.path):
            handle = _open(folder, self.path)
            try:
                self._handle = handle if _lock(handle, self.path) else None
            finally:
                if self._handle is None:
                    os.close(handle)
            if self._handle is None:
                return False
            # A full disk must not keep anybody from destroying a workspace: without the note waiters do not learn who it is.
            with suppress(OSError):
                _leave(folder, _note(self.path), note)
            return True

    def release(self) -> None:
        """Let go of it. Not taken: nothing."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        try:
            # While the lock is still ours: afterwards the note is the next holder's.
            with suppress(OSError, StateError), open_folder(self.path.parent) as folder:
                os.unlink(_note(self.path), dir_fd=folder)
        finally:
            os.close(handle)


def read_note(path: Path) -> bytes | None:
    """Return the note that the holder of the lock on ``path`` has left. One that was killed has left its own."""
    try:
        with open_folder(path.parent) as folder:
            return read_small(folder, _note(path), _MAX_NOTE_BYTES)
    except (OSError, UnfitFile, StateError):
        return None


def _folder(path: Path) -> AbstractContextManager[int]:
    if not path.parent.is_dir():
        with translated("make the folder of the lock", path.parent):
            path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    return open_folder(path.parent)


def _open(folder: int, path: Path) -> int:
    try:
        return os.open(path.name, _LOCK_FLAGS, FILE_MODE, dir_fd=folder)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise _unfit(path) from error
        raise


def _lock(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise _unfit(path)
    return status.st_nlink > 0  # somebody has removed the file since it was opened: whoever comes next makes another


def _unfit(path: Path) -> StateError:
    return StateError(
        f"{path} cannot be a lock: it is no plain file",
        hint="remove it and try again",
        details={"path": str(path)},
    )


def _leave(folder: int, name: str, note: bytes) -> None:
    handle = os.open(name, _NOTE_FLAGS, FILE_MODE, dir_fd=folder)
    try:
        write_all(handle, note)
    finally:
        os.close(handle)


def _note(path: Path) -> str:
    return path.name + ".holder"

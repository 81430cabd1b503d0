"""One lock of the kernel's on one file, and the note beside it that says who holds it. All functions block."""

from __future__ import annotations

import os
import stat
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from nexus.errors import StateError
from nexus.state.files import FILE_MODE, FOLDER_MODE, UnfitFile, open_folder, read_small, translated, write_all

_NOTE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_NOTE_BYTES: Final = 4096


class LockFile:
    """One taking of the lock on ``path``. Each excludes every other, in this process too.

    The file stays where it is for ever: removing it would let two holders in.

    Args:
        path: The lock file. Its folder is made when it is missing, and may not be a symbolic link.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._handle: FileLock = FileLock(path, mode=FILE_MODE, thread_local=False)

    @property
    def held(self) -> bool:
        """Whether it is taken."""
        return self._handle.is_locked

    def take(self, note: bytes) -> bool:
        """Take it if nobody has it, and leave a note; return whether that was so.

        Raises:
            StateError: When the file cannot be a lock. A note that cannot be left is none.
        """
        with _folder(self.path) as folder:
            _check(folder, self.path)
            with translated("take the lock", self.path):
                try:
                    self._handle.acquire(timeout=0, blocking=False)
                except Timeout:
                    return False
            # A full disk must not keep anybody from destroying a workspace: without the note waiters do not learn who it is.
            with suppress(OSError):
                _leave(folder, _note(self.path), note)
            return True

    def release(self) -> None:
        """Let go of it. Not taken: nothing."""
        if not self.held:
            return
        try:
            # While the lock is still ours: afterwards the note is the next holder's.
            with suppress(OSError, StateError), open_folder(self.path.parent) as folder:
                os.unlink(_note(self.path), dir_fd=folder)
        finally:
            with translated("release the lock", self.path):
                self._handle.release()


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


def _check(folder: int, path: Path) -> None:
    with translated("look at the lock", path):
        try:
            mode = os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
    # Older releases of filelock follow a link and empty what it points to.
    if not stat.S_ISREG(mode):
        raise StateError(
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

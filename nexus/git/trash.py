"""Emptying the trash: trees that were moved out of sight are deleted here, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shlex
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from nexus.git import beneath, layout
from nexus.git.deleting import delete_tree
from nexus.git.threads import Stop, Stopped
from nexus.models.workspace import Repository

_RECHECK: Final = 0.02
_LOCK: Final = ".lock"


class Trash(NamedTuple):
    """One thing in the trash."""

    path: Path
    size: int
    """Bytes of its files, as far as they can be seen."""

    @property
    def command(self) -> str:
        """The command that deletes it with the right to."""
        return f"sudo rm -rf -- {shlex.quote(str(self.path))}"


def empty_trash(repository: Repository, stop: Stop) -> list[str]:
    """Delete what is in the trash, blocking; return what cannot be deleted, one line each.

    Another process that does the same is waited for. Asked to stop, it returns with the rest still there.
    """
    trash = layout.trash_folder(repository)
    if not beneath.exists(trash):
        return []
    beneath.require_grounds(repository, "trash")
    lock = os.open(trash / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    left: dict[Path, list[str]] = {}
    try:
        _wait_for(lock, stop)
        while waiting := [path for path in _entries(trash) if path not in left]:
            for path in waiting:
                stop.check()
                problems = delete_tree(path, trash, stop)
                if problems:
                    left[path] = problems
    except Stopped:
        pass
    finally:
        os.close(lock)
    return [line for problems in left.values() for line in problems]


def _wait_for(lock: int, stop: Stop) -> None:
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        stop.check()
        time.sleep(_RECHECK)


def _entries(trash: Path) -> list[Path]:
    try:
        return sorted(path for path in trash.iterdir() if path.name != _LOCK)
    except FileNotFoundError:
        return []


def list_trash(repository: Repository) -> tuple[Trash, ...]:
    """Return what is in the trash, blocking."""
    trash = layout.trash_folder(repository)
    return tuple(Trash(path, size_of(path)) for path in (_entries(trash) if not trash.is_symlink() else []))


def size_of(path: Path) -> int:
    """Return the bytes of everything in a folder, as far as it can be seen."""
    total = 0
    waiting = [path]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_size
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
    return total

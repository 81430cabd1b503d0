"""Deleting a folder that may be hostile: unwritable, nested without end, or full of links that lead out of it.

Subfolders are not walked into: each is renamed to the top of a spill folder first, so no path gets long, no descriptor stays
open, and no link is followed.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from nexus.git import beneath
from nexus.git.threads import Stop

_HANDLE: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LEFT: Final = 20


def delete_tree(victim: Path, spill: Path, stop: Stop | None = None) -> list[str]:
    """Delete a folder with everything in it; a symbolic link in its place is removed, not followed.

    Args:
        victim: What to delete; already in, or to be moved into, ``spill``.
        spill: A folder of ours on the same file system.
        stop: Asked in every folder; what is left then lies in the spill folder.

    Returns:
        What could not be deleted and why, one line each, at most twenty; empty when all is gone.
    """
    left: list[str] = []
    try:
        if not stat.S_ISDIR(victim.lstat().st_mode):
            victim.unlink()
            return left
    except FileNotFoundError:
        return left
    except OSError as error:
        return [f"{victim}: {error.strerror}"]
    waiting = [victim]
    emptied: list[Path] = []
    while waiting:
        if stop is not None:
            stop.check()
        at = waiting.pop()
        waiting.extend(_empty(at, spill, left))
        emptied.append(at)
        with suppress(OSError):
            at.rmdir()
    for folder in reversed(emptied):
        if beneath.exists(folder):
            try:
                folder.rmdir()
            except OSError as error:
                left.append(f"{folder}: {error.strerror}")
    return left[:_MAX_LEFT]


def _empty(at: Path, spill: Path, left: list[str]) -> list[Path]:
    """Delete the files of one folder and move its subfolders to the spill folder; return where they are now."""
    # Under the first one's name: what a crash leaves there is found again by it.
    stem = at.name.partition(".")[0]
    try:
        folder = _open(at)
    except OSError as error:
        left.append(f"{at}: {error.strerror}")
        return []
    moved: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_folder in names:
            try:
                if is_folder:
                    new = spill / f"{stem}.{secrets.token_hex(8)}"
                    _make_writable(name, folder)
                    os.rename(name, new, src_dir_fd=folder)
                    moved.append(new)
                else:
                    os.unlink(name, dir_fd=folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                left.append(f"{at / name}: {error.strerror}")
    finally:
        os.close(folder)
    return moved


def _open(at: Path) -> int:
    """Open a folder for emptying, giving ourselves the right to where it is only missing."""
    with suppress(OSError):
        handle = os.open(at, _HANDLE)
        try:
            _allow(handle)
        finally:
            os.close(handle)
    return os.open(at, beneath.FOLDER)


def _make_writable(name: str, folder: int) -> None:
    """Moving a folder rewrites its ``..`` entry, so it must be writable itself."""
    with suppress(OSError):
        handle = os.open(name, _HANDLE, dir_fd=folder)
        try:
            _allow(handle)
        finally:
            os.close(handle)


def _allow(handle: int) -> None:
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    if mode & 0o700 != 0o700:
        # Through /proc: the handle was opened without following a link, chmod by name would follow one.
        Path(f"/proc/self/fd/{handle}").chmod(mode | 0o700)


def move_away(victim: Path, spill: Path, stem: str) -> Path:
    """Rename a folder into the spill folder, which takes it out of sight at once, and return where it is.

    Raises:
        FileNotFoundError: When it is not there.
        OSError: When it cannot be moved.
    """
    new = spill / f"{stem}.{secrets.token_hex(6)}"
    make_movable(victim)
    victim.rename(new)
    return new


def make_movable(victim: Path) -> None:
    """Give ourselves the right to move a folder, where it is only missing."""
    with suppress(OSError):
        handle = os.open(victim, _HANDLE)
        try:
            _allow(handle)
        finally:
            os.close(handle)

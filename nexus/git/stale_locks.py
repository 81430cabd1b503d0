"""Lock files of git's that a killed process of ours left: on refs, on the list of packed refs, on loose objects.

Git itself leaves such files too when it is killed, and tells people to remove them. Nobody would know of ours: an object that
cannot be written because of one keeps a rescue from ever being made.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final, NamedTuple

from nexus.models.workspace import Repository

_SUFFIX: Final = ".lock"
_STALE: Final = 1.0
"""Seconds after which a lock that nobody touches is taken for one that was left behind. Git keeps one for milliseconds."""
_LOOKS: Final = 20
_SLACK: Final = 2.0
_OBJECT_FOLDER: Final = 2


class _Lock(NamedTuple):
    inode: int
    changed_ns: int
    size: int


def drop_stale_locks(repository: Repository, since: float) -> int:
    """Remove git's locks in the common dir that were made since a time and that nobody has touched for a second. Blocks.

    The caller holds the repository's lock and knows that a process of ours was killed since then.

    Args:
        repository: Where.
        since: Seconds since the epoch at which the killed process began. What is older is not ours to judge.

    Returns:
        How many were removed.
    """
    seen = _locks(repository.common_dir, since - _SLACK)
    for _ in range(_LOOKS if seen else 0):
        time.sleep(_STALE / _LOOKS)
        now = _locks(repository.common_dir, since - _SLACK)
        seen = {path: lock for path, lock in seen.items() if now.get(path) == lock}
        if not seen:
            break
    removed = 0
    for path, lock in seen.items():
        removed += _remove(repository.common_dir, path, lock)
    return removed


def _locks(common: Path, since: float) -> dict[str, _Lock]:
    """Return the locks by their path below the common dir. No link is followed."""
    found: dict[str, _Lock] = {}
    packed = _identity(common / f"packed-refs{_SUFFIX}", since)
    if packed is not None:
        found[f"packed-refs{_SUFFIX}"] = packed
    for top in ("refs", "objects"):
        for folder, folders, files in os.walk(common / top):
            if top == "objects":
                folders[:] = [name for name in folders if len(name) == _OBJECT_FOLDER]
            for name in files:
                path = Path(folder, name)
                lock = _identity(path, since) if name.endswith(_SUFFIX) else None
                if lock is not None:
                    found[str(path.relative_to(common))] = lock
    return found


def _identity(path: Path, since: float) -> _Lock | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_mtime < since:
        return None
    return _Lock(status.st_ino, status.st_mtime_ns, status.st_size)


def _remove(common: Path, path: str, lock: _Lock) -> bool:
    """Remove a file below the common dir, which containers can write: component by component, through no link."""
    *folders, name = Path(path).parts
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        at = os.open(common, flags)
        try:
            for part in folders:
                deeper = os.open(part, flags, dir_fd=at)
                os.close(at)
                at = deeper
            status = os.stat(name, dir_fd=at, follow_symlinks=False)
            if (status.st_ino, status.st_mtime_ns, status.st_size) != lock:
                return False
            os.unlink(name, dir_fd=at)
        finally:
            os.close(at)
    except OSError:
        return False
    return True

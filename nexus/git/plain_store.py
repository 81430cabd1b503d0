"""Whether the shared parts of a git directory are what git makes: plain folders and files.

Objects and refs are shared with every workspace, which can put anything in their place. A link in place of a folder would have us
write where it leads; a pipe in place of a file would hold us for ever. So both are looked for before a library opens them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nexus.errors import GitError, NotARepository

_FILES: Final = {
    "HEAD": 1 << 16,
    "packed-refs": 256 << 20,
    "shallow": 64 << 20,
    "objects/info/alternates": 1 << 20,
    "objects/info/commit-graph": 1 << 30,
}
"""Files, and how many bytes they may have: more is no file of git's, but one that is meant to fill the memory."""
_FOLDERS: Final = ("objects", "objects/info", "objects/pack", "refs", "refs/heads")


def require_plain(common: Path) -> None:
    """Look at what is about to be opened, without opening it.

    Args:
        common: The common dir.

    Raises:
        NotARepository: When it is gone.
        GitError: When something else is in the place of a file or folder of git's.
    """
    for entry in _FOLDERS:
        _require(common / entry, stat.S_ISDIR, "folder")
    for entry, limit in _FILES.items():
        _require(common / entry, stat.S_ISREG, "file", limit)
    _require_entries(common / "objects", folders=True)
    _require_entries(common / "objects" / "pack", folders=False)


def require_plain_objects(objects: Path) -> None:
    """Look at a store that objects are borrowed from.

    Raises:
        GitError: When something else is in the place of a file or folder of git's.
    """
    if not objects.is_dir():
        return
    _require(objects / "pack", stat.S_ISDIR, "folder")
    _require(objects / "info" / "alternates", stat.S_ISREG, "file", _FILES["objects/info/alternates"])
    _require_entries(objects, folders=True)
    _require_entries(objects / "pack", folders=False)


def _require(path: Path, expected: Callable[[int], bool], what: str, limit: int | None = None) -> None:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if not expected(status.st_mode) or (limit is not None and status.st_size > limit):
        raise _strange(path, what)


def _require_entries(folder: Path, *, folders: bool) -> None:
    """Git keeps folders in one and files in the other; a folder among the packs harms nobody."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                plain = entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
                if not plain or (folders and len(entry.name) == 2 and not entry.is_dir(follow_symlinks=False)):
                    raise _strange(folder / entry.name, "folder" if folders else "file")
    except FileNotFoundError as error:
        if folders:
            raise NotARepository(
                f"{folder.parent} is no longer a git repository", details={"path": str(folder)}
            ) from error


def _strange(path: Path, what: str) -> GitError:
    return GitError(
        f"{path} is no plain {what}",
        hint="git makes none like it; when you did not either, a workspace did: 'boulder doctor' tells more. "
        "Put the real one back, then try again",
        details={"path": str(path)},
    )

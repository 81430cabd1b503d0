"""Reading a file that somebody may have put something else in place of. Blocking; called on worker threads."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from nexus.errors import SecretError, SecretNotFound

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_NOT_THE_PROJECTS: Final = ((".git",), (".nexus", "state"), (".nexus", "worktrees"), (".nexus", "cache"))
"""Folders of a project whose content is git's or ours: credentials of a remote, other workspaces' trees."""


def read_bounded(path: Path, *, inside: Path | None, limit: int, place: str) -> bytes:
    """Return the content of an ordinary file.

    Args:
        path: The file, absolute.
        inside: The folder that it must really be in: symbolic links may lead about in it, not out of it. ``None``: anywhere.
        limit: The most bytes that are read.
        place: Where the file is named, for errors.

    Raises:
        SecretNotFound: When there is no such file.
        SecretError: When it is no ordinary file, is larger, lies outside, or cannot be read.
    """
    try:
        descriptor = os.open(path, _FILE) if inside is None else _open_inside(path, inside, place)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _unfit(path, place, "is not an ordinary file (a folder, a pipe, a socket or a device)")
            data = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SecretNotFound(
            f"{place}: the file {path} does not exist",
            hint="make it, or correct the path",
            details={"path": str(path), "place": place},
        ) from error
    except IsADirectoryError as error:
        raise _unfit(path, place, "is a folder") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it cannot be opened"
        raise _unfit(path, place, f"cannot be read: {reason.lower()}") from error
    if len(data) > limit:
        raise _unfit(path, place, f"is larger than {limit // 1024} KiB")
    return data


def _unfit(path: Path, place: str, what: str) -> SecretError:
    return SecretError(
        f"{place}: {path} {what}",
        hint="a secret is read from an ordinary file that you may read",
        details={"path": str(path), "place": place},
    )


def _open_inside(path: Path, root: Path, place: str) -> int:
    """Open a file below ``root``. Links are followed by name first; what they lead to is then opened without following any."""
    base, real = Path(os.path.realpath(root)), Path(os.path.realpath(path))
    if not real.is_relative_to(base) or real == base:
        raise _unfit(path, place, "leads out of the project by a symbolic link, so it is not read")
    parts = real.relative_to(base).parts
    if any(parts[: len(taken)] == taken for taken in _NOT_THE_PROJECTS):
        raise _unfit(path, place, "lies where git and Nexus keep their own, so it is not read for a project")
    current = os.open(base, _FOLDER)
    try:
        for part in parts[:-1]:
            deeper = os.open(part, _FOLDER, dir_fd=current)
            os.close(current)
            current = deeper
        return os.open(parts[-1], _FILE | os.O_NOFOLLOW, dir_fd=current)
    finally:
        os.close(current)

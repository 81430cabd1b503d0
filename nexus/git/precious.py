"""Ignored files that are work all the same: ``.env``, keys, notes. Which they are is said by the configuration.

A pattern without ``/`` is a name, found in every folder that is looked into: those that are not ignored, and those that a path
leads into. A pattern with ``/`` is a path from the top of the tree; ignored folders on its way are entered, and ``**`` stands
for any number of them. A pattern that names a folder means everything in it.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

_Part: TypeAlias = "re.Pattern[str] | None"
"""One component of a pattern; ``None`` is ``**``."""
_ANY: Final = "**"


class Precious:
    """The patterns of one configuration.

    Args:
        patterns: As people write them.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._names: list[tuple[_Part, ...]] = []
        self._paths: list[tuple[_Part, ...]] = []
        for pattern in patterns:
            parts = [part for part in pattern.split("/") if part not in {"", "."}]
            if len(parts) == 1 and not pattern.startswith("/"):
                self._names.append((None, *map(_compiled, parts)))
            elif parts:
                self._paths.append(tuple(map(_compiled, parts)))

    def __bool__(self) -> bool:
        return bool(self._names or self._paths)

    def matches(self, path: bytes) -> bool:
        """Return whether a pattern names this file or folder."""
        parts = _split(path)
        return any(_match(pattern, parts) for pattern in (*self._names, *self._paths))

    def may_be_below(self, folder: bytes) -> bool:
        """Return whether a pattern may name something in this ignored folder. Names alone do not open ignored folders."""
        parts = _split(folder)
        return any(_leads_below(pattern, parts) for pattern in self._paths)


class Gathered(NamedTuple):
    """What is precious at or below one ignored path."""

    files: list[bytes]
    repositories: list[bytes]
    unreadable: list[str]


def gather(root: Path, path: bytes, precious: Precious, *, is_folder: bool) -> Gathered:
    """Return what is precious of an ignored file or folder. No symbolic link is followed.

    Args:
        root: The tree.
        path: What is ignored, relative to it.
        precious: The patterns.
        is_folder: Whether it is a folder.
    """
    found = Gathered([], [], [])
    if not is_folder:
        if precious.matches(path):
            found.files.append(path)
        return found
    waiting = [(path, precious.matches(path))]
    while waiting:
        folder, whole = waiting.pop()
        if whole or precious.may_be_below(folder):
            waiting.extend(_look(root, folder, precious, found, whole=whole))
    return found


def _look(root: Path, folder: bytes, precious: Precious, found: Gathered, *, whole: bool) -> list[tuple[bytes, bool]]:
    deeper: list[tuple[bytes, bool]] = []
    try:
        with os.scandir(b"%s/%s" % (os.fsencode(root), folder)) as entries:
            seen = sorted((entry.name, entry.is_dir(follow_symlinks=False), _is_file(entry)) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return deeper
    except OSError as error:
        found.unreadable.append(f"{folder.decode('utf-8', 'backslashreplace')}/: {error.strerror}")
        return deeper
    if whole and any(name == b".git" for name, _, _ in seen):
        found.repositories.append(folder + b"/")
        return deeper
    for name, is_folder, is_file in seen:
        path = b"%s/%s" % (folder, name)
        kept = whole or precious.matches(path)
        if is_folder:
            deeper.append((path, kept))
        elif kept and is_file:
            found.files.append(path)
    return deeper


def _is_file(entry: os.DirEntry[bytes]) -> bool:
    return entry.is_file(follow_symlinks=False) or entry.is_symlink()


def _compiled(part: str) -> _Part:
    return None if part == _ANY else re.compile(fnmatch.translate(os.fsencode(part).decode("latin-1")))


def _split(path: bytes) -> tuple[str, ...]:
    return tuple(path.decode("latin-1").split("/"))


def _match(pattern: tuple[_Part, ...], parts: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    first, rest = pattern[0], pattern[1:]
    if first is None:
        return any(_match(rest, parts[skip:]) for skip in range(len(parts) + 1))
    return bool(parts) and first.match(parts[0]) is not None and _match(rest, parts[1:])


def _leads_below(pattern: tuple[_Part, ...], parts: tuple[str, ...]) -> bool:
    """Return whether something below the folder ``parts`` may match."""
    if not parts:
        return bool(pattern)
    if not pattern:
        return False
    if pattern[0] is None:
        return True
    return pattern[0].match(parts[0]) is not None and _leads_below(pattern[1:], parts[1:])

"""What of the files that were chosen has a place in the new tree, and is ignored there as well."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from nexus.git import beneath
from nexus.git.ignoring import Ignore, IgnorePattern, Tracked, is_ignored, parse_patterns
from nexus.git.trees import shown

IGNORE_LIMIT: Final = 1 << 20

Levels: TypeAlias = "tuple[tuple[int, tuple[IgnorePattern, ...]], ...]"
"""Rules with how many characters of a path to drop before they apply, the deepest folder's last."""

_State: TypeAlias = "tuple[Levels, bool]"
"""The rules inside a folder of the new tree, and whether the folder is ignored as a whole."""


class Wanted(NamedTuple):
    """What the main checkout offers: ignored there, and named by a pattern."""

    found: dict[bytes, os.stat_result]
    left_out: list[str]


def below(at: bytes, levels: Levels, content: bytes | None, *, ignore_case: bool) -> Levels:
    """Return the rules inside a folder, given those around it and what its ``.gitignore`` holds."""
    patterns = parse_patterns(content, ignore_case=ignore_case)
    return (*levels, (len(at) + 1 if at else 0, patterns)) if patterns else levels


class Settling:
    """Keeps only what the new tree has room for and ignores, as it will be with the files that come along.

    An ignored folder often holds its own ``.gitignore`` (``*``), which comes along and counts then. So what is left is looked
    at again whenever one of those drops out.
    """

    def __init__(self, source: int, tree: int, tracked: Tracked, ignore: Ignore, wanted: Wanted) -> None:
        self._source = source
        self._tree = tree
        self._tracked = tracked
        self._ignore = ignore
        self._wanted = wanted
        self._states: dict[bytes, _State] = {}

    def settle(self) -> None:
        """Drop what has no place."""
        found, tracked = self._wanted.found, self._tracked
        for path in [path for path in found if path in tracked.files or path in tracked.folders]:
            # The commit holds it: a file of that name is there already, a folder is as the commit has it.
            del found[path]
        for path in [path for path in found if any(above in tracked.files for above in _above(path))]:
            self._drop(path, "a file of the commit is in the way")
        again = True
        while again:
            self._states.clear()
            dropped = [path for path, status in found.items() if not self._ignored(path, status)]
            for path in dropped:
                self._drop(path, "the new tree does not ignore it")
            again = any(path.rpartition(b"/")[2] == b".gitignore" for path in dropped)

    def _drop(self, path: bytes, why: str) -> None:
        status = self._wanted.found.pop(path)
        if not stat.S_ISDIR(status.st_mode):
            self._wanted.left_out.append(f"{shown(path)} ({why})")

    def _ignored(self, path: bytes, status: os.stat_result) -> bool:
        levels, whole = self._state(path.rpartition(b"/")[0])
        return whole or is_ignored(path, levels, is_folder=stat.S_ISDIR(status.st_mode))

    def _state(self, folder: bytes) -> _State:
        known = self._states.get(folder)
        if known is not None:
            return known
        levels, whole = self._ignore.levels, False
        if folder:
            levels, whole = self._state(folder.rpartition(b"/")[0])
            held = folder in self._tracked.folders
            whole = not held and (whole or is_ignored(folder, levels, is_folder=True))
        if not whole:
            levels = below(folder, levels, self._rules_in(folder), ignore_case=self._ignore.ignore_case)
        self._states[folder] = levels, whole
        return levels, whole

    def _rules_in(self, folder: bytes) -> bytes | None:
        path = b"%s/.gitignore" % folder if folder else b".gitignore"
        if path in self._tracked.files:
            place = self._tree
        elif path in self._wanted.found:
            place = self._source
        else:
            return None
        try:
            return beneath.read_file(place, path, limit=IGNORE_LIMIT)
        except OSError:
            return None


def _above(path: bytes) -> Iterator[bytes]:
    at = path.find(b"/")
    while at != -1:
        yield path[:at]
        at = path.find(b"/", at + 1)

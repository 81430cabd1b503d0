"""The first look at a tree: which of its files are, by what the system says of them, as the index has them."""

from __future__ import annotations

import os
from collections.abc import Callable

from nexus.git.index_file import SUBMODULE, IndexEntry, IndexFile, is_settled, matches


class Glance:
    """Notes which files need no second look.

    Args:
        index: What the tree is compared with.
    """

    def __init__(self, index: IndexFile) -> None:
        self._settled: dict[bytes, dict[str, IndexEntry]] = {}
        """By folder and name."""
        self._unchanged: set[bytes] = set()
        for entry in index.entries:
            if entry.stage != 0 or entry.intent_to_add or entry.mode == SUBMODULE:
                continue
            if is_settled(entry, index.written_ns):
                folder, _, name = entry.path.rpartition(b"/")
                self._settled.setdefault(folder, {})[os.fsdecode(name)] = entry

    def of(self, folder: bytes) -> Callable[[os.DirEntry[str]], bool]:
        """Return what says whether an entry of a folder is a tracked file that is as the index has it."""
        names, unchanged = self._settled.get(folder, {}), self._unchanged

        def is_same(found: os.DirEntry[str]) -> bool:
            entry = names.get(found.name)
            if entry is None:
                return False
            try:
                same = matches(entry, found.stat(follow_symlinks=False))
            except OSError:
                return False  # The second look says what is wrong.
            if same:
                unchanged.add(entry.path)
            return same

        return is_same

    def left(self, index: IndexFile) -> list[IndexEntry]:
        """Return the entries whose files are not known to be unchanged."""
        same = self._unchanged
        return [entry for entry in index.entries if entry.stage != 0 or entry.path not in same]

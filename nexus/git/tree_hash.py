"""The tree that an index's entries make, worked out by hashing alone.

No object is read and no note of git's is believed: where the id is the one that a commit names, the entries are the commit's files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, NamedTuple

from nexus.git.index_file import EXECUTABLE, FILE, LINK, SUBMODULE, IndexEntry, IndexFile

_MODES: Final = {FILE: b"100644", EXECUTABLE: b"100755", LINK: b"120000", SUBMODULE: b"160000"}


class _Folder(NamedTuple):
    path: bytes
    """With a slash at its end; empty for the top."""
    lines: list[bytes]
    """What its tree object holds so far."""


def is_exactly(index: IndexFile, tree: bytes) -> bool:
    """Return whether an index holds the files of a tree and nothing else.

    Args:
        index: The index.
        tree: The raw id of the tree.
    """
    if index.incomplete is not None or index.tree not in {None, tree}:
        return False  # Git's note is enough to save the work, and never to believe.
    return root_of(index.entries) == tree


def root_of(entries: Iterable[IndexEntry]) -> bytes | None:
    """Return the raw id of the tree that entries make, in the index's order; ``None`` where they make none.

    They make none in a conflict, where a file is only announced, and where a folder stands for its files. The index's order is the one
    that trees have: a folder sorts as if its name ended in a slash.
    """
    inside = [_Folder(b"", [])]
    for entry in entries:
        path, mode, sha, stage = entry[:4]
        kind = _MODES.get(mode)
        if kind is None or stage != 0 or entry.intent_to_add:
            return None
        cut = path.rfind(b"/") + 1
        if path[:cut] != inside[-1].path:
            _go(inside, path[:cut])
        inside[-1].lines.append(b"%s %s\0%s" % (kind, path[cut:], sha))
    _go(inside, b"")
    return _id(inside[0].lines)


def _go(inside: list[_Folder], path: bytes) -> None:
    """Leave and enter folders until the innermost one is ``path``."""
    while not path.startswith(inside[-1].path):
        left = inside.pop()
        name = left.path[len(inside[-1].path) : -1]
        inside[-1].lines.append(b"40000 %s\0%s" % (name, _id(left.lines)))
    while inside[-1].path != path:
        end = path.index(b"/", len(inside[-1].path)) + 1
        inside.append(_Folder(path[:end], []))


def _id(lines: list[bytes]) -> bytes:
    content = b"".join(lines)
    return hashlib.sha1(b"tree %d\0%s" % (len(content), content), usedforsecurity=False).digest()

"""Differences as ``git diff`` writes them: between tree, index and commits. No external diff, no text conversion is run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

from nexus.errors import InvalidArgument
from nexus.git.index_file import SUBMODULE, IndexEntry
from nexus.git.keeping import index_files
from nexus.git.line_diff import unified
from nexus.git.objects import blob_id, stored
from nexus.git.picking import parse_paths
from nexus.git.report import Examined
from nexus.git.status import Change
from nexus.git.sync import files_of
from nexus.git.telling import kind_of
from nexus.git.threads import Stop
from nexus.git.tree_files import mode_of
from nexus.git.trees import shown
from nexus.git.viewing import View, viewed
from nexus.models.git import FileDiff, GitChangeKind, GitDiff
from nexus.models.workspace import Repository

MAX_FILE: Final = 4 << 20
"""Bytes of a file whose lines are compared."""
MAX_PATCHES: Final = 16 << 20
"""Bytes of all patches together."""
MAX_CONTEXT: Final = 10_000
_LOOKED_AT: Final = 8000
"""Bytes in which a NUL character makes a file one without lines, as git has it."""
_DIGITS: Final = 7
_NOTHING: Final = bytes(20)


class Entry(NamedTuple):
    """A file on one side."""

    mode: int
    sha: bytes
    content: bytes | None = None
    """What it holds, where that is not in the repository."""
    unknown: bool = False
    """Whether only a program that is not run could tell what it holds."""


Side: TypeAlias = "Mapping[bytes, Entry]"


class Question(NamedTuple):
    """What is compared; see :meth:`nexus.abc.git_access.GitAccess.diff`."""

    old: str | None
    new: str | None
    staged: bool
    paths: tuple[str, ...]
    context: int

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            InvalidArgument: For ``new`` without ``old`` or with ``staged``, or a context that is no number of lines.
        """
        if self.new is not None and (self.old is None or self.staged):
            raise InvalidArgument("two commits are compared by both their names, and nothing is staged then")
        if not 0 <= self.context <= MAX_CONTEXT:
            raise InvalidArgument(f"context is 0 to {MAX_CONTEXT} lines, not {self.context}")


def tell_diff(repository: Repository, name: str, question: Question, stop: Stop) -> GitDiff:
    """Return what differs, blocking."""
    question.check()
    picked = parse_paths(question.paths)
    with viewed(repository, name, stop) as view:
        old, new, conflicted = _sides(view, question)
        drawing = _Drawing(view, question.context)
        files: list[FileDiff] = []
        for path in sorted({*old, *new, *conflicted}):
            stop.check()
            before, after = old.get(path), new.get(path)
            if not picked.takes(path):
                continue
            if path in conflicted:
                files.append(_unmerged(path))
            elif before is None or after is None or (before.mode, before.sha) != (after.mode, after.sha):
                files.append(drawing.draw(path, before, after))
        return GitDiff(files=tuple(files), truncated=any(file.truncated for file in files))


def _sides(view: View, question: Question) -> tuple[Side, Side, set[bytes]]:
    if question.old is not None and question.new is not None:
        return _commit(view, question.old), _commit(view, question.new), set()
    found = view.compared()
    index = {path: Entry(*value) for path, value in index_files(found.status.index_file).items()}
    conflicted = {entry.path for entry in found.status.index_file.entries if entry.stage}
    if question.staged:
        head = question.old or ("HEAD" if view.worktree.head is not None else None)
        before = {} if head is None else _commit(view, head)
        return {path: entry for path, entry in before.items() if path not in conflicted}, index, conflicted
    if question.old is None:
        return index, _tree(found, index), conflicted
    return _commit(view, question.old), _tree(found, index), conflicted


def _commit(view: View, name: str) -> Side:
    return {file.path: Entry(file.mode, file.sha) for file in files_of(view.repo, view.commit(name))}


def _tree(found: Examined, index: Mapping[bytes, Entry]) -> Side:
    """Return what the tree holds of what git knows: the index, with what was changed."""
    side = dict(index)
    entries = {entry.path: entry for entry in found.status.index_file.entries if entry.stage == 0}
    for path, change in found.status.changed.items():
        entry = entries.get(path)
        if entry is None:
            continue
        there = None if change is Change.DELETED else _there(found, entry, change)
        if there is None:
            side.pop(path, None)
        else:
            side[path] = there
    return side


def _there(found: Examined, entry: IndexEntry, change: Change) -> Entry | None:
    if entry.mode == SUBMODULE or change is Change.UNKNOWN:
        return Entry(entry.mode, _NOTHING, unknown=True)
    try:
        status = os.lstat(b"%s/%s" % (os.fsencode(found.worktree.path), entry.path))
        mode = mode_of(status, entry, found.content)
        if mode is None:
            return None
        if status.st_size > MAX_FILE:
            return Entry(mode, _NOTHING, unknown=True)
        raw, how = found.content.read(entry.path, entry.mode, status)
    except OSError:
        return None
    content = found.content.cleaned(raw, how, entry.sha)
    return Entry(mode, blob_id(content), content)


class _Drawing:
    """Writes patches until there are too many of them."""

    def __init__(self, view: View, context: int) -> None:
        self._view = view
        self._context = context
        self._left = MAX_PATCHES

    def draw(self, path: bytes, old: Entry | None, new: Entry | None) -> FileDiff:
        """Return how a path differs."""
        kind = kind_of(old.mode if old else None, new.mode if new else None)
        told = FileDiff(
            path=shown(path),
            kind=GitChangeKind.UNKNOWN if (old and old.unknown) or (new and new.unknown) else kind,
            old_mode=f"{old.mode:06o}" if old else None,
            new_mode=f"{new.mode:06o}" if new else None,
        )
        if self._left <= 0 or told.kind is GitChangeKind.UNKNOWN:
            return told.model_copy(update={"truncated": True})
        # A thing of another kind is, as git tells it, removed and made.
        pairs = [(old, None), (None, new)] if kind is GitChangeKind.TYPE_CHANGED else [(old, new)]
        parts: list[bytes] = []
        added = removed = 0
        binary = False
        for before, after in pairs:
            contents = self._content(before), self._content(after)
            if contents[0] is None or contents[1] is None:
                return told.model_copy(update={"truncated": True})
            head, names = _header(path, before, after)
            if (before and before.sha) == (after and after.sha):
                parts.append(head)
            elif any(b"\0" in content[:_LOOKED_AT] for content in contents if content is not None):
                binary = True
                parts.append(head + b"Binary files %s and %s differ\n" % names)
            else:
                hunks = unified(contents[0], contents[1], context=self._context)
                added, removed = added + hunks.added, removed + hunks.removed
                parts.append(
                    head + (b"--- %s\n+++ %s\n" % tuple(map(_tabbed, names)) if hunks.text else b"") + hunks.text
                )
        patch = b"".join(parts)
        self._left -= len(patch)
        return told.model_copy(
            update={"binary": binary, "added": added, "removed": removed, "patch": patch.decode("utf-8", "replace")}
        )

    def _content(self, entry: Entry | None) -> bytes | None:
        """Return what a side holds; ``None`` when that is too much, or is not there."""
        if entry is None:
            return b""
        if entry.mode == SUBMODULE:
            return b"Subproject commit %s\n" % entry.sha.hex().encode()
        content = entry.content if entry.content is not None else stored(self._view.repo.object_store, entry.sha)
        return None if content is None or len(content) > MAX_FILE else content


def _header(path: bytes, old: Entry | None, new: Entry | None) -> tuple[bytes, tuple[bytes, bytes]]:
    """Return the lines above the hunks, and what both sides are called."""
    a, b = quoted(b"a/" + path), quoted(b"b/" + path)
    lines = [b"diff --git %s %s" % (a, b)]
    if old is None and new is not None:
        lines.append(b"new file mode %06o" % new.mode)
    elif new is None and old is not None:
        lines.append(b"deleted file mode %06o" % old.mode)
    elif old is not None and new is not None and old.mode != new.mode:
        lines += [b"old mode %06o" % old.mode, b"new mode %06o" % new.mode]
    ids = [(entry.sha if entry else _NOTHING).hex()[:_DIGITS].encode() for entry in (old, new)]
    if ids[0] != ids[1]:
        same = old is not None and new is not None and old.mode == new.mode
        lines.append(b"index %s..%s" % tuple(ids) + (b" %06o" % new.mode if same and new is not None else b""))
    head = b"".join(line + b"\n" for line in lines)
    return head, (a if old else b"/dev/null", b if new else b"/dev/null")


def quoted(path: bytes) -> bytes:
    """Return a path as git writes it: in quotes, with escapes, when it holds anything but printable ASCII."""
    if all(0x20 <= byte < 0x7F and byte not in b'"\\' for byte in path):
        return path
    names = {7: b"\\a", 8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r", 34: b'\\"', 92: b"\\\\"}
    parts = (names.get(byte) or (bytes([byte]) if 0x20 <= byte < 0x7F else b"\\%03o" % byte) for byte in path)
    return b'"' + b"".join(parts) + b'"'


def _tabbed(name: bytes) -> bytes:
    """Return a name for the lines ``---`` and ``+++``: after one with a space comes a tab, so that its end is known."""
    return name + b"\t" if b" " in name else name


def _unmerged(path: bytes) -> FileDiff:
    return FileDiff(
        path=shown(path),
        kind=GitChangeKind.MODIFIED,
        patch=f"* Unmerged path {quoted(path).decode('ascii', 'replace')}\n",
    )

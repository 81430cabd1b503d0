"""Git's index: read in any version, written in version 2 without extensions.

An entry carries what ``lstat`` said when the file was known to hold exactly the entry's content. A file whose ``lstat``
still says the same is unchanged and need not be read, unless it may have been written again within the same tick of the
file system's clock (git calls such an entry racily clean).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

from nexus.errors import GitError
from nexus.git import beneath

FILE: Final = 0o100644
EXECUTABLE: Final = 0o100755
LINK: Final = 0o120000
SUBMODULE: Final = 0o160000
TREE: Final = 0o040000

_HEADER: Final = struct.Struct(">4sLL")
_ENTRY: Final = struct.Struct(">10L20sH")
_EXTENSION: Final = struct.Struct(">4sL")
_NAME_MASK: Final = 0xFFF
_STAGE_SHIFT: Final = 12
_EXTENDED: Final = 0x4000
_ASSUME_VALID: Final = 0x8000
_SKIP_WORKTREE: Final = 0x4000
_INTENT_TO_ADD: Final = 0x2000
_WORD: Final = 0xFFFFFFFF
_KIND: Final = 0o170000
_SECOND: Final = 1_000_000_000
_TICK: Final = 50_000_000
"""Longer than a tick of any kernel's clock (at most 10 ms), in nanoseconds."""
_LIMIT: Final = 512 << 20
_PADDING: Final = tuple(bytes(8 - size) for size in range(8))


class IndexEntry(NamedTuple):
    """One entry. ``sha`` is the raw 20 bytes; times are nanoseconds."""

    path: bytes
    mode: int
    sha: bytes
    stage: int
    ctime_ns: int
    mtime_ns: int
    inode: int
    uid: int
    gid: int
    size: int
    skip_worktree: bool = False
    intent_to_add: bool = False
    assume_valid: bool = False
    """Git was told not to look at the file (``update-index --assume-unchanged``); we look all the same."""


_make_entry: Final = partial(tuple.__new__, IndexEntry)
"""Takes all fields. The class's own constructor goes through them once more, and large repositories have half a million."""


class IndexFile(NamedTuple):
    """A whole index."""

    entries: list[IndexEntry]
    written_ns: int
    """When the file was written: its own mtime."""
    tree: bytes | None
    """The tree that the entries make, where git noted it and nothing has changed since; raw 20 bytes."""
    incomplete: str | None
    """Why the entries are not the whole story, where they are not."""


EMPTY: Final = IndexFile([], 0, None, None)


def read_index(file: Path) -> IndexFile:
    """Read an index; one that does not exist is empty.

    Raises:
        GitError: When it is damaged, or something else than a regular file.
    """
    try:
        written = file.lstat().st_mtime_ns
        content = beneath.read_regular(file, limit=_LIMIT)
    except FileNotFoundError:
        return EMPTY
    except OSError as error:
        raise GitError(
            f"{file} cannot be read as a git index: {error.strerror}", details={"path": str(file)}
        ) from error
    if content is None:
        return EMPTY
    try:
        return parse_index(content, written)
    except (ValueError, IndexError, struct.error) as error:
        raise GitError(
            f"{file} is damaged: {error}",
            hint="`git read-tree HEAD` in that tree makes a new one; staged changes are lost, files are not",
            details={"path": str(file)},
        ) from error


def parse_index(content: bytes, written_ns: int) -> IndexFile:
    """Read an index from its bytes.

    Raises:
        ValueError: When it is damaged.
        struct.error: When it ends too soon.
    """
    signature, version, count = _HEADER.unpack_from(content)
    if signature != b"DIRC" or version not in {2, 3, 4}:
        raise ValueError("not a git index of version 2, 3 or 4")
    end = len(content) - 20
    checksum = content[end:]
    if checksum != bytes(20) and hashlib.sha1(content[:end], usedforsecurity=False).digest() != checksum:
        raise ValueError("its checksum does not match")
    entries, at = _parse_entries(content, version, count)
    tree, incomplete = _parse_extensions(content, at, end)
    if any(entry.mode == TREE for entry in entries):
        incomplete = "its index is sparse: folders stand for their files"
    return IndexFile(entries, written_ns, tree, incomplete)


def _parse_entries(content: bytes, version: int, count: int) -> tuple[list[IndexEntry], int]:
    """Return the entries, and where they end. One loop without calls of ours."""
    entries: list[IndexEntry] = []
    unpack, find, make = _ENTRY.unpack_from, content.index, _make_entry
    at, path = _HEADER.size, b""
    for _ in range(count):
        start = at
        cs, cn, ms, mn, _device, inode, mode, uid, gid, size, sha, flags = unpack(content, start)
        at += 62
        skip = intent = False
        if flags & _EXTENDED:
            if version < 3:
                raise ValueError("an extended entry in version 2")
            extended = int.from_bytes(content[at : at + 2], "big")
            skip, intent = bool(extended & _SKIP_WORKTREE), bool(extended & _INTENT_TO_ADD)
            at += 2
        if version < 4:
            end = find(b"\0", at)
            path = content[at:end]
            at = start + ((end - start + 8) & ~7)
        else:
            drop, at = _varint(content, at)
            if drop > len(path):
                raise ValueError("a path is cut by more than its length")
            end = find(b"\0", at)
            path = path[: len(path) - drop] + content[at:end]
            at = end + 1
        stage, assume = (flags >> _STAGE_SHIFT) & 3, bool(flags & _ASSUME_VALID)
        changed, modified = cs * _SECOND + cn, ms * _SECOND + mn
        entries.append(make((path, mode, sha, stage, changed, modified, inode, uid, gid, size, skip, intent, assume)))
    return entries, at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    byte = content[at]
    value = byte & 0x7F
    while byte & 0x80:
        at += 1
        byte = content[at]
        value = ((value + 1) << 7) | (byte & 0x7F)
    return value, at + 1


def _parse_extensions(content: bytes, at: int, end: int) -> tuple[bytes | None, str | None]:
    tree: bytes | None = None
    incomplete: str | None = None
    while at + _EXTENSION.size <= end:
        name, length = _EXTENSION.unpack_from(content, at)
        at += _EXTENSION.size
        if name == b"TREE":
            tree = _root_of_cache_tree(content[at : at + length])
        elif name == b"link":
            incomplete = "its index is split over two files"
        elif name == b"sdir":
            incomplete = "its index is sparse: folders stand for their files"
        at += length
    return tree, incomplete


def _root_of_cache_tree(data: bytes) -> bytes | None:
    """Return the root tree; ``None`` when git marked it as out of date (a negative count)."""
    line = data.index(b"\n")
    if data[:1] != b"\0" or data[1:line].startswith(b"-"):
        return None
    return data[line + 1 : line + 21]


def proves_unchanged(entry: IndexEntry, status: os.stat_result, written_ns: int) -> bool:
    """Return whether ``lstat`` alone proves that a file still holds the entry's content.

    Args:
        entry: The index entry.
        status: What ``lstat`` says now.
        written_ns: When the index was written.
    """
    return is_settled(entry, written_ns) and matches(entry, status)


def matches(entry: IndexEntry, status: os.stat_result) -> bool:
    """Return whether ``lstat`` still says what it said when the entry was made, to the nanosecond.

    That includes the change time, which no user can set back, so a file that was rewritten with the same size and its old
    modification time does not pass.
    """
    return (
        status.st_mtime_ns == entry.mtime_ns
        and status.st_ctime_ns == entry.ctime_ns
        and status.st_size & _WORD == entry.size
        and status.st_ino & _WORD == entry.inode
        and status.st_uid & _WORD == entry.uid
        and status.st_gid & _WORD == entry.gid
        and status.st_mode & _KIND == entry.mode & _KIND
    )


def is_settled(entry: IndexEntry, written_ns: int) -> bool:
    """Return whether a later change of the file would have given it another time than the entry's.

    Not so when the file is about as young as the index: two writes within one tick of the clock have the same time. Some file
    systems only know seconds, or every other second.
    """
    whole_seconds = entry.mtime_ns % _SECOND == 0 and entry.ctime_ns % _SECOND == 0
    return entry.mtime_ns + (2 * _SECOND if whole_seconds else _TICK) < written_ns


def entry_for(path: bytes, mode: int, sha: bytes, status: os.stat_result | None) -> IndexEntry:
    """Return the entry of a file whose content is known; without ``status`` (a submodule) the times are zero."""
    if status is None:
        return IndexEntry(path, mode, sha, 0, 0, 0, 0, 0, 0, 0)
    changed, modified, size = status.st_ctime_ns, status.st_mtime_ns, status.st_size & _WORD
    inode, uid, gid = status.st_ino & _WORD, status.st_uid & _WORD, status.st_gid & _WORD
    return _make_entry((path, mode, sha, 0, changed, modified, inode, uid, gid, size, False, False, False))


def format_index(entries: Iterable[IndexEntry]) -> bytes:
    """Return the bytes of an index: version 2 without extensions, or 3 where a mark of an entry needs it."""
    ordered = sorted(entries, key=itemgetter(0, 3))  # path and stage
    version = 2
    pack, parts = _ENTRY.pack, [b""]
    for path, mode, sha, stage, changed, modified, inode, uid, gid, size, skip, intent, assume in ordered:
        cs, cn = divmod(changed, _SECOND)
        ms, mn = divmod(modified, _SECOND)
        flags = min(len(path), _NAME_MASK) | stage << _STAGE_SHIFT
        marks = b""
        if skip or intent:
            version, flags = 3, flags | _EXTENDED
            marks = ((_SKIP_WORKTREE if skip else 0) | (_INTENT_TO_ADD if intent else 0)).to_bytes(2, "big")
        if assume:
            flags |= _ASSUME_VALID
        parts.append(pack(cs & _WORD, cn, ms & _WORD, mn, 0, inode, mode, uid, gid, size, sha, flags))
        parts.append(marks + path + _PADDING[(62 + len(marks) + len(path)) % 8])
    parts[0] = _HEADER.pack(b"DIRC", version, len(ordered))
    content = b"".join(parts)
    return content + hashlib.sha1(content, usedforsecurity=False).digest()

"""What a restored worktree starts with instead of a commit's files, and how it is put in place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nexus.git import beneath
from nexus.git.index_file import IndexEntry
from nexus.git.trees import TreeFile

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Content(NamedTuple):
    """The files and everything around them."""

    files: list[TreeFile]
    verbatim: frozenset[bytes]
    """Files that are written as they are stored."""
    permissions: Mapping[bytes, int]
    entries: list[IndexEntry]
    """The entries, without what ``lstat`` says."""
    head: bytes
    """The line for ``HEAD``."""
    admin: Mapping[bytes, bytes]
    """Files for git's entry, by paths that were checked."""


def joined(wanted: list[IndexEntry], written: list[IndexEntry]) -> list[IndexEntry]:
    """Return the index as it was, with today's ``lstat`` for those files that hold exactly what it says."""
    there = {entry.path: entry for entry in written}
    found: list[IndexEntry] = []
    for entry in wanted:
        fresh = there.get(entry.path)
        same = fresh is not None and (fresh.sha, fresh.mode) == (entry.sha, entry.mode)
        if fresh is None or not same or entry.stage or entry.intent_to_add:
            found.append(entry)
        else:
            found.append(
                fresh._replace(skip_worktree=entry.skip_worktree, intent_to_add=False, assume_valid=entry.assume_valid)
            )
    return found


def set_permissions(tree: Path, permissions: Mapping[bytes, int]) -> None:
    """Give files the bits that they had, without following a link."""
    root = os.open(tree, beneath.FOLDER)
    try:
        for path, bits in permissions.items():
            parent, _, name = path.rpartition(b"/")
            with suppress(OSError), beneath.folder(root, parent) as at:
                handle = os.open(name, beneath.FILE, dir_fd=at)
                try:
                    os.fchmod(handle, bits)
                finally:
                    os.close(handle)
    finally:
        os.close(root)


def put_state(admin: Path, files: Mapping[bytes, bytes]) -> None:
    """Write the state of an operation into git's new entry."""
    root = os.open(admin, beneath.FOLDER)
    try:
        put_state_at(root, files)
    finally:
        os.close(root)


def put_state_at(root: int, files: Mapping[bytes, bytes]) -> None:
    """Write the state of an operation into git's entry, which is held open."""
    for path, content in files.items():
        parent, _, name = path.rpartition(b"/")
        with beneath.made_folder(root, parent) as at:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=at)
            with os.fdopen(os.open(name, _NEW, 0o666, dir_fd=at), "wb") as file:
                file.write(content)

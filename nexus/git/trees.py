"""Git trees as flat lists of files, and back."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from dulwich.errors import ObjectFormatException
from dulwich.index import validate_path_element_hfs, validate_path_element_ntfs
from dulwich.object_store import BaseObjectStore
from dulwich.objects import ObjectID, Tree, parse_tree

from nexus.errors import GitError
from nexus.git.index_file import EXECUTABLE, FILE, LINK, SUBMODULE, TREE

_MAX_DEPTH: Final = 1024


class TreeFile(NamedTuple):
    """One file of a tree. ``sha`` is the raw 20 bytes."""

    path: bytes
    mode: int
    sha: bytes


def hexadecimal(sha: bytes) -> ObjectID:
    """Return the 40 digits of a raw object id."""
    return ObjectID(sha.hex().encode())


def flatten(store: BaseObjectStore, tree: bytes) -> list[TreeFile]:
    """Return every file of a tree, in the index's order.

    Args:
        store: Where the objects are.
        tree: The root tree, raw.

    Raises:
        GitError: When a tree is missing, damaged or nested without end.
    """
    files: list[TreeFile] = []
    waiting: list[tuple[bytes, bytes, int]] = [(b"", tree, 0)]
    while waiting:
        prefix, sha, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise GitError(
                f"the tree {tree.hex()} is nested deeper than {_MAX_DEPTH} folders",
                hint="no file system holds such paths; do not trust where this commit came from",
            )
        for name, mode, child in _entries(store, sha):
            path = prefix + name
            if b"/" in name:
                raise _hostile(path)
            if stat.S_ISDIR(mode):
                waiting.append((path + b"/", child, depth + 1))
            else:
                files.append(TreeFile(path, canonical_mode(mode, path), child))
    files.sort()
    return files


def _entries(store: BaseObjectStore, sha: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    # Not through the library's Tree: it keeps the last of two entries with one name, and so would hide a hostile tree.
    try:
        kind, content = store.get_raw(hexadecimal(sha))
    except KeyError as error:
        raise GitError(
            f"the tree {sha.hex()} is not in the repository",
            hint="`git fsck` tells what is missing; `git fetch` may bring it",
        ) from error
    if kind != Tree.type_num:
        raise GitError(f"the object {sha.hex()} is not a tree")
    try:
        for name, mode, child in parse_tree(content, 20):
            yield name, mode, bytes.fromhex(child.decode())
    except (ValueError, ObjectFormatException) as error:
        raise GitError(f"the tree {sha.hex()} is damaged: {error}") from error


def canonical_mode(mode: int, path: bytes) -> int:
    """Return the mode that git keeps in its index: old trees hold others, such as 100664.

    Raises:
        GitError: When it is the mode of nothing that git knows.
    """
    if stat.S_ISREG(mode):
        return EXECUTABLE if mode & 0o100 else FILE
    if stat.S_ISLNK(mode):
        return LINK
    if mode & 0o170000 == SUBMODULE:
        return SUBMODULE
    raise GitError(f"the tree entry {shown(path)} has the unknown mode {mode:o}")


def shown(path: bytes) -> str:
    """Return a path for people: bytes that are no UTF-8 are written in hexadecimal."""
    return path.decode("utf-8", "backslashreplace")


@lru_cache(maxsize=16384)
def is_hostile_name(name: bytes) -> bool:
    """Return whether a name in a tree would reach out of the tree or into git's own folder, on any file system."""
    if name in {b"", b".", b".."} or b"/" in name or b"\0" in name:
        return True
    if not validate_path_element_ntfs(name):
        return True
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False  # Only a valid name can be folded to ".git" by a file system that folds names.
    return not validate_path_element_hfs(name)


def folders_of(files: Iterable[TreeFile]) -> list[bytes]:
    """Return the folders that the files need, parents first, after making sure that no entry is hostile.

    Args:
        files: The files of one tree, sorted by path.

    Raises:
        GitError: When a name is hostile, or a path is there twice, or as a file and as a folder.
    """
    folders: set[bytes] = {b""}
    paths: set[bytes] = set()
    for file in files:
        path = file[0]
        parent, _, name = path.rpartition(b"/")
        if (
            path[:1] == b"/"
            or is_hostile_name(name)
            or path in paths
            or (file[1] == LINK and name.lower() == b".gitmodules")
        ):
            raise _hostile(path)
        paths.add(path)
        while parent not in folders:
            folders.add(parent)
            parent, _, name = parent.rpartition(b"/")
            if is_hostile_name(name):
                raise _hostile(path)
    both = folders & paths
    if both:
        raise _hostile(min(both))
    folders.discard(b"")
    return sorted(folders)


def _hostile(path: bytes) -> GitError:
    return GitError(
        f"the commit holds the path {shown(path)!r}, which cannot be checked out safely",
        hint="such a path overwrites git's own files or leads out of the tree; do not trust where this commit came from",
        details={"path": shown(path)},
    )


def build(files: Mapping[bytes, tuple[int, bytes]]) -> tuple[bytes, list[Tree]]:
    """Return the root tree (raw id) that holds the files, and every tree object it needs."""
    nested: dict[bytes, dict[bytes, tuple[int, bytes]]] = {b"": {}}
    for path, value in files.items():
        parent, _, name = path.rpartition(b"/")
        nested.setdefault(parent, {})[name] = value
        while parent:
            parent = parent.rpartition(b"/")[0]
            nested.setdefault(parent, {})
    trees: list[Tree] = []
    root = b""
    for folder in sorted(nested, key=lambda path: path.count(b"/") if path else -1, reverse=True):
        tree = Tree()
        for name, (mode, sha) in nested[folder].items():
            tree.add(name, mode, hexadecimal(sha))
        trees.append(tree)
        raw = bytes.fromhex(tree.id.decode())
        if folder:
            parent, _, name = folder.rpartition(b"/")
            nested[parent][name] = (TREE, raw)
        else:
            root = raw
    return root, trees

"""What a commit's tree has no place for: the index to the letter, stashes, an operation in progress, bits of permissions.

It is kept in a commit of its own, the last parent of a rescue::

    manifest.json       what there was, in words that a program reads
    index               the index, without what ``lstat`` said
    unmerged/<n>/…      the files of stage n, so that git keeps them
    admin/…             the files that a rebase, merge, cherry-pick, revert, bisect or ``git am`` works with

Its parents are the stashes and every commit that those files name. A container can write to the repository's refs, so all of
it is checked again when it is read.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Blob, Commit, ObjectID, Tree
from pydantic import ValidationError

from nexus.errors import GitError
from nexus.git import beneath
from nexus.git.index_file import FILE, IndexEntry, IndexFile, format_index, parse_index
from nexus.git.reflog import IDENTITY
from nexus.git.trees import flatten, hexadecimal, is_hostile_name
from nexus.models.base import Model

SUBJECT: Final = b"nexus: state"
STATE_FILES: Final = frozenset(
    {
        b"BISECT_ANCESTORS_OK",
        b"BISECT_EXPECTED_REV",
        b"BISECT_FIRST_PARENT",
        b"BISECT_HEAD",
        b"BISECT_LOG",
        b"BISECT_NAMES",
        b"BISECT_RUN",
        b"BISECT_START",
        b"BISECT_TERMS",
        b"CHERRY_PICK_HEAD",
        b"MERGE_AUTOSTASH",
        b"MERGE_HEAD",
        b"MERGE_MODE",
        b"MERGE_MSG",
        b"MERGE_RR",
        b"ORIG_HEAD",
        b"REBASE_HEAD",
        b"REVERT_HEAD",
        b"SQUASH_MSG",
        b"nexus-base",
    }
)
"""Files of git's entry that say what is going on in a worktree. No configuration, no pointer, no hook is among them."""
STATE_FOLDERS: Final = (
    b"rebase-merge",
    b"rebase-apply",
    b"sequencer",
    b"refs/bisect",
    b"refs/rewritten",
    b"refs/worktree",
)
_COMMIT: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
_MANIFEST_LIMIT: Final = 64 << 20
_MAX_DEPTH: Final = 16


class Stash(Model):
    """One stash entry."""

    commit: str
    message: str
    """The line of the log, as URL-quoted bytes."""


class Manifest(Model):
    """What there was. Paths are URL-quoted bytes: git knows names that are no text."""

    schema_version: int = 1
    name: str
    head: str | None
    ref: str | None
    """The ref that ``HEAD`` named; ``None`` when it was detached."""
    tip: str | None
    operation: str | None = None
    stashes: tuple[Stash, ...] = ()
    verbatim: tuple[str, ...] = ()
    """Files that are stored as they were, because converting them back would give other bytes."""
    permissions: Mapping[str, int] = {}
    """Bits of files that are not those of a fresh checkout."""
    files: int = 0
    size: int = 0
    left: tuple[str, ...] = ()


class State(NamedTuple):
    """The whole, in memory."""

    manifest: Manifest
    entries: list[IndexEntry]
    admin: dict[bytes, bytes]
    """Path in git's entry, and content."""


def quoted(path: bytes) -> str:
    """Return a path as text that JSON can hold."""
    return quote_from_bytes(path)


def unquoted(text: str) -> bytes:
    """Return the path again."""
    return unquote_to_bytes(text)


def admin_state(admin: Path, limit: int) -> tuple[dict[bytes, bytes], list[str]]:
    """Read the files that an operation in progress works with.

    Args:
        admin: Git's entry for the worktree. A container can write it: no link is followed.
        limit: Largest file, in bytes.

    Returns:
        Content by path, and what is there but is no regular file.

    Raises:
        GitError: When one is larger, or cannot be read.
    """
    found: dict[bytes, bytes] = {}
    strange: list[str] = []
    root = os.open(admin, beneath.FOLDER)
    try:
        for path in [*_listed(root, b"", strange), *_in_folders(root, strange)]:
            if b"/" in path or path in STATE_FILES:
                found[path] = _read(root, path, admin, limit)
    finally:
        os.close(root)
    return found, strange


def _in_folders(root: int, strange: list[str]) -> list[bytes]:
    return [path for folder in STATE_FOLDERS for path in _listed(root, folder, strange, deep=True)]


def _listed(root: int, folder: bytes, strange: list[str], *, deep: bool = False) -> list[bytes]:
    files: list[bytes] = []
    waiting = [folder]
    while waiting:
        at = waiting.pop()
        try:
            with beneath.folder(root, at) as handle, os.scandir(handle) as entries:
                seen = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
                for name, is_folder in sorted(seen):
                    path = b"%s/%s" % (at, name) if at else name
                    if is_folder:
                        if deep and path.count(b"/") < _MAX_DEPTH:
                            waiting.append(path)
                    elif _is_regular(handle, name):
                        files.append(path)
                    elif deep or name in STATE_FILES:
                        strange.append(path.decode("utf-8", "backslashreplace"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            strange.append(f"{at.decode('utf-8', 'backslashreplace')}: {error.strerror}")
    return files


def _is_regular(folder: int, name: bytes) -> bool:
    return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _read(root: int, path: bytes, admin: Path, limit: int) -> bytes:
    try:
        return beneath.read_file(root, path, limit=limit)
    except OSError as error:
        shown = path.decode("utf-8", "backslashreplace")
        raise GitError(
            f"the state of an operation in progress cannot be kept: {admin / shown}: {error.strerror}",
            hint="finish or abort what is in progress there, then try again",
            details={"path": str(admin / shown)},
        ) from error


def commits_in(store: BaseObjectStore, contents: Iterable[bytes]) -> list[ObjectID]:
    """Return the commits that are named in the state of an operation and that are there: nothing else may lead to them."""
    return [ObjectID(sha) for sha in named_in(contents) if _is_commit(store, ObjectID(sha))]


def named_in(contents: Iterable[bytes]) -> list[bytes]:
    """Return everything in the state of an operation that looks like the id of a commit, each once."""
    return list(dict.fromkeys(sha for content in contents for sha in _COMMIT.findall(content)))


def _is_commit(store: BaseObjectStore, sha: ObjectID) -> bool:
    try:
        return isinstance(store[sha], Commit)
    except KeyError:
        return False


def state_files(store: BaseObjectStore, state: State) -> dict[bytes, tuple[int, bytes]]:
    """Store the state's files and return them as those of a tree."""

    def kept(content: bytes) -> tuple[int, bytes]:
        blob = Blob.from_string(content)
        store.add_object(blob)
        return FILE, bytes.fromhex(blob.id.decode())

    bare = [entry._replace(ctime_ns=0, mtime_ns=0, inode=0, uid=0, gid=0, size=0) for entry in state.entries]
    files = {
        b"manifest.json": kept(state.manifest.model_dump_json(exclude_defaults=True).encode() + b"\n"),
        b"index": kept(format_index(bare)),
    }
    files |= {b"admin/" + path: kept(content) for path, content in state.admin.items()}
    for entry in state.entries:
        if entry.stage and ObjectID(entry.sha.hex().encode()) in store:
            files[b"unmerged/%d/%s" % (entry.stage, entry.path)] = (entry.mode, entry.sha)
    return files


def read_manifest(store: BaseObjectStore, commit: Commit) -> Manifest | None:
    """Return what a rescue says of itself; ``None`` when it holds commits alone."""
    tree = _state_tree(store, commit)
    content = None if tree is None else _blob(store, tree, b"manifest.json")
    if content is None:
        return None
    try:
        return Manifest.model_validate_json(content)
    except ValidationError:
        return None


def read_state(store: BaseObjectStore, commit: Commit) -> State | None:
    """Return the state that a rescue holds; ``None`` when it holds commits alone.

    Raises:
        GitError: When it is damaged, or holds a path that must not be written.
    """
    manifest, tree = read_manifest(store, commit), _state_tree(store, commit)
    if manifest is None or tree is None:
        if tree is not None or (commit.author == IDENTITY and commit.parents and commit.parents[-1] not in store):
            # Taken for commits alone, it would make the rescue itself the branch's tip.
            raise GitError(
                f"the rescue {commit.id.decode()} is damaged: what it says of itself is missing",
                hint=f"its files are whole where it is: git checkout {commit.id.decode()} -- .",
            )
        return None
    try:
        index: IndexFile = parse_index(_blob(store, tree, b"index") or b"", 0)
    except (ValueError, IndexError, struct.error) as error:
        raise GitError(f"the rescue {commit.id.decode()} is damaged: its index cannot be read ({error})") from error
    for entry in index.entries:
        if any(map(is_hostile_name, entry.path.split(b"/"))):
            raise GitError(f"the rescue {commit.id.decode()} names a path that cannot be written safely")
    admin: dict[bytes, bytes] = {}
    for file in flatten(store, tree):
        if file.path.startswith(b"admin/") and file.mode == FILE:
            path = file.path.removeprefix(b"admin/")
            if not allowed(path):
                raise GitError(
                    f"the rescue {commit.id.decode()} names {path.decode('utf-8', 'backslashreplace')!r}, "
                    "which is no state of an operation"
                )
            admin[path] = _content(store, file.sha)
    return State(manifest, index.entries, admin)


def allowed(path: bytes) -> bool:
    """Return whether a path in git's entry is one that a restore may write."""
    parts = path.split(b"/")
    if any(part in {b"", b".", b".."} or b"\0" in part for part in parts):
        return False
    return path in STATE_FILES or any(path.startswith(folder + b"/") for folder in STATE_FOLDERS)


def _state_tree(store: BaseObjectStore, commit: Commit) -> bytes | None:
    try:
        found = store[commit.parents[-1]]
    except (KeyError, IndexError):
        return None
    if isinstance(found, Commit) and found.message.startswith(SUBJECT):
        return bytes.fromhex(found.tree.decode())
    return None


def _blob(store: BaseObjectStore, tree: bytes, name: bytes) -> bytes | None:
    try:
        found = store[hexadecimal(tree)]
        return _content(store, bytes.fromhex(found[name][1].decode())) if isinstance(found, Tree) else None
    except KeyError:
        return None


def _content(store: BaseObjectStore, sha: bytes) -> bytes:
    found = store[hexadecimal(sha)]
    if not isinstance(found, Blob):
        raise GitError(f"{sha.hex()} is not a file's content")
    content: bytes = found.data
    if len(content) > _MANIFEST_LIMIT:
        raise GitError(f"{sha.hex()} has {len(content)} bytes, more than any state of ours has")
    return content

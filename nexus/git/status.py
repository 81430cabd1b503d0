"""How a worktree differs from its index, and its index from its commit.

Everything is read by paths that we know: the index from our entry in git, the objects from the common dir. The tree's own
``.git`` file, a ``commondir`` in the entry and any configuration there are not looked at, and no program runs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from dulwich.config import Config
from dulwich.objects import Commit, ObjectID
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git import beneath
from nexus.git.attributes import Attributes
from nexus.git.eol import PLAIN, Conversion, clean
from nexus.git.glance import Glance
from nexus.git.ignoring import Ignore, Tracked, Untracked, walk
from nexus.git.index_file import EXECUTABLE, LINK, SUBMODULE, IndexEntry, IndexFile, proves_unchanged, read_index
from nexus.git.lfs_pointer import PROGRAM, points_at
from nexus.git.objects import blob_id, stored
from nexus.git.precious import Precious
from nexus.git.threads import Stop
from nexus.git.tree_hash import is_exactly
from nexus.git.trees import flatten, shown
from nexus.models.workspace import Repository

_ATTRIBUTES_LIMIT: Final = 100 << 20
MAX_COMPARED: Final = 512 << 20
"""Bytes of the largest file whose content is looked at: a sparse file that claims more would fill the memory."""


class Change(StrEnum):
    """How a tracked file differs from the index."""

    MODIFIED = "modified"
    DELETED = "deleted"
    UNKNOWN = "unknown"
    """Only a program that is not run here could tell."""


LookInside: TypeAlias = "Callable[[bytes, bytes], list[str]]"
"""Given path and commit of a filled submodule, says what is unsaved in it, one line each."""


class TreeStatus(NamedTuple):
    """The whole difference."""

    index_file: IndexFile
    staged: list[bytes]
    changed: dict[bytes, Change]
    untracked: Untracked
    problems: list[str]
    """Why the answer is not complete, where it is not."""
    inside: list[str]
    """What is unsaved in submodules, one line each; their ``change`` is ``UNKNOWN`` then."""


class Content(NamedTuple):
    """How one tree's files are turned into what git would store."""

    repo: Repo
    root: int
    """Descriptor of the tree."""
    attributes: Attributes
    filemode: bool
    symlinks: bool

    def read(self, path: bytes, mode: int | None, status: os.stat_result) -> tuple[bytes, Conversion]:
        """Return a file's or link's content as it is in the tree, and what git does to it.

        Args:
            path: The path.
            mode: The mode in the index; ``None`` when it is not there.
            status: What ``lstat`` says.

        Raises:
            OSError: When it cannot be read.
        """
        if stat.S_ISLNK(status.st_mode):
            return beneath.read_link(self.root, path), PLAIN
        raw = beneath.read_file(self.root, path, limit=MAX_COMPARED)
        return raw, PLAIN if mode == LINK else self.attributes.conversion(path)

    def cleaned(self, raw: bytes, how: Conversion, sha: bytes | None) -> bytes:
        """Return content as git would store it; ``sha`` is what the index holds for the path."""
        if how is PLAIN:
            return raw
        store = self.repo.object_store
        return clean(raw, how, lambda: None if sha is None else stored(store, sha))


def content_of(repo: Repo, repository: Repository, config: Config, root: int) -> Content:
    """Return the reader of a tree whose descriptor is ``root``."""

    def read(folder: bytes) -> bytes | None:
        try:
            return beneath.read_file(
                root, folder + b"/.gitattributes" if folder else b".gitattributes", limit=_ATTRIBUTES_LIMIT
            )
        except OSError:
            return None

    return Content(
        repo,
        root,
        Attributes(read, config, repository),
        config.get_boolean((b"core",), b"filemode", True) is not False,
        config.get_boolean((b"core",), b"symlinks", True) is not False,
    )


class Place(NamedTuple):
    """Which tree is meant, said in full: nothing of it is looked up in the tree itself."""

    repository: Repository
    config: Config
    tree: Path
    admin: Path
    """Git's entry for it."""
    head: str | None
    """The commit that is checked out; ``None`` for a branch without a commit."""
    precious: Precious | None = None
    """Which ignored files count as work."""


def examine(content: Content, place: Place, stop: Stop, inside: LookInside | None = None) -> TreeStatus:
    """Compare a tree with its index and its commit.

    Args:
        content: Reader of the tree.
        place: Which tree.
        stop: Asked now and then.
        inside: Looks into filled submodules; without it they are unknown.

    Raises:
        GitError: When the index or an object cannot be read.
    """
    index = read_index(place.admin / "index")
    ignore, glance = Ignore.read(place.repository, place.config), Glance(index)
    untracked = walk(place.tree, _tracked(index), ignore, stop, place.precious, glance=glance)
    problems = [index.incomplete] if index.incomplete else []
    problems += [f"cannot look into {line}" for line in untracked.unreadable]
    head_files = _head_files(content.repo, index, place.head)
    staged = [] if head_files is None else _staged(index, head_files)
    comparing = Comparing(content, place.tree, index.written_ns, untracked.folders, inside)
    changed: dict[bytes, Change] = {}
    for number, entry in enumerate(glance.left(index)):
        if number % 1024 == 0:
            stop.check()
        change = comparing.change(entry)
        if change is not None:
            changed[entry.path] = change
    return TreeStatus(index, staged, changed, untracked, problems + comparing.problems, comparing.inside)


def _tracked(index: IndexFile) -> Tracked:
    files = {entry.path for entry in index.entries}
    folders: set[bytes] = set()
    for path in files:
        parent = path.rpartition(b"/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition(b"/")[0]
    return Tracked(files, folders, {entry.path for entry in index.entries if entry.mode == SUBMODULE})


def _head_files(repo: Repo, index: IndexFile, head: str | None) -> dict[bytes, tuple[int, bytes]] | None:
    """Return the commit's files; ``None`` when the index is exactly the commit's tree."""
    if head is None:
        return {}
    try:
        commit = repo.object_store[ObjectID(head.encode())]
    except KeyError as error:
        raise GitError(f"the commit {head} is not in the repository") from error
    if not isinstance(commit, Commit):
        raise GitError(f"{head} is a {commit.type_name.decode()}, not a commit")
    tree = bytes.fromhex(commit.tree.decode())
    if is_exactly(index, tree):
        return None
    return {file.path: (file.mode, file.sha) for file in flatten(repo.object_store, tree)}


def _staged(index: IndexFile, head_files: dict[bytes, tuple[int, bytes]]) -> list[bytes]:
    there = {entry.path: (entry.mode, entry.sha) for entry in index.entries if entry.stage == 0}
    conflicts = {entry.path for entry in index.entries if entry.stage != 0}
    # A file that was only announced (`git add -N`) has nothing staged yet; its content shows as modified.
    announced = {entry.path for entry in index.entries if entry.intent_to_add}
    different = {path for path, value in there.items() if head_files.get(path) != value} - announced
    return sorted(different | (head_files.keys() - there.keys() - conflicts))


class _RealFolders:
    """Knows which folders of a tree are real, all the way up: a tracked file behind a link is gone."""

    def __init__(self, tree: Path, seen: set[bytes]) -> None:
        self._tree = os.fsencode(tree)
        self._known = dict.fromkeys(seen, True)
        self._known[b""] = True

    def __contains__(self, folder: object) -> bool:
        if not isinstance(folder, bytes):
            return False
        known = self._known.get(folder)
        if known is None:
            known = folder.rpartition(b"/")[0] in self and self._is_real(folder)
            self._known[folder] = known
        return known

    def _is_real(self, folder: bytes) -> bool:
        try:
            return stat.S_ISDIR(os.lstat(b"%s/%s" % (self._tree, folder)).st_mode)
        except OSError:
            return False


class Comparing:
    """Compares single files of a tree with their index entries.

    Args:
        content: Reader of the tree.
        tree: The tree.
        written_ns: When its index was written.
        folders: Folders that are known to be real ones.
        inside: Looks into filled submodules.
    """

    def __init__(
        self, content: Content, tree: Path, written_ns: int, folders: set[bytes], inside: LookInside | None = None
    ) -> None:
        self._inside = inside
        self.inside: list[str] = []
        """What is unsaved in submodules, one line each."""
        self._content = content
        self._tree = os.fsencode(tree)
        self._written_ns = written_ns
        self._real = _RealFolders(tree, folders)
        self.problems: list[str] = []
        """Why an answer was ``UNKNOWN``, one line each."""

    def change(self, entry: IndexEntry) -> Change | None:
        """Return how the file differs from its entry; ``None`` when it does not."""
        if entry.stage != 0:
            return Change.MODIFIED
        try:
            status = self._status(entry.path)
        except OSError as error:
            return self._unknown(f"{shown(entry.path)}: {error.strerror}")
        if status is None:
            return None if entry.skip_worktree else Change.DELETED
        if entry.mode == SUBMODULE:
            return self._submodule(entry, status)
        if not entry.intent_to_add and proves_unchanged(entry, status, self._written_ns):
            return None
        return self._by_content(entry, status)

    def _status(self, path: bytes) -> os.stat_result | None:
        if path.rpartition(b"/")[0] not in self._real:
            return None
        try:
            return os.lstat(b"%s/%s" % (self._tree, path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _unknown(self, problem: str) -> Change:
        self.problems.append(problem)
        return Change.UNKNOWN

    def _submodule(self, entry: IndexEntry, status: os.stat_result) -> Change | None:
        if not stat.S_ISDIR(status.st_mode):
            return Change.MODIFIED
        try:
            with os.scandir(b"%s/%s" % (self._tree, entry.path)) as entries:
                if next(entries, None) is None:
                    return None
        except OSError as error:
            return self._unknown(f"the submodule {shown(entry.path)} cannot be looked into: {error.strerror}")
        if self._inside is None:
            return self._unknown(f"the submodule {shown(entry.path)} is filled, and work in it is not looked at")
        found = self._inside(entry.path, entry.sha)
        self.inside += found
        return Change.UNKNOWN if found else None

    def _by_content(self, entry: IndexEntry, status: os.stat_result) -> Change | None:
        other_size = entry.size != 0 and status.st_size & 0xFFFFFFFF != entry.size
        if entry.intent_to_add or other_size or _kind_differs(entry, status, self._content):
            return Change.MODIFIED
        try:
            raw, how = self._content.read(entry.path, entry.mode, status)
        except FileNotFoundError:
            return Change.DELETED
        except OSError as error:
            return self._unknown(f"{shown(entry.path)} cannot be read: {error.strerror}")
        if entry.sha in {blob_id(raw), blob_id(self._content.cleaned(raw, how, entry.sha))}:
            return None
        return Change.MODIFIED if how.program is None else self._by_program(entry, raw, how.program)

    def _by_program(self, entry: IndexEntry, raw: bytes, program: str) -> Change | None:
        if program == PROGRAM:
            same = points_at(stored(self._content.repo.object_store, entry.sha), raw)
            if same is not None:
                return None if same else Change.MODIFIED
        return self._unknown(f"{shown(entry.path)} may differ: {program} would have to run")


def _kind_differs(entry: IndexEntry, status: os.stat_result, content: Content) -> bool:
    if stat.S_ISLNK(status.st_mode):
        return entry.mode != LINK
    if not stat.S_ISREG(status.st_mode):
        return True
    if entry.mode == LINK:
        return content.symlinks
    return content.filemode and bool(status.st_mode & 0o100) != (entry.mode == EXECUTABLE)

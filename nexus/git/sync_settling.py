"""Putting in order what a fast-forward left that was killed on the way.

The lock on the index tells how far it got: it is ours from before the first file is touched until after the index is written. While
it is there no git inside changes anything, but programs inside may go on writing files. So only files that hold what we wrote, or
a beginning of it, are put back; whatever else is there is somebody's work and stays.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git import beneath
from nexus.git.advancing import IndexLock, Step, Tree, drop_our_lock, holds_our_lock, step_between
from nexus.git.index_file import LINK, SUBMODULE, IndexEntry, entry_for, read_index
from nexus.git.layout import Worktree
from nexus.git.listing import get_worktree
from nexus.git.repository import opened, read_config
from nexus.git.sync import files_of
from nexus.git.trees import TreeFile
from nexus.models.workspace import Repository


def settle_sync(repository: Repository, name: str, before: str, after: str) -> str:
    """Finish or undo a fast-forward that was cut short; blocks. See :meth:`nexus.git.Worktrees.settle_sync`."""
    worktree = get_worktree(repository, name)
    if worktree is None or not worktree.present or not worktree.registered:
        return "there is no worktree any more"
    if not holds_our_lock(worktree.admin_dir):
        drop_our_lock(worktree.admin_dir)
        return "nothing was half done"
    try:
        with opened(repository) as repo:
            return _settle(repo, repository, worktree, before, after)
    except OSError as error:
        raise GitError(
            f"the worktree {name!r} is half-way between two commits: {error.filename or ''} {error.strerror}",
            hint="inside the workspace: git status, then git checkout -- <the files it lists>",
        ) from error


def _settle(repo: Repo, repository: Repository, worktree: Worktree, before: str, after: str) -> str:
    step = step_between(files_of(repo, before.encode()), files_of(repo, after.encode()))
    with ExitStack() as closing:
        root = os.open(worktree.path, beneath.FOLDER)
        closing.callback(os.close, root)
        trees = _Both(repo, repository, root, before, after)
        outcome = "its branch was moved by somebody else, so its files stay as they are"
        entries: dict[bytes, IndexEntry] | None = None
        if worktree.head == after:
            entries, outcome = trees.entries(step), "carried on"
        elif worktree.head == before:
            entries, outcome = trees.put_back(step), "taken back"
    drop_our_lock(worktree.admin_dir)
    if entries is not None:
        with IndexLock(worktree.admin_dir) as lock:
            index = read_index(worktree.admin_dir / "index")
            gone = step.paths() if worktree.head == after else entries.keys()
            lock.commit([*(entry for entry in index.entries if entry.path not in gone), *entries.values()])
    return outcome


class _Both:
    """What the files of both commits hold when they are checked out."""

    def __init__(self, repo: Repo, repository: Repository, root: int, before: str, after: str) -> None:
        config = read_config(repository)
        self._root = root
        self._old = Tree(root, repository, config, files_of(repo, before.encode()))
        self._new = Tree(root, repository, config, files_of(repo, after.encode()))

    def entries(self, step: Step) -> dict[bytes, IndexEntry]:
        """Return the index entries of what is new; those of files that were changed since make git look at them."""
        new = self._new.contents(step.new)
        found: dict[bytes, IndexEntry] = {}
        for path, file in step.new.items():
            same = file.mode != SUBMODULE and _content(self._root, path, file) == new[path]
            status = _status(self._root, path) if same else None
            found[path] = entry_for(*file, status)
        return found

    def put_back(self, step: Step) -> dict[bytes, IndexEntry]:
        """Put back what is ours to put back, and return the entries of what was written."""
        old, new = self._old.contents(step.gone), self._new.contents(step.new)
        mine = {path for path in step.paths() if self._is_ours(path, step, old, new)}
        back = Step(
            {path: file for path, file in step.new.items() if path in mine},
            {path: file for path, file in step.gone.items() if path in mine},
        )
        return self._old.take(back, replace=True)

    def _is_ours(self, path: bytes, step: Step, old: dict[bytes, bytes], new: dict[bytes, bytes]) -> bool:
        file = step.new.get(path) or step.gone[path]
        if file.mode == SUBMODULE:
            return path in step.gone or path in step.new
        there = _content(self._root, path, file)
        if there is None:
            return _status(self._root, path) is None
        return there == old.get(path) or (path in new and new[path].startswith(there))


def _content(root: int, path: bytes, file: TreeFile) -> bytes | None:
    """Return what is at a path; ``None`` for nothing, or for what is of another kind."""
    try:
        return beneath.read_link(root, path) if file.mode == LINK else beneath.read_file(root, path)
    except OSError:
        pass
    try:
        # A file where a link is to be, or the reverse: the step changed its kind.
        return beneath.read_file(root, path) if file.mode == LINK else beneath.read_link(root, path)
    except OSError:
        return None


def _status(root: int, path: bytes) -> os.stat_result | None:
    parent, _, name = path.rpartition(b"/")
    try:
        with beneath.folder(root, parent) as at:
            return os.stat(name, dir_fd=at, follow_symlinks=False)
    except OSError:
        return None

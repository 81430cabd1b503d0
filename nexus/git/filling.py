"""Filling a new worktree: its files, what else the repository has for it, and the index that says so."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from dulwich.objects import Commit, ObjectID
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git.checkout import Checkout, Report, Source, check_out
from nexus.git.including import include_files
from nexus.git.index_file import EMPTY, SUBMODULE, IndexEntry, IndexFile, format_index, read_index
from nexus.git.lfs import fill_lfs
from nexus.git.lfs_pointer import PROGRAM
from nexus.git.orders import Order
from nexus.git.repository import read_config
from nexus.git.restored_content import Content, joined, set_permissions
from nexus.git.submodule_checkout import Outer, end_module_loans, fill_submodules
from nexus.git.threads import Stop
from nexus.git.tree_hash import is_exactly
from nexus.git.trees import TreeFile, flatten, shown
from nexus.models.workspace import Repository

_SHOWN: Final = 5


class Empty(NamedTuple):
    """A worktree without files."""

    repo: Repo
    repository: Repository
    order: Order
    tip: str
    tree: Path
    """Its folder; has nothing in it but ``.git``."""
    git_dir: Path
    """Where its index belongs: git's entry for it, or a clone's own."""


def fill_tree(
    empty: Empty, undo: ExitStack, *, content: Content | None, stop: Stop, report: Report | None
) -> tuple[str, ...]:
    """Fill a worktree.

    Args:
        empty: Which.
        undo: Told how to take back what is done outside of the tree.
        content: What it starts with; the commit's files when absent.
        stop: Asked now and then.
        report: Told how it goes.

    Returns:
        What people should know of it, one line each.

    Raises:
        GitError: When a path is hostile, an object is missing, more would come along than may, or the disk refuses.
        Stopped: When asked to stop.
    """
    repository = empty.repository
    files, source = _files_of(empty)
    if content is not None:
        files = content.files
    config = read_config(repository)
    done = check_out(
        repository,
        files,
        empty.tree,
        config=config,
        source=source,
        stop=stop,
        report=report,
        verbatim=frozenset() if content is None else content.verbatim,
    )
    entries, notes = _settle(empty, done, content, stop)
    _write_index(empty.git_dir, format_index(entries))
    notes += _submodules(empty, files, undo, stop)
    notes += include_files(repository, files, empty.tree, include=empty.order.include, config=config, stop=stop)
    return tuple(notes)


def _files_of(empty: Empty) -> tuple[list[TreeFile], Source | None]:
    """Return the files of the commit, and the main checkout to copy them from where its index can be trusted."""
    store = empty.repo.object_store
    commit = store[ObjectID(empty.tip.encode())]
    if not isinstance(commit, Commit):
        raise GitError(f"{empty.tip} is not a commit")
    tree = bytes.fromhex(commit.tree.decode())
    index = _main_index(empty.repository)
    source = Source(empty.repository.root, index) if index.entries else None
    if is_exactly(index, tree):  # no tree object has to be read
        return [TreeFile(entry.path, entry.mode, entry.sha) for entry in index.entries], source
    return flatten(store, tree), source


def _main_index(repository: Repository) -> IndexFile:
    """Return the main checkout's index; one that cannot be read is no source, and no reason to fail."""
    try:
        return read_index(repository.common_dir / "index")
    except GitError:
        return EMPTY


def _settle(empty: Empty, done: Checkout, content: Content | None, stop: Stop) -> tuple[list[IndexEntry], list[str]]:
    """Do what is left to do with the files that were written; return the index entries, and what to say."""
    lfs = empty.order.fill.lfs
    notes = [note for note in done.notes if not (lfs and PROGRAM in note)]
    entries = done.entries
    if content is not None:
        set_permissions(empty.tree, content.permissions)
        entries = joined(content.entries, entries)
    if not lfs:
        return entries, notes
    try:
        entries, told = fill_lfs(empty.repo, empty.repository, empty.tree, entries, stop)
    except OSError as error:
        raise GitError(f"large files cannot be put into {empty.tree}: {error.strerror}") from error
    return entries, notes + told


def _submodules(empty: Empty, files: list[TreeFile], undo: ExitStack, stop: Stop) -> list[str]:
    """Fill the submodules, where that is wanted; return which folders are empty because they belong to other repositories."""
    repository, order = empty.repository, empty.order
    if order.fill.submodules:
        outer = Outer(repository.common_dir, empty.git_dir, empty.tree)
        undo.callback(end_module_loans, repository, order.name)
        return fill_submodules(repository, order.name, outer, files, copy=order.isolation == "clone", stop=stop)
    paths = [shown(file.path) for file in files if file.mode == SUBMODULE]
    if not paths:
        return []
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    named = ", ".join(paths[:_SHOWN])
    return [f"submodules are empty folders until 'git submodule update --init' runs inside: {named}{more}"]


def _write_index(git_dir: Path, content: bytes) -> None:
    lock = git_dir / "index.lock"
    descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    lock.rename(git_dir / "index")

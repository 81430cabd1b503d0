"""Writing what is kept: trees, commits without an author of their own, and the refs that lead to them."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from dulwich.objects import Commit, ObjectID, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git.index_file import IndexFile
from nexus.git.reflog import IDENTITY
from nexus.git.refs import require_real_path
from nexus.git.trees import build, hexadecimal
from nexus.models.workspace import Repository

_TRIES: Final = 100


def index_files(index: IndexFile) -> dict[bytes, tuple[int, bytes]]:
    """Return mode and content of everything that an index holds without conflict, by path."""
    return {
        entry.path: (entry.mode, entry.sha) for entry in index.entries if entry.stage == 0 and not entry.intent_to_add
    }


def store_tree(repo: Repo, files: Mapping[bytes, tuple[int, bytes]], beside: bytes | None = None) -> bytes:
    """Store the tree that holds these files, and return its raw id.

    Args:
        repo: Where to; opened.
        files: Mode and content by path.
        beside: A tree (raw) that something leads to already. Only what differs from it is stored; that an object is there by chance is
            no reason to leave one out, it might be taken away before anything leads to it.
    """
    root, trees = build(files)
    made = {tree.id: tree for tree in trees}
    waiting = [(hexadecimal(root), None if beside is None else hexadecimal(beside))]
    while waiting:
        wanted, there = waiting.pop()
        if wanted != there:
            tree, beneath = made[wanted], {} if there is None else _folders(repo, there)
            waiting += [(child, beneath.get(name)) for name, child in _folders_in(tree)]
            repo.object_store.add_object(tree)
    return root


def _folders(repo: Repo, tree: ObjectID) -> dict[bytes, ObjectID]:
    try:
        found = repo.object_store[tree]
    except (KeyError, GitError):
        return {}
    return dict(_folders_in(found)) if isinstance(found, Tree) else {}


def _folders_in(tree: Tree) -> Iterator[tuple[bytes, ObjectID]]:
    for name, mode, sha in tree.iteritems():
        if stat.S_ISDIR(mode):
            yield name, sha


def make_commit(repo: Repo, tree: bytes, parents: list[ObjectID], message: str) -> ObjectID:
    """Store a commit by Nexus, made now, and return its id."""
    commit = Commit()
    commit.tree = hexadecimal(tree)
    commit.parents = parents
    commit.author = commit.committer = IDENTITY
    commit.author_time = commit.commit_time = int(time.time())
    commit.author_timezone = commit.commit_timezone = 0
    commit.encoding = b"UTF-8"
    commit.message = message.encode()
    repo.object_store.add_object(commit)
    return commit.id


def make_ref(repo: Repo, repository: Repository, prefix: str, name: str, commit: ObjectID) -> str:
    """Have a new ref ``<prefix><name>/<time>`` lead to a commit, and return its full name."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for attempt in range(_TRIES):
        ref = f"{prefix}{name}/{stamp}" + (f"-{attempt + 1}" if attempt else "")
        require_real_path(repository.common_dir, ref)
        if repo.refs.add_if_new(Ref(ref.encode()), commit):
            return ref
    raise GitError(f"no free name to keep the work of {name!r} under at {stamp}")

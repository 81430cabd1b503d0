"""What a tree needs of the main repository, kept by a ref so that ``git gc`` does not take it away.

A private clone borrows objects: that its own refs lead to them is nothing that git in the main repository knows. One commit, which
nobody ever checks out, has as its parents everything that the clone was seen to need.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from dulwich.objects import Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git import layout
from nexus.git.index_file import LINK, SUBMODULE, read_index
from nexus.git.keeping import index_files, make_commit, store_tree
from nexus.git.layout import Worktree
from nexus.git.ref_deletion import delete_ref
from nexus.git.refs import Refs, require_real_path
from nexus.git.report import stashes_on
from nexus.git.repository import sheltered
from nexus.git.rescue_state import admin_state, named_in
from nexus.models.workspace import Repository

_STATE_LIMIT: Final = 1 << 20
_MAX_PARENTS: Final = 1000


def needed(
    repo: Repo, repository: Repository, name: str, worktree: Worktree | None, message: str, *, lent: bool = True
) -> ObjectID:
    """Store a commit that leads to all that a tree needs and the main repository has, and return its id.

    Args:
        repo: The main repository, opened.
        repository: The main repository.
        name: The tree's name.
        worktree: The tree; ``None`` when only its branch is left.
        message: What the commit says.
        lent: Whether what was lent to it counts as well.
    """
    tip = Refs(repository.common_dir).get(os.fsencode(layout.branch_ref(name)))
    parents = _parents(repo, repository, name, worktree, tip, lent=lent)
    return make_commit(repo, store_tree(repo, _staged(repo, worktree)), parents, message)


def lend(repo: Repo, repository: Repository, name: str, worktree: Worktree | None) -> None:
    """Keep what a private clone needs by now. What it was lent before and needs no more is let go.

    Raises:
        GitError: When the ref cannot be written.
    """
    ref = layout.LENT_PREFIX + name
    require_real_path(repository.common_dir, ref)
    before = Refs(repository.common_dir).get(os.fsencode(ref))
    with sheltered(repo) as shelter:
        commit = needed(repo, repository, name, worktree, f"What the private clone {name} borrows\n", lent=False)
        shelter.seal()
        target = Ref(os.fsencode(ref))
        done = (
            repo.refs.add_if_new(target, commit)
            if before is None
            else repo.refs.set_if_equals(target, ObjectID(before), commit)
        )
    if not done:
        raise GitError(f"somebody else is changing {ref}", hint="try again", details={"ref": ref})


def let_go(repo: Repo, repository: Repository, name: str) -> None:
    """Keep nothing for a clone any more."""
    ref = layout.LENT_PREFIX + name
    before = Refs(repository.common_dir).get(os.fsencode(ref))
    if before is not None:
        require_real_path(repository.common_dir, ref)
        delete_ref(repo, os.fsencode(ref), before)


def _parents(
    repo: Repo, repository: Repository, name: str, worktree: Worktree | None, tip: bytes | None, *, lent: bool
) -> list[ObjectID]:
    """Return every commit that is there and that the tree, its entry or its branch leads to. What cannot be read leads nowhere."""
    named = [tip, None if worktree is None or worktree.head is None else worktree.head.encode()]
    with suppress(GitError):
        named += [sha.encode() for sha, _ in stashes_on(repository.common_dir, layout.branch_name(name))]
    if lent:
        named.append(Refs(repository.common_dir).get(os.fsencode(layout.LENT_PREFIX + name)))
    if worktree is not None and worktree.registered:
        with suppress(GitError, OSError):
            named += named_in(admin_state(worktree.admin_dir, _STATE_LIMIT)[0].values())
        if worktree.isolation == "clone":
            with suppress(GitError, OSError):
                named += Refs(worktree.admin_dir).commits().values()
    unique = dict.fromkeys(sha for sha in named if sha is not None)
    return [ObjectID(sha) for sha in unique if _is_commit(repo, sha)][:_MAX_PARENTS]


def _is_commit(repo: Repo, sha: bytes) -> bool:
    try:
        found = repo.object_store[ObjectID(sha)]
        return isinstance(found, Commit) and found.tree in repo.object_store
    except (KeyError, GitError):
        return False


def _staged(repo: Repo, worktree: Worktree | None) -> dict[bytes, tuple[int, bytes]]:
    """Return what the index holds and the main repository has: only the index leads to it."""
    if worktree is None or not worktree.registered:
        return {}
    try:
        files = index_files(read_index(worktree.admin_dir / "index"))
    except (GitError, OSError):
        return {}
    # Under numbers instead of their names: those may be hostile, and nobody checks this tree out.
    wanted = dict.fromkeys((mode, sha) for mode, sha in files.values() if mode not in {SUBMODULE, LINK})
    return {b"%d" % number: each for number, each in enumerate(wanted) if _is_there(repo, each[1])}


def _is_there(repo: Repo, sha: bytes) -> bool:
    try:
        return ObjectID(sha.hex().encode()) in repo.object_store
    except GitError:
        return False

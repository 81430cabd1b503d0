"""A workspace's git, opened to be asked: what was found of its tree, and what ``HEAD`` and other names mean in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from dulwich.repo import Repo

from nexus.errors import GitError, WorkspaceGone
from nexus.git import beneath, layout
from nexus.git.clone_work import is_clone
from nexus.git.creating import BASE_FILE
from nexus.git.fetching import remote_named
from nexus.git.layout import Worktree
from nexus.git.listing import get_worktree
from nexus.git.refs import HEADS, Refs, resolve
from nexus.git.report import Examined, examined
from nexus.git.repository import opened, read_config
from nexus.git.returning import bring_work
from nexus.git.threads import Stop
from nexus.git.trees import shown
from nexus.models.workspace import Repository

_NAME_LIMIT = 4096
_REMOTES = b"refs/remotes/"


class View(NamedTuple):
    """One worktree or private clone, with the repository that holds its objects."""

    repository: Repository
    repo: Repo
    worktree: Worktree
    refs: Refs
    stop: Stop
    closing: ExitStack

    def compared(self) -> Examined:
        """Compare its tree with its index."""
        return examined(self.repository, self.worktree, self.repo, self.stop, self.closing)

    def commit(self, name: str) -> bytes:
        """Return the commit that a name means in the workspace: ``HEAD`` is its own.

        Raises:
            RefNotFound: When it means none.
            UnbornHead: When it starts from ``HEAD`` and there is no commit.
        """
        for head in ("HEAD", "@"):
            rest = name.removeprefix(head)
            if rest != name and rest[:1] in {"", "~", "^"} and self.worktree.head is not None:
                name = self.worktree.head + rest
                break
        return resolve(self.repo, self.refs, name).encode()


class Following(NamedTuple):
    """What a branch follows."""

    ref: bytes
    commit: bytes

    @property
    def name(self) -> str:
        """The short name: ``origin/main``."""
        return shown(self.ref.removeprefix(_REMOTES).removeprefix(HEADS))


@contextmanager
def viewed(repository: Repository, name: str, stop: Stop) -> Iterator[View]:
    """Open a workspace's git, blocking. What a private clone holds is brought into the repository first, unreferenced.

    Raises:
        WorkspaceGone: When its tree is not there.
        GitError: When git's entry for it is gone, or a clone's objects are not what they should be.
    """
    if is_clone(repository, name):
        bring_work(repository, name, stop)
    worktree = get_worktree(repository, name)
    if worktree is None or not worktree.present:
        raise WorkspaceGone(
            f"the work tree of workspace {name!r} is not there",
            hint="look at the workspace's state",
            details={"path": str(layout.worktree_path(repository, name))},
        )
    if not worktree.registered:
        raise GitError(
            f"git's entry for the work tree of {name!r} is gone",
            hint="'boulder doctor' says what can be done",
            details={"name": name},
        )
    with opened(repository) as repo, ExitStack() as closing:
        yield View(repository, repo, worktree, Refs(repository.common_dir), stop, closing)


def following(repository: Repository, refs: Refs, branch: bytes, worktree: Worktree | None = None) -> Following | None:
    """Return what a branch follows: its configured upstream, else what the workspace's branch started from.

    Args:
        repository: The repository.
        refs: Its refs.
        branch: The branch's short name.
        worktree: The workspace, when the branch is its own.
    """
    config = read_config(repository)
    section = (b"branch", branch)
    ref: bytes | None = None
    try:
        remote, merge = config.get(section, b"remote"), config.get(section, b"merge")
    except KeyError:
        ref = None if worktree is None else _base(worktree)
    else:
        named = None if remote == b"." else remote_named(config, os.fsdecode(remote))
        ref = merge if remote == b"." else None if named is None else named.tracked(merge)
    commit = refs.get(ref) if ref is not None and ref.startswith((_REMOTES, HEADS)) else None
    return None if ref is None or commit is None else Following(ref, commit)


def _base(worktree: Worktree) -> bytes | None:
    try:
        content = beneath.read_regular(worktree.admin_dir / BASE_FILE, limit=_NAME_LIMIT)
    except OSError:
        return None
    return (content or b"").strip() or None

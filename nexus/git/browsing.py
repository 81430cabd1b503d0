"""Branches, history and files of commits."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta, timezone

from dulwich.errors import MissingCommitError
from dulwich.objects import Commit, ObjectID, Tree
from dulwich.walk import Walker

from nexus.errors import GitError, InvalidArgument, NotFound, PathIsADirectory, PathNotFound
from nexus.git import layout
from nexus.git.index_file import SUBMODULE
from nexus.git.objects import stored
from nexus.git.picking import parse_paths
from nexus.git.refs import HEADS
from nexus.git.threads import Stop
from nexus.git.trees import shown
from nexus.git.viewing import View, following, viewed
from nexus.models.git import GitBranch, GitCommit, GitSignature
from nexus.models.workspace import Repository

_REMOTES = b"refs/remotes/"
_MOST = 10_000


def tell_branches(repository: Repository, name: str, stop: Stop, *, remote: bool) -> tuple[GitBranch, ...]:
    """Return the branches by name, blocking; a private clone's own are not among them."""
    with viewed(repository, name, stop) as view:
        current = view.worktree.checked_out
        found: list[GitBranch] = []
        for ref, commit in sorted(view.refs.commits().items()):
            if ref.startswith(HEADS):
                short = ref.removeprefix(HEADS)
                follows = following(repository, view.refs, short)
                found.append(
                    GitBranch(
                        name=shown(short),
                        commit=commit.decode(),
                        upstream=None if follows is None else follows.name,
                        current=current == shown(ref),
                        workspace=_workspace(shown(short)),
                    )
                )
            elif remote and ref.startswith(_REMOTES) and view.refs.target(ref) is None:
                found.append(GitBranch(name=shown(ref.removeprefix(_REMOTES)), commit=commit.decode(), remote=True))
        return tuple(found)


def _workspace(branch: str) -> str | None:
    folder, _, name = branch.partition("/")
    return name if folder == layout.BRANCH_FOLDER and name and "/" not in name else None


def tell_log(
    repository: Repository, name: str, ref: str, stop: Stop, *, limit: int, path: str | None, after: str | None
) -> tuple[GitCommit, ...]:
    """Return commits, the newest first, blocking."""
    if not 1 <= limit <= _MOST:
        raise InvalidArgument(f"limit is 1 to {_MOST} commits, not {limit}")
    paths = list(parse_paths([path]).paths) if path is not None else []
    with viewed(repository, name, stop) as view:
        walker = Walker(
            view.repo.object_store,
            [ObjectID(view.commit(ref))],
            paths=paths or None,
            get_parents=lambda commit: view.repo.get_parents(commit.id, commit),
        )
        found: list[GitCommit] = []
        skipping = after is not None
        try:
            for entry in walker:
                stop.check()
                if skipping:
                    skipping = entry.commit.id.decode() != after
                    continue
                found.append(told_commit(entry.commit))
                if len(found) == limit:
                    break
        except (KeyError, MissingCommitError) as error:
            raise GitError(f"the history is not complete: {error}", hint="`git fsck` tells what is missing") from error
    if skipping:
        raise NotFound(f"the commit {after} is not in this history", hint="begin without 'after'")
    return tuple(found)


def told_commit(commit: Commit) -> GitCommit:
    """Return a commit as a value."""
    return GitCommit(
        id=commit.id.decode(),
        parents=tuple(parent.decode() for parent in commit.parents),
        author=_signature(commit.author, commit.author_time, commit.author_timezone),
        committer=_signature(commit.committer, commit.commit_time, commit.commit_timezone),
        message=commit.message.decode("utf-8", "replace"),
    )


def _signature(person: bytes, when: int, offset: int) -> GitSignature:
    name, _, rest = person.decode("utf-8", "replace").partition("<")
    try:
        at = datetime.fromtimestamp(when, timezone(timedelta(seconds=offset)))
    except (ValueError, OverflowError, OSError):
        at = datetime.fromtimestamp(0, UTC)  # whoever wrote it was in no time that there is
    return GitSignature(name=name.strip(), email=rest.rpartition(">")[0].strip(), at=at)


def show_file(repository: Repository, name: str, path: str, ref: str, stop: Stop) -> bytes:
    """Return a file as it is in a commit, blocking.

    Raises:
        PathNotFound, PathIsADirectory: When there is none, or a folder.
    """
    picked = parse_paths([path]).paths
    if not picked:
        raise PathIsADirectory(f"{path} is a folder in {ref}", path=path)
    with viewed(repository, name, stop) as view:
        mode, sha = _entry(view, view.commit(ref), picked[0], path, ref)
        if stat.S_ISDIR(mode) or mode & 0o170000 == SUBMODULE:
            raise PathIsADirectory(f"{path} is a folder in {ref}", path=path)
        content = stored(view.repo.object_store, sha)
    if content is None:
        raise GitError(
            f"the content of {path} in {ref} is not in the repository", hint="`git fsck` tells what is missing"
        )
    return content


def _entry(view: View, commit: bytes, path: bytes, shown_path: str, ref: str) -> tuple[int, bytes]:
    known = view.repo.object_store[ObjectID(commit)]
    mode, sha = stat.S_IFDIR, known.tree if isinstance(known, Commit) else ObjectID(commit)
    for part in path.split(b"/"):
        try:
            tree = view.repo.object_store[sha] if stat.S_ISDIR(mode) else None
            if not isinstance(tree, Tree):
                raise KeyError(part)
            mode, sha = tree[part]
        except KeyError as error:
            raise PathNotFound(f"there is no {shown_path} in {ref}", path=os.fsdecode(path)) from error
    return mode, bytes.fromhex(sha.decode())

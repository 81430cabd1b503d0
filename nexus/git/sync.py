"""Bringing a worktree's branch up to date: fetch, then fast-forward. Nothing is ever merged, rebased or overwritten."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import anyio
import anyio.to_thread
from dulwich.config import Config
from dulwich.objects import Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import GitError, SyncConflict
from nexus.git import beneath, layout, reflog
from nexus.git.advancing import IndexLock, Step, Tree, step_between
from nexus.git.creating import BASE_FILE
from nexus.git.fetching import Connection, Fetched, Remote, note_refs, remote_named
from nexus.git.history import ahead_behind, looking_in
from nexus.git.index_file import IndexFile, read_index
from nexus.git.layout import Worktree
from nexus.git.listing import get_worktree
from nexus.git.refs import Refs
from nexus.git.report import operation_in
from nexus.git.repository import opened, read_config
from nexus.git.status import Comparing, content_of
from nexus.git.threads import Stop, in_thread, in_thread_to_the_end
from nexus.git.trees import TreeFile, flatten, shown
from nexus.models.requests import SyncOutcome
from nexus.models.workspace import Repository

Announce: TypeAlias = Callable[[str, str], None]
"""Told, in the worker thread and before anything changes, from which commit the tree goes to which."""
_NAME_LIMIT: Final = 4096
_SHOWN: Final = 10


async def sync_worktree(
    repository: Repository, name: str, remote_name: str, timeout: float | None, announce: Announce | None = None
) -> SyncOutcome:
    """Fetch and fast-forward. See :meth:`nexus.git.Worktrees.sync`."""
    worktree, remote = await in_thread(lambda _: _prepare(repository, name, remote_name))
    if remote is None:
        return _outcome(worktree, None, f"there is no remote {remote_name!r}, so there is nothing to bring")
    theirs = await fetch(repository, remote, timeout)
    brought = _Brought(remote, theirs)
    return await in_thread(lambda stop: _advance(repository, name, brought, announce, stop))


def _prepare(repository: Repository, name: str, remote_name: str) -> tuple[Worktree, Remote | None]:
    worktree = get_worktree(repository, name)
    if worktree is None or not worktree.present or not worktree.registered:
        raise GitError(f"there is no worktree {name!r} to bring up to date", details={"name": name})
    return worktree, remote_named(read_config(repository), remote_name)


async def fetch(repository: Repository, remote: Remote, timeout: float | None) -> Mapping[bytes, bytes]:
    """Fetch in a thread that may be left behind at the deadline.

    A thread in a network call cannot be stopped, and all it can still do is add objects that nothing refers to.
    """
    connection = Connection(repository, remote, timeout if timeout is not None else 3600.0)
    try:
        with anyio.fail_after(timeout):
            return await anyio.to_thread.run_sync(connection.fetch, abandon_on_cancel=True)
    except TimeoutError as error:
        raise GitError(
            f"the remote {remote.name!r} did not answer within {timeout:g} s",
            hint="are you online? does `git fetch` work, and without asking for a password?",
            details={"remote": remote.name},
        ) from error
    finally:
        await in_thread_to_the_end(connection.abort)


class _Brought(NamedTuple):
    remote: Remote
    theirs: Mapping[bytes, bytes]


class Upstream(NamedTuple):
    """What a branch follows."""

    ref: bytes
    commit: bytes


Moving: TypeAlias = "Callable[[Repo, bytes, bytes], bool]"
"""Moves a branch from one commit to another; says whether it was still at the first one."""


def _advance(
    repository: Repository, name: str, brought: _Brought, announce: Announce | None, stop: Stop
) -> SyncOutcome:
    remote, theirs = brought

    def moving(repo: Repo, before: bytes, after: bytes) -> bool:
        ref = Ref(os.fsencode(layout.branch_ref(name)))
        return bool(repo.refs.set_if_equals(ref, ObjectID(before), ObjectID(after)))

    return advance(
        repository, get_worktree(repository, name), name, remote, theirs, stop=stop, moving=moving, announce=announce
    )


def advance(
    repository: Repository,
    worktree: Worktree | None,
    name: str,
    remote: Remote,
    theirs: Mapping[bytes, bytes],
    *,
    stop: Stop,
    moving: Moving,
    announce: Announce | None = None,
) -> SyncOutcome:
    """Note where a remote's branches are, and fast-forward a worktree; blocking.

    Args:
        repository: The repository.
        worktree: The worktree; its entry may be named by a descriptor.
        name: Its name.
        remote: The remote.
        theirs: Its refs, whose objects have been fetched.
        stop: Asked now and then.
        moving: Moves the branch, when the files are in place.
        announce: Told the two commits before a file is touched.
    """
    with opened(repository) as repo:
        fetched = note_refs(repo, repository, remote, theirs)
        if worktree is None or worktree.head is None:
            raise GitError(f"the worktree {name!r} has no commit to go on from", details={"name": name})
        _require_on_branch(worktree)
        upstream = _upstream(repository, worktree, remote, fetched)
        if upstream is None:
            return _outcome(worktree, remote.name, "its branch has no upstream there", fetched=fetched.moved)
        place = shown(upstream.ref.removeprefix(b"refs/remotes/"))
        ahead, behind = ahead_behind(looking_in(repo), worktree.head.encode(), upstream.commit)
        if behind == 0:
            message = f"up to date with {place}" + (f", {ahead} ahead" if ahead else "")
            return _outcome(worktree, remote.name, message, fetched=fetched.moved)
        if ahead:
            raise SyncConflict(
                f"{worktree.branch} and {place} have both moved: {ahead} ahead, {behind} behind",
                hint=f"inside the workspace: git rebase {place}, or git merge {place}",
                details={"ahead": ahead, "behind": behind, "upstream": place},
            )
        after = upstream.commit.decode()
        if announce is not None:
            announce(worktree.head, after)
        _fast_forward(repo, repository, worktree, upstream, stop=stop, moving=moving)
        message = f"{behind} new commit{'s' if behind > 1 else ''} from {place}"
        return _outcome(worktree, remote.name, message, after=after, fetched=fetched.moved)


def _outcome(
    worktree: Worktree, remote: str | None, message: str, *, after: str | None = None, fetched: int = 0
) -> SyncOutcome:
    before = worktree.head or ""
    return SyncOutcome(
        branch=worktree.branch,
        remote=remote,
        before=before,
        after=after or before,
        fast_forwarded=after is not None,
        fetched=fetched,
        message=message,
    )


def _require_on_branch(worktree: Worktree) -> None:
    operation = operation_in(worktree.admin_dir)
    if operation is not None:
        raise SyncConflict(
            f"a {operation} is in progress in the worktree {worktree.name!r}", hint="end it first, inside the workspace"
        )
    if worktree.checked_out != layout.branch_ref(worktree.name):
        raise SyncConflict(
            f"the worktree {worktree.name!r} is not on its branch {worktree.branch}",
            hint=f"inside the workspace: git switch {worktree.branch}",
            details={"checked_out": worktree.checked_out},
        )


def _upstream(repository: Repository, worktree: Worktree, remote: Remote, fetched: Fetched) -> Upstream | None:
    """Return what to follow: the branch's configured upstream, the branch it started from, or the remote's default."""
    config = read_config(repository)
    refs = Refs(repository.common_dir)
    for theirs in (_configured(config, worktree.branch, remote.name), _base(worktree), fetched.default):
        ours = None if theirs is None else theirs if theirs.startswith(b"refs/remotes/") else remote.tracked(theirs)
        commit = refs.get(ours) if ours is not None else None
        if ours is not None and commit is not None:
            return Upstream(ours, commit)
    head = refs.target(b"refs/remotes/%s/HEAD" % os.fsencode(remote.name))
    commit = refs.get(head) if head is not None else None
    return Upstream(head, commit) if head is not None and commit is not None else None


def _configured(config: Config, branch: str, remote: str) -> bytes | None:
    section = (b"branch", os.fsencode(branch))
    try:
        if config.get(section, b"remote") != os.fsencode(remote):
            return None
        return config.get(section, b"merge")
    except KeyError:
        return None


def _base(worktree: Worktree) -> bytes | None:
    try:
        content = beneath.read_regular(worktree.admin_dir / BASE_FILE, limit=_NAME_LIMIT)
    except OSError:
        return None
    return (content or b"").strip() or None


def _fast_forward(
    repo: Repo, repository: Repository, worktree: Worktree, upstream: Upstream, *, stop: Stop, moving: Moving
) -> None:
    before, after = _head(worktree), upstream.commit
    old, new = files_of(repo, before), files_of(repo, after)
    step = step_between(old, new)
    config = read_config(repository)
    with ExitStack() as closing, IndexLock(worktree.admin_dir) as lock:
        root = os.open(worktree.path, beneath.FOLDER)
        closing.callback(os.close, root)
        index = read_index(worktree.admin_dir / "index")
        tree = Tree(root, repository, config, new)
        content = content_of(repo, repository, config, root)
        _require_untouched(step, index, Comparing(content, worktree.path, index.written_ns, set()), tree)
        stop.check()
        # From here on nothing stops us but the file system: half a step would look like the user's own changes.
        try:
            entries = tree.take(step)
            moved = moving(repo, before, after)
        except OSError as error:
            _take_back(tree, step)
            raise GitError(
                f"the worktree stays at its commit: {error.filename or worktree.path} cannot be written: {error.strerror}",
                details={"path": str(worktree.path)},
            ) from error
        except BaseException:
            _take_back(tree, step)
            raise
        if not moved:
            _take_back(tree, step)
            raise SyncConflict(f"{worktree.branch} was moved by somebody else meanwhile", hint="try again")
        kept = [entry for entry in index.entries if entry.path not in step.paths()]
        lock.commit([*kept, *entries.values()])
    _log(repository, worktree, after.decode(), shown(upstream.ref))


def _head(worktree: Worktree) -> bytes:
    return (worktree.head or "").encode()


def files_of(repo: Repo, sha: bytes) -> list[TreeFile]:
    """Return the files of a commit."""
    commit = repo.object_store[ObjectID(sha)]
    if not isinstance(commit, Commit):
        raise GitError(f"{sha.decode()} is not a commit")
    return flatten(repo.object_store, bytes.fromhex(commit.tree.decode()))


def _require_untouched(step: Step, index: IndexFile, comparing: Comparing, tree: Tree) -> None:
    """Refuse when a file that would change was changed, or a new one would land on something.

    Raises:
        SyncConflict: With every such path.
    """
    if index.incomplete is not None:
        raise GitError(f"the worktree cannot be fast-forwarded: {index.incomplete}")
    entries = {entry.path: entry for entry in index.entries}
    in_the_way: list[str] = []
    for path in sorted(step.paths()):
        entry, old = entries.get(path), step.gone.get(path)
        if old is None:
            touched = entry is not None or (tree.occupied(path) and not _makes_way(path, step, tree))
        else:
            same = entry is not None and entry.stage == 0 and (entry.mode, entry.sha) == (old.mode, old.sha)
            touched = entry is None or not same or comparing.change(entry) is not None
        if touched:
            in_the_way.append(shown(path))
    if in_the_way:
        more = f" and {len(in_the_way) - _SHOWN} more" if len(in_the_way) > _SHOWN else ""
        raise SyncConflict(
            f"local changes are in the way: {', '.join(in_the_way[:_SHOWN])}{more}",
            hint="commit or stash them inside the workspace, then sync again",
            details={"paths": in_the_way},
        )


def _makes_way(path: bytes, step: Step, tree: Tree) -> bool:
    """Return whether what is at a new path is only what this very step removes: a file for a folder, or the reverse."""
    parts = path.split(b"/")
    if any(b"/".join(parts[:depth]) in step.gone for depth in range(1, len(parts))):
        return True
    if not any(gone.startswith(path + b"/") for gone in step.gone):
        return False
    try:
        return tree.files_below(path) <= step.gone.keys()
    except OSError:
        return False


def _take_back(tree: Tree, step: Step) -> None:
    try:
        tree.take(step.back(), replace=True)
    except OSError as error:
        raise GitError(
            f"the worktree is half-way between two commits: {error.strerror}",
            hint="inside the workspace: git status, then git checkout -- <the files it lists>",
        ) from error


def _log(repository: Repository, worktree: Worktree, after: str, upstream: str) -> None:
    message = f"merge {upstream}: Fast-forward"
    ref = layout.branch_ref(worktree.name)
    for git_dir, name in ((repository.common_dir, ref), (worktree.admin_dir, "HEAD")):
        reflog.append(Path(git_dir), name, worktree.head, after, message)

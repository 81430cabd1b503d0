"""Bringing a private clone up to date: its branch comes back first, then it is fast-forwarded from the remote like any worktree.

The clone's own git directory is hostile: it is held by a descriptor, its index and its ref are written beside and renamed, and no
link in it is followed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from dulwich.objects import ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import GitError, SyncConflict
from nexus.git import beneath, layout
from nexus.git.clone_marker import read_marker, write_marker
from nexus.git.clone_work import bring_back
from nexus.git.fetching import Remote, remote_named
from nexus.git.lending import lend
from nexus.git.listing import get_worktree
from nexus.git.repository import opened, read_config
from nexus.git.returning import Clone, opened_clone
from nexus.git.sync import advance, fetch
from nexus.git.threads import Stop, in_thread
from nexus.models.requests import SyncOutcome
from nexus.models.workspace import Repository

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


async def sync_clone(repository: Repository, name: str, remote_name: str, timeout: float | None) -> SyncOutcome:
    """Bring back, fetch, fast-forward. See :meth:`nexus.git.Worktrees.sync`."""
    back = await in_thread(lambda stop: bring_back(repository, name, stop))
    remote = await in_thread(lambda _: remote_named(read_config(repository), remote_name))
    if remote is None:
        return back
    try:
        theirs = await fetch(repository, remote, timeout)
    except GitError as error:
        error.add_note(f"before that: {back.message}")
        raise
    return await in_thread(lambda stop: _advance(repository, name, remote, theirs, stop, back=back))


def _advance(
    repository: Repository, name: str, remote: Remote, theirs: Mapping[bytes, bytes], stop: Stop, *, back: SyncOutcome
) -> SyncOutcome:
    with opened_clone(repository, name) as clone:
        worktree = get_worktree(repository, name)
        if worktree is not None:
            worktree = worktree.model_copy(update={"admin_dir": clone.git_dir})

        def moving(repo: Repo, before: bytes, after: bytes) -> bool:
            ref = layout.branch_ref(name)
            # First here, where it can be compared and swapped: a clone that moves on meanwhile shows at the next sync.
            if not repo.refs.set_if_equals(Ref(os.fsencode(ref)), ObjectID(before), ObjectID(after)):
                return False
            moved = False
            try:
                moved = move_in(clone, ref, before, after)
            finally:
                if not moved:
                    repo.refs.set_if_equals(Ref(os.fsencode(ref)), ObjectID(after), ObjectID(before))
            return moved

        try:
            done = advance(repository, worktree, name, remote, theirs, stop=stop, moving=moving)
        except SyncConflict as conflict:
            # Its work has come back all the same, which is what most people sync a clone for.
            return back.model_copy(update={"message": f"{back.message}; not fast-forwarded: {conflict.message}"})
    if done.fast_forwarded:
        note_moved(repository, name, done.after)
    return done.model_copy(
        update={
            "before": back.before or done.before,
            "fetched": back.fetched + done.fetched,
            "message": f"{back.message}; {done.message}",
        }
    )


def move_in(clone: Clone, ref: str, before: bytes | None, after: bytes) -> bool:
    """Move the clone's own branch, if it is still where it was; say whether it was."""
    parent, _, name = os.fsencode(ref).rpartition(b"/")
    root = os.open(clone.git_dir, beneath.ENTERED)
    try:
        with beneath.made_folder(root, parent) as at:
            lock = name + b".lock"
            try:
                with os.fdopen(os.open(lock, _CREATE, 0o666, dir_fd=at), "wb") as writing:
                    if clone.refs().get(os.fsencode(ref)) != before:
                        os.unlink(lock, dir_fd=at)
                        return False
                    writing.write(after + b"\n")
            except FileExistsError:
                return False
            os.rename(lock, name, src_dir_fd=at, dst_dir_fd=at)
            return True
    finally:
        os.close(root)


def note_moved(repository: Repository, name: str, after: str) -> None:
    """Note where a clone's branch was moved to, here and in the clone, and keep what the clone needs by now."""
    marker = read_marker(repository, name)
    if marker is not None:
        write_marker(repository, name, marker.model_copy(update={"returned": after}))
    with opened(repository) as repo:
        lend(repo, repository, name, get_worktree(repository, name))

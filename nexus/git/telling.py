"""The status of a workspace's tree as a value."""

from __future__ import annotations

import os
import stat

from nexus.git.history import ahead_behind, looking_in
from nexus.git.index_file import EXECUTABLE, FILE, LINK, SUBMODULE, IndexEntry
from nexus.git.refs import HEADS
from nexus.git.report import operation_in
from nexus.git.status import Change, TreeStatus
from nexus.git.sync import files_of
from nexus.git.threads import Stop
from nexus.git.trees import shown
from nexus.git.viewing import Following, View, following, viewed
from nexus.models.git import GitChange, GitChangeKind, GitStatus
from nexus.models.workspace import Repository

_SORTS = {FILE: "file", EXECUTABLE: "file", LINK: "link", SUBMODULE: "submodule"}


def tell_status(repository: Repository, name: str, stop: Stop) -> GitStatus:
    """Return how tree, index and commit differ, blocking."""
    with viewed(repository, name, stop) as view:
        found = view.compared().status
        conflicted = {entry.path for entry in found.index_file.entries if entry.stage}
        ref = view.worktree.checked_out
        upstream = _upstream(view)
        counts: tuple[int | None, int | None] = (None, None)
        if upstream is not None and view.worktree.head is not None:
            counts = ahead_behind(looking_in(view.repo), view.worktree.head.encode(), upstream.commit)
        return GitStatus(
            branch=ref.removeprefix("refs/heads/") if ref is not None else None,
            head=view.worktree.head,
            upstream=None if upstream is None else upstream.name,
            ahead=counts[0],
            behind=counts[1],
            staged=_staged(view, found, conflicted),
            changed=_changed(view, found, conflicted),
            untracked=tuple(shown(path) for path in (*found.untracked.files, *found.untracked.repositories)),
            conflicted=tuple(shown(path) for path in sorted(conflicted)),
            operation=operation_in(view.worktree.admin_dir),
            problems=(*found.problems, *found.inside),
        )


def _upstream(view: View) -> Following | None:
    ref = view.worktree.checked_out
    if ref is None or not ref.startswith("refs/heads/"):
        return None
    branch = os.fsencode(ref).removeprefix(HEADS)
    own = view.worktree if ref == f"refs/heads/{view.worktree.branch}" else None
    return following(view.repository, view.refs, branch, own)


def _staged(view: View, found: TreeStatus, conflicted: set[bytes]) -> tuple[GitChange, ...]:
    paths = [path for path in found.staged if path not in conflicted]
    if not paths:
        return ()
    head = view.worktree.head
    before = {} if head is None else {file.path: file.mode for file in files_of(view.repo, head.encode())}
    now = {entry.path: entry.mode for entry in found.index_file.entries if entry.stage == 0}
    return tuple(GitChange(path=shown(path), kind=kind_of(before.get(path), now.get(path))) for path in paths)


def kind_of(before: int | None, now: int | None) -> GitChangeKind:
    """Return how a path differs, given the modes on both sides; ``None`` where it is not."""
    if before is None:
        return GitChangeKind.ADDED
    if now is None:
        return GitChangeKind.DELETED
    same = _SORTS.get(before) == _SORTS.get(now)
    return GitChangeKind.MODIFIED if same else GitChangeKind.TYPE_CHANGED


def _changed(view: View, found: TreeStatus, conflicted: set[bytes]) -> tuple[GitChange, ...]:
    entries = {entry.path: entry for entry in found.index_file.entries if entry.stage == 0}
    return tuple(
        GitChange(path=shown(path), kind=_kind(view, entries[path], change))
        for path, change in sorted(found.changed.items())
        if path not in conflicted
    )


def _kind(view: View, entry: IndexEntry, change: Change) -> GitChangeKind:
    if change is Change.DELETED:
        return GitChangeKind.DELETED
    if change is Change.UNKNOWN:
        return GitChangeKind.UNKNOWN
    if entry.intent_to_add:
        return GitChangeKind.ADDED
    try:
        mode = os.lstat(b"%s/%s" % (os.fsencode(view.worktree.path), entry.path)).st_mode
    except OSError:
        return GitChangeKind.MODIFIED
    there = "link" if stat.S_ISLNK(mode) else "file" if stat.S_ISREG(mode) else "other"
    return GitChangeKind.MODIFIED if there == _SORTS.get(entry.mode) else GitChangeKind.TYPE_CHANGED

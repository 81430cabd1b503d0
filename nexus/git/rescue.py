"""Keeping everything a worktree holds in a commit, before the worktree goes away."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Final

from dulwich.objects import Blob, Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git import layout
from nexus.git.eol import smudge
from nexus.git.index_file import EXECUTABLE, FILE, LINK, SUBMODULE, IndexEntry, IndexFile
from nexus.git.layout import Worktree
from nexus.git.listing import get_worktree
from nexus.git.reflog import IDENTITY
from nexus.git.refs import Refs, require_real_path
from nexus.git.report import Examined, examined, operation_in
from nexus.git.repository import opened
from nexus.git.status import Change
from nexus.git.threads import Stop
from nexus.git.trees import build, hexadecimal, is_hostile_name, shown
from nexus.models.workspace import Repository

_Files = dict[bytes, tuple[int, bytes]]
_SHOWN: Final = 5
_TRIES: Final = 100


def rescue_worktree(repository: Repository, name: str, max_file_bytes: int, stop: Stop) -> str:
    """Write a worktree's state to a rescue ref, blocking. See :meth:`nexus.git.Worktrees.rescue`."""
    worktree = get_worktree(repository, name)
    if worktree is None or not (worktree.present or worktree.head):
        raise GitError(f"there is no worktree {name!r} to rescue", details={"name": name})
    with opened(repository) as repo, ExitStack() as closing:
        if not worktree.present or not worktree.registered:
            return _without_tree(repo, repository, worktree)
        found = examined(repository, worktree, repo, stop, closing)
        _require_whole(found)
        index_files = _index_files(found.status.index_file)
        files = _tree_files(repo, found, index_files, max_file_bytes, stop)
        parents = [*_heads(repo, repository, worktree)]
        tree = _store_tree(repo, files)
        index_tree = _store_tree(repo, index_files)
        if index_tree not in {tree, _tree_of(repo, worktree.head)}:
            kept = _commit(repo, index_tree, parents[:1], f"What was staged in the worktree {name}\n")
            parents.append(kept)
        return _note(repo, repository, name, _commit(repo, tree, parents, _message(found)))


def _without_tree(repo: Repo, repository: Repository, worktree: Worktree) -> str:
    """Keep the commits of a worktree whose tree is gone."""
    if worktree.present:
        raise GitError(
            f"{worktree.path} cannot be rescued: git's entry for it is gone",
            hint="copy what you need out of it by hand",
            details={"path": str(worktree.path)},
        )
    heads = _heads(repo, repository, worktree)
    return _note(repo, repository, worktree.name, heads[0])


def _require_whole(found: Examined) -> None:
    """Refuse where something could not be kept: a rescue that drops a file is none."""
    nested = [shown(path) for path in found.status.untracked.repositories]
    unknown = [
        entry.path
        for entry in found.status.index_file.entries
        if entry.mode == SUBMODULE and found.status.changed.get(entry.path) is Change.UNKNOWN
    ]
    unknown_lines = [f"the submodule {shown(path)}" for path in unknown]
    what = [
        *(f"the repository {path}" for path in nested),
        *unknown_lines,
        *(f"the folder {line}" for line in found.status.untracked.unreadable),
        *([found.status.index_file.incomplete] if found.status.index_file.incomplete else []),
    ]
    if what:
        raise _refused(what, "its own commits and files cannot be kept in a commit of this one")


def _refused(what: list[str], why: str) -> GitError:
    more = f" and {len(what) - _SHOWN} more" if len(what) > _SHOWN else ""
    return GitError(
        f"the worktree cannot be kept whole: {', '.join(what[:_SHOWN])}{more}: {why}",
        hint="move it out of the worktree or delete it, then try again",
        details={"paths": what},
    )


def _index_files(index: IndexFile) -> _Files:
    return {
        entry.path: (entry.mode, entry.sha) for entry in index.entries if entry.stage == 0 and not entry.intent_to_add
    }


def _tree_files(repo: Repo, found: Examined, index_files: _Files, limit: int, stop: Stop) -> _Files:
    """Return every file of the tree with its content stored."""
    files = dict(index_files)
    entries = {entry.path: entry for entry in found.status.index_file.entries}
    refused: list[str] = []
    wanted = [
        *(path for path, change in found.status.changed.items() if _must_read(change, entries[path])),
        *found.status.untracked.files,
    ]
    for path in wanted:
        stop.check()
        if any(map(is_hostile_name, path.split(b"/"))):
            refused.append(f"{shown(path)} (no checkout could restore this name)")
            continue
        try:
            kept = _keep(repo, found, path, entries.get(path), limit)
        except OSError as error:
            refused.append(f"{shown(path)} ({error.strerror})")
            continue
        if kept is None:
            files.pop(path, None)
        else:
            files[path] = kept
    for path, change in found.status.changed.items():
        if change is Change.DELETED:
            files.pop(path, None)
    if refused:
        raise _refused(
            refused, f"each file must be readable, at most {limit} bytes long, and have a name that git allows"
        )
    return _without_collisions(files, wanted)


def _must_read(change: Change, entry: IndexEntry) -> bool:
    return change is not Change.DELETED and entry.mode != SUBMODULE


def _without_collisions(files: _Files, present: Iterable[bytes]) -> _Files:
    """Drop index paths that lie below what is a file or link now."""
    leaves = set(present) & files.keys()
    return {path: value for path, value in files.items() if not any(above in leaves for above in _above(path))}


def _above(path: bytes) -> Iterable[bytes]:
    at = path.find(b"/")
    while at != -1:
        yield path[:at]
        at = path.find(b"/", at + 1)


def _keep(repo: Repo, found: Examined, path: bytes, entry: IndexEntry | None, limit: int) -> tuple[int, bytes] | None:
    """Store one file; ``None`` when it is gone, or a folder is in its place."""
    full = b"%s/%s" % (os.fsencode(found.worktree.path), path)
    try:
        status = os.lstat(full)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
        return None
    if status.st_size > limit:
        raise OSError(0, f"{status.st_size} bytes")
    raw, how = found.content.read(path, entry.mode if entry else None, status)
    if len(raw) > limit:
        raise OSError(0, f"more than {limit} bytes")
    sha = entry.sha if entry is not None and entry.stage == 0 else None
    stored = found.content.cleaned(raw, how, sha)
    # Stored as git would, so that differences show; but only where a checkout gives these very bytes back.
    blob = Blob.from_string(
        stored if smudge(stored, how, bytes.fromhex(Blob.from_string(stored).id.decode())) == raw else raw
    )
    repo.object_store.add_object(blob)
    return _mode(status, entry, found), bytes.fromhex(blob.id.decode())


def _mode(status: os.stat_result, entry: IndexEntry | None, found: Examined) -> int:
    if stat.S_ISLNK(status.st_mode):
        return LINK
    if entry is not None and entry.mode == LINK and not found.content.symlinks:
        return LINK
    if not found.content.filemode and entry is not None and entry.mode in {FILE, EXECUTABLE}:
        return entry.mode
    return EXECUTABLE if status.st_mode & 0o100 and found.content.filemode else FILE


def _store_tree(repo: Repo, files: _Files) -> bytes:
    root, trees = build(files)
    for tree in trees:
        if tree.id not in repo.object_store:
            repo.object_store.add_object(tree)
    return root


def _tree_of(repo: Repo, head: str | None) -> bytes | None:
    commit = None if head is None else repo.object_store[ObjectID(head.encode())]
    return bytes.fromhex(commit.tree.decode()) if isinstance(commit, Commit) else None


def _heads(repo: Repo, repository: Repository, worktree: Worktree) -> list[ObjectID]:
    """Return the checked-out commit, and the branch's tip where that is another one."""
    tip = Refs(repository.common_dir).get(os.fsencode(layout.branch_ref(worktree.name)))
    found = [worktree.head.encode()] if worktree.head is not None else []
    if tip is not None and tip not in found:
        found.append(tip)
    return [ObjectID(sha) for sha in found if ObjectID(sha) in repo.object_store]


def _commit(repo: Repo, tree: bytes, parents: list[ObjectID], message: str) -> ObjectID:
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


def _message(found: Examined) -> str:
    worktree, status = found.worktree, found.status
    lines = [
        f"Everything in the worktree {worktree.name} when it was removed",
        "",
        f"Branch: {worktree.checked_out or 'detached HEAD'}",
        f"Changed: {len(status.changed)}, staged: {len(status.staged)}, untracked: {len(status.untracked.files)}",
    ]
    if any(entry.stage for entry in status.index_file.entries):
        lines.append("The index held conflicts; the files are as they were in the tree.")
    operation = operation_in(worktree.admin_dir)
    if operation is not None:
        lines.append(f"A {operation} was in progress.")
    if status.untracked.others:
        lines.append(
            f"Not kept, because git has no such thing: {', '.join(map(shown, status.untracked.others[:_SHOWN]))}"
        )
    return "\n".join(lines) + "\n"


def _note(repo: Repo, repository: Repository, name: str, commit: ObjectID) -> str:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for attempt in range(_TRIES):
        ref = f"{layout.RESCUE_PREFIX}{name}/{stamp}" + (f"-{attempt + 1}" if attempt else "")
        require_real_path(repository.common_dir, ref)
        if repo.refs.add_if_new(Ref(ref.encode()), commit):
            return ref
    raise GitError(f"no free name for a rescue of {name!r} at {stamp}")

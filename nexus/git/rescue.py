"""Keeping everything a worktree holds in a commit, before the worktree goes away.

The commit's tree is the worktree, untracked files included. Its parents are the commit that was checked out, the branch's tip where
that is another one, a commit of what was staged where that is something else, and last the state (:mod:`nexus.git.rescue_state`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Final, NamedTuple

from dulwich.objects import Blob, Commit, ObjectID
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git import layout
from nexus.git.eol import smudge
from nexus.git.index_file import FILE, LINK, SUBMODULE, IndexEntry, IndexFile, read_index
from nexus.git.keeping import index_files, make_commit, make_ref, store_tree
from nexus.git.layout import Worktree
from nexus.git.listing import get_worktree
from nexus.git.precious import Precious
from nexus.git.refs import Refs
from nexus.git.report import Examined, examined, operation_in, stashes_on
from nexus.git.repository import opened, sheltered
from nexus.git.rescue_state import SUBJECT, Manifest, Stash, State, admin_state, commits_in, quoted, state_files
from nexus.git.status import Change
from nexus.git.submodule_work import unsaved_commits
from nexus.git.threads import Stop
from nexus.git.tree_files import mode_of
from nexus.git.trees import is_hostile_name, shown
from nexus.git.trouble import refusals_told
from nexus.models.workspace import Repository

_Files = dict[bytes, tuple[int, bytes]]
_SHOWN: Final = 5


class _Kept(NamedTuple):
    """The files of a worktree, stored, and what a tree has no place for."""

    files: _Files
    verbatim: list[bytes]
    permissions: dict[bytes, int]
    changed: int
    size: int


def rescue_worktree(
    repository: Repository, name: str, max_file_bytes: int, stop: Stop, precious: Precious | None = None
) -> str:
    """Write a worktree's state to a rescue ref, blocking. See :meth:`nexus.git.Worktrees.rescue`."""
    worktree = get_worktree(repository, name)
    with opened(repository) as repo, sheltered(repo) as shelter:
        if worktree is None or not (worktree.present or worktree.head):
            commit = _branch_alone(repository, name)
        elif worktree.present:
            commit = whole_commit(
                repo, repository, worktree, max_file_bytes, stop, precious=precious, moment="when it was removed"
            )
        else:
            _require_ours(worktree)
            index = read_index(worktree.admin_dir / "index")
            kept = _Kept(_without_collisions(index_files(index), ()), [], {}, 0, 0)
            commit = _without_tree(repo, repository, worktree, index, kept=kept, limit=max_file_bytes)
        shelter.seal()
        return make_ref(repo, repository, layout.RESCUE_PREFIX, name, commit)


def whole_commit(
    repo: Repo,
    repository: Repository,
    worktree: Worktree,
    max_file_bytes: int,
    stop: Stop,
    *,
    precious: Precious | None,
    moment: str,
) -> ObjectID:
    """Store everything that a worktree holds, whose tree is there, and return the commit. No ref leads to it yet.

    Args:
        repo: The repository, opened.
        repository: The repository.
        worktree: The worktree.
        max_file_bytes: Largest file that is kept.
        stop: Asked now and then.
        precious: Which ignored files are kept, too.
        moment: When this is, for the commit's message.

    Raises:
        GitError: When something cannot be kept.
    """
    if not worktree.registered:
        raise GitError(
            f"{worktree.path} cannot be rescued: git's entry for it is gone",
            hint="copy what you need out of it by hand",
            details={"path": str(worktree.path)},
        )
    _require_ours(worktree)
    if worktree.head is None and worktree.checked_out is None:
        raise GitError(
            f"{worktree.path} cannot be kept in a commit: its HEAD cannot be read, so nobody knows what it started from",
            details={"path": str(worktree.path)},
        )
    with ExitStack() as closing:
        found = examined(repository, worktree, repo, stop, closing, precious=precious)
        _require_whole(found, unsaved_commits(repository, worktree))
        kept = _tree_files(repo, found, max_file_bytes, stop)
        others = [shown(path) for path in found.status.untracked.others]
        return _write(
            repo,
            repository,
            worktree,
            found.status.index_file,
            kept=kept,
            limit=max_file_bytes,
            left=others,
            message=_message(found, moment),
        )


def _require_ours(worktree: Worktree) -> None:
    if worktree.lock is not None and not worktree.lock.startswith(layout.LOCK_PREFIX):
        raise GitError(f"{worktree.path} is locked by somebody else: {worktree.lock or 'no reason given'}")


def _branch_alone(repository: Repository, name: str) -> ObjectID:
    """Return the tip of a branch whose worktree is gone altogether."""
    tip = Refs(repository.common_dir).get(os.fsencode(layout.branch_ref(name)))
    if tip is None:
        raise GitError(f"there is no worktree {name!r} to rescue", details={"name": name})
    return ObjectID(tip)


def _without_tree(
    repo: Repo, repository: Repository, worktree: Worktree, index: IndexFile, *, kept: _Kept, limit: int
) -> ObjectID:
    """Keep the commits of a worktree whose tree is gone, and what was staged in it."""
    heads = _heads(repo, repository, worktree)
    base = _tree_of(repo, worktree.head)
    plain = store_tree(repo, kept.files, base) == base or not index.entries
    stashes = stashes_on(repository.common_dir, layout.branch_name(worktree.name))
    if (
        plain
        and len(heads) == 1
        and not stashes
        and not admin_state(worktree.admin_dir, limit)[0].keys() - {b"nexus-base"}
    ):
        return heads[0]
    message = f"What git knew of the worktree {worktree.name}, whose files were gone\n"
    return _write(repo, repository, worktree, index, kept=kept, limit=limit, left=[], message=message)


def _write(
    repo: Repo,
    repository: Repository,
    worktree: Worktree,
    index: IndexFile,
    *,
    kept: _Kept,
    limit: int,
    left: list[str],
    message: str,
) -> ObjectID:
    """Write all commits of a rescue and return the last one."""
    parents = _heads(repo, repository, worktree)
    base = _tree_of(repo, worktree.head)
    tree, index_tree = store_tree(repo, kept.files, base), store_tree(repo, index_files(index), base)
    if index_tree not in {tree, base}:
        parents.append(make_commit(repo, index_tree, parents[:1], f"What was staged in the worktree {worktree.name}\n"))
    admin, strange = admin_state(worktree.admin_dir, limit)
    stashes = stashes_on(repository.common_dir, layout.branch_name(worktree.name))
    tip = Refs(repository.common_dir).get(os.fsencode(layout.branch_ref(worktree.name)))
    manifest = Manifest(
        name=worktree.name,
        head=worktree.head,
        ref=worktree.checked_out,
        tip=None if tip is None else tip.decode(),
        operation=operation_in(worktree.admin_dir),
        stashes=tuple(Stash(commit=sha, message=quoted(line)) for sha, line in stashes),
        verbatim=tuple(map(quoted, kept.verbatim)),
        permissions={quoted(path): bits for path, bits in kept.permissions.items()},
        files=kept.changed,
        size=kept.size,
        left=(*left, *strange),
    )
    named = commits_in(repo.object_store, [*(sha.encode() for sha, _ in stashes), *admin.values()])
    state_tree = store_tree(repo, state_files(repo.object_store, State(manifest, index.entries, admin)))
    state = make_commit(repo, state_tree, named, f"{SUBJECT.decode()} of the worktree {worktree.name}\n")
    return make_commit(repo, tree, [*parents, state], message)


def _require_whole(found: Examined, commits: list[str]) -> None:
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
        *(f"the submodule {line}" for line in commits),
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


def _tree_files(repo: Repo, found: Examined, limit: int, stop: Stop) -> _Kept:
    """Return every file of the tree with its content stored."""
    kept = _Kept(index_files(found.status.index_file), [], {}, 0, 0)
    files, size = kept.files, 0
    entries = {entry.path: entry for entry in found.status.index_file.entries}
    refused: list[str] = []
    untracked = found.status.untracked
    wanted = [
        *(path for path, change in found.status.changed.items() if _must_read(change, entries[path])),
        *untracked.files,
        *untracked.precious,
    ]
    for path in wanted:
        stop.check()
        if any(map(is_hostile_name, path.split(b"/"))):
            refused.append(f"{shown(path)} (no checkout could restore this name)")
            continue
        try:
            size += _keep(repo, found, path, entries.get(path), limit=limit, kept=kept)
        except OSError as error:
            refused.append(f"{shown(path)} ({error.strerror})")
    for path, change in found.status.changed.items():
        if change is Change.DELETED:
            files.pop(path, None)
    if refused:
        raise _refused(
            refused, f"each file must be readable, at most {limit} bytes long, and have a name that git allows"
        )
    absent = {entry.path for entry in entries.values() if entry.skip_worktree and not _is_there(found, entry.path)}
    files = {path: value for path, value in _without_collisions(files, wanted).items() if path not in absent}
    return kept._replace(files=files, changed=len(found.status.changed) + len(untracked.files), size=size)


def _must_read(change: Change, entry: IndexEntry) -> bool:
    return change is not Change.DELETED and entry.mode != SUBMODULE


def _is_there(found: Examined, path: bytes) -> bool:
    return os.path.lexists(b"%s/%s" % (os.fsencode(found.worktree.path), path))


def _without_collisions(files: _Files, present: Iterable[bytes]) -> _Files:
    """Drop index paths that lie below what is a file or link now."""
    leaves = set(present) & files.keys()
    return {path: value for path, value in files.items() if not any(above in leaves for above in _above(path))}


def _above(path: bytes) -> Iterable[bytes]:
    at = path.find(b"/")
    while at != -1:
        yield path[:at]
        at = path.find(b"/", at + 1)


def _keep(repo: Repo, found: Examined, path: bytes, entry: IndexEntry | None, *, limit: int, kept: _Kept) -> int:
    """Store one file and return its size; when it is gone, or a folder is in its place, it is taken off the list."""
    full = b"%s/%s" % (os.fsencode(found.worktree.path), path)
    try:
        status = os.lstat(full)
    except (FileNotFoundError, NotADirectoryError):
        status = None
    if status is None or not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        kept.files.pop(path, None)
        return 0
    if status.st_size > limit:
        raise OSError(0, f"{status.st_size} bytes")
    raw, how = found.content.read(path, entry.mode if entry else None, status)
    if len(raw) > limit:
        raise OSError(0, f"more than {limit} bytes")
    sha = entry.sha if entry is not None and entry.stage == 0 else None
    stored = found.content.cleaned(raw, how, sha)
    # Stored as git would, so that differences show; but only where a checkout gives these very bytes back.
    if smudge(stored, how, bytes.fromhex(Blob.from_string(stored).id.decode())) != raw:
        stored = raw
        kept.verbatim.append(path)
    blob = Blob.from_string(stored)
    with refusals_told():  # a full disk is no fault of this file
        repo.object_store.add_object(blob)
    mode = mode_of(status, entry, found.content) or FILE
    kept.files[path] = mode, bytes.fromhex(blob.id.decode())
    bits = stat.S_IMODE(status.st_mode) & 0o777
    if mode != LINK and bits not in {0o644, 0o664, 0o755, 0o775}:
        kept.permissions[path] = bits
    return len(raw)


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


def _message(found: Examined, moment: str) -> str:
    worktree, status = found.worktree, found.status
    lines = [
        f"Everything in the worktree {worktree.name} {moment}",
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

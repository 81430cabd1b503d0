"""Committing a workspace's changes from outside of it. No hook, filter or signing program is run."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from dulwich.objects import Blob, Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import BranchInUse, GitError, InvalidArgument, StateConflict, Unsupported
from nexus.git import layout, reflog
from nexus.git.advancing import IndexLock, drop_our_lock
from nexus.git.browsing import told_commit
from nexus.git.clone_work import is_clone
from nexus.git.identity import GitIdentity
from nexus.git.index_file import SUBMODULE, IndexEntry, entry_for
from nexus.git.keeping import store_tree
from nexus.git.picking import Picked, parse_paths
from nexus.git.refs import checked_out, require_real_path
from nexus.git.report import Examined, operation_in
from nexus.git.status import Change
from nexus.git.threads import Stop
from nexus.git.tree_files import mode_of
from nexus.git.trees import is_hostile_name, shown
from nexus.git.viewing import View, viewed
from nexus.models.git import GitAuthor, GitCommit
from nexus.models.workspace import Repository

_HEADS: Final = "refs/heads/"
_SHOWN: Final = 10
_MESSAGE_LIMIT: Final = 1 << 20


class Order(NamedTuple):
    """What to commit."""

    message: str
    paths: tuple[str, ...] | None
    author: GitAuthor | None
    user: GitIdentity
    """Who the user is to git."""


def commit_tree(repository: Repository, name: str, order: Order, stop: Stop) -> GitCommit:
    """Commit, blocking. See :meth:`nexus.abc.git_access.GitAccess.commit`."""
    message = _message(order.message)
    committer = _person(order.user.name, order.user.email)
    author = committer if order.author is None else _person(order.author.name, order.author.email)
    picked = parse_paths(order.paths or ())
    if order.paths is not None and not order.paths:
        raise InvalidArgument("there are no paths to commit", hint="leave 'paths' out to commit everything")
    _require_linked(repository, name)
    # The caller holds the workspace: a lock of ours that is there now was left by a process that was killed.
    drop_our_lock(layout.admin_path(repository, name))
    with viewed(repository, name, stop) as view, IndexLock(view.worktree.admin_dir) as lock:
        ref = _branch(view)
        found = view.compared()
        _require_settled(view, found)
        entries = _entries(view, found, picked)
        head = (view.worktree.head or "").encode()
        tree = store_tree(view.repo, _files(entries))
        if tree == bytes.fromhex(_commit_at(view.repo, head).tree.decode()):
            raise StateConflict(
                f"there is nothing to commit in workspace {name!r}",
                details={"state": "clean", "allowed": []},
            )
        stop.check()
        commit = _store(view.repo, tree, ObjectID(head), message=message, author=author, committer=committer)
        require_real_path(repository.common_dir, ref)
        # The index first: whoever is killed in between leaves everything staged, and nothing that a next commit would take back.
        lock.commit(entries)
        if not view.repo.refs.set_if_equals(Ref(os.fsencode(ref)), ObjectID(head), commit.id):
            raise StateConflict(
                f"{ref.removeprefix(_HEADS)} was moved by somebody else meanwhile",
                hint="try again",
                details={"state": "moved", "allowed": []},
            )
        _log(repository, view, ref, commit)
        return told_commit(commit)


def _require_linked(repository: Repository, name: str) -> None:
    if is_clone(repository, name):
        raise Unsupported(
            f"workspace {name!r} is a private clone: nothing outside writes to its repository",
            hint="commit inside of it: await ws.exec('git', 'commit', …)",
            details={"capability": "commit", "provider": None},
        )


def _message(text: str) -> bytes:
    message = text.strip()
    if not message or "\0" in message or len(message) > _MESSAGE_LIMIT:
        raise InvalidArgument("a commit needs a message, without NUL characters and of at most a million characters")
    return message.encode("utf-8", "replace") + b"\n"


def _person(name: str | None, email: str | None) -> bytes:
    """Return who somebody is as git writes it."""
    clean_name, clean_email = (_clean(value or "") for value in (name, email))
    if not clean_name or not clean_email:
        raise InvalidArgument(
            "nobody has said who commits", hint="git config --global user.name '…'; git config --global user.email …"
        )
    return f"{clean_name} <{clean_email}>".encode("utf-8", "replace")


def _clean(text: str) -> str:
    return "".join(char for char in text if char not in "<>" and char.isprintable()).strip()


def _branch(view: View) -> str:
    """Return the branch to move: the one that is checked out, here and nowhere else."""
    ref = view.worktree.checked_out
    if ref is None or not ref.startswith(_HEADS) or view.worktree.head is None:
        raise StateConflict(
            f"HEAD of workspace {view.worktree.name!r} is on no branch with a commit",
            hint=f"inside the workspace: git switch {view.worktree.branch}",
            details={"state": "detached", "allowed": []},
        )
    # Whoever works in the tree writes its HEAD: it must not have us move the branch of somebody else's tree.
    elsewhere = checked_out(view.repository.common_dir, ref)
    if elsewhere is not None and elsewhere != view.worktree.admin_dir:
        raise BranchInUse(
            f"{ref.removeprefix(_HEADS)} is checked out elsewhere too",
            hint=f"inside the workspace: git switch {view.worktree.branch}",
            details={"branch": ref.removeprefix(_HEADS), "git_dir": str(elsewhere)},
        )
    return ref


def _require_settled(view: View, found: Examined) -> None:
    conflicts = sorted({shown(entry.path) for entry in found.status.index_file.entries if entry.stage})
    operation = operation_in(view.worktree.admin_dir)
    if conflicts or operation is not None:
        what = f"there are conflicts: {', '.join(conflicts[:_SHOWN])}" if conflicts else f"a {operation} is in progress"
        raise StateConflict(
            f"workspace {view.worktree.name!r} cannot be committed: {what}",
            hint="end it first, inside the workspace",
            details={"state": operation or "conflicted", "allowed": [], "conflicts": conflicts},
        )
    if found.status.index_file.incomplete is not None:
        raise GitError(
            f"workspace {view.worktree.name!r} cannot be committed from outside: {found.status.index_file.incomplete}",
            hint="commit inside of it: await ws.exec('git', 'commit', …)",
        )


def _entries(view: View, found: Examined, picked: Picked) -> list[IndexEntry]:
    """Return the index that is to be committed: as it is, with what was picked as it is in the tree."""
    status = found.status
    entries = {entry.path: entry for entry in status.index_file.entries}
    changed = {path: change for path, change in status.changed.items() if entries[path].mode != SUBMODULE}
    candidates = [*changed, *status.untracked.files]
    picked.require_all_in([*candidates, *status.staged])
    refused: list[str] = []
    for path in filter(picked.takes, candidates):
        view.stop.check()
        entry = entries.get(path)
        if changed.get(path) is Change.DELETED:
            del entries[path]
            continue
        new = _read(view, found, path, entry, refused)
        if new is not None:
            _make_way(entries, path)
            entries[path] = new
        elif not refused:
            entries.pop(path, None)  # it has gone meanwhile
    if refused:
        more = f" and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise GitError(
            f"these files cannot be committed from outside: {', '.join(refused[:_SHOWN])}{more}",
            hint="commit inside the workspace, or name the other files with 'paths'",
            details={"paths": refused},
        )
    return list(entries.values())


def _read(view: View, found: Examined, path: bytes, entry: IndexEntry | None, refused: list[str]) -> IndexEntry | None:
    """Store a file and return its entry; ``None`` when it is gone, or is noted as refused."""
    if any(map(is_hostile_name, path.split(b"/"))):
        refused.append(f"{shown(path)} (git allows no such name)")
        return None
    try:
        status = os.lstat(b"%s/%s" % (os.fsencode(found.worktree.path), path))
        mode = mode_of(status, entry, found.content)
        if mode is None:
            return None
        raw, how = found.content.read(path, entry.mode if entry else None, status)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        refused.append(f"{shown(path)} ({error.strerror})")
        return None
    if how.program is not None and stat.S_ISREG(status.st_mode):
        refused.append(f"{shown(path)} ({how.program} would have to run)")
        return None
    blob = Blob.from_string(found.content.cleaned(raw, how, entry.sha if entry is not None else None))
    view.repo.object_store.add_object(blob)
    return entry_for(path, mode, bytes.fromhex(blob.id.decode()), status)


def _make_way(entries: dict[bytes, IndexEntry], path: bytes) -> None:
    """Drop what cannot be beside a file: a file where one of its folders is, and files below its own name."""
    at = path.find(b"/")
    while at != -1:
        entries.pop(path[:at], None)
        at = path.find(b"/", at + 1)
    for below in [known for known in entries if known.startswith(path + b"/")]:
        del entries[below]


def _files(entries: Iterable[IndexEntry]) -> dict[bytes, tuple[int, bytes]]:
    return {entry.path: (entry.mode, entry.sha) for entry in entries if not entry.intent_to_add}


def _commit_at(repo: Repo, sha: bytes) -> Commit:
    commit = repo.object_store[ObjectID(sha)]
    if not isinstance(commit, Commit):
        raise GitError(f"{sha.decode()} is not a commit")
    return commit


def _store(repo: Repo, tree: bytes, parent: ObjectID, *, message: bytes, author: bytes, committer: bytes) -> Commit:
    commit = Commit()
    commit.tree = ObjectID(tree.hex().encode())
    commit.parents = [parent]
    commit.author, commit.committer = author, committer
    commit.author_time = commit.commit_time = int(time.time())
    offset = datetime.now().astimezone().utcoffset()
    commit.author_timezone = commit.commit_timezone = 0 if offset is None else int(offset.total_seconds())
    commit.message = message
    repo.object_store.add_object(commit)
    return commit


def _log(repository: Repository, view: View, ref: str, commit: Commit) -> None:
    subject = commit.message.split(b"\n", 1)[0].decode("utf-8", "replace")
    for git_dir, name in ((repository.common_dir, ref), (view.worktree.admin_dir, "HEAD")):
        reflog.append(Path(git_dir), name, view.worktree.head, commit.id.decode(), f"commit: {subject}")

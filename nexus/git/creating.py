"""Making a worktree: branch, locked entry, tree, index. Whatever fails, what was made is taken back."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from dulwich.objects import ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import BranchInUse, GitError
from nexus.git import beneath, layout, reflog
from nexus.git.checkout import Report
from nexus.git.clone_marker import CloneMarker, drop_marker, write_marker
from nexus.git.cloning import make_git_dir, require_lending
from nexus.git.deleting import delete_tree, move_away
from nexus.git.excluding import exclude
from nexus.git.filling import Empty, fill_tree
from nexus.git.guarding import guard, unguard
from nexus.git.lending import lend
from nexus.git.listing import get_worktree
from nexus.git.orders import Made, Order
from nexus.git.placement import lay_out_apart
from nexus.git.ref_deletion import delete_ref
from nexus.git.refs import Refs, branch_for, checked_out, require_real_path, require_room, resolve
from nexus.git.repository import opened
from nexus.git.restored_content import Content, put_state
from nexus.git.threads import Stop
from nexus.models.workspace import Repository

_SHOWN: Final = 5
BASE_FILE: Final = "nexus-base"
"""In our entry: the full name of the branch that the worktree started from, for :meth:`Worktrees.sync`."""


def create_worktree(
    repository: Repository, order: Order, stop: Stop, report: Report | None, content: Content | None = None
) -> Made:
    """Make a worktree, blocking. See :meth:`nexus.git.Worktrees.create`.

    Args:
        repository: Where.
        order: What.
        stop: Asked now and then.
        report: Told how it goes.
        content: What it starts with; the commit's files when absent.
    """
    _check_reason(order.reason)
    ref, tree = layout.branch_ref(order.name), layout.worktree_path(repository, order.name)
    with opened(repository) as repo, ExitStack() as undo:
        refs = Refs(repository.common_dir)
        tip, made = _tip(repo, refs, order, ref)
        require_free(repository, tree, layout.admin_path(repository, order.name))
        exclude(repository)
        if made:
            _make_branch(repo, repository, ref, tip, order.start)
            undo.callback(_drop_branch, repo, repository, ref, tip)
        base = branch_for(repository.common_dir, refs, order.start) if made else None
        make = _make_clone if order.isolation == "clone" else _make_linked
        lay_out_apart(tree.parent)
        git_dir = make(repository, order, tip, undo, base=base, content=content)
        stop.check()
        empty = Empty(repo, repository, order, tip, tree, git_dir)
        notes = fill_tree(empty, undo, content=content, stop=stop, report=report)
        stop.check()
        found = get_worktree(repository, order.name)
        if found is None:
            raise GitError(f"the worktree {order.name!r} vanished while it was made")
        if order.isolation == "clone":
            lend(repo, repository, order.name, found)
        undo.pop_all()
    return Made(found.model_copy(update={"notes": notes}), tip, made)


def _make_linked(
    repository: Repository, order: Order, tip: str, undo: ExitStack, *, base: bytes | None, content: Content | None
) -> Path:
    """Make the tree and, before it, git's entry for it; return the entry."""
    undo.callback(_drop_empty, repository.common_dir / "worktrees")
    # A private clone sees nothing of the common dir but the objects, so only this kind has it guarded.
    guard(repository)
    undo.callback(unguard, repository)
    tree, admin = layout.worktree_path(repository, order.name), layout.admin_path(repository, order.name)
    drop_marker(repository, order.name)
    _make_entry(repository, order, tip, base, content)
    undo.callback(_drop_entry, repository, admin)
    tree.mkdir()
    undo.callback(_drop_tree, repository, tree, order.name)
    (tree / ".git").write_bytes(b"gitdir: %s\n" % os.fsencode(admin))
    return admin


def _make_clone(
    repository: Repository, order: Order, tip: str, undo: ExitStack, *, base: bytes | None, content: Content | None
) -> Path:
    """Make the tree with a git directory of its own, and note first that it is ours and what it is; return that directory."""
    require_lending(repository)
    tree = layout.worktree_path(repository, order.name)
    write_marker(repository, order.name, CloneMarker(reason=order.reason, returned=tip))
    undo.callback(drop_marker, repository, order.name)
    try:
        tree.mkdir()
        undo.callback(_drop_tree, repository, tree, order.name)
        git_dir = make_git_dir(repository, order.name, tip)
        if base is not None:
            (git_dir / BASE_FILE).write_bytes(base + b"\n")
        if content is not None:
            (git_dir / "HEAD").write_bytes(content.head + b"\n")
            put_state(git_dir, content.admin)
    except OSError as error:
        raise GitError(f"{tree} cannot be made: {error.strerror}", details={"path": str(tree)}) from error
    return git_dir


def _check_reason(reason: str) -> None:
    if not reason.startswith(layout.LOCK_PREFIX) or "\n" in reason:
        raise GitError(f"a lock reason must be one line that starts with {layout.LOCK_PREFIX!r}, not {reason!r}")


def _tip(repo: Repo, refs: Refs, order: Order, ref: str) -> tuple[str, bool]:
    """Return the commit to check out, and whether the branch has to be made for it."""
    branch = layout.branch_name(order.name)
    existing = refs.get(os.fsencode(ref))
    if existing is None:
        start = resolve(repo, refs, order.start)
        require_room(refs, ref)
        return start, True
    if not order.adopt:
        raise BranchInUse(
            f"the branch {branch!r} exists already",
            hint="adopt it, or choose another name",
            details={"branch": branch, "tip": existing.decode()},
        )
    holder = checked_out(Path(repo.commondir()), ref)
    if holder is not None:
        raise BranchInUse(
            f"the branch {branch!r} is checked out elsewhere",
            hint=f"`git worktree list` shows where; git keeps that in {holder}",
            details={"branch": branch, "holder": str(holder)},
        )
    return resolve(repo, refs, ref), False


def require_free(repository: Repository, tree: Path, admin: Path) -> None:
    """Refuse to make a worktree where something is already.

    Raises:
        GitError: With what is in the way.
    """
    beneath.require_grounds(repository, "worktrees")
    beneath.require_grounds(repository, "trash")
    for path, what in ((tree, "a folder"), (admin, "an entry of git's")):
        if beneath.exists(path):
            raise GitError(
                f"{what} is in the way: {path}",
                hint="it belongs to a worktree of this name, or was left by one; remove that first",
                details={"path": str(path)},
            )


def _make_branch(repo: Repo, repository: Repository, ref: str, tip: str, start: str) -> None:
    require_real_path(repository.common_dir, ref)
    try:
        added = repo.refs.add_if_new(Ref(os.fsencode(ref)), ObjectID(tip.encode()))
    except OSError as error:
        raise GitError(f"the branch {ref} cannot be made: {error.strerror}", details={"ref": ref}) from error
    if not added:
        raise BranchInUse(f"somebody else has just made the branch {ref}", hint="choose another name")
    reflog.append(repository.common_dir, ref, None, tip, f"branch: Created from {start}")


def _drop_branch(repo: Repo, repository: Repository, ref: str, tip: str) -> None:
    """Remove the branch that this call made; one that has moved since is somebody's work and stays."""
    if delete_ref(repo, os.fsencode(ref), tip.encode()):
        reflog.forget(repository.common_dir, ref)


def draft_path(repository: Repository, name: str) -> Path:
    """Return where git's entry is put together; a crash can leave it behind."""
    return repository.common_dir / f"nexus-new-{name}"


def _make_entry(repository: Repository, order: Order, tip: str, base: bytes | None, content: Content | None) -> None:
    """Make git's entry beside its place and rename it there: git never sees one that is not locked yet."""
    tree, admin = layout.worktree_path(repository, order.name), layout.admin_path(repository, order.name)
    draft = draft_path(repository, order.name)
    if beneath.exists(draft):
        _remove(draft)
    try:
        draft.mkdir()
        (draft / "locked").write_bytes(os.fsencode(f"{order.reason}\n"))
        (draft / "commondir").write_bytes(b"../..\n")
        (draft / "gitdir").write_bytes(b"%s\n" % os.fsencode(tree / ".git"))
        head = b"ref: " + os.fsencode(layout.branch_ref(order.name)) if content is None else content.head
        (draft / "HEAD").write_bytes(head + b"\n")
        if base is not None:
            (draft / BASE_FILE).write_bytes(base + b"\n")
        if content is not None:
            put_state(draft, content.admin)
        reflog.append(draft, "HEAD", None, tip, f"checkout: moving to {layout.branch_name(order.name)}")
        _into_place(draft, admin)
    except OSError as error:
        _remove(draft)
        raise GitError(f"{admin} cannot be made: {error.strerror}", details={"path": str(admin)}) from error


def _into_place(draft: Path, admin: Path) -> None:
    try:
        draft.rename(admin)
    except FileNotFoundError:
        # Git removes the folder of all entries with the last of them.
        beneath.require_real_folders(admin.parent.parent, admin.parent.name)
        draft.rename(admin)


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _drop_entry(repository: Repository, admin: Path) -> None:
    _remove(admin)
    _drop_empty(repository.common_dir / "worktrees")


def _drop_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _drop_tree(repository: Repository, tree: Path, name: str) -> None:
    trash = layout.trash_folder(repository)
    with suppress(FileNotFoundError):
        delete_tree(move_away(tree, trash, name), trash)

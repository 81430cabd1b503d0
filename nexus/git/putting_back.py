"""Making a worktree again from a tree that was set aside: a copy of it, in its old place. What was set aside stays until it is pruned."""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from dulwich.objects import Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import BranchInUse, GitError
from nexus.git import beneath, layout, reflog
from nexus.git.clone_marker import CloneMarker, drop_marker, write_marker
from nexus.git.copying_whole import copy_whole
from nexus.git.creating import draft_path, require_free
from nexus.git.deleting import delete_tree, move_away
from nexus.git.guarding import guard, unguard
from nexus.git.index_file import entry_for, format_index
from nexus.git.kept_trees import ENTRY, TREE, KeptTree, folder_of, read_kept
from nexus.git.lending import lend
from nexus.git.listing import get_worktree
from nexus.git.orders import Made
from nexus.git.ref_deletion import delete_ref
from nexus.git.refs import Refs, require_real_path, require_room
from nexus.git.repository import opened
from nexus.git.threads import Stop
from nexus.git.trees import flatten
from nexus.models.workspace import Repository

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SHOWN: Final = 5


def tip_of_kept(repository: Repository, ref: str) -> str:
    """Return the commit that the branch will be at, blocking.

    Raises:
        GitError: When nobody knows it any more.
    """
    kept = read_kept(repository, ref)
    tip = kept.tip or kept.head
    if tip is None:
        raise GitError(
            f"nobody knows what the tree of {kept.name!r} started from, so no workspace can be made of it",
            hint=f"take what you need out of {folder_of(repository, ref) / TREE}",
            details={"ref": ref, "path": str(folder_of(repository, ref) / TREE)},
        )
    return tip


def put_back(repository: Repository, name: str, ref: str, reason: str, stop: Stop) -> Made:
    """Make the worktree again, blocking. Whatever fails, what was made is taken back."""
    kept, folder, tip = read_kept(repository, ref), folder_of(repository, ref), tip_of_kept(repository, ref)
    if kept.name != name:
        raise GitError(
            f"the tree of {kept.name!r} was set aside whole, and can only be restored under that name",
            hint=f"restore it without another name, or take what you need out of {folder / TREE}",
            details={"ref": ref, "path": str(folder / TREE)},
        )
    tree, admin = layout.worktree_path(repository, name), layout.admin_path(repository, name)
    with opened(repository) as repo, ExitStack() as undo:
        require_free(repository, tree, admin)
        made_branch = _branch(repo, repository, name, tip, undo)
        notes: list[str] = []
        try:
            if kept.isolation == "clone":
                write_marker(repository, name, CloneMarker(reason=reason, returned=tip))
                undo.callback(drop_marker, repository, name)
            else:
                guard(repository)
                undo.callback(unguard, repository)
                drop_marker(repository, name)
                _entry(repo, repository, kept, folder, tip=tip, reason=reason, stop=stop, undo=undo)
            if beneath.exists(folder / TREE):
                undo.callback(_drop, repository, tree, name)
                notes = copy_whole(folder / TREE, tree, stop)
            else:
                tree.mkdir()
                undo.callback(_drop, repository, tree, name)
            if kept.isolation != "clone":
                _point(tree, admin)
        except OSError as error:
            raise GitError(
                f"the tree of {name!r} cannot be copied back: {error.strerror}", details={"path": str(folder / TREE)}
            ) from error
        found = get_worktree(repository, name)
        if found is None:
            raise GitError(f"the worktree {name!r} vanished while it was made")
        if kept.isolation == "clone":
            lend(repo, repository, name, found)
        undo.pop_all()
    told = (f"made from the tree that was set aside because {kept.reason}", *_left_out(notes))
    return Made(found.model_copy(update={"notes": told}), tip, made_branch)


def _left_out(lines: list[str]) -> tuple[str, ...]:
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return (f"left out: {', '.join(lines[:_SHOWN])}{more}",) if lines else ()


def _commits(repo: Repo, tip: str) -> list[bytes]:
    sha = tip.encode()
    return [sha] if ObjectID(sha) in repo.object_store else []


def _branch(repo: Repo, repository: Repository, name: str, tip: str, undo: ExitStack) -> bool:
    ref, refs = layout.branch_ref(name), Refs(repository.common_dir)
    existing = refs.get(os.fsencode(ref))
    if existing is not None:
        if existing != tip.encode():
            raise BranchInUse(
                f"the branch {layout.branch_name(name)!r} exists and is not where it was when this was kept",
                hint=f"move it out of the way: git branch -m {layout.branch_name(name)} <new name>",
                details={"branch": layout.branch_name(name), "tip": existing.decode(), "wanted": tip},
            )
        return False
    if not _commits(repo, tip):
        raise GitError(f"the commit {tip} that its branch was at is gone", details={"commit": tip})
    require_room(refs, ref)
    require_real_path(repository.common_dir, ref)
    made = Ref(os.fsencode(ref)), ObjectID(tip.encode())
    if not repo.refs.add_if_new(*made):
        raise BranchInUse(f"somebody else has just made the branch {ref}", hint="try again")
    undo.callback(delete_ref, repo, *made)
    reflog.append(repository.common_dir, ref, None, tip, "branch: Restored")
    return True


def _entry(
    repo: Repo,
    repository: Repository,
    kept: KeptTree,
    folder: Path,
    *,
    tip: str,
    reason: str,
    stop: Stop,
    undo: ExitStack,
) -> None:
    """Make git's entry: the old one, with our own words where it says whose it is and where things are; a new one where it was lost."""
    tree, admin = layout.worktree_path(repository, kept.name), layout.admin_path(repository, kept.name)
    draft = draft_path(repository, kept.name)
    undo.callback(_drop, repository, draft, kept.name)
    undo.callback(_drop, repository, admin, kept.name)
    if (folder / ENTRY).is_dir() and not (folder / ENTRY).is_symlink():
        copy_whole(folder / ENTRY, draft, stop)
    else:
        draft.mkdir()
    _set(draft, "locked", os.fsencode(f"{reason}\n"))
    _set(draft, "commondir", b"../..\n")
    _set(draft, "gitdir", b"%s\n" % os.fsencode(tree / ".git"))
    if not beneath.exists(draft / "HEAD"):
        _set(draft, "HEAD", b"ref: %s\n" % os.fsencode(layout.branch_ref(kept.name)))
    if not beneath.exists(draft / "index"):
        commit = repo.object_store[ObjectID(tip.encode())]
        files = flatten(repo.object_store, bytes.fromhex(commit.tree.decode())) if isinstance(commit, Commit) else []
        _set(draft, "index", format_index(entry_for(*file, None) for file in files))
    beneath.require_real_folders(repository.common_dir, "worktrees")
    draft.rename(admin)


def _set(folder: Path, name: str, content: bytes) -> None:
    """Write a small file of git's, whatever is in its place."""
    file = folder / name
    if beneath.exists(file):
        if file.is_dir() and not file.is_symlink():
            file.rename(folder / f"{name}.{secrets.token_hex(4)}")
        else:
            file.unlink()
    with os.fdopen(os.open(file, _CREATE, 0o644), "wb") as writing:
        writing.write(content)


def _point(tree: Path, admin: Path) -> None:
    """Have the tree's own pointer lead to its entry. A repository in its place is work, and stays beside it."""
    _set(tree, ".git", b"gitdir: %s\n" % os.fsencode(admin))


def _drop(repository: Repository, path: Path, name: str) -> None:
    trash = layout.trash_folder(repository)
    with suppress(FileNotFoundError, OSError):
        delete_tree(move_away(path, trash, name), trash)

"""Taking a worktree back to what was kept of it, in its place: files, index, ``HEAD``, branch, an operation in progress, stashes.

What is there now has been kept in a commit as well, so that nothing is overwritten which is not in it. Files that git ignores are
in neither, and stay; where one is in the way nothing is done.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from dulwich.objects import Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git import beneath, layout, reflog
from nexus.git.advancing import IndexLock, Step, Tree, drop_our_lock
from nexus.git.clone_sync import move_in, note_moved
from nexus.git.index_file import IndexEntry, entry_for, read_index
from nexus.git.layout import Worktree
from nexus.git.listing import get_worktree
from nexus.git.refs import Refs, require_real_path
from nexus.git.repository import opened, read_config
from nexus.git.rescue_state import STATE_FILES, STATE_FOLDERS
from nexus.git.restored_content import Content, joined, put_state_at, set_permissions
from nexus.git.restoring import Plan, plan_of, put_stashes_back
from nexus.git.returning import Clone, opened_clone
from nexus.git.threads import Stop
from nexus.git.trees import TreeFile, shown
from nexus.models.workspace import Repository

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DRAFT: Final = "nexus-HEAD"
_SHOWN: Final = 10
_ATTRIBUTES: Final = b".gitattributes"


class _Place(NamedTuple):
    """A worktree whose entry is held, and how its branch is moved."""

    worktree: Worktree
    admin: Path
    move: Callable[[Repo, bytes | None, bytes], bool]


def rewind(repository: Repository, name: str, *, now: str, then: str, stop: Stop) -> tuple[str, ...]:
    """Take a worktree back, blocking. See :meth:`nexus.git.TreeCheckpoints.rewind`."""
    with opened(repository) as repo, ExitStack() as closing:
        place = closing.enter_context(_held(repository, name))
        own = place.worktree.admin_dir
        current, wanted = (
            plan_of(repo, repository, name, _commit(repo, sha), f"the checkpoint {sha[:12]}", own=own)
            for sha in (now, then)
        )
        if current.content is None or wanted.content is None:
            raise GitError(f"the checkpoint {then[:12]} holds commits alone, and no files")
        if place.worktree.isolation == "clone":
            wanted = wanted._replace(content=_without_other_branches(wanted.content, wanted.tip, name))
        lock = closing.enter_context(IndexLock(place.admin))
        _rewind_files(repo, repository, place, current.content, wanted, lock=lock, stop=stop)
    notes = list(wanted.notes)
    if wanted.state is not None and place.worktree.isolation != "clone":
        notes += put_stashes_back(repository, wanted.state)
    if place.worktree.isolation == "clone":
        note_moved(repository, name, wanted.tip)
    return tuple(notes)


def drop_lock_of_rewind(repository: Repository, name: str) -> None:
    """Remove the lock that a killed process of ours left on a worktree's index. The caller holds the workspace's lock."""
    with suppress(GitError), _held(repository, name) as place:
        drop_our_lock(place.admin)


@contextmanager
def _held(repository: Repository, name: str) -> Iterator[_Place]:
    worktree = get_worktree(repository, name)
    if worktree is None or not worktree.present or not worktree.registered:
        raise GitError(
            f"the worktree {name!r} is not there whole, so nothing can be restored in its place",
            hint="'boulder doctor' tells what became of it",
            details={"name": name},
        )
    ref = layout.branch_ref(name)
    if worktree.isolation != "clone":
        yield _Place(
            worktree, worktree.admin_dir, lambda repo, before, after: _move(repository, repo, ref, before, after)
        )
        return
    with opened_clone(repository, name) as clone:
        yield _Place(
            worktree,
            clone.git_dir,
            lambda repo, before, after: _move_both(repository, repo, clone, ref, before=before, after=after),
        )


def _commit(repo: Repo, sha: str) -> Commit:
    try:
        found = repo.object_store[ObjectID(sha.encode())]
    except KeyError as error:
        raise GitError(f"{sha}, which held the files, is not in the repository any more") from error
    if not isinstance(found, Commit):
        raise GitError(f"{sha} is not a commit")
    return found


def _without_other_branches(content: Content, tip: str, name: str) -> Content:
    ours = b"ref: " + os.fsencode(layout.branch_ref(name))
    strange = content.head.startswith(b"ref: ") and content.head != ours
    return content._replace(head=tip.encode()) if strange else content


def _rewind_files(
    repo: Repo, repository: Repository, place: _Place, now: Content, wanted: Plan, *, lock: IndexLock, stop: Stop
) -> None:
    then = wanted.content
    if then is None:
        return
    step = step_to(now, then)
    with ExitStack() as closing:
        root = os.open(place.worktree.path, beneath.FOLDER)
        closing.callback(os.close, root)
        tree = Tree(root, repository, read_config(repository), then.files, then.verbatim)
        _require_room(tree, step, {file.path for file in now.files})
        index = read_index(place.admin / "index")
        stop.check()
        # From here on nothing stops us but the file system: who asked has what was there in a commit, and can go back to it.
        try:
            written = tree.take(step, replace=True)
            set_permissions(place.worktree.path, then.permissions)
            _put_head(place.admin, then)
        except OSError as error:
            raise GitError(
                f"the worktree cannot be taken back whole: {error.filename or place.worktree.path} cannot be written: "
                f"{error.strerror}",
                details={"path": str(place.worktree.path)},
            ) from error
        _move_branch(repo, repository, place, wanted.tip)
        known = {entry.path: entry for entry in index.entries if entry.stage == 0}
        lock.commit(joined(then.entries, [_entry(place.worktree, file, written, known) for file in then.files]))


def step_to(now: Content, then: Content) -> Step:
    """Return what has to be written and removed, so that every byte and every bit is as it was. Pure."""
    old, new = {file.path: file for file in now.files}, {file.path: file for file in then.files}
    same = {path for path, file in new.items() if old.get(path) == file} - _otherwise(now, then)
    if any(path.rpartition(b"/")[2] == _ATTRIBUTES for path in (old.keys() | new.keys()) - same):
        same = set()  # what is stored is written in another way now
    return Step(
        {path: file for path, file in old.items() if path not in same},
        {path: file for path, file in new.items() if path not in same},
    )


def _otherwise(now: Content, then: Content) -> set[bytes]:
    """Return the files that are stored alike but not on the disk: their bytes or their permissions differ."""
    bits = {*now.permissions.items(), *then.permissions.items()} - (now.permissions.items() & then.permissions.items())
    return {*(now.verbatim ^ then.verbatim), *(path for path, _ in bits)}


def _require_room(tree: Tree, step: Step, kept: set[bytes]) -> None:
    """Refuse where something that is in no checkpoint would be written over.

    Raises:
        GitError: With every such path.
    """
    in_the_way = [shown(path) for path in sorted(step.new.keys() - kept) if _is_taken(tree, path, kept)]
    if in_the_way:
        more = f" and {len(in_the_way) - _SHOWN} more" if len(in_the_way) > _SHOWN else ""
        raise GitError(
            f"files that git ignores are in the way: {', '.join(in_the_way[:_SHOWN])}{more}",
            hint="move them out of the tree or delete them, then restore again",
            details={"paths": in_the_way},
        )


def _is_taken(tree: Tree, path: bytes, kept: set[bytes]) -> bool:
    if not tree.occupied(path):
        return False
    parts = path.split(b"/")
    if any(b"/".join(parts[:depth]) in kept for depth in range(1, len(parts))):
        return False  # a file in the place of one of its folders, which this very step removes
    try:
        return not tree.files_below(path) <= kept
    except OSError:
        return True


def _entry(
    worktree: Worktree, file: TreeFile, written: dict[bytes, IndexEntry], known: dict[bytes, IndexEntry]
) -> IndexEntry:
    """Return a file's entry with what ``lstat`` says of it now; one that was not touched has it from the index that was there."""
    if file.path in written:
        return written[file.path]
    entry = known.get(file.path)
    if entry is not None and (entry.mode, entry.sha) == (file.mode, file.sha):
        return entry
    try:
        return entry_for(*file, os.lstat(b"%s/%s" % (os.fsencode(worktree.path), file.path)))
    except OSError:
        return entry_for(*file, None)


def _put_head(admin: Path, content: Content) -> None:
    """Write ``HEAD`` and the state of an operation in progress in place of what is there."""
    root = os.open(admin, beneath.ENTERED)
    try:
        for name in STATE_FILES:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=root)
        for folder in STATE_FOLDERS:
            parent, _, name = folder.rpartition(b"/")
            with suppress(FileNotFoundError, NotADirectoryError), beneath.folder(root, parent) as at:
                shutil.rmtree(name, dir_fd=at)
        with suppress(FileNotFoundError):
            os.unlink(_DRAFT, dir_fd=root)
        with os.fdopen(os.open(_DRAFT, _NEW, 0o666, dir_fd=root), "wb") as file:
            file.write(content.head + b"\n")
        os.rename(_DRAFT, "HEAD", src_dir_fd=root, dst_dir_fd=root)
        put_state_at(root, content.admin)
    finally:
        os.close(root)


def _move_branch(repo: Repo, repository: Repository, place: _Place, tip: str) -> None:
    ref = layout.branch_ref(place.worktree.name)
    require_real_path(repository.common_dir, ref)
    before = Refs(repository.common_dir).get(os.fsencode(ref))
    if not place.move(repo, before, tip.encode()):
        raise GitError(f"somebody else is moving {ref}", hint="try again", details={"ref": ref})
    old = before.decode() if before is not None else None
    if old != tip:
        reflog.append(repository.common_dir, ref, old, tip, "nexus: restored a checkpoint")
    reflog.append(place.admin, "HEAD", place.worktree.head, tip, "nexus: restored a checkpoint")


def _move(repository: Repository, repo: Repo, ref: str, before: bytes | None, after: bytes) -> bool:
    del repository
    name = Ref(os.fsencode(ref))
    if before == after:
        return True
    if before is None:
        return bool(repo.refs.add_if_new(name, ObjectID(after)))
    return bool(repo.refs.set_if_equals(name, ObjectID(before), ObjectID(after)))


def _move_both(
    repository: Repository, repo: Repo, clone: Clone, ref: str, *, before: bytes | None, after: bytes
) -> bool:
    """Move the branch in the clone, then here: killed in between, the next return of the clone's branch makes up for it.

    What the clone had there last is in the checkpoint that was taken before.
    """
    theirs = clone.refs().get(os.fsencode(ref))
    _drop_lock_of_ours(clone, ref, after)
    if theirs != after and not move_in(clone, ref, theirs, after):
        return False
    if _move(repository, repo, ref, before, after):
        return True
    if theirs is not None and theirs != after:
        move_in(clone, ref, after, theirs)
    return False


def _drop_lock_of_ours(clone: Clone, ref: str, after: bytes) -> None:
    """Remove the lock on the clone's branch that a killed process of ours left: it holds what we wrote, or a beginning of it."""
    parent, _, name = os.fsencode(ref).rpartition(b"/")
    root = os.open(clone.git_dir, beneath.ENTERED)
    try:
        with suppress(OSError), beneath.folder(root, parent) as at:
            lock = name + b".lock"
            if (after + b"\n").startswith(beneath.read_file(at, lock, limit=len(after) + 1)):
                os.unlink(lock, dir_fd=at)
    finally:
        os.close(root)

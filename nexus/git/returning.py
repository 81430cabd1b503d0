"""Bringing a private clone's work back into the main repository.

The clone is hostile. Its refs are read as plain files, its configuration, hooks and alternates not at all, no program runs, and each
object that its work needs is verified before it is written; see :mod:`nexus.git.bringing`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from dulwich.objects import Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import GitError, SyncConflict
from nexus.git import beneath, layout, reflog
from nexus.git.bringing import Bringing, raw_id
from nexus.git.clone_marker import CloneMarker, write_marker
from nexus.git.foreign import BLOB, COMMIT, ForeignObjects
from nexus.git.index_file import SUBMODULE, read_index
from nexus.git.refs import Refs, checked_out, require_real_path
from nexus.git.repository import opened, sheltered
from nexus.git.rescue_state import admin_state, named_in
from nexus.git.threads import Stop
from nexus.git.trees import shown
from nexus.models.workspace import Repository

_MAX_REFS: Final = 10_000
_ID: Final = re.compile(rb"[0-9a-f]{40}")
_STASH_LOG_LIMIT: Final = 16 << 20
_STATE_LIMIT: Final = 100 << 20


class Clone(NamedTuple):
    """A clone's own git directory, held open."""

    git_dir: Path
    """A path that stays with the folder, whatever is put in its place."""
    objects: int
    """Descriptor of its object store."""

    def refs(self) -> Refs:
        """Return its refs as they are now."""
        return Refs(self.git_dir)


class Work(NamedTuple):
    """What a clone holds, all of it in the main repository now."""

    tips: tuple[bytes, ...]
    """Every commit that a ref or ``HEAD`` of it leads to."""
    stashes: tuple[str, ...]
    """Messages of its stash entries, the newest first."""


class Returned(NamedTuple):
    """What happened to the branch in the main repository."""

    before: str | None
    after: str | None


@contextmanager
def opened_clone(repository: Repository, name: str) -> Iterator[Clone]:
    """Open a clone's git directory without following a link.

    Raises:
        GitError: When a link or a file is in its place, or it is gone.
    """
    with ExitStack() as closing:
        try:
            tree = os.open(layout.worktree_path(repository, name), beneath.FOLDER)
            closing.callback(os.close, tree)
            git_dir = os.open(b".git", beneath.FOLDER, dir_fd=tree)
            closing.callback(os.close, git_dir)
            objects = os.open(b"objects", beneath.FOLDER, dir_fd=git_dir)
            closing.callback(os.close, objects)
        except OSError as error:
            raise GitError(
                f"the clone {name!r} has no git directory of its own any more: {error.strerror}",
                hint="somebody inside replaced or removed it; copy what you need out of the tree by hand",
                details={"name": name},
            ) from error
        try:
            yield Clone(Path(f"/proc/self/fd/{git_dir}"), objects)
        except OSError as error:
            raise GitError(f"the clone {name!r} cannot be read: {error.strerror}", details={"name": name}) from error


def bring_work(repository: Repository, name: str, stop: Stop, until: ExitStack | None = None) -> Work:
    """Bring every object that a clone's refs, stashes and index lead to. No ref of the main repository is moved.

    Args:
        repository: The main repository.
        name: The clone.
        stop: Asked for every object.
        until: No garbage collection takes what was brought until this is closed; ``None`` when it is only looked at.

    Raises:
        GitError: When an object is missing, damaged, too large, or not what it should be. Objects that were brought before stay,
            unused.
    """
    with opened(repository) as repo, opened_clone(repository, name) as clone:
        shelter = None if until is None else until.enter_context(sheltered(repo))
        refs = clone.refs()
        found = dict(refs.commits())
        head = refs.get(b"HEAD")
        if head is not None:
            found[b"HEAD"] = head
        if len(found) > _MAX_REFS:
            raise GitError(f"the clone {name!r} has {len(found)} refs; more than {_MAX_REFS} are not read")
        stashed = _stashes(clone)
        with ForeignObjects(clone.objects) as foreign:
            bringing = Bringing(
                repo, foreign, _known(repository), stop, None if shelter is None else _led_to(repo, repository, name)
            )
            tips = dict.fromkeys(bringing.commit(sha, shown(ref)) for ref, sha in sorted(found.items()))
            tips.update(dict.fromkeys(bringing.commit(sha, "a stash entry") for sha in stashed))
            for entry in read_index(clone.git_dir / "index").entries:
                if entry.mode != SUBMODULE and not entry.intent_to_add:
                    bringing.bring(entry.sha, BLOB)
            for sha in _in_progress(repository, name):
                bringing.commit_if_there(sha)
        if shelter is not None:
            shelter.seal()
        return Work(tuple(tips), tuple(stashed.values()))


def return_branch(repository: Repository, name: str, marker: CloneMarker, stop: Stop) -> Returned:
    """Bring a clone's branch, and move the branch of the same name in the main repository to where it is.

    A branch that somebody else moved there, or has checked out, is left alone. The caller holds the repository's lock.

    Raises:
        SyncConflict: When it was left alone.
        GitError: As for :func:`bring_work`.
    """
    ref = layout.branch_ref(name)
    with opened(repository) as repo, opened_clone(repository, name) as clone, sheltered(repo) as shelter:
        theirs = clone.refs().get(os.fsencode(ref))
        ours = Refs(repository.common_dir).get(os.fsencode(ref))
        before = ours.decode() if ours else None
        if theirs is None:
            return Returned(before, None)
        with ForeignObjects(clone.objects) as foreign:
            bringing = Bringing(repo, foreign, _known(repository), stop, _led_to(repo, repository, name))
            bringing.bring(bytes.fromhex(theirs.decode()), COMMIT)
        shelter.seal()
        after = theirs.decode()
        if ours != theirs:
            _move(repository, name, before=before, after=after, marker=marker)
    if marker.returned != after:
        write_marker(repository, name, marker.model_copy(update={"returned": after}))
    return Returned(before, after)


def _move(repository: Repository, name: str, *, before: str | None, after: str, marker: CloneMarker) -> None:
    ref = layout.branch_ref(name)
    branch = layout.branch_name(name)
    if before is not None and before != marker.returned:
        raise SyncConflict(
            f"the branch {branch} was moved in the main repository, so the clone's is not brought over it",
            hint=f"give those commits another name first: git branch -m {branch} <new name>",
            details={"branch": branch, "here": before, "clone": after},
        )
    holder = checked_out(repository.common_dir, ref)
    if holder is not None:
        raise SyncConflict(
            f"the branch {branch} is checked out in the main repository, so it is not moved to where the clone's is",
            hint="switch to another branch there, then sync again",
            details={"branch": branch, "holder": str(holder)},
        )
    require_real_path(repository.common_dir, ref)
    with opened(repository) as repo:
        target = Ref(os.fsencode(ref)), ObjectID(after.encode())
        moved = (
            repo.refs.add_if_new(*target)
            if before is None
            else repo.refs.set_if_equals(target[0], ObjectID(before.encode()), target[1])
        )
    if not moved:
        raise SyncConflict(f"{branch} was moved by somebody else meanwhile", hint="try again")
    reflog.append(repository.common_dir, ref, before, after, "fetch: brought back from the clone")


def _stashes(clone: Clone) -> dict[bytes, str]:
    """Return the stash entries as the log has them, the newest first."""
    root = os.open(clone.git_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        log = beneath.read_file(root, b"logs/refs/stash", limit=_STASH_LOG_LIMIT)
    except FileNotFoundError:
        return {}
    finally:
        os.close(root)
    found: dict[bytes, str] = {}
    for line in reversed(log.splitlines()):
        ids, _, message = line.partition(b"\t")
        words = ids.split(b" ")
        if len(words) > 1 and _ID.fullmatch(words[1]):
            found[words[1]] = shown(message.partition(b": ")[2] or message)
    return found


def _in_progress(repository: Repository, name: str) -> list[bytes]:
    """Return the ids that a merge, a rebase or the like works with; often no ref leads to those commits."""
    state, _ = admin_state(layout.worktree_path(repository, name) / ".git", _STATE_LIMIT)
    named = named_in(state.values())
    if len(named) > _MAX_REFS:
        raise GitError(
            f"what is in progress in the clone {name!r} names {len(named)} commits; more than {_MAX_REFS} are not read"
        )
    return named


def _known(repository: Repository) -> dict[bytes, int]:
    """Return what is in the main repository for certain and stays, without asking for each: what its checkout holds."""
    try:
        index = read_index(repository.common_dir / "index")
    except GitError:
        return {}
    return {entry.sha: BLOB for entry in index.entries if entry.mode != SUBMODULE and not entry.intent_to_add}


def _led_to(repo: Repo, repository: Repository, name: str) -> set[bytes]:
    """Return commits that refs of the main repository lead to: where they are, and what was lent to the clone."""
    refs = Refs(repository.common_dir)
    found = {raw_id(sha) for sha in refs.commits().values()}
    lent = refs.get(os.fsencode(layout.LENT_PREFIX + name))
    with suppress(KeyError, GitError):
        commit = None if lent is None else repo.object_store[ObjectID(lent)]
        found |= {raw_id(sha) for sha in commit.parents} if isinstance(commit, Commit) else set()
    return found

"""Making a worktree again from what was kept: its branch, its files as they were, its index, its operation in progress, its stashes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dulwich.objects import Commit, ObjectID
from dulwich.refs import Ref, check_ref_format
from dulwich.repo import Repo

from nexus.errors import BranchInUse, GitError, RefNotFound
from nexus.git import layout, reflog
from nexus.git.checkout import Report
from nexus.git.creating import create_worktree
from nexus.git.including import Include
from nexus.git.kept_trees import is_kept_tree
from nexus.git.orders import Made, Order
from nexus.git.putting_back import put_back, tip_of_kept
from nexus.git.refs import HEADS, Refs, checked_out
from nexus.git.report import stashes_on
from nexus.git.repository import opened
from nexus.git.rescue_state import State, read_state, unquoted
from nexus.git.rescues import is_kept_ref
from nexus.git.restored_content import Content
from nexus.git.threads import Stop
from nexus.git.trees import flatten
from nexus.models.workspace import Isolation, Repository

_STASH = "refs/stash"
_LINKED = (
    "made as a linked worktree, not as a private clone: what was rescued is more than a branch; "
    "whoever works in it can write the main repository's branches"
)


class Plan(NamedTuple):
    """What a restore writes."""

    tip: str
    content: Content | None
    state: State | None
    notes: tuple[str, ...]


def tip_of(repository: Repository, ref: str) -> str:
    """Return the commit that a restored branch will be at, blocking.

    Raises:
        RefNotFound: When there is nothing of this name to restore from.
        GitError: When it is damaged.
    """
    if is_kept_tree(ref):
        return tip_of_kept(repository, ref)
    with opened(repository) as repo:
        return _plan(repo, repository, "x", ref).tip


def restore_worktree(
    repository: Repository,
    name: str,
    ref: str,
    *,
    reason: str,
    include: Include,
    isolation: Isolation,
    stop: Stop,
    report: Report | None,
    fork: bool = False,
) -> Made:
    """Make a worktree as it was kept, blocking. See :meth:`nexus.git.Worktrees.restore`."""
    if is_kept_tree(ref):
        return put_back(repository, name, ref, reason, stop)
    branch = layout.branch_ref(name)
    with opened(repository) as repo:
        plan = _plan(repo, repository, name, ref)
    existing = Refs(repository.common_dir).get(os.fsencode(branch))
    if existing is not None and existing != plan.tip.encode():
        raise BranchInUse(
            f"the branch {layout.branch_name(name)!r} exists and is not where it was when this was kept",
            hint="restore it under another name, or move that branch out of the way: git branch -m "
            f"{layout.branch_name(name)} <new name>",
            details={"branch": layout.branch_name(name), "tip": existing.decode(), "wanted": plan.tip},
        )
    notes = list(plan.notes)
    content = plan.content
    if content is not None and fork:
        content = _of_a_fork(content, plan.tip, name, isolation)
    elif content is not None and isolation == "clone":
        # A private clone borrows objects, and only what its branch leads to is safe from the main repository's gc.
        isolation = "worktree"
        notes.append(_LINKED)
    order = Order(name, plan.tip, reason, existing is not None, include, isolation)
    made = create_worktree(repository, order, stop, report, content)
    notes = [*made.worktree.notes, *notes]
    if plan.state is not None and not fork:
        notes += put_stashes_back(repository, plan.state)
    return made._replace(worktree=made.worktree.model_copy(update={"notes": tuple(notes)}))


def _of_a_fork(content: Content, tip: str, name: str, isolation: Isolation) -> Content:
    """A private clone has no branch but its own, so its ``HEAD`` is that or a commit."""
    ours = b"ref: " + os.fsencode(layout.branch_ref(name))
    if isolation != "clone" or content.head == ours or not content.head.startswith(b"ref: "):
        return content
    return content._replace(head=tip.encode())


def _plan(repo: Repo, repository: Repository, name: str, ref: str) -> Plan:
    refs = Refs(repository.common_dir)
    sha = refs.get(os.fsencode(ref)) if is_kept_ref(ref) else None
    if sha is None:
        raise RefNotFound(
            f"there is nothing to restore from at {ref!r}",
            hint="'boulder ws rescues' and 'boulder ws list --all' name what there is",
            details={"ref": ref},
        )
    try:
        commit = repo.object_store[ObjectID(sha)]
    except KeyError as error:
        raise GitError(
            f"{ref} leads to {sha.decode()}, which is not in the repository", details={"ref": ref}
        ) from error
    if not isinstance(commit, Commit):
        raise GitError(f"{ref} leads to no commit", details={"ref": ref})
    return plan_of(repo, repository, name, commit, ref)


def plan_of(
    repo: Repo, repository: Repository, name: str, commit: Commit, ref: str, *, own: Path | None = None
) -> Plan:
    """Return what a worktree gets from what was kept.

    Args:
        repo: The repository, opened.
        repository: The repository.
        name: The name of the worktree that gets it.
        commit: The commit that everything was kept in.
        ref: What leads to it, for errors.
        own: Git's entry for the worktree, where there is one: what is checked out there is not in anybody's way.

    Raises:
        GitError: When it is damaged, or not safe to write.
    """
    refs = Refs(repository.common_dir)
    state = read_state(repo.object_store, commit)
    if state is None:
        return Plan(commit.id.decode(), None, None, ())
    manifest = state.manifest
    tip = manifest.tip or manifest.head
    _require_descent(commit, ref, manifest.tip, manifest.head)
    if tip is None:
        raise GitError(
            f"{ref} holds the files of a branch without a commit",
            hint=f"take them out with: git checkout {ref} -- .",
            details={"ref": ref},
        )
    old, new = os.fsencode(layout.branch_ref(manifest.name)), os.fsencode(layout.branch_ref(name))
    head, notes = _head(repository, refs, state, old=old, new=new, tip=tip, own=own)
    content = Content(
        files=flatten(repo.object_store, bytes.fromhex(commit.tree.decode())),
        verbatim=frozenset(map(unquoted, manifest.verbatim)),
        permissions={unquoted(path): bits & 0o777 for path, bits in manifest.permissions.items()},
        entries=state.entries,
        head=head,
        admin=_renamed(state.admin, old, new),
    )
    return Plan(tip, content, state, notes)


def _require_descent(commit: Commit, ref: str, *named: str | None) -> None:
    """What a manifest names must be held by the rescue itself: anybody who can write refs can write a manifest."""
    strange = [sha for sha in named if sha is not None and ObjectID(sha.encode()) not in commit.parents]
    if strange:
        raise GitError(f"{ref} is damaged: it names {strange[0]}, which it does not hold", details={"ref": ref})


def _head(
    repository: Repository, refs: Refs, state: State, *, old: bytes, new: bytes, tip: str, own: Path | None
) -> tuple[bytes, tuple[str, ...]]:
    """Return the line for ``HEAD``: what was checked out, as far as it is still there and free."""
    head, ref = state.manifest.head, state.manifest.ref
    if ref is None:
        return (head or tip).encode(), ()
    wanted = ref.encode()
    if wanted == old and (head is None or head == tip):
        return b"ref: " + new, ()
    if wanted.startswith(HEADS) and check_ref_format(Ref(wanted)):
        there = refs.get(wanted)
        same = there == (head.encode() if head else None)
        if same and checked_out(repository.common_dir, ref) in {None, own}:
            return b"ref: " + wanted, ()
    note = f"it was on {ref}, which has moved, is gone or is checked out elsewhere; HEAD is detached now"
    return (head or tip).encode(), (note,)


def _renamed(admin: Mapping[bytes, bytes], old: bytes, new: bytes) -> dict[bytes, bytes]:
    """Return the state of an operation for a worktree of another name: a rebase knows which branch it will move."""
    if old == new:
        return dict(admin)
    short = {old: new, old.removeprefix(HEADS): new.removeprefix(HEADS)}
    pointers = {b"rebase-merge/head-name", b"rebase-apply/head-name", b"BISECT_START"}
    return {
        path: short.get(content.strip(), content.strip()) + b"\n" if path in pointers else content
        for path, content in admin.items()
    }


def put_stashes_back(repository: Repository, state: State) -> list[str]:
    """Put back those stash entries that somebody dropped since."""
    common = repository.common_dir
    there = {sha for sha, _ in stashes_on(common, layout.branch_name(state.manifest.name))}
    missing = [stash for stash in state.manifest.stashes if stash.commit not in there]
    with opened(repository) as repo:
        for stash in missing:
            current = Refs(common).get(_STASH.encode())
            sha = ObjectID(stash.commit.encode())
            name = Ref(_STASH.encode())
            done = sha in repo.object_store and (
                repo.refs.add_if_new(name, sha)
                if current is None
                else repo.refs.set_if_equals(name, ObjectID(current), sha)
            )
            if not done:
                return [f"the stash entry {stash.commit} could not be put back; the rescue still holds it"]
            message = os.fsdecode(unquoted(stash.message))
            reflog.append(common, _STASH, current.decode() if current else None, stash.commit, message)
    return []

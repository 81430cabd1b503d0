"""What holds for linked worktrees and private clones alike, told apart by our own marker: report, rescue, removal, return."""

from __future__ import annotations

import re
from contextlib import ExitStack, suppress
from typing import Final

from dulwich.objects import ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git import layout
from nexus.git.clone_marker import drop_marker, read_marker
from nexus.git.history import ahead_behind, looking_in, only_left
from nexus.git.kept_trees import set_aside
from nexus.git.lending import lend, let_go
from nexus.git.lfs import own_content
from nexus.git.listing import get_worktree
from nexus.git.precious import Precious
from nexus.git.removing import remove_worktree
from nexus.git.report import report_work
from nexus.git.repository import opened
from nexus.git.rescue import rescue_worktree, whole_commit
from nexus.git.returning import Work, bring_work, return_branch
from nexus.git.submodule_checkout import end_module_loans
from nexus.git.threads import Stop
from nexus.git.work_report import WorkReport
from nexus.models.requests import SyncOutcome
from nexus.models.workspace import Repository

_TRIES: Final = 20_000
_NUMBER: Final = re.compile(r"-[0-9]+\Z")
_NOTHING_TO_BRING: Final = "a linked worktree's branch is in the repository already"


def is_clone(repository: Repository, name: str) -> bool:
    """Return whether a worktree is a private clone."""
    return read_marker(repository, name) is not None


def _holds_work(repository: Repository, name: str) -> bool:
    """Return whether there is a clone to look into; without a tree only its branch is left."""
    return is_clone(repository, name) and get_worktree(repository, name) is not None


def report_any(repository: Repository, name: str, stop: Stop, precious: Precious | None = None) -> WorkReport:
    """Work out a report, blocking. See :meth:`nexus.git.Worktrees.report`."""
    branch = layout.branch_name(name)
    try:
        if not _holds_work(repository, name):
            return report_work(repository, name, stop, precious)
        work = bring_work(repository, name, stop)
        _require_no_content(repository, name)
    except (GitError, OSError) as error:
        return WorkReport(name=name, branch=branch, unknown=str(error))
    report = report_work(repository, name, stop, precious, tips=work.tips)
    return report.model_copy(update={"stashes": work.stashes})


def rescue_any(
    repository: Repository, name: str, max_file_bytes: int, stop: Stop, precious: Precious | None = None
) -> str:
    """Write a worktree's state to a rescue ref, blocking. See :meth:`nexus.git.Worktrees.rescue`.

    A clone's other branches and stashes get refs of their own beside the one that is returned.
    """
    try:
        return _rescue(repository, name, max_file_bytes, stop, precious)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        raise GitError(f"the worktree {name!r} cannot be kept: {error.strerror}{place}") from error


def _rescue(repository: Repository, name: str, max_file_bytes: int, stop: Stop, precious: Precious | None) -> str:
    if not _holds_work(repository, name):
        return rescue_worktree(repository, name, max_file_bytes, stop, precious)
    with ExitStack() as until:
        work = bring_work(repository, name, stop, until)
        _require_no_content(repository, name)
        ref = rescue_worktree(repository, name, max_file_bytes, stop, precious)
        _keep_others(repository, ref, work)
    return ref


def _keep_others(repository: Repository, ref: str, work: Work) -> None:
    """Keep beside a rescue what else the clone holds."""
    with opened(repository) as repo:
        look = looking_in(repo)
        kept = [bytes(repo.refs[ref.encode()])]  # type: ignore[index]
        for tip in work.tips:
            if only_left(look, [tip], kept):
                _keep_beside(repo, ref, tip)
                kept.append(tip)


def commit_any(
    repo: Repo,
    repository: Repository,
    name: str,
    max_file_bytes: int,
    stop: Stop,
    *,
    precious: Precious | None,
    until: ExitStack,
) -> ObjectID:
    """Store everything that a worktree or clone holds in a commit that no ref leads to yet, blocking.

    What a clone has on other branches, and its stash entries, stay its own. What comes from it is safe from garbage collection until
    ``until`` is closed.

    Raises:
        GitError: When its tree is gone, or something cannot be kept.
    """
    worktree = get_worktree(repository, name)
    if worktree is None or not worktree.present:
        raise GitError(
            f"the tree of {name!r} is gone, so there is nothing to keep",
            hint="'boulder doctor' tells what became of it",
            details={"name": name},
        )
    try:
        if worktree.isolation == "clone":
            bring_work(repository, name, stop, until)
            _require_no_content(repository, name)
        moment = "at a checkpoint"
        return whole_commit(repo, repository, worktree, max_file_bytes, stop, precious=precious, moment=moment)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        raise GitError(f"the worktree {name!r} cannot be kept: {error.strerror}{place}") from error


def _keep_beside(repo: Repo, ref: str, tip: bytes) -> None:
    # Named like rescues of the same second: they are listed, restored and pruned like any other.
    stem = _NUMBER.sub("", ref)
    for number in range(2, _TRIES):
        if repo.refs.add_if_new(Ref(f"{stem}-{number}".encode()), ObjectID(tip)):
            return
    raise GitError(f"no free name beside {ref} for what else the clone holds")


def _require_no_content(repository: Repository, name: str) -> None:
    """Refuse a clone with large files of its own: commits that come back from it hold only pointers to them."""
    found = own_content(repository, layout.worktree_path(repository, name) / ".git")
    if found:
        raise GitError(
            f"the clone {name!r} keeps {len(found)} large files of its own, which do not come back with its commits",
            hint="push them from inside: git lfs push --all <remote>",
            details={"name": name, "objects": found[:20]},
        )


def remove_any(
    repository: Repository,
    name: str,
    *,
    expected_tip: str | None,
    delete_branch: bool,
    behind: bool = False,
    aside: str | None = None,
) -> bool:
    """Remove a worktree or clone, blocking. See :meth:`nexus.git.Worktrees.remove`."""
    if aside is not None:
        set_aside(repository, name, aside)
    try:
        return remove_worktree(repository, name, expected_tip=expected_tip, delete_branch=delete_branch, behind=behind)
    finally:
        # While the tree is in its place the marker says what it is.
        if get_worktree(repository, name) is None:
            drop_marker(repository, name)
            _end_loan(repository, name, aside=aside)


def _end_loan(repository: Repository, name: str, *, aside: str | None) -> None:
    """Let go of what a workspace was lent. What cannot be let go of now is only kept for longer than it is needed."""
    with suppress(GitError), opened(repository) as repo:
        let_go(repo, repository, name)
        # A tree that was set aside still needs what its submodules borrow; the rest is kept by the ref that goes with it.
        if aside is None:
            end_module_loans(repository, name)


def bring_back(repository: Repository, name: str, stop: Stop) -> SyncOutcome:
    """Bring a clone's branch back, blocking. See :meth:`nexus.git.Worktrees.bring_back`."""
    branch = layout.branch_name(name)
    marker = read_marker(repository, name)
    if marker is None:
        worktree = get_worktree(repository, name)
        if worktree is None:
            raise GitError(f"there is no worktree {name!r} to bring back", details={"name": name})
        head = worktree.head or ""
        return SyncOutcome(
            branch=branch, remote=None, before=head, after=head, fast_forwarded=False, message=_NOTHING_TO_BRING
        )
    done = return_branch(repository, name, marker, stop)
    with opened(repository) as repo:
        lend(repo, repository, name, get_worktree(repository, name))
    before, after = done.before or "", done.after or done.before or ""
    if done.after is None:
        message = f"the clone has no branch {branch}, so nothing was brought back"
    elif before == after:
        message = "nothing new in the clone"
    else:
        message = f"brought back from the clone to {after[:10]}"
    forward = False
    if before and before != after:
        with opened(repository) as repo:
            ahead, behind = ahead_behind(looking_in(repo), after.encode(), before.encode())
        forward = behind == 0
        message += f": {ahead} new commit{'' if ahead == 1 else 's'}" + ("" if forward else ", rewritten")
    return SyncOutcome(
        branch=branch,
        remote=None,
        before=before,
        after=after,
        fast_forwarded=forward,
        fetched=int(before != after),
        message=message,
    )

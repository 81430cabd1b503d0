"""Working out what would be lost with a worktree. Nothing is written, no program runs."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from dulwich.objects import Commit, ObjectID, Tag
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git import beneath, layout
from nexus.git.history import looking_in, only_left, subject
from nexus.git.layout import Worktree
from nexus.git.listing import get_worktree
from nexus.git.precious import Precious
from nexus.git.refs import Refs
from nexus.git.repository import opened, read_config
from nexus.git.status import MAX_COMPARED, Change, Content, Place, TreeStatus, content_of, examine
from nexus.git.submodule_work import look_into, unsaved_commits
from nexus.git.threads import Stop
from nexus.git.trees import shown
from nexus.git.work_report import WorkReport
from nexus.models.workspace import Repository

_SUBJECTS: Final = 10
_POINTER_LIMIT: Final = 1 << 16
_STASH_LOG_LIMIT: Final = 64 << 20
_OPERATIONS: Final = (
    ("rebase-merge", "rebase"),
    ("rebase-apply/applying", "am"),
    ("rebase-apply", "rebase"),
    ("MERGE_HEAD", "merge"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("BISECT_LOG", "bisect"),
)
_DURABLE: Final = (b"refs/heads/", b"refs/tags/", b"refs/remotes/")
_STASHED: Final = re.compile(rb"[0-9a-f]{40} ([0-9a-f]{40}) .*?\t((?:WIP on|On) ([^:]+): .*)$")


class Examined(NamedTuple):
    """A worktree, opened and compared."""

    worktree: Worktree
    content: Content
    status: TreeStatus


def examined(
    repository: Repository,
    worktree: Worktree,
    repo: Repo,
    stop: Stop,
    closing: ExitStack,
    *,
    precious: Precious | None = None,
) -> Examined:
    """Compare the worktree's tree, which must be there; what is opened closes with ``closing``."""
    config = read_config(repository)
    root = os.open(worktree.path, beneath.FOLDER)
    closing.callback(os.close, root)
    content = content_of(repo, repository, config, root)
    place = Place(repository, config, worktree.path, worktree.admin_dir, worktree.head, precious)
    looking = partial(look_into, repository, worktree, stop=stop)
    return Examined(worktree, content, examine(content, place, stop, looking))


def report_work(
    repository: Repository,
    name: str,
    stop: Stop,
    precious: Precious | None = None,
    *,
    tips: Collection[bytes] = (),
) -> WorkReport:
    """Work out a report, blocking. See :meth:`nexus.git.Worktrees.report`.

    Args:
        repository: The repository.
        name: The worktree's name.
        stop: Asked now and then.
        precious: Which ignored files count as work.
        tips: More commits that would be lost with it.
    """
    branch = layout.branch_name(name)
    try:
        with opened(repository) as repo, ExitStack() as closing:
            worktree = get_worktree(repository, name)
            refs = Refs(repository.common_dir)
            found = _commits(repo, refs, worktree, name, tips)
            found.update(_in_tree(repository, repo, worktree, stop, closing, precious=precious))
            stashes = stashes_on(repository.common_dir, branch)
            found["stashes"] = tuple(_told(message) for _, message in reversed(stashes))
            return WorkReport.model_validate({"name": name, "branch": branch, **found})
    except (GitError, OSError) as error:
        return WorkReport(name=name, branch=branch, unknown=str(error))


def _commits(
    repo: Repo, refs: Refs, worktree: Worktree | None, name: str, more: Collection[bytes]
) -> dict[str, object]:
    ref = os.fsencode(layout.branch_ref(name))
    tips = {tip for tip in (refs.get(ref), _bytes(worktree.head if worktree else None), *more) if tip is not None}
    elsewhere = {sha for other, sha in refs.commits().items() if other.startswith(_DURABLE) and other != ref}
    only = [] if tips <= elsewhere else only_left(looking_in(repo), tips, _commits_of(repo, elsewhere))
    return {
        "head": worktree.head if worktree else None,
        "unreachable": len(only),
        "unreachable_subjects": tuple(subject(repo, sha) for sha in only[:_SUBJECTS]),
        "detached": bool(worktree and worktree.registered and worktree.head and worktree.checked_out is None),
    }


def _commits_of(repo: Repo, shas: set[bytes]) -> list[bytes]:
    """Return the commits that refs lead to: annotated tags are followed, broken refs and tagged files left out."""
    found: list[bytes] = []
    for sha in shas:
        try:
            target = repo.object_store[ObjectID(sha)]
            while isinstance(target, Tag):
                target = repo.object_store[target.object[1]]
        except KeyError:
            continue
        if isinstance(target, Commit):
            found.append(target.id)
    return found


def _told(message: bytes) -> str:
    """Return what a stash entry says after the branch it was made on."""
    return message.partition(b": ")[2].decode("utf-8", "backslashreplace")


def _bytes(sha: str | None) -> bytes | None:
    return None if sha is None else sha.encode()


def _in_tree(
    repository: Repository,
    repo: Repo,
    worktree: Worktree | None,
    stop: Stop,
    closing: ExitStack,
    *,
    precious: Precious | None,
) -> dict[str, object]:
    if worktree is None or not worktree.present:
        moved = _moved_to(worktree)
        return {} if moved is None else {"unknown": f"its tree was moved to {moved}"}
    if not worktree.registered:
        return {"unknown": "git's entry for it is gone, so there is nothing to compare the tree with"}
    if worktree.head is None and worktree.checked_out is None:
        return {"unknown": "its HEAD cannot be read"}
    status = examined(repository, worktree, repo, stop, closing, precious=precious).status
    return {
        "modified": _paths(status, Change.MODIFIED, Change.UNKNOWN),
        "deleted": _paths(status, Change.DELETED),
        "staged": tuple(shown(path) for path in status.staged),
        "untracked": tuple(shown(path) for path in (*status.untracked.files, *status.untracked.repositories)),
        "precious": tuple(shown(path) for path in _only_there(repository, worktree, status.untracked.precious)),
        "submodules": (*status.inside, *unsaved_commits(repository, worktree)),
        "operation": operation_in(worktree.admin_dir),
        "unknown": "; ".join(status.problems[:_SUBJECTS]) or None,
    }


def _only_there(repository: Repository, worktree: Worktree, paths: list[bytes]) -> list[bytes]:
    """Leave out what the main checkout holds as well, byte for byte: it came from there, and losing a copy loses nothing."""
    if not paths:
        return []
    with ExitStack() as closing:
        tree, main = (os.open(folder, beneath.FOLDER) for folder in (worktree.path, repository.root))
        closing.callback(os.close, tree)
        closing.callback(os.close, main)
        return [path for path in paths if not _same(tree, main, path)]


def _same(tree: int, main: int, path: bytes) -> bool:
    try:
        limit = MAX_COMPARED
        return beneath.read_file(main, path, limit=limit) == beneath.read_file(tree, path, limit=limit)
    except OSError:
        return False


def _paths(status: TreeStatus, *kinds: Change) -> tuple[str, ...]:
    return tuple(dict.fromkeys(shown(path) for path, change in status.changed.items() if change in kinds))


def operation_in(admin: Path) -> str | None:
    """Return what was begun in a worktree and not ended."""
    return next((operation for file, operation in _OPERATIONS if beneath.exists(admin / file)), None)


def _moved_to(worktree: Worktree | None) -> str | None:
    """Return where a tree is that somebody moved by hand, as far as git's entry knows."""
    if worktree is None or not worktree.registered:
        return None
    with suppress(OSError):
        content = beneath.read_regular(worktree.admin_dir / "gitdir", limit=_POINTER_LIMIT)
        if content is not None:
            pointer = Path(os.fsdecode(content.strip()))
            if pointer.parent != worktree.path and beneath.exists(pointer):
                return shown(os.fsencode(pointer.parent))
    return None


def stashes_on(common: Path, branch: str) -> list[tuple[str, bytes]]:
    """Return the stash entries that were made on a branch, commit and message, the oldest first."""
    try:
        log = beneath.read_regular(common / "logs" / "refs" / "stash", limit=_STASH_LOG_LIMIT)
    except NotADirectoryError:
        return []
    except OSError as error:
        raise GitError(
            f"the list of stash entries cannot be read: {error.strerror}",
            hint="git keeps it as a plain file; put the real one back in its place",
            details={"path": str(common / "logs" / "refs" / "stash")},
        ) from error
    found = (_STASHED.match(line) for line in (log or b"").splitlines())
    return [(match[1].decode(), match[2]) for match in found if match is not None and match[3] == branch.encode()]

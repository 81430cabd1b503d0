"""The refs that outlive a worktree: rescues of unsaved work, and the tips of destroyed workspaces' branches."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from dulwich.objects import Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import GitError, InvalidName
from nexus.git import layout
from nexus.git.kept_trees import drop_kept, is_kept_tree, list_kept
from nexus.git.ref_deletion import delete_ref
from nexus.git.refs import Refs, require_real_path
from nexus.git.repository import opened
from nexus.git.rescue_state import read_manifest
from nexus.models.ids import parse_name
from nexus.models.rescues import Rescue
from nexus.models.workspace import Repository

_RESCUE: Final = re.compile(rf"{layout.RESCUE_PREFIX}([a-z0-9-]+)/(\d{{8}}T\d{{6}}Z)(?:-(\d+))?", re.ASCII)
_CHECKPOINT: Final = re.compile(rf"{layout.CHECKPOINT_PREFIX}([a-z0-9-]+)/([0-9a-f]{{12}})", re.ASCII)
_DESTROYED: Final = re.compile(rf"{layout.DESTROYED_PREFIX}([a-z0-9-]+)/([0-9a-f]{{8}})", re.ASCII)


def list_rescues(repository: Repository, name: str | None) -> tuple[Rescue, ...]:
    """Return the rescues that can be read, the newest first, blocking. See :meth:`nexus.git.Worktrees.rescues`."""
    found: list[tuple[int, Rescue]] = []
    with opened(repository) as repo:
        for ref, sha in Refs(repository.common_dir).commits().items():
            match = _RESCUE.fullmatch(ref.decode("utf-8", "replace"))
            if match is None or not _is_name(match[1]) or (name is not None and match[1] != name):
                continue
            rescue = _describe(repo, match, sha)
            if rescue is not None:
                found.append((int(match[3] or 1), rescue))
    found += [(1, kept) for kept in list_kept(repository, name)]
    found.sort(key=lambda item: (item[1].time, _rank(*item)), reverse=True)
    return tuple(rescue for _, rescue in found)


def _rank(number: int, rescue: Rescue) -> tuple[bool, int]:
    """Order what was kept within one second: whole rescues by their number, then what else a clone held beside the first of them."""
    whole = rescue.files is not None or rescue.tree is not None
    return whole, number if whole else -number


def _is_name(text: str) -> bool:
    try:
        return bool(parse_name(text))
    except InvalidName:
        return False


def _describe(repo: Repo, match: re.Match[str], sha: bytes) -> Rescue | None:
    try:
        commit = repo.object_store[ObjectID(sha)]
        moment = datetime.strptime(match[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except (KeyError, ValueError):
        return None
    if not isinstance(commit, Commit):
        return None
    rescue = Rescue(ref=match[0], name=match[1], time=moment, commit=sha.decode(), base=sha.decode(), head=sha.decode())
    manifest = read_manifest(repo.object_store, commit)
    if manifest is None:
        return rescue
    return rescue.model_copy(
        update={
            "base": manifest.tip,
            "head": manifest.head,
            "operation": manifest.operation,
            "files": manifest.files,
            "size": manifest.size,
            "stashes": len(manifest.stashes),
            "left": manifest.left,
        }
    )


def destroyed_ref(name: str, identifier: str) -> str:
    """Return the ref that keeps the tip of a destroyed workspace's branch.

    Raises:
        InvalidName: When the name is none.
    """
    return f"{layout.DESTROYED_PREFIX}{parse_name(name)}/{identifier[:8]}"


def list_destroyed_refs(repository: Repository) -> dict[str, str]:
    """Return the refs of destroyed workspaces with their commits, blocking."""
    refs = {ref.decode("utf-8", "replace"): sha.decode() for ref, sha in Refs(repository.common_dir).commits().items()}
    return {ref: sha for ref, sha in refs.items() if _DESTROYED.fullmatch(ref)}


def checkpoint_ref(name: str, identifier: str) -> str:
    """Return the ref that keeps the tree of a checkpoint.

    Raises:
        InvalidName: When the name is none.
    """
    return f"{layout.CHECKPOINT_PREFIX}{parse_name(name)}/{identifier}"


def list_checkpoint_refs(repository: Repository) -> dict[str, str]:
    """Return the refs of checkpoints with their commits, blocking."""
    refs = {ref.decode("utf-8", "replace"): sha.decode() for ref, sha in Refs(repository.common_dir).commits().items()}
    return {ref: sha for ref, sha in refs.items() if (match := _CHECKPOINT.fullmatch(ref)) and _is_name(match[1])}


def keep_commit(repository: Repository, ref: str, commit: str) -> None:
    """Make ``ref`` lead to ``commit``, blocking; the same call may be made twice."""
    _require_ours(ref)
    require_real_path(repository.common_dir, ref)
    with opened(repository) as repo:
        name, wanted = Ref(os.fsencode(ref)), ObjectID(commit.encode())
        before = Refs(repository.common_dir).get(os.fsencode(ref))
        if before == wanted:
            return
        done = (
            repo.refs.add_if_new(name, wanted)
            if before is None
            else repo.refs.set_if_equals(name, ObjectID(before), wanted)
        )
    if not done:
        raise GitError(f"somebody else is changing {ref}", hint="try again", details={"ref": ref})


def drop_ref(repository: Repository, ref: str, expected: str) -> bool:
    """Delete one of these refs if it still leads where it did, blocking; say whether it is gone."""
    if is_kept_tree(ref):
        return drop_kept(repository, ref, expected)
    _require_ours(ref)
    require_real_path(repository.common_dir, ref)
    current = Refs(repository.common_dir).get(os.fsencode(ref))
    if current is None:
        return True
    if current != expected.encode():
        return False
    with opened(repository) as repo:
        gone = delete_ref(repo, os.fsencode(ref), expected.encode())
    if gone:
        with suppress(OSError):
            (repository.common_dir / ref).parent.rmdir()
    return gone


def _require_ours(ref: str) -> None:
    if not any(kind.fullmatch(ref) for kind in (_RESCUE, _DESTROYED, _CHECKPOINT)):
        raise GitError(f"{ref!r} is not a ref of a rescue, a checkpoint or a destroyed workspace", details={"ref": ref})


def is_kept_ref(ref: str) -> bool:
    """Return whether this is the name of a ref that a workspace can be restored from."""
    return any(kind.fullmatch(ref) for kind in (_RESCUE, _DESTROYED, _CHECKPOINT)) or is_kept_tree(ref)

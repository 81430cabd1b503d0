"""Trees that cannot be kept in a commit are set aside whole: nested repositories, files without end, damaged worktrees and clones.

::

    <root>/.nexus/kept/<name>/<time>/kept.json   what it was
    <root>/.nexus/kept/<name>/<time>/tree        the tree, moved there as it was
    <root>/.nexus/kept/<name>/<time>/git         git's entry for it, with the index and the submodules' repositories
    refs/nexus/kept/<name>/<time>                keeps the commits of the main repository that they need

Moving costs nothing, however large it is, and drops nothing. Nothing in it is ever obeyed.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from nexus.errors import GitError
from nexus.git import beneath, layout
from nexus.git.clone_marker import drop_marker
from nexus.git.deleting import make_movable, move_away
from nexus.git.excluding import exclude
from nexus.git.keeping import make_ref
from nexus.git.lending import needed
from nexus.git.listing import get_worktree
from nexus.git.ref_deletion import delete_ref
from nexus.git.refs import Refs, require_real_path
from nexus.git.repository import opened, sheltered
from nexus.git.submodule_checkout import end_module_loans
from nexus.git.trash import size_of
from nexus.models.base import Model
from nexus.models.ids import parse_name
from nexus.models.rescues import Rescue
from nexus.models.workspace import Isolation, Repository

_KEPT: Final = re.compile(rf"{layout.KEPT_PREFIX}([a-z0-9-]+)/(\d{{8}}T\d{{6}}Z(?:-\d+)?)", re.ASCII)
_NOTE: Final = "kept.json"
TREE: Final = "tree"
ENTRY: Final = "git"
_LIMIT: Final = 1 << 20
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class KeptTree(Model):
    """What a tree was that was set aside."""

    schema_version: int = 1
    name: str
    time: datetime
    reason: str
    """Why it could not be kept in a commit."""
    isolation: Isolation = "worktree"
    tip: str | None = None
    """Where its branch was in the main repository."""
    head: str | None = None
    """The commit that was checked out."""
    ref: str | None = None
    """The ref that ``HEAD`` named."""


def is_kept_tree(ref: str) -> bool:
    """Return whether this is the name of a ref that goes with a tree that was set aside."""
    return bool(_KEPT.fullmatch(ref))


def folder_of(repository: Repository, ref: str) -> Path:
    """Return the folder that belongs to such a ref.

    Raises:
        GitError: When the ref is none.
    """
    match = _KEPT.fullmatch(ref)
    if match is None:
        raise GitError(f"{ref!r} is not a ref of a tree that was set aside", details={"ref": ref})
    return layout.kept_folder(repository) / parse_name(match[1]) / match[2]


def pin(repository: Repository, name: str, reason: str) -> str:
    """Write down what a tree is that is to be set aside, and keep the commits that it needs; blocking.

    Returns:
        The full name of the ref, for :func:`set_aside`.

    Raises:
        GitError: When the main repository cannot be written.
    """
    exclude(repository)
    worktree = get_worktree(repository, name)
    tip = Refs(repository.common_dir).get(os.fsencode(layout.branch_ref(name)))
    with opened(repository) as repo, sheltered(repo) as shelter:
        message = f"What the tree of {name} needs, which was set aside\n\n{reason}\n"
        commit = needed(repo, repository, name, worktree, message)
        shelter.seal()
        ref = make_ref(repo, repository, layout.KEPT_PREFIX, name, commit)
    note = KeptTree(
        name=name,
        time=datetime.now(UTC),
        reason=reason,
        isolation="worktree" if worktree is None else worktree.isolation,
        tip=None if tip is None else tip.decode(),
        head=None if worktree is None else worktree.head,
        ref=None if worktree is None else worktree.checked_out,
    )
    folder = folder_of(repository, ref)
    beneath.require_grounds(repository, "kept", name, folder.name)
    _write(folder / _NOTE, note)
    return ref


def _write(file: Path, note: KeptTree) -> None:
    draft = file.with_name(f".{file.name}.{secrets.token_hex(6)}")
    try:
        with os.fdopen(os.open(draft, _CREATE, 0o600), "wb") as writing:
            writing.write(note.model_dump_json(indent=1).encode())
            writing.flush()
            os.fsync(writing.fileno())
        draft.replace(file)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise GitError(f"{file} cannot be written: {error.strerror}", details={"path": str(file)}) from error


def set_aside(repository: Repository, name: str, ref: str) -> None:
    """Move a worktree or clone to the folder that belongs to ``ref``; blocking. It may be called again after a crash.

    Raises:
        GitError: When it cannot be moved; then it is where it was.
    """
    folder = folder_of(repository, ref)
    beneath.require_grounds(repository, "kept", folder.parent.name, folder.name)
    _move(layout.worktree_path(repository, name), folder / TREE)
    _move(layout.admin_path(repository, name), folder / ENTRY)
    if not beneath.exists(layout.worktree_path(repository, name)):
        drop_marker(repository, name)


def _move(source: Path, target: Path) -> None:
    if beneath.exists(target) or not beneath.exists(source):
        return
    make_movable(source)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno == errno.EXDEV:
            _carry_over(source, target)
            return
        raise GitError(f"{source} cannot be set aside: {error.strerror}", details={"path": str(source)}) from error


def _carry_over(source: Path, target: Path) -> None:
    """Move git's entry to another file system: a git directory may lie on one of its own."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        shutil.move(source, draft)
        draft.rename(target)
    except (OSError, shutil.Error) as error:
        raise GitError(f"{source} cannot be set aside: {error}", details={"path": str(source)}) from error


def read_kept(repository: Repository, ref: str) -> KeptTree:
    """Return what is known of a tree that was set aside.

    Raises:
        GitError: When it is gone, or its note cannot be read.
    """
    folder = folder_of(repository, ref)
    try:
        content = beneath.read_regular(folder / _NOTE, limit=_LIMIT)
        if content is None:
            raise GitError(f"the tree that {ref} goes with is gone: {folder}", details={"path": str(folder)})
        return KeptTree.model_validate_json(content)
    except (OSError, ValidationError) as error:
        raise GitError(
            f"{folder / _NOTE} cannot be read",
            hint=f"the tree itself is in {folder / TREE}",
            details={"path": str(folder)},
        ) from error


def list_kept(repository: Repository, name: str | None) -> Iterator[Rescue]:
    """Give the trees that were set aside; one whose note is damaged is given with what its place says."""
    for ref, sha in Refs(repository.common_dir).commits().items():
        match = _KEPT.fullmatch(ref.decode("utf-8", "replace"))
        if match is None or (name is not None and match[1] != name):
            continue
        with suppress(GitError, ValueError):
            folder = folder_of(repository, match[0])
            if not beneath.exists(folder / TREE) and not beneath.exists(folder / ENTRY):
                continue
            yield _describe(repository, match[0], match[1], sha.decode(), folder)


def _describe(repository: Repository, ref: str, name: str, commit: str, folder: Path) -> Rescue:
    try:
        note = read_kept(repository, ref)
    except GitError:
        stamp = datetime.strptime(folder.name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        note = KeptTree(name=name, time=stamp, reason="its note is damaged")
    return Rescue(
        ref=ref,
        name=name,
        time=note.time.replace(microsecond=0),
        commit=commit,
        base=note.tip,
        head=note.head,
        size=size_of(folder),
        tree=folder / TREE,
        reason=note.reason,
    )


def drop_kept(repository: Repository, ref: str, expected: str) -> bool:
    """Move a tree that was set aside to the trash, and delete its ref; blocking. Say whether both are gone."""
    folder = folder_of(repository, ref)
    require_real_path(repository.common_dir, ref)
    current = Refs(repository.common_dir).get(os.fsencode(ref))
    if current is not None and current != expected.encode():
        return False
    beneath.require_grounds(repository, "trash")
    beneath.require_grounds(repository, "kept")
    with suppress(FileNotFoundError):
        move_away(folder, layout.trash_folder(repository), folder.parent.name)
    with suppress(OSError):
        folder.parent.rmdir()
    name = folder.parent.name
    if get_worktree(repository, name) is None and not beneath.exists(folder.parent):
        end_module_loans(repository, name)
    if current is None:
        return True
    with opened(repository) as repo:
        gone = delete_ref(repo, os.fsencode(ref), expected.encode())
    if gone:
        with suppress(OSError):
            (repository.common_dir / ref).parent.rmdir()
    return gone

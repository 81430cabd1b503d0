"""Opening a repository without believing what an agent can write: where everything is, is said by us. See :mod:`nexus.git.locating`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dulwich.config import StackedConfig
from dulwich.errors import NotGitRepository, RefFormatError
from dulwich.file import FileLocked
from dulwich.object_store import DiskObjectStore
from dulwich.repo import InvalidWorktreeConfiguration, Repo, UnsupportedExtension, UnsupportedVersion

from nexus.errors import Busy, GitError, NotARepository
from nexus.git.guarded_objects import GuardedObjects
from nexus.git.locating import config_of
from nexus.git.plain_store import require_plain
from nexus.git.shelter import Shelter
from nexus.models.workspace import Repository


def read_config(repository: Repository) -> StackedConfig:
    """Return the repository's configuration over the user's and the system's.

    ``config.worktree`` of a linked worktree is left out: whoever works in the tree can write it.
    """
    return StackedConfig([config_of(repository.common_dir), *StackedConfig.default_backends()])


def object_store(repository: Repository) -> DiskObjectStore:
    """Return a store of the repository's objects; one for each thread, it is not safe to share."""
    require_plain(repository.common_dir)
    return _objects(repository.common_dir, read_config(repository))


def _objects(common: Path, config: StackedConfig) -> DiskObjectStore:
    try:
        return GuardedObjects.from_config(str(common / "objects"), config)
    except ValueError as error:
        raise GitError(f"{common / 'config'} has a setting that is no number: {error}") from error


@contextmanager
def opened(repository: Repository) -> Iterator[Repo]:
    """Open the repository with git dir, common dir and work tree given, so that no pointer file is followed.

    Raises:
        NotARepository: When it is gone.
        Busy: When the body meets a lock of git's.
        GitError: When it cannot be opened.
    """
    common = str(repository.common_dir)
    require_plain(repository.common_dir)
    try:
        store = _objects(repository.common_dir, read_config(repository))
        repo = Repo(
            str(repository.root),
            object_store=store,
            controldir=common,
            commondir=common,
            worktree=str(repository.root),
        )
    except (NotGitRepository, FileNotFoundError) as error:
        raise NotARepository(f"{common} is no longer a git repository", details={"path": common}) from error
    except (UnsupportedExtension, UnsupportedVersion, InvalidWorktreeConfiguration, OSError, ValueError) as error:
        raise GitError(f"{common} cannot be opened: {error}", details={"path": common}) from error
    try:
        with locks_told():
            yield repo
    finally:
        repo.close()


@contextmanager
def locks_told() -> Iterator[None]:
    """Turn git's lock files, when the body meets one, into ``Busy``."""
    try:
        yield
    except FileLocked as error:
        lock = os.fsdecode(error.lockfilename)
        raise Busy(
            f"git is writing {os.fsdecode(error.filename)}",
            hint=f"try again; when no git runs, a crashed one left {lock} behind: remove it",
            details={"holder": "git", "lock": lock},
        ) from error
    except RefFormatError as error:
        raise GitError(f"git refuses the ref name {error}") from error


@contextmanager
def sheltered(repo: Repo) -> Iterator[Shelter]:
    """Have no garbage collection take what the body adds to an opened repository. The body seals the shelter, then makes the refs."""
    store = repo.object_store
    if not isinstance(store, GuardedObjects):
        raise TypeError(f"{store!r} is no store of an opened repository")
    with store.sheltered() as shelter:
        yield shelter

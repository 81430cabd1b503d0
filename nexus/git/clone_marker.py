"""Our own note that a worktree is a private clone. What the tree says of itself is not asked: whoever works in it writes that.

::

    <root>/.nexus/state/clones/<name>.json
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from nexus.errors import GitError
from nexus.git import beneath
from nexus.models.base import Model
from nexus.models.ids import parse_name
from nexus.models.workspace import Repository

_LIMIT: Final = 1 << 16
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Sha = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class CloneMarker(Model):
    """What we know of a clone."""

    reason: str
    """Whose it is, as the reason in the lock of a linked worktree."""
    returned: Sha | None = None
    """Where its branch was in the main repository when we moved it last."""


def markers_folder(repository: Repository) -> Path:
    """Return the folder of the markers."""
    return repository.root / ".nexus" / "state" / "clones"


def _file(repository: Repository, name: str) -> Path:
    return markers_folder(repository) / f"{parse_name(name)}.json"


def read_marker(repository: Repository, name: str) -> CloneMarker | None:
    """Return the marker of a clone; ``None`` when the worktree of this name is none.

    Raises:
        GitError: When there is one that cannot be read.
    """
    file = _file(repository, name)
    try:
        content = beneath.read_regular(file, limit=_LIMIT)
    except NotADirectoryError:
        return None
    except OSError as error:
        raise GitError(f"{file} cannot be read: {error.strerror}", details={"path": str(file)}) from error
    if content is None:
        return None
    try:
        return CloneMarker.model_validate_json(content)
    except ValidationError as error:
        raise GitError(f"{file} is damaged", hint="it says that the worktree is a private clone") from error


def write_marker(repository: Repository, name: str, marker: CloneMarker) -> None:
    """Write a marker, whole or not at all.

    Raises:
        GitError: When it cannot be written.
    """
    file = _file(repository, name)
    beneath.require_real_folders(repository.root, ".nexus", "state", "clones")
    draft = file.with_name(f".{file.name}.{secrets.token_hex(6)}")
    try:
        with os.fdopen(os.open(draft, _CREATE, 0o600), "wb") as writing:
            writing.write(marker.model_dump_json().encode())
            writing.flush()
            os.fsync(writing.fileno())
        draft.replace(file)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise GitError(f"{file} cannot be written: {error.strerror}", details={"path": str(file)}) from error


def drop_marker(repository: Repository, name: str) -> None:
    """Remove a marker, if there is one."""
    with suppress(FileNotFoundError, NotADirectoryError):
        _file(repository, name).unlink()

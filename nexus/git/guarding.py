"""What a common dir must hold before a container may see it: everything that is to be shadowed has to exist.

Git takes a file ``commondir`` in a git directory for the way to the real one, also in a repository's main ``.git``: whoever can
write there could send the user's own git to another configuration, and so to programs of his choice. Nothing can be mounted
over a file that is not there, so one that says "here" is put in its place, and removed with the last worktree.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from dulwich.config import Config

from nexus.errors import GitError
from nexus.git import beneath, layout
from nexus.git.repository import read_config
from nexus.models.workspace import Repository

COMMONDIR: Final = "commondir"
HERE: Final = b".\n"
_LIMIT: Final = 1 << 16


def guard(repository: Repository) -> None:
    """Make what containers see read-only. What is there stays; a second call changes nothing.

    Raises:
        GitError: When git's own files lead elsewhere already.
    """
    common = repository.common_dir
    config = read_config(repository)
    beneath.require_real_folders(common, "worktrees")
    for folder in layout.SHADOWED_FOLDERS:
        (common / folder).mkdir(exist_ok=True)
    if config.get_boolean((b"extensions",), b"worktreeConfig", False):
        (common / "config.worktree").touch()
    if leads_elsewhere(common):
        raise GitError(
            f"{common / COMMONDIR} sends git to another configuration",
            hint="git makes no such file in a main checkout: look at it, and remove it",
            details={"path": str(common / COMMONDIR)},
        )
    if can_say_here(config):
        _say_here(common)


def unguard(repository: Repository) -> None:
    """Remove our ``commondir`` once no worktree of ours is left."""
    common = repository.common_dir
    with suppress(OSError):
        if any((common / "worktrees").glob(f"{layout.ADMIN_PREFIX}*")):
            return
        if says_here(common):
            (common / COMMONDIR).unlink()


def can_say_here(config: Config) -> bool:
    """Return whether git may be told that this is the common dir: then it no longer asks for ``core.worktree`` and ``core.bare``."""
    try:
        config.get((b"core",), b"worktree")
    except KeyError:
        return not config.get_boolean((b"core",), b"bare", False)
    return False


def says_here(common: Path) -> bool:
    """Return whether our ``commondir`` is in place."""
    try:
        return beneath.read_regular(common / COMMONDIR, limit=_LIMIT) == HERE
    except OSError:
        return False


def leads_elsewhere(common: Path) -> bool:
    """Return whether something at ``commondir`` is not ours."""
    return beneath.exists(common / COMMONDIR) and not says_here(common)


def _say_here(common: Path) -> None:
    if says_here(common):
        return
    draft = common / f"{COMMONDIR}.{secrets.token_hex(6)}"
    try:
        # Whole or not at all: git stops at an empty one.
        draft.write_bytes(HERE)
        with suppress(FileExistsError):
            os.link(draft, common / COMMONDIR)
    except OSError as error:
        raise GitError(f"{common / COMMONDIR} cannot be made: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)

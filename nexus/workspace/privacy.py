"""On a machine that several users share: the folders of a user's workspaces are closed to the others."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

import anyio

from nexus import grounds
from nexus.errors import StateError
from nexus.models.workspace import Repository
from nexus.workspace.context import Context

_FOLDERS: Final = ("worktrees", "state")
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE: Final = 0o700


async def close_folders(context: Context, *, make: bool = False) -> None:
    """See to the folders that a repository's workspaces are in, before anything is looked for there.

    ``.nexus/worktrees`` and ``.nexus/state`` get the mode 0700 where the node's file wants that. Where the trees are kept elsewhere,
    the user's folder there must be theirs, and is closed in the same way.

    A folder of another user is left as it is: it is not ours to close, and root may look after a user's repository.

    Args:
        context: The open manager's parts.
        make: Whether to make folders that are not there, closed from their first moment.

    Raises:
        StateError: When a folder cannot be closed, or a symbolic link stands in its place.
    """
    if context.settings.private_folders:
        await anyio.to_thread.run_sync(_close, context.repository.root, make)
    await anyio.to_thread.run_sync(_grounds, context.repository, context.settings.private_folders, make)


def _grounds(repository: Repository, private: bool, make: bool) -> None:
    found, common = repository.grounds, repository.common_dir
    uid, gid, _ = grounds.owner_of(common)
    try:
        if found is not None:
            with grounds.opened_grounds(found, owner=(uid, gid), private=private, make=make):
                pass
        if make:
            grounds.write_notes(repository.root, common, found)
    except OSError as error:
        raise StateError(
            f"where the work trees are cannot be written down: {error}", hint=f"look at {common / 'info'}"
        ) from error


def _close(root: Path, make: bool) -> None:
    try:
        with contextlib.ExitStack() as stack:
            outer = _folder(root, None, stack, make=False, mode=0o777)
            home = None if outer is None else _folder(Path(".nexus"), outer, stack, make=make, mode=0o755)
            for name in _FOLDERS if home is not None else ():
                _close_one(_folder(Path(name), home, stack, make=make, mode=_PRIVATE))
    except OSError as error:
        raise StateError(
            f"the folders of workspaces below {root / '.nexus'} cannot be closed to other users: {error.strerror or error}",
            hint="look at what stands there: it must be folders of yours, no links",
        ) from error


def _folder(path: Path, above: int | None, stack: contextlib.ExitStack, *, make: bool, mode: int) -> int | None:
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, mode, dir_fd=above)
    try:
        descriptor = os.open(path, _OPEN, dir_fd=above)
    except FileNotFoundError:
        return None
    stack.callback(os.close, descriptor)
    return descriptor


def _close_one(descriptor: int | None) -> None:
    if descriptor is None:
        return
    status = os.fstat(descriptor)
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & 0o077:
        os.fchmod(descriptor, _PRIVATE)

"""Secrets as files on this host: in the runtime folder, for this user alone, and only where that folder is in memory. Blocking."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nexus.errors import InvalidArgument, SecretError, Unsupported
from nexus.models.ids import WorkspaceId
from nexus.providers.local.folders import Folders, Place

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_MOUNTS: Final = Path("/proc/self/mountinfo")
_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,255}", re.ASCII)


def place_of(folders: Folders, workspace: WorkspaceId) -> Place:
    """Return a workspace's own folder for secrets; it need not be there."""
    own = f"{hashlib.sha256(workspace.encode()).hexdigest()[:16]}.secrets"
    return Place(folders.runtime.anchor, (*folders.runtime.below, own))


def write(place: Place, files: Mapping[str, bytes]) -> None:
    """Write secrets, readable by their owner alone; those of the same names are replaced in one step.

    Raises:
        InvalidArgument: When a name cannot be one of a file.
        Unsupported: When the folder is on a disk; nothing is written then.
        ProviderForbidden: When somebody else can write there.
        SecretError: When one cannot be written.
    """
    for name in files:
        if not _NAME.fullmatch(name):
            raise InvalidArgument(f"{name!r} cannot be the name of a secret's file")
    path = place.secure()
    if filesystem_of(path) not in _IN_MEMORY:
        raise Unsupported(
            f"{path} is not in memory, so no secret is written there as a file",
            hint="name a folder in memory with 'backends.local.runtime_dir' (below /dev/shm) or XDG_RUNTIME_DIR, or deliver it as a "
            "variable: 'as: env'",
            details={"capability": "secret-files", "provider": "local"},
        )
    for name, data in files.items():
        draft = path / f".{name[:200]}.{secrets.token_hex(6)}"
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            draft.replace(path / name)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise SecretError(
                f"secret {name} could not be written: {error.strerror}", details={"name": name}
            ) from error


def remove(place: Place) -> None:
    """Remove a workspace's secrets; none there: nothing."""
    shutil.rmtree(place.path, ignore_errors=True)


def filesystem_of(path: Path, mounts: Path = _MOUNTS) -> str:
    """Return the kind of file system that a folder is on; empty where the system does not tell."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields = line.split()
        if fields[2] == number and "-" in fields:
            return fields[fields.index("-") + 1]
    return ""

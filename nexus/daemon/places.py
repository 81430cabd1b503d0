"""Where a daemon's files are: its socket, its lock and what it says of itself in the runtime folder, its keys and log in the state."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nexus.models.base import Model

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_FALLBACK: Final = Path("/tmp")  # noqa: S108 - the folder below it is examined before it is used


class Places(Model):
    """The places of one repository's daemon."""

    anchor: Path
    """The user's runtime folder, which may be reached through symbolic links."""
    folder: str
    """The folder below it, for this user alone."""
    name: str
    """``daemon-<hash>``, what all of its files there begin with."""
    state: Path
    """Folder of this user's keys, revocations and logs."""

    @property
    def socket(self) -> Path:
        """Its Unix socket."""
        return self.anchor / self.folder / f"{self.name}.sock"

    @property
    def announcement(self) -> Path:
        """What it says of itself."""
        return self.anchor / self.folder / f"{self.name}.json"

    @property
    def lock(self) -> Path:
        """Held by it for as long as it lives."""
        return self.anchor / self.folder / f"{self.name}.lock"

    @property
    def log(self) -> Path:
        """Its log."""
        return self.state / f"{self.name}.log"


def places(root: Path, state_dir: Path, env: Mapping[str, str]) -> Places:
    """Return the places of a repository's daemon. Nothing is looked at but who owns the runtime folder.

    Args:
        root: The repository's main checkout.
        state_dir: The folder of the node's state.
        env: ``XDG_RUNTIME_DIR`` is read.
    """
    anchor, folder = _runtime(env)
    digest = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]
    return Places(anchor=anchor, folder=folder, name=f"daemon-{digest}", state=state_folder(state_dir))


def state_folder(state_dir: Path) -> Path:
    """Return the folder of this user's keys, revocations and logs.

    Args:
        state_dir: The folder of the node's state, which several users may share.
    """
    return state_dir / f"daemon-{os.geteuid()}"


def _runtime(env: Mapping[str, str]) -> tuple[Path, str]:
    chosen = env.get("XDG_RUNTIME_DIR", "")
    if chosen.startswith("/"):
        try:
            found = os.stat(chosen)  # noqa: PTH116 - beside the others
        except OSError:
            pass
        else:
            # After "su" or "sudo" the variable may still name another user's.
            if found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE:
                return Path(chosen), "nexus"
    return _FALLBACK, f"nexus-{os.geteuid()}"

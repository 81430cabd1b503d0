"""Where a daemon's files are: socket, lock and announcement in the runtime folder, keys and log in the state of the node."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_FALLBACK: Final = Path("/tmp")  # noqa: S108 - the folder below it is examined before it is used


class Places(NamedTuple):
    """The places of one repository's daemon in the runtime folder."""

    anchor: Path
    """The user's runtime folder, which may be reached through symbolic links."""
    folder: str
    """The folder below it, for this user alone."""
    name: str
    """``daemon-<hash>``, what all of its files begin with."""

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


def places(root: Path, env: Mapping[str, str]) -> Places:
    """Return the places of a repository's daemon. Nothing is looked at but who owns the runtime folder.

    Args:
        root: The repository's main checkout.
        env: ``XDG_RUNTIME_DIR`` is read.
    """
    anchor, folder = _runtime(env)
    digest = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]
    return Places(anchor=anchor, folder=folder, name=f"daemon-{digest}")


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

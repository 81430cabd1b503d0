"""Files that were being written when their process was killed. Nothing reads them, and nobody else would remove them."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import Final

from nexus.git import beneath
from nexus.git.clone_marker import markers_folder
from nexus.git.guarding import COMMONDIR
from nexus.git.ref_deletion import DRAFT
from nexus.git.shelter import sweep
from nexus.models.workspace import Repository

_COMMONDIR: Final = re.compile(rf"{COMMONDIR}\.[0-9a-f]{{12}}", re.ASCII)
_PACKED_REFS: Final = re.compile(rf"{DRAFT}\.[0-9a-f]{{12}}", re.ASCII)
_MARKER: Final = re.compile(r"\..+\.json\.[0-9a-f]{12}", re.ASCII)
_EXCLUDE: Final = re.compile(r"\.exclude\.[0-9a-f]{12}", re.ASCII)


def drop_drafts(repository: Repository) -> None:
    """Remove such files, blocking. The caller holds the repository's lock, so nobody is writing one."""
    common = repository.common_dir
    for folder, pattern in (
        (common, _COMMONDIR),
        (common, _PACKED_REFS),
        (common / "info", _EXCLUDE),
        (markers_folder(repository), _MARKER),
    ):
        _drop(folder, pattern)
    sweep(common / "objects" / "pack")


def _drop(folder: Path, pattern: re.Pattern[str]) -> None:
    try:
        handle = os.open(folder, beneath.FOLDER)
    except OSError:
        return
    try:
        # Whoever writes ``info/exclude`` holds this and not the repository's lock.
        fcntl.flock(handle, fcntl.LOCK_EX)
        for name in os.listdir(handle):  # noqa: PTH208 - a descriptor, not a path
            if pattern.fullmatch(name):
                os.unlink(name, dir_fd=handle)
    except OSError:
        return
    finally:
        os.close(handle)

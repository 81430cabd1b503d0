"""Lines in git's reflogs, appended without following a link that somebody planted there."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from nexus.git import beneath

IDENTITY: Final = b"Nexus <nexus@localhost>"
NO_COMMIT: Final = b"0" * 40
_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def append(git_dir: Path, ref: str, before: str | None, after: str, message: str) -> None:
    """Note that ``ref`` moved. A log that cannot be written is no reason to fail: the ref itself has moved already."""
    line = b"%s %s %s %d +0000\t%s\n" % (
        before.encode() if before else NO_COMMIT,
        after.encode(),
        IDENTITY,
        int(time.time()),
        os.fsencode(message.replace("\n", " ")),
    )
    with suppress(OSError):
        root = os.open(git_dir, beneath.FOLDER)
        try:
            parent, _, name = os.fsencode(f"logs/{ref}").rpartition(b"/")
            with beneath.made_folder(root, parent) as at:
                log = os.open(name, _APPEND, 0o666, dir_fd=at)
                try:
                    os.write(log, line)
                finally:
                    os.close(log)
        finally:
            os.close(root)


def forget(common: Path, ref: str) -> None:
    """Remove the log of a deleted ref, and the folders that are empty then."""
    parts = os.fsencode(f"logs/{ref}").split(b"/")
    with suppress(OSError):
        root = os.open(common, beneath.FOLDER)
        try:
            with beneath.folder(root, b"/".join(parts[:-1])) as at:
                os.unlink(parts[-1], dir_fd=at)
            for depth in range(len(parts) - 1, 3, -1):
                with beneath.folder(root, b"/".join(parts[: depth - 1])) as at:
                    os.rmdir(parts[depth - 1], dir_fd=at)
        finally:
            os.close(root)

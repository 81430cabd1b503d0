"""One lock for each workspace, across processes: starting, stopping and removing never overlap."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from nexus.errors import Busy, StateError, WorkspaceGone

if sys.platform != "win32":
    import fcntl

_NAME: Final = "lock"
_POLL: Final = 0.01
_TIMEOUT: Final = 30.0


@asynccontextmanager
async def locked(folder: Path, *, timeout: float = _TIMEOUT) -> AsyncGenerator[None, None]:
    """Hold a workspace's lock inside the block. The system frees it when this process ends, however that happens.

    Args:
        folder: The workspace's folder.
        timeout: Seconds to wait for another holder.

    Raises:
        Busy: When somebody else held it all the time; names the process.
        WorkspaceGone: When the folder is not there, or was removed while waiting.
        StateError: When the lock's file cannot be made.

    Cancellation: leaves it free.
    """
    held: _Hold | None = None
    with anyio.move_on_after(timeout):
        while (held := await to_thread.run_sync(_try, folder)) is None:  # noqa: ASYNC110 - other processes tell no event
            await anyio.sleep(_POLL)
    if held is None:
        holder = await to_thread.run_sync(_holder, folder)
        raise Busy(
            f"another process ({holder}) is starting, stopping or removing the workspace",
            hint="try again when it has finished",
            details={"holder": holder},
        )
    try:
        yield
    finally:
        held.free()


class _Hold:
    """The lock while it is held. Frees itself when nobody knows it any more: its taker may be cancelled before it is told."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def free(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    __del__ = free


def _try(folder: Path) -> _Hold | None:
    path = folder / _NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise WorkspaceGone(f"{folder} is not there", hint="start the workspace again to have it made") from exc
    except OSError as exc:
        raise StateError(f"{path} cannot be made: {exc.strerror or exc}", hint="free some disk space") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The folder may have been removed, and made again, while this file was opened.
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            held = _Hold(descriptor)
            with suppress(OSError):  # a full disk must not keep anybody from it: the note is for people
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode("ascii"))
            return held
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError as exc:
        os.close(descriptor)
        raise StateError(f"{path} cannot be locked: {exc.strerror or exc}") from exc
    os.close(descriptor)
    return None


def _holder(folder: Path) -> str:
    try:
        return f"pid {(folder / _NAME).read_text(encoding='ascii')}"
    except (OSError, UnicodeDecodeError):
        return "unknown"

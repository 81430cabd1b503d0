"""Commands that are being started and a workspace that is about to be frozen, kept apart across processes.

Any number of starts go on at once, and a freeze waits until none is under way. The kernel holds the lock, so the death of a
holder frees it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from nexus.errors import Busy
from nexus.state.files import FILE_MODE, FOLDER_MODE, translated

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.02
_GROWTH: Final = 1.5


@asynccontextmanager
async def starting(
    path: Path, *, timeout: float = 60.0, before: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Hold for the block that something is being started. Others may start meanwhile; nobody freezes.

    Args:
        path: The workspace's lock file; made when it is missing.
        timeout: Seconds to wait for a freeze to be over.
        before: Something short that blocks, to be done first on the same visit to a thread.

    Raises:
        Busy: When it is not over by then.
        StateError: When the file cannot be used.
    """
    async with _held(path, fcntl.LOCK_SH, timeout, "the workspace is being paused or resumed", before):
        yield


@asynccontextmanager
async def still(path: Path, *, timeout: float = 20.0) -> AsyncIterator[None]:
    """Hold for the block that nothing is being started.

    Args:
        path: As for :func:`starting`.
        timeout: Seconds to wait for those that start.

    Raises:
        Busy: When one still does by then, or others keep coming.
        StateError: When the file cannot be used.
    """
    async with _held(path, fcntl.LOCK_EX, timeout, "a command is being started in the workspace"):
        yield


@asynccontextmanager
async def _held(
    path: Path, operation: int, timeout: float, reason: str, before: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    with translated("lock", path):
        # Opening the file is as quick as locking it, which is done here as well; what comes before may take its time.
        descriptor = _open(path) if before is None else await to_thread.run_sync(_open_after, before, path)
    try:
        pause = _FIRST_PAUSE
        deadline = anyio.current_time() + timeout
        while not _take(descriptor, operation):
            if anyio.current_time() > deadline:
                raise Busy(f"{reason}, for {timeout:g} s by now", hint="try again", details={"holder": None})
            await anyio.sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
        yield
    finally:
        os.close(descriptor)


def _open_after(before: Callable[[], None], path: Path) -> int:
    before()
    return _open(path)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags, FILE_MODE)
    except FileNotFoundError:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        return os.open(path, flags, FILE_MODE)


def _take(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Locks between tasks, threads and processes. The kernel holds them, so the death of a holder frees them."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from filelock import FileLock, Timeout
from pydantic import ValidationError

from nexus.errors import Busy, StateError
from nexus.models.base import Model
from nexus.models.units import seconds
from nexus.models.workspace import ProcessState
from nexus.processes import identify, is_alive
from nexus.state.files import FILE_MODE, FOLDER_MODE, UnfitFile, open_folder, read_small, translated, write_atomic
from nexus.state.threads import run_whole

_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.05
_GROWTH: Final = 1.5
_MAX_HOLDER_BYTES: Final = 4096


class LockHolder(Model):
    """Who holds a lock. For people: the lock itself is the kernel's."""

    process: ProcessState
    purpose: str
    since: datetime


@asynccontextmanager
async def lock(
    *paths: Path,
    purpose: str,
    timeout: float | timedelta | None = 30.0,
    per_holder: bool = False,
    mode: int = FILE_MODE,
    which: Callable[[], Iterable[Path]] | None = None,
    first: Callable[[], object] | None = None,
) -> AsyncIterator[None]:
    """Hold the locks on ``paths`` for the block. It excludes other tasks of this process as well as other processes.

    The lock file stays where it is for ever: removing it would let two holders in. It is not re-entrant. Waiters are not
    queued; whoever asks at the right moment gets it.

    Args:
        paths: The lock files. Their folders are made when they are missing. They are taken in the order given, each waited for
            while those before it are held: whoever takes several has to keep to one order everywhere.
        purpose: What it is held for, for those who wait: ``creating workspace a``.
        timeout: Longest time to wait for each, in seconds; ``None`` for no limit.
        per_holder: Whether that is for one holder: when the lock has changed hands meanwhile, waiting begins anew. For one that
            many want at once, each for a moment.
        mode: Permissions of a lock file that has to be made.
        which: Finds out the paths where none are given; short, blocks, and is asked once, on the visit to a thread that takes them.
        first: Something short that blocks, to be done when all are held, on the same visit to a thread. What it raises is raised.

    Raises:
        Busy: When somebody else held it all that time; ``details["holder"]`` has ``pid``, ``purpose`` and ``since``.
        InvalidArgument: When the time limit is not greater than zero.
        StateError: When the file cannot be used as a lock.

    Cancellation:
        While waiting: the lock is not taken. In the block: it is let go of.
    """
    limit = seconds(timeout)
    handles: dict[Path, FileLock] = {}

    def attempt() -> Path | None:
        if not handles:
            found = paths if which is None else which()
            handles.update((path, FileLock(path, mode=mode, thread_local=False)) for path in found)
        taken = _attempt_all(handles, purpose)
        if taken is None and first is not None:
            first()
        return taken

    try:
        await _acquire(attempt, limit, per_holder=per_holder)
        yield
    finally:
        held = [path for path, handle in handles.items() if handle.is_locked]
        if held:
            with anyio.CancelScope(shield=True):
                await run_whole(partial(_release_all, [(handles[path], path) for path in reversed(held)]))


async def _acquire(attempt: Callable[[], Path | None], limit: float | None, *, per_holder: bool) -> None:
    begun, waiting_for, pause = anyio.current_time(), None, _FIRST_PAUSE
    held_by: LockHolder | None = None
    # One visit to a thread takes all that are free: on a busy machine each visit costs as much as the locks.
    while (path := await run_whole(attempt)) is not None:
        if path != waiting_for:
            begun, waiting_for, pause = anyio.current_time(), path, _FIRST_PAUSE
            held_by = await to_thread.run_sync(_holder, path) if per_holder else None
        waited = anyio.current_time() - begun
        if limit is not None and waited >= limit:
            holder = await to_thread.run_sync(_holder, path)
            if not per_holder or holder == held_by:
                raise _busy(path, limit, holder)
            begun, held_by, waited = anyio.current_time(), holder, 0.0
        await anyio.sleep(pause if limit is None else min(pause, limit - waited))
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)


def _attempt_all(handles: Mapping[Path, FileLock], purpose: str) -> Path | None:
    """Take what is not held yet, in order; return the first that somebody else has."""
    for path, handle in handles.items():
        if not handle.is_locked:
            _prepare(path)
            if not _attempt(handle, path, purpose):
                return path
    return None


def _prepare(path: Path) -> None:
    with translated("make the folder of the lock", path.parent):
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    with translated("look at the lock", path):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
    # Older releases of filelock follow a link and empty what it points to.
    if not stat.S_ISREG(mode):
        raise StateError(
            f"{path} cannot be a lock: it is no plain file",
            hint="remove it and try again",
            details={"path": str(path)},
        )


def _attempt(handle: FileLock, path: Path, purpose: str) -> bool:
    with translated("take the lock", path):
        try:
            handle.acquire(timeout=0, blocking=False)
        except Timeout:
            return False
    me = identify()
    # A full disk must not keep anybody from destroying a workspace: without the note waiters do not learn who it is.
    with suppress(OSError, StateError):
        if me is not None:
            note = LockHolder(process=me, purpose=purpose, since=datetime.now(UTC))
            with open_folder(path.parent) as folder:
                write_atomic(folder, _note(path), note.model_dump_json().encode(), durable=False)
    return True


def _release_all(held: Iterable[tuple[FileLock, Path]]) -> None:
    for handle, path in held:
        _release(handle, path)


def _release(handle: FileLock, path: Path) -> None:
    # While the lock is still ours: afterwards the note is the next holder's.
    with suppress(OSError, StateError), open_folder(path.parent) as folder:
        os.unlink(_note(path), dir_fd=folder)
    with translated("release the lock", path):
        handle.release()


def _note(path: Path) -> str:
    return path.name + ".holder"


def _holder(path: Path) -> LockHolder | None:
    try:
        with open_folder(path.parent) as folder:
            holder = LockHolder.model_validate_json(read_small(folder, _note(path), _MAX_HOLDER_BYTES))
    except (OSError, UnfitFile, StateError, ValidationError):
        return None
    # A killed holder leaves its note, and the next one may not have written its own yet.
    return holder if is_alive(holder.process) else None


def _busy(path: Path, limit: float, holder: LockHolder | None) -> Busy:
    if holder is None:
        return Busy(
            f"the lock {path.name} is held by a process that did not leave its name, for more than {limit:g} s",
            hint=f"wait and try again; `fuser {path}` tells who it is",
            details={"holder": None, "path": str(path)},
        )
    since = holder.since.isoformat(timespec="seconds")
    pid = holder.process.pid
    return Busy(
        f"the lock {path.name} is held by process {pid} ({holder.purpose}) since {since}",
        hint="wait until it has ended, or end that process",
        details={"holder": {"pid": pid, "purpose": holder.purpose, "since": since}, "path": str(path)},
    )

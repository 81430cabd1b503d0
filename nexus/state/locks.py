"""Locks between tasks, threads and processes. The kernel holds them, so the death of a holder frees them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from pydantic import ValidationError

from nexus.errors import Busy
from nexus.models.base import Model
from nexus.models.units import seconds
from nexus.models.workspace import ProcessState
from nexus.processes import identify, is_alive
from nexus.state.lock_file import LockFile, read_note
from nexus.state.threads import run_whole

_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.05
_GROWTH: Final = 1.5


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
    which: Callable[[], Iterable[Path]] | None = None,
    first: Callable[[], object] | None = None,
    last: Callable[[], object] | None = None,
) -> AsyncIterator[Callable[[], None]]:
    """Hold the locks on ``paths`` for the block. It excludes other tasks of this process as well as other processes.

    The lock file stays where it is for ever: removing it would let two holders in. It is not re-entrant. Waiters are not
    queued; whoever asks at the right moment gets it.

    The block is given what lets go of them before its end: it blocks, and is for whoever visits a thread anyway to do what comes last.

    Args:
        paths: The lock files. Their folders are made when they are missing. They are taken in the order given, each waited for
            while those before it are held: whoever takes several has to keep to one order everywhere.
        purpose: What it is held for, for those who wait: ``creating workspace a``.
        timeout: Longest time to wait for each, in seconds; ``None`` for no limit.
        per_holder: Whether that is for one holder: when the lock has changed hands meanwhile, waiting begins anew. For one that
            many want at once, each for a moment.
        which: Finds out the paths where none are given; short, blocks, and is asked once, on the visit to a thread that takes them.
        first: Something short that blocks, to be done when all are held, on the same visit to a thread. What it raises is raised.
        last: What has to follow ``first`` while they are still held, whether the block was entered or not: a caller may be cancelled
            in between. Short, and blocks; done on the visit to a thread that lets go of them.

    Raises:
        Busy: When somebody else held it all that time; ``details["holder"]`` has ``pid``, ``purpose`` and ``since``.
        InvalidArgument: When the time limit is not greater than zero.
        StateError: When the file cannot be used as a lock.

    Cancellation:
        While waiting: the lock is not taken. In the block: it is let go of.
    """
    limit = seconds(timeout)
    locks = _Locks(purpose, (lambda: paths) if which is None else which, first, last)
    try:
        await _acquire(locks.take, limit, per_holder=per_holder)
        yield locks.let_go
    finally:
        if locks.held:
            with anyio.CancelScope(shield=True):
                await run_whole(locks.let_go)


class _Locks:
    """The locks of one block, and what is done around it. The methods block."""

    def __init__(
        self,
        purpose: str,
        which: Callable[[], Iterable[Path]],
        first: Callable[[], object] | None,
        last: Callable[[], object] | None,
    ) -> None:
        self._purpose = purpose
        self._which = which
        self._first = first
        self._last = last
        self._begun = False
        self._files: list[LockFile] = []

    @property
    def held(self) -> bool:
        """Whether any of them is held."""
        return any(file.held for file in self._files)

    def take(self) -> Path | None:
        """Take what is not held yet, in order; return the first that somebody else has."""
        if not self._files:
            self._files = [LockFile(path) for path in self._which()]
        for file in self._files:
            if not file.held and not file.take(_note(self._purpose)):
                return file.path
        self._begun = True
        if self._first is not None:
            self._first()
        return None

    def let_go(self) -> None:
        """Do what comes last, and let go of all. Twice is fine."""
        begun, self._begun = self._begun, False
        try:
            if begun and self._last is not None:
                self._last()
        finally:
            for file in reversed(self._files):
                file.release()


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


def _note(purpose: str) -> bytes:
    me = identify()
    return (
        b""
        if me is None
        else LockHolder(process=me, purpose=purpose, since=datetime.now(UTC)).model_dump_json().encode()
    )


def _holder(path: Path) -> LockHolder | None:
    try:
        holder = LockHolder.model_validate_json(read_note(path) or b"")
    except ValidationError:
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

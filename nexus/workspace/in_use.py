"""What shows that a workspace is in use: a note of when it last was, this process's own commands, and those that are being started."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from nexus import abc, state
from nexus.models.activity import RunningCommand
from nexus.models.ids import ExecId, WorkspaceId

_log: Final = logging.getLogger(__name__)


class InUse:
    """Notes that workspaces are in use, and tells. What is noted in files is known to every process.

    Args:
        home: The repository's own folder of ours.
        clock: What time it is.
    """

    def __init__(self, home: Path, clock: abc.Clock) -> None:
        self._notes = home / "state" / "activity"
        self._locks = home / "state" / "locks" / "starts"
        self._clock = clock
        self._attended: dict[WorkspaceId, dict[ExecId, RunningCommand]] = {}

    def last(self, identifier: WorkspaceId) -> datetime | None:
        """Return when a command was last started in a workspace; ``None`` when none ever was."""
        try:
            return datetime.fromtimestamp(self._note(identifier).stat().st_mtime, UTC)
        except OSError:
            return None

    async def mark(self, identifier: WorkspaceId) -> None:
        """Note that it is in use now. A file's time, not the record: no lock, no fsync on the path of a command.

        One that cannot be written is logged: nobody's command fails for it.
        """
        await anyio.to_thread.run_sync(self.marking(identifier))

    def marking(self, identifier: WorkspaceId) -> Callable[[], None]:
        """Return :meth:`mark` as something that blocks, for whoever visits a thread anyway."""
        return partial(self._mark, identifier, self._clock.now().timestamp())

    def _mark(self, identifier: WorkspaceId, moment: float) -> None:
        try:
            _touch(self._note(identifier), moment)
        except OSError as error:
            _log.warning("cannot note that workspace %s is in use: %s", identifier, error)

    def attend(self, identifier: WorkspaceId, exec_id: ExecId, command: RunningCommand | None) -> None:
        """Remember a command that this process has started; ``None`` when it has ended."""
        known = self._attended.setdefault(identifier, {})
        if command is not None:
            known[exec_id] = command
        else:
            known.pop(exec_id, None)

    def attended(self, identifier: WorkspaceId) -> tuple[RunningCommand, ...]:
        """Return the commands that this process has started in a workspace and that have not ended."""
        return tuple(self._attended.get(identifier, {}).values())

    def starting(self, identifier: WorkspaceId, *, active: bool) -> AbstractAsyncContextManager[None]:
        """Hold that a command is being started, in whichever process, so that nobody freezes its workspace meanwhile.

        Args:
            identifier: The workspace.
            active: Whether to note first that it is in use now, as :meth:`mark` does.
        """
        return state.starting(self._lock(identifier), before=self.marking(identifier) if active else None)

    def still(self, identifier: WorkspaceId) -> AbstractAsyncContextManager[None]:
        """Hold that no command is being started.

        Raises:
            Busy: When one has been starting for long.
        """
        return state.still(self._lock(identifier))

    async def remove(self, identifier: WorkspaceId) -> None:
        """Remove what is written of a workspace that there is not any more."""
        await anyio.Path(self._note(identifier)).unlink(missing_ok=True)
        await anyio.Path(self._lock(identifier)).unlink(missing_ok=True)

    def forget(self, identifier: WorkspaceId) -> None:
        """Let go of what is remembered of it."""
        self._attended.pop(identifier, None)

    def _note(self, identifier: WorkspaceId) -> Path:
        return self._notes / identifier

    def _lock(self, identifier: WorkspaceId) -> Path:
        return self._locks / f"{identifier}.lock"


def _touch(path: Path, moment: float) -> None:
    try:
        os.utime(path, (moment, moment), follow_symlinks=False)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        os.utime(path, (moment, moment), follow_symlinks=False)

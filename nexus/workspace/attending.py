"""Commands as they are started for users: they count as activity, and wake a workspace that idleness put to sleep."""

from __future__ import annotations

from datetime import timedelta
from pathlib import PurePosixPath
from typing import Final

import anyio

from nexus.abc import KeptProcess, ProcessHandle
from nexus.errors import WorkspaceStopped
from nexus.models.activity import RunningCommand
from nexus.models.execution import ExecEvent, Exited, SpawnRequest
from nexus.models.ids import ExecId, WorkspaceId
from nexus.models.instances import InstanceState
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace import running
from nexus.workspace.context import Context

_BETWEEN_MARKS: Final = timedelta(seconds=5)
"""Time between two notes that a workspace is in use."""


async def spawn(context: Context, record: WorkspaceRecord, request: SpawnRequest) -> ProcessHandle:
    """Start a command, waking its workspace when nothing but idleness stopped it.

    Raises:
        WorkspaceStopped: When its user stopped or paused it, or ``request.wake`` is off.
        ExecStartError, WorkspaceGone, Unsupported: As the provider says.
        NexusError: What waking it raised.
    """
    try:
        handle = await _start(context, record, request)
    except WorkspaceStopped:
        if not request.wake or not await wake(context, record.name):
            raise
        handle = await _start(context, await context.records.load(record.id), request)
    return Attended(context, record.id, handle, request) if request.keeps_awake else handle


async def _start(context: Context, record: WorkspaceRecord, request: SpawnRequest) -> ProcessHandle:
    instance = await context.backends.instance(record)
    # Noted before it starts: whoever is about to put the workspace to sleep looks at this note last.
    async with context.in_use.starting(record.id, active=request.keeps_awake):
        return await instance.spawn(request)


async def wake(context: Context, name: str) -> bool:
    """Wake a workspace that was put to sleep because nothing happened in it; return whether it runs now.

    Raises:
        NexusError: When it cannot be started.
    """
    async with context.locks.workspace(name, f"waking workspace {name}"):
        record = await context.records.load(name)
        if record.asleep_since is None:
            # Somebody else may have woken it while we waited for the lock.
            return (await context.backends.seen(record)).state is InstanceState.RUNNING
        await running.start(context, record)
        return True


class Attended:
    """A command whose end and whose input are noted. Otherwise the provider's own handle.

    Args:
        context: The open repository.
        workspace: Where it runs.
        handle: The provider's handle.
        request: What was asked for.
    """

    def __init__(self, context: Context, workspace: WorkspaceId, handle: ProcessHandle, request: SpawnRequest) -> None:
        self._context = context
        self._workspace = workspace
        self._handle = handle
        self._noted = context.clock.now()
        program = PurePosixPath(request.argv[0]).name
        context.in_use.attend(
            workspace, handle.exec_id, RunningCommand(program=program, interactive=request.pty is not None)
        )

    @property
    def exec_id(self) -> ExecId:
        """The command's id."""
        return self._handle.exec_id

    async def receive(self) -> ExecEvent:
        """Return the next event. The time at which it ends is when it was last in use.

        Raises:
            anyio.EndOfStream: After ``Exited`` was returned.
        """
        event = await self._handle.receive()
        if isinstance(event, Exited):
            self._context.in_use.attend(self._workspace, self.exec_id, None)
            with anyio.CancelScope(shield=True):  # the last event must not be lost for the sake of a note
                await self._note()
        return event

    async def write(self, data: bytes) -> None:
        """Write to standard input: somebody is at work."""
        await self._handle.write(data)
        await self._note()

    async def close_stdin(self) -> None:
        """Send end of file to standard input."""
        await self._handle.close_stdin()

    async def signal(self, number: int) -> None:
        """Send a signal to the command's whole process group."""
        await self._handle.signal(number)

    async def resize(self, rows: int, cols: int) -> None:
        """Tell the command's terminal its new size in character cells."""
        await self._handle.resize(rows, cols)

    async def leave(self) -> None:
        """Let go of the command and leave it running, where its backend can keep it; otherwise it is ended."""
        try:
            await (self._handle.leave() if isinstance(self._handle, KeptProcess) else self._handle.aclose())
        finally:
            self._context.in_use.attend(self._workspace, self.exec_id, None)

    async def aclose(self) -> None:
        """Let go of the command."""
        try:
            await self._handle.aclose()
        finally:
            self._context.in_use.attend(self._workspace, self.exec_id, None)

    async def _note(self) -> None:
        now = self._context.clock.now()
        if abs(now - self._noted) >= _BETWEEN_MARKS:
            self._noted = now
            await self._context.in_use.mark(self._workspace)

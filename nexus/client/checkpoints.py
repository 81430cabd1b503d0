"""The checkpoints of a workspace behind a daemon."""

from __future__ import annotations

import uuid

from nexus.abc.provider import ProgressCallback
from nexus.client.line import Line
from nexus.models.checkpoints import Checkpoint, CheckpointDiff, CheckpointRestored
from nexus.wire.methods import checkpoints as methods
from nexus.wire.methods.table import OfWorkspace


class RemoteCheckpoints:
    """Implements :class:`~nexus.abc.checkpoints.CheckpointAccess` over a connection.

    Args:
        line: The connection.
        workspace: Whose checkpoints, by id.
    """

    def __init__(self, line: Line, workspace: str) -> None:
        self._line = line
        self._workspace = workspace

    async def create(
        self, name: str | None = None, *, processes: bool = False, progress: ProgressCallback | None = None
    ) -> Checkpoint:
        """Take one."""
        params = methods.Take(
            workspace=self._workspace, name=name, processes=processes, idempotency_key=uuid.uuid4().hex
        )
        return await self._line.call(methods.CREATE, params, progress=progress)

    async def list(self) -> tuple[Checkpoint, ...]:
        """Return them, the newest first."""
        return (await self._line.call(methods.LIST, OfWorkspace(workspace=self._workspace))).items

    async def restore(self, which: str | Checkpoint, *, progress: ProgressCallback | None = None) -> CheckpointRestored:
        """Make the workspace what it was then, in place."""
        return await self._line.call(methods.RESTORE, self._one(which), progress=progress)

    async def delete(self, which: str | Checkpoint) -> Checkpoint:
        """Remove one, and return what it was."""
        return await self._line.call(methods.DELETE, self._one(which))

    async def diff(self, before: str | Checkpoint, after: str | Checkpoint | None = None) -> CheckpointDiff:
        """Return which files of the tree differ between two, or between one and now."""
        later = None if after is None else _id(after)
        return await self._line.call(
            methods.DIFF, methods.Diff(workspace=self._workspace, before=_id(before), after=later)
        )

    def _one(self, which: str | Checkpoint) -> methods.OfCheckpoint:
        return methods.OfCheckpoint(workspace=self._workspace, checkpoint=_id(which), idempotency_key=uuid.uuid4().hex)


def _id(which: str | Checkpoint) -> str:
    return which if isinstance(which, str) else which.id

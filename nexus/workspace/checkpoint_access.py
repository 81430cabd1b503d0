"""The checkpoints of one workspace, in this process: each call takes the workspace's lock and hands on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from nexus.abc import ProgressCallback
from nexus.models.checkpoints import Checkpoint, CheckpointDiff, CheckpointRestored
from nexus.models.ids import WorkspaceId
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace import checkpointing, observing, recovery, rewinding
from nexus.workspace.context import Context

_NOT_COMPARED = "files outside of the tree, and volumes, are not compared"


class Checkpoints:
    """What :class:`nexus.abc.CheckpointAccess` promises. Made by ``WorkspaceManager.checkpoints``."""

    def __init__(self, context: Context, workspace: WorkspaceId) -> None:
        self._context = context
        self._workspace = workspace

    async def create(
        self, name: str | None = None, *, processes: bool = False, progress: ProgressCallback | None = None
    ) -> Checkpoint:
        """Take one."""
        async with self._locked("taking a checkpoint of") as record:
            entry = await checkpointing.create(self._context, record, name=name, processes=processes, progress=progress)
        return entry.checkpoint

    async def list(self) -> tuple[Checkpoint, ...]:
        """Return them, the newest first."""
        record = await self._context.records.load(self._workspace)
        return tuple(entry.checkpoint for entry in await checkpointing.of_workspace(self._context, record))

    async def restore(self, which: str | Checkpoint, *, progress: ProgressCallback | None = None) -> CheckpointRestored:
        """Make the workspace what it was then, in place."""
        async with self._locked("restoring a checkpoint of") as record:
            entry = await checkpointing.find(self._context, record, _named(which))
            done = await rewinding.restore(self._context, record, entry, progress)
            info = await observing.look(self._context, done.record)
        return CheckpointRestored(info=info, restored=entry.checkpoint, undo=done.undo.checkpoint, notes=done.notes)

    async def delete(self, which: str | Checkpoint) -> Checkpoint:
        """Remove one, with everything that was kept for it."""
        async with self._locked("deleting a checkpoint of") as record:
            entry = await checkpointing.find(self._context, record, _named(which))
            await checkpointing.delete(self._context, record, entry)
        return entry.checkpoint

    async def diff(self, before: str | Checkpoint, after: str | Checkpoint | None = None) -> CheckpointDiff:
        """Return which files of the tree differ."""
        context = self._context
        record = await context.records.load(self._workspace)
        old = (await checkpointing.find(context, record, _named(before))).checkpoint
        new = None if after is None else (await checkpointing.find(context, record, _named(after))).checkpoint
        commit = await context.trees.look(record.name) if new is None else new.commit
        return CheckpointDiff(
            before=old.id,
            after=None if new is None else new.id,
            files=await context.trees.differences(old.commit, commit),
            notes=(_NOT_COMPARED,) if old.image is not None or old.volumes else (),
        )

    @asynccontextmanager
    async def _locked(self, doing: str) -> AsyncGenerator[WorkspaceRecord, None]:
        context = self._context
        known = await context.records.load(self._workspace)
        async with recovery.holding(context, known.name, purpose=f"{doing} workspace {known.name}"):
            yield await context.records.load(self._workspace)


def _named(which: str | Checkpoint) -> str:
    return which.id if isinstance(which, Checkpoint) else which

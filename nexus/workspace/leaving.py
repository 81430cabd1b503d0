"""What is kept of the workspace that a switch leaves, where ``defaults.switch`` says ``checkpoint``."""

from __future__ import annotations

from typing import Final

from nexus.errors import NexusError
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace import checkpointing
from nexus.workspace.context import Context

LEFT: Final = "left by a switch"
"""The reason that such a checkpoint gives. There is one of them for each workspace: the newest."""


async def keep(context: Context, record: WorkspaceRecord) -> tuple[str, ...]:
    """Take a checkpoint of a workspace that is about to be stopped; the one from the switch before goes. The caller holds its lock.

    Returns:
        What went wrong, for the user: it does not hold up the switch, because stopping loses no file.
    """
    try:
        former = [
            entry for entry in await checkpointing.of_workspace(context, record) if entry.checkpoint.reason == LEFT
        ]
        await checkpointing.create(context, record, reason=LEFT)
        for entry in former:
            await checkpointing.delete(context, record, entry)
    except NexusError as error:
        return (f"no checkpoint of {record.name} was taken: {error.message}",)
    return ()

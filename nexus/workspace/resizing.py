"""What a workspace is given follows the configuration at its next start, unless it was chosen when the workspace was made."""

from __future__ import annotations

from typing import Final

from pydantic import JsonValue

from nexus.abc import Instance, ProgressCallback, SupportsResize
from nexus.config import ConfigStack
from nexus.models.units import format_size
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context

_KEY: Final = "resources"
_CHOSEN: Final = "chosen"


def chosen_resources(stack: ConfigStack) -> dict[str, JsonValue]:
    """Return the note, for its record, that a workspace's resources were asked for at its creation alone."""
    return {_KEY: _CHOSEN} if stack.is_passing("defaults.resources") else {}


async def resized(
    context: Context, record: WorkspaceRecord, instance: Instance, report: ProgressCallback
) -> WorkspaceRecord:
    """Give a workspace that is about to start what the configuration says today.

    Returns:
        The record, written where it changed.

    Raises:
        ProviderError: When the backend refuses.
    """
    wanted = context.settings.resources
    if wanted == record.resources or record.config.get(_KEY) == _CHOSEN or not isinstance(instance, SupportsResize):
        return record
    report("resources", f"now {wanted.cpu_limit:g} cores and {format_size(wanted.memory_limit)} of memory")
    await instance.resize(wanted)
    record = record.model_copy(update={"resources": wanted})
    await context.store.save(record)
    return record

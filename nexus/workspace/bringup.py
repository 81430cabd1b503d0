"""What bringing a workspace up and down, freezing and thawing it consist of, whoever asks: a creation, a start, a switch, a destroy."""

from __future__ import annotations

from nexus.abc import Instance, ProgressCallback, SupportsPause
from nexus.errors import Unsupported
from nexus.models.instances import Capability
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.environment import deliver, secret_files


async def bring_up(
    context: Context,
    record: WorkspaceRecord,
    instance: Instance,
    report: ProgressCallback,
) -> WorkspaceRecord:
    """Make a stopped workspace usable. The caller holds its lock and has said that it starts.

    Returns:
        The record with what was learned, not yet written.
    """
    files = await secret_files(context, record, instance)
    report("start", "starting")
    await instance.start()
    await deliver(instance, files)
    seen = await instance.status()
    return record.model_copy(update={"process_state": seen.process, "container_id": instance.ref.handle})


async def bring_down(context: Context, record: WorkspaceRecord, instance: Instance, *, grace: float) -> None:  # noqa: ARG001
    """End everything that runs for a workspace; what has ended already is fine. The caller holds its lock."""
    await instance.stop(grace=grace)


async def freeze(context: Context, record: WorkspaceRecord, instance: Instance) -> None:  # noqa: ARG001
    """Freeze everything that runs for a workspace.

    Raises:
        Unsupported: When its backend cannot freeze.
    """
    await _pausable(record, instance).pause()


async def thaw(context: Context, record: WorkspaceRecord, instance: Instance) -> None:  # noqa: ARG001
    """Let everything that was frozen go on."""
    await _pausable(record, instance).resume()


def _pausable(record: WorkspaceRecord, instance: Instance) -> SupportsPause:
    if not isinstance(instance, SupportsPause):
        raise Unsupported(
            f"the {record.backend} backend cannot pause workspaces",
            hint="stop it instead",
            details={"capability": str(Capability.PAUSE), "provider": record.backend},
        )
    return instance

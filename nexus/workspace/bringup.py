"""What bringing a workspace up and down, freezing and thawing it consist of, whoever asks: a creation, a start, a switch, a destroy."""

from __future__ import annotations

from nexus.abc import Instance, ProgressCallback, SupportsPause
from nexus.errors import Unsupported
from nexus.models.instances import Capability
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace import services_life
from nexus.workspace.context import Context


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
    report("start", "starting")
    await instance.start()
    seen = await instance.status()
    await services_life.up(context, record, instance, report)
    return record.model_copy(update={"process_state": seen.process, "container_id": instance.ref.handle})


async def bring_down(context: Context, record: WorkspaceRecord, instance: Instance, *, grace: float) -> None:
    """End everything that runs for a workspace; what has ended already is fine. The caller holds its lock."""
    await services_life.down(context, record, instance, grace=grace)
    await instance.stop(grace=grace)


async def freeze(context: Context, record: WorkspaceRecord, instance: Instance) -> None:  # noqa: ARG001
    """Freeze everything that runs for a workspace.

    Raises:
        Unsupported: When its backend cannot freeze.
    """
    await services_life.beside(
        record, instance, _pausable(record, instance).pause, lambda served: served.pause_services()
    )


async def thaw(context: Context, record: WorkspaceRecord, instance: Instance) -> None:  # noqa: ARG001
    """Let everything that was frozen go on."""
    await services_life.beside(
        record, instance, _pausable(record, instance).resume, lambda served: served.resume_services()
    )


def _pausable(record: WorkspaceRecord, instance: Instance) -> SupportsPause:
    if not isinstance(instance, SupportsPause):
        raise Unsupported(
            f"the {record.backend} backend cannot pause workspaces",
            hint="stop it instead",
            details={"capability": str(Capability.PAUSE), "provider": record.backend},
        )
    return instance

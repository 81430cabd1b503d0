"""What bringing a workspace up and down, freezing and thawing it consist of, whoever asks: a creation, a start, a switch, a destroy.

Each may be called again on what a killed process has left of it: recovery calls :func:`bring_down` on what is up in part,
:func:`freeze` on what is frozen in part as long as the instance runs, and :func:`thaw` on what is thawed in part or whole. So the instance
itself is frozen last: that it is frozen says that everything is.
"""

from __future__ import annotations

from nexus.abc import Instance, ProgressCallback, SupportsPause
from nexus.errors import Unsupported
from nexus.models.instances import Capability
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace import hooks, service_trust, services_life
from nexus.workspace.context import Context
from nexus.workspace.environment import deliver, secret_files
from nexus.workspace.prebuild_result import lay_out


async def bring_up(
    context: Context,
    record: WorkspaceRecord,
    instance: Instance,
    report: ProgressCallback,
) -> WorkspaceRecord:
    """Make a stopped workspace usable. The caller holds its lock and has said that it starts.

    Returns:
        The record with what was learned, not yet written.

    Raises:
        NotTrusted: When a script is not approved; nothing was started.
        HookFailed: When ``initialize`` fails, or ``pre-start`` does; the instance is stopped again.
    """
    await hooks.check(context, record)
    await service_trust.check(context, record)
    await hooks.before_everything(context, record, report)
    files = await secret_files(context, record, instance)
    report("start", "starting")
    await instance.start()
    await deliver(instance, files)
    seen = await instance.status()
    record = record.model_copy(update={"process_state": seen.process, "container_id": instance.ref.handle})
    record, held = await lay_out(record, instance)
    await hooks.before_services(context, record, instance, report, but=held)
    await services_life.up(context, record, instance, report)
    return await hooks.after_services(context, record, instance, report)


async def bring_down(context: Context, record: WorkspaceRecord, instance: Instance, *, grace: float) -> WorkspaceRecord:
    """End everything that runs for a workspace; what has ended already is fine. The caller holds its lock.

    Returns:
        The record with what was learned, not yet written.
    """
    record = await hooks.before_stop(context, record, instance)
    await services_life.down(context, record, instance, grace=grace)
    await instance.stop(grace=grace)
    return record


async def freeze(context: Context, record: WorkspaceRecord, instance: Instance) -> WorkspaceRecord:
    """Freeze everything that runs for a workspace.

    Returns:
        The record with what was learned, not yet written.

    Raises:
        Unsupported: When its backend cannot freeze.
    """
    pausable = _pausable(record, instance)
    record = await hooks.before_freeze(context, record, instance)
    # Frozen while the engine starts a command in it, a container can neither be resumed nor removed any more.
    async with context.in_use.still(record.id):
        await services_life.freeze(record, pausable)
    return record


async def thaw(context: Context, record: WorkspaceRecord, instance: Instance) -> WorkspaceRecord:
    """Let everything that was frozen go on.

    Returns:
        The record with what was learned, not yet written.
    """
    pausable = _pausable(record, instance)
    await services_life.thaw(record, pausable)
    return await hooks.after_thaw(context, record, instance)


def _pausable(record: WorkspaceRecord, instance: Instance) -> SupportsPause:
    if not isinstance(instance, SupportsPause):
        raise Unsupported(
            f"the {record.backend} backend cannot pause workspaces",
            hint="stop it instead",
            details={"capability": str(Capability.PAUSE), "provider": record.backend},
        )
    return instance

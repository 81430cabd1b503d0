"""A workspace's processes on a disk: kept when it is stopped, and going on where they were when it is started.

That is a pause that takes no memory. So the scripts of a pause are run and not those of a stop, and services are not started again. What
does not come back is started as after a stop, and said.
"""

from __future__ import annotations

from enum import StrEnum

from nexus.abc import Instance, ProgressCallback, Provider, SupportsHibernation
from nexus.errors import Unsupported
from nexus.models.instances import Capability, ProviderInfo
from nexus.models.workspace import LeftRunning, WorkspaceRecord
from nexus.workspace import hooks, services_life
from nexus.workspace.context import Context
from nexus.workspace.environment import deliver, secret_files
from nexus.workspace.records import referenced_env

KEPT = "its processes are kept, and go on when it is started"
"""What is said of a workspace that was stopped so."""


class Processes(StrEnum):
    """What becomes of a workspace's processes when it is stopped."""

    END = "end"
    KEEP = "keep"
    """They are kept, or it is not stopped."""
    TRY = "try"
    """They are kept where that can be done, else they end."""


def are_kept(record: WorkspaceRecord) -> bool:
    """Return whether a stopped workspace's processes were kept."""
    return record.left_running is not None and record.left_running.processes


def without(left: LeftRunning | None) -> LeftRunning | None:
    """Return what ran in a workspace, with processes that are kept no more."""
    return None if left is None else left.model_copy(update={"processes": False})


async def can(context: Context, record: WorkspaceRecord) -> bool:
    """Return whether it is worth trying: the backend says so, as far as it knows."""
    provider: Provider = await context.backends.provider(record.backend)
    return can_hibernate(await provider.probe()) and not _secret(context, record)


def can_hibernate(info: ProviderInfo) -> bool:
    """Return whether a backend says that it keeps processes; one that has tried in vain does not say so any more."""
    return Capability.HIBERNATION in info.capabilities


async def hibernate(context: Context, record: WorkspaceRecord, instance: Instance) -> WorkspaceRecord:
    """Keep everything that runs for a workspace, and end it. The caller holds its lock.

    Returns:
        The record with what was learned, not yet written.

    Raises:
        Unsupported: When that cannot be done here, or not with what runs in it. It goes on.
    """
    if not isinstance(instance, SupportsHibernation):
        raise Unsupported(
            f"the {record.backend} backend cannot keep processes",
            hint="pause the workspace instead, or stop it without them",
            details={"capability": str(Capability.HIBERNATION), "provider": record.backend},
        )
    if reason := _secret(context, record):
        raise Unsupported(
            f"the processes of {record.name!r} are not kept: {reason}, and their values are written to no disk",
            hint="pause the workspace instead, or stop it without them",
            details={"capability": str(Capability.HIBERNATION), "provider": record.backend},
        )
    record = await hooks.before_freeze(context, record, instance)
    async with context.in_use.still(record.id):
        await instance.hibernate()
    return record


def _secret(context: Context, record: WorkspaceRecord) -> str:
    """Say which secrets the memory of its programs may hold; nothing when none."""
    settings = context.stack.settings
    if settings.secrets:
        return "its programs are given secrets"
    if settings.env_files:
        return "its programs are given files of variables"
    names = {*referenced_env(record.env_vars), *(name for each in record.services for name in referenced_env(each.env))}
    return f"its programs are given {', '.join(sorted(names))} by reference" if names else ""


async def wake(
    context: Context, record: WorkspaceRecord, instance: Instance, report: ProgressCallback
) -> tuple[WorkspaceRecord, str | None]:
    """Let everything go on that was kept of a workspace; services that do not come back are started. The caller holds its lock.

    Returns:
        The record with what was learned, not yet written; and why its own processes do not go on, when they do not: nothing of it runs.

    Raises:
        ServiceFailed: When a service does not come back and cannot be started either.
    """
    if not isinstance(instance, SupportsHibernation):
        return record, "its backend cannot let them go on"
    files = await secret_files(context, record, instance)
    report("start", "letting its processes go on")
    lost = (await instance.wake()).lost
    if "" in lost:
        return record, lost[""]
    await deliver(instance, files)
    for service, reason in lost.items():
        report("services", f"{service} is started anew: its processes could not go on ({reason})")
    if lost:
        await services_life.mend(context, record, instance, report)
    seen = await instance.status()
    record = record.model_copy(update={"process_state": seen.process, "container_id": instance.ref.handle})
    return await hooks.after_thaw(context, record, instance), None


async def forget(record: WorkspaceRecord, instance: Instance) -> LeftRunning | None:
    """Remove what is kept of a workspace that was stopped, and return what comes back with it from now on."""
    if are_kept(record) and isinstance(instance, SupportsHibernation):
        await instance.forget()
    return without(record.left_running)

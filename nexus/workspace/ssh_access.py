"""SSH inside workspaces: the user's agent or keys, mounted read-only for as long as the user's configuration says so.

What is mounted is looked up anew at each start, because an agent's socket moves from one login to the next. Nothing secret is
written: a record holds paths, a container's configuration mounts, and the variables that point there are given to each command.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import anyio.to_thread

from nexus.abc import Instance, ProgressCallback, SupportsMountChange
from nexus.config import SshAccess
from nexus.errors import Unsupported
from nexus.models.instances import Capability
from nexus.models.mounts import VolumeMount
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.ssh_grant import CONFIG, INSIDE, SshGrant, grant_of, look, ssh_mounts


async def look_up(
    context: Context, record: WorkspaceRecord, report: ProgressCallback, fixed: SshAccess | None = None
) -> WorkspaceRecord:
    """Return the record with what the workspace is to be given at this start.

    Args:
        context: The parts.
        record: The workspace.
        report: Told what is missing.
        fixed: What is asked for this workspace alone; kept in the record.
    """
    fixed = fixed or grant_of(record).fixed
    access = fixed or context.settings.ssh
    mounted = access.mode == "none" or await _is_elsewhere(context, record)
    grant, missing = await anyio.to_thread.run_sync(
        lambda: look(access, os.environ, Path.home(), mounted=mounted, fixed=fixed)
    )
    for line in missing:
        report("ssh", line)
    if grant == SshGrant() and CONFIG not in record.config:
        return record
    return record.model_copy(update={"config": {**record.config, CONFIG: grant.model_dump(mode="json")}})


async def _is_elsewhere(context: Context, record: WorkspaceRecord) -> bool:
    info = await context.backends.probe(record.backend)
    return not info.available or Capability.ISOLATION in info.capabilities


async def hand_over(
    context: Context, before: WorkspaceRecord, record: WorkspaceRecord, instance: Instance
) -> tuple[WorkspaceRecord, Instance]:
    """Have a stopped instance see what the record says now, and nothing else. The record is written when that is done.

    Raises:
        Unsupported: When its backend cannot change what is mounted.
    """
    old, new = ssh_mounts(before), ssh_mounts(record)
    if old == new and not grant_of(before).unknown:
        return record, instance
    if not isinstance(instance, SupportsMountChange):
        if old == new:
            return record, instance
        raise Unsupported(
            f"the {record.backend} backend cannot change what SSH access a workspace has",
            hint="destroy the workspace and create it again",
            details={"provider": record.backend},
        )
    instance = await instance.change_mounts(INSIDE, new)
    record = record.model_copy(update={"container_id": instance.ref.handle, "volumes": (*_others(record), *new)})
    await context.store.save(record)
    return record, instance


def _others(record: WorkspaceRecord) -> tuple[VolumeMount, ...]:
    return tuple(mount for mount in record.volumes if not PurePosixPath(mount.target).is_relative_to(INSIDE))

"""From the record of a workspace to that of one which is forked from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from nexus.models.checkpoints import KeptPlace
from nexus.models.ids import WorkspaceId, new_workspace_id
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping, PortRequest
from nexus.models.requests import CreateRequest
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus


def forked(
    parent: WorkspaceRecord, request: CreateRequest, *, branch: str, base_commit: str, worktree: Path
) -> WorkspaceRecord:
    """Return the record that a fork starts from: configured like its parent, with nothing of its own yet.

    Args:
        parent: The parent's record at the checkpoint.
        request: What is asked for.
        branch: The fork's branch.
        base_commit: Where it starts.
        worktree: The fork's tree.
    """
    now, identifier = datetime.now(UTC), new_workspace_id()

    def mounts(theirs: Sequence[VolumeMount]) -> tuple[VolumeMount, ...]:
        return tuple(_mount(mount, parent, identifier, worktree) for mount in theirs)

    services = tuple(
        service.model_copy(update={"mounts": mounts(service.mounts), "tree": worktree if service.tree else None})
        for service in parent.services
    )
    return parent.model_copy(
        update={
            "id": identifier,
            "name": request.name,
            "display_name": request.display_name,
            "status": WorkspaceStatus.PENDING,
            "status_message": None,
            "branch": branch,
            "branch_created": True,
            "base_commit": base_commit,
            "worktree_path": worktree,
            "ports": {},
            "port_mappings": (),
            "container_id": None,
            "volumes": (),
            "declared_volumes": mounts(parent.declared_volumes),
            "services": services,
            "created_at": now,
            "updated_at": now,
            "last_active": now,
            "expires_at": now + request.ttl if request.ttl is not None else None,
            "asleep_since": None,
            "left_at": None,
            "left_running": None,
            "process_state": None,
            "degraded": None,
            "annotations": {},
        }
    )


def _mount(mount: VolumeMount, parent: WorkspaceRecord, identifier: WorkspaceId, worktree: Path) -> VolumeMount:
    if mount.kind == "volume":
        return mount.model_copy(update={"source": renamed(mount.source, identifier)})
    if mount.kind == "bind" and Path(mount.source).is_relative_to(parent.worktree_path):
        inside = Path(mount.source).relative_to(parent.worktree_path)
        return mount.model_copy(update={"source": str(worktree / inside)})
    return mount


def renamed(source: str, identifier: WorkspaceId) -> str:
    """Return the name of a workspace's volume for another workspace: ``nexus-<id>-<name>``."""
    return f"nexus-{identifier}-{source.removeprefix('nexus-')[len(identifier) + 1 :]}"


def renamed_volumes(place: KeptPlace, identifier: WorkspaceId) -> Mapping[str, str]:
    """Return the names that a fork has for the volumes of its parent."""
    return {volume.source: renamed(volume.source, identifier) for volume in place.volumes if volume.declared}


def requests_of(mappings: Sequence[PortMapping]) -> tuple[PortRequest, ...]:
    """Return what a fork asks for: the same ports inside, under numbers of its own."""
    return tuple(
        PortRequest(
            name=mapping.name,
            container=mapping.container_port,
            protocol=mapping.protocol,
            visibility=mapping.visibility,
        )
        for mapping in mappings
    )

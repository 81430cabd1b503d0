"""What a workspace is: its record on disk and the view that users get."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from pydantic import JsonValue

from nexus.models.base import Model
from nexus.models.ids import Name, NodeId, TerminalId, WorkspaceId
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping
from nexus.models.process_state import ProcessState
from nexus.models.repository import Repository
from nexus.models.rescues import DestroyedWorkspace
from nexus.models.resources import ResourceAllocation
from nexus.models.services import ServiceSpec, ServiceStatus

__all__ = [
    "BACKEND_TYPES",
    "DESCRIPTION",
    "RECORD_SCHEMA",
    "BackendType",
    "DamagedRecord",
    "Isolation",
    "LeftRunning",
    "ListEntry",
    "ProcessState",
    "Repository",
    "SwitchStrategy",
    "WorkspaceInfo",
    "WorkspaceRecord",
    "WorkspaceStatus",
]

BackendType = Literal["docker", "sprite", "kubernetes", "local", "mock"]
"""The backends Nexus knows by name; others register by entry point and are plain strings."""
BACKEND_TYPES: Final[tuple[BackendType, ...]] = get_args(BackendType)

Isolation: TypeAlias = Literal["worktree", "clone"]
"""What a workspace's tree is: a linked worktree, or a private clone that cannot write the main repository."""

SwitchStrategy: TypeAlias = Literal["pause", "stop", "checkpoint"]
"""How a switch puts the workspace to sleep that one leaves."""

RECORD_SCHEMA: Final = 1


class WorkspaceStatus(StrEnum):
    """Where a workspace is in its life."""

    PENDING = "pending"
    """Being created or initialised."""
    STOPPED = "stopped"
    """Made, not running."""
    RUNNING = "running"
    """Active and accessible."""
    PAUSED = "paused"
    """Frozen; its processes keep their memory."""
    ERROR = "error"
    """Failed; ``status_message`` says how."""
    DESTROYING = "destroying"
    """Being deleted."""
    DESTROYED = "destroyed"
    """Deleted."""


class LeftRunning(Model):
    """What ran in a workspace when it was stopped, and comes back when it is started: by name, never by process."""

    at: datetime
    terminals: tuple[TerminalId, ...] = ()
    """Opened again with what they showed, each in the folder that it was in."""
    services: tuple[str, ...] = ()
    """Started as they are configured."""
    scripts: tuple[str, ...] = ()
    """Run again at their moments: what ``post-start`` leaves in the background comes back by it."""
    processes: bool = False
    """Whether its processes are kept by its backend, and go on where they were: services and scripts are not started again then."""


DESCRIPTION: Final = "dev.nexus.description"
"""Annotation with one sentence about the project, as its configuration has it."""


class WorkspaceRecord(Model):
    """A workspace as ``.nexus/state/workspaces/<name>.json`` holds it. Never a secret, only references."""

    schema_version: int = RECORD_SCHEMA

    id: WorkspaceId
    name: Name
    display_name: str | None = None
    description: str | None = None

    status: WorkspaceStatus = WorkspaceStatus.PENDING
    status_message: str | None = None

    backend: str
    """A :data:`BackendType` or the entry-point name of a third party's provider."""
    backend_config: Mapping[str, JsonValue] = {}

    repository: Repository
    branch: str
    branch_created: bool = True
    """Whether we made the branch; a branch that was there before is never deleted."""
    base_commit: str | None = None
    """The commit the branch started from."""
    worktree_path: Path
    isolation: Isolation = "worktree"

    resources: ResourceAllocation = ResourceAllocation()
    ports: Mapping[str, int] = {}
    """Service name to host port."""
    port_mappings: tuple[PortMapping, ...] = ()
    container_id: str | None = None
    """The provider's handle: a container id, or whatever else names the place."""
    image: str | None = None
    env_vars: Mapping[str, str] = {}
    volumes: tuple[VolumeMount, ...] = ()
    """Everything that its place mounts."""
    declared_volumes: tuple[VolumeMount, ...] = ()
    """What the configuration asks to mount; sources are resolved."""
    services: tuple[ServiceSpec, ...] = ()
    """The programs that run beside it; sources of their volumes are resolved."""

    created_at: datetime
    updated_at: datetime
    last_active: datetime
    expires_at: datetime | None = None
    asleep_since: datetime | None = None
    """When it was put to sleep because nothing happened in it; ``None`` when it is awake or was stopped by hand."""
    left_at: datetime | None = None
    """When a switch to another workspace put it to sleep; ``None`` when it is awake, or was put to sleep otherwise."""
    process_state: ProcessState | None = None
    left_running: LeftRunning | None = None
    """What comes back at the next start; ``None`` while it runs, and before its first stop."""
    node: NodeId | None = None
    """The node it was made on: a registry that was lost takes its id again from here."""

    degraded: str | None = None
    """What went wrong in its scripts, when something did."""
    hooks_due: tuple[str, ...] = ()
    """Scripts that have still to succeed, in order."""

    config: Mapping[str, JsonValue] = {}
    """The settings at creation that later steps depend on and no other field holds: ``dockerfile``, ``hooks``."""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class WorkspaceInfo(Model):
    """A workspace as users see it: the record, with the status that the provider reports now."""

    id: WorkspaceId
    name: Name
    display_name: str | None = None
    status: WorkspaceStatus
    status_message: str | None = None
    degraded: str | None = None
    """What went wrong in its scripts, when something did: it runs, but not as it should."""
    hooks_due: tuple[str, ...] = ()
    """Scripts that have still to succeed, in order; ``retry_hooks`` runs them."""
    current: bool = False
    """Whether this is the workspace that ``.nexus/current`` names."""
    missing: bool = False
    """Whether the place it ran in is gone; its worktree and branch are still there."""
    backend: str
    repository: Repository
    branch: str
    worktree_path: Path
    isolation: Isolation = "worktree"
    resources: ResourceAllocation
    ports: tuple[PortMapping, ...] = ()
    services: tuple[ServiceStatus, ...] = ()
    """The programs that run beside it, as they are now."""
    image: str | None = None
    created_at: datetime
    updated_at: datetime
    last_active_at: datetime
    expires_at: datetime | None = None
    asleep_since: datetime | None = None
    """When it was put to sleep because nothing happened in it: the next command wakes it."""
    awake_because: tuple[str, ...] = ()
    """What keeps it awake, in words. Told by ``get``; a list leaves it out, since it takes a question to each workspace."""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    """What is noted about it; :data:`DESCRIPTION` is what its project says that it is."""


class DamagedRecord(Model):
    """A record file that cannot be understood. It is listed, never deleted behind the user's back."""

    name: str
    path: Path
    reason: str


ListEntry: TypeAlias = WorkspaceInfo | DamagedRecord | DestroyedWorkspace

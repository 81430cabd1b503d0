"""What a manager asks of a provider, and what the provider answers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from nexus.models.base import Model
from nexus.models.ids import Name, NodeId, WorkspaceId
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping
from nexus.models.resources import ResourceAllocation
from nexus.models.services import ServiceStatus
from nexus.models.workspace import ProcessState

LABEL_WORKSPACE = "dev.nexus.workspace"
"""Label that carries the workspace's id on everything a provider makes."""
LABEL_NAME = "dev.nexus.name"
LABEL_NODE = "dev.nexus.node"
LABEL_REPOSITORY = "dev.nexus.repository"
LABEL_OF_USER = "dev.nexus.label."
"""What a user's own label starts with on everything a provider makes: a lost record gets them back from there."""
LABEL_CHECKPOINT = "dev.nexus.checkpoint"
"""Label with a checkpoint's id on what a provider keeps for it."""
LABEL_SERVICE = "dev.nexus.service"
"""Label with a service's name on what runs it; what carries it is never a workspace's own place."""


class Capability(StrEnum):
    """What a provider, on this host and now, can do beyond creating, starting and running commands."""

    PAUSE = "pause"
    LOGS = "logs"
    STATS = "stats"
    PORTS = "ports"
    """Ports inside are reachable by the host ports of the instance's mappings."""
    PTY = "pty"
    SIGNALS = "signals"
    EXEC_USER = "exec-user"
    RESOURCE_LIMITS = "resource-limits"
    ISOLATION = "isolation"
    """Programs inside cannot reach the host's files beyond what is mounted."""
    SERVICES = "services"
    """Programs can run beside the workspace: the instances implement ``SupportsServices``."""
    CHECKPOINTS = "checkpoints"
    """What programs wrote outside of the tree can be kept and made again: the provider implements ``SupportsCheckpoints``."""
    HIBERNATION = "hibernation"
    """Processes can be kept on a disk while nothing runs: the instances implement ``SupportsHibernation``. Whether it works there is
    found out at the first use."""
    KEEPING = "keeping"
    """Commands on terminals can outlive whoever started them: the instances implement ``SupportsKeeping``."""
    HOST_TREE = "host-tree"
    """The worktree is a folder of this host, so files are read and written there."""


class ProviderInfo(Model):
    """What :meth:`Provider.probe` found."""

    name: str
    available: bool
    version: str | None = None
    capabilities: frozenset[Capability] = frozenset()
    detail: str = ""
    """One sentence: what was found, or why it is not available."""
    hint: str | None = None


class InstanceSpec(Model):
    """Everything a provider needs to make the place where a workspace runs."""

    id: WorkspaceId
    name: Name
    node: NodeId
    worktree: Path
    """The work tree on this host."""
    workdir: str
    """Where commands start, as seen inside."""
    image: str | None = None
    dockerfile: Path | None = None
    build_context: Path | None = None
    build_args: Mapping[str, str] = {}
    build_target: str | None = None
    withheld: tuple[Path, ...] = ()
    """Files and folders of this host that no image is built from, absolute."""
    env: Mapping[str, str] = {}
    ports: tuple[PortMapping, ...] = ()
    resources: ResourceAllocation = ResourceAllocation()
    mounts: tuple[VolumeMount, ...] = ()
    remote_user: str | None = None
    """The image's user that programs run as, where the backend has users: its name, home folder and shell, with the ids that are ours."""
    links: Mapping[str, str] = {}
    """Symbolic links to make inside: path to target."""
    hosts: tuple[str, ...] = ()
    """Names that mean the instance itself, where it has a network of its own: those of its services."""
    labels: Mapping[str, str] = {}
    options: Mapping[str, JsonValue] = {}
    """The provider's own settings."""


class InstanceRef(Model):
    """How a provider finds an instance again, in another process and after a restart."""

    id: WorkspaceId
    name: str = ""
    handle: str | None = None
    """The provider's own name for it: a container id, a folder."""


class InstanceState(StrEnum):
    """What a provider sees of an instance."""

    STOPPED = "stopped"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    """It ended by itself or cannot run."""
    GONE = "gone"
    """It does not exist."""
    UNKNOWN = "unknown"
    """The provider cannot be asked."""


class InstanceStatus(Model):
    """An instance as its provider sees it now."""

    ref: InstanceRef
    state: InstanceState
    detail: str = ""
    ports: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = {}
    process: ProcessState | None = None
    services: tuple[ServiceStatus, ...] = ()
    """What runs beside it, where ``list`` sees that in the same look."""


class Woken(Model):
    """What became of processes that were kept."""

    lost: Mapping[str, str] = {}
    """Why some do not go on: by service, and under the empty name those of the place itself. What is named here does not run."""


class InstanceDescription(Model):
    """What an instance was made from, as far as its backend still knows."""

    image: str | None = None
    env: Mapping[str, str] = {}
    """The variables that it was given, without those of its image."""


class ResourceStats(Model):
    """What an instance uses now."""

    cpu_seconds: float
    """Processor time used since it started."""
    cpu_percent: float | None = None
    """Share of one core since the previous reading, times 100; ``None`` on the first."""
    memory_bytes: int
    memory_limit: int | None = None
    processes: int
    cpu_limit: float | None = None
    """Cores that it may use at most, as the backend enforces it; ``None``: no limit."""
    processes_limit: int | None = None
    """How many processes it may have; ``None``: no limit."""

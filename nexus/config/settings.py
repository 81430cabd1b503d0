"""The merged, typed and frozen result: what everything above asks instead of any file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import JsonValue

from nexus.config.daemon import DaemonSettings
from nexus.config.image_build import ImageBuild
from nexus.config.prebuild_settings import PrebuildSettings
from nexus.config.preferences import Preferences
from nexus.config.ssh import SshAccess
from nexus.models.base import Model
from nexus.models.hooks import Hook, HookName
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortRange, PortRequest
from nexus.models.resources import ResourceAllocation
from nexus.models.secrets import EnvFile, SecretReference
from nexus.models.services import ServiceSpec
from nexus.models.units import Duration, Size
from nexus.models.workspace import Isolation, SwitchStrategy


class ResourceMaxima(Model):
    """The most that one workspace may be given. ``None``: no limit."""

    cpu: float | None = None
    """Cores."""
    memory: Size | None = None
    """Bytes."""
    storage: Size | None = None
    """Bytes."""


class Limits(Model):
    """Limits of the node. ``None``: no limit."""

    max_workspaces_per_user: int | None = None
    max_workspaces_total: int | None = None
    default_resources: ResourceAllocation | None = None
    """What a workspace is given when nothing else says; already part of ``Settings.resources``."""
    max_resources: ResourceMaxima = ResourceMaxima()
    max_hold: Duration | None = None
    """The longest that a hold lasts without being renewed."""


class WorkspaceIdentity(Model):
    """What the project is called."""

    name: str
    """``workspace.name``, else the name of the project's folder."""
    display_name: str | None = None
    description: str | None = None


class KnownWorkspace(Model):
    """A project of the user's."""

    path: Path
    """Its folder, absolute."""


class Settings(Model):
    """What holds for one project, after all layers."""

    backend: str = "docker"
    image: str | None = "nexus-workspace:latest"
    dockerfile: Path | None = None
    """Absolute; ``None`` where a layer above the one that names it names an image instead."""
    build: ImageBuild | None = None
    """How the image is built from it; when absent it sees the project."""
    remote_user: str | None = None
    """The image's user that programs run as; ``None``: the one that the image itself names, if it does."""
    idle_timeout: Duration | None = timedelta(minutes=30)
    """``None``: never put to sleep."""
    stop_after: Duration | None = timedelta(hours=4)
    """``None``: one that sleeps is never stopped."""
    stop_below: Size | None = 256 * 1024 * 1024
    """Bytes; ``None``: none is stopped for want of memory."""
    switch: SwitchStrategy = "pause"
    """How a switch puts the workspace to sleep that one leaves."""
    precious: tuple[str, ...] = ()
    """Patterns of ignored files that count as work all the same."""
    keep_destroyed: Duration | None = timedelta(days=14)
    """``None``: a destroyed workspace is kept until ``prune`` is told an age."""
    git_identity: bool = True
    """Whether git inside containers is told the user's name and e-mail."""
    resources: ResourceAllocation = ResourceAllocation()
    isolation: Isolation = "worktree"
    """What a workspace's tree is: a linked worktree, or a private clone."""
    submodules: bool = False
    """Whether submodules of new worktrees are filled from what the repository has."""
    lfs: bool = False
    """Whether LFS files of new worktrees are filled from what the repository has."""
    ssh: SshAccess = SshAccess()
    """How programs inside log in elsewhere for the user."""
    worktree_include: tuple[str, ...] = ()
    """Patterns of ignored files that come along into a new worktree."""
    worktree_include_max: Size = 1 << 30
    """The most that they may take together, in bytes."""
    port_range: PortRange | None = None
    ports: tuple[PortRequest, ...] = ()
    org_address: str | None = None
    """Address or interface of this node that ports with the visibility ``org`` are bound to."""
    services: tuple[ServiceSpec, ...] = ()
    """Programs that run beside each workspace; folders of the tree are relative to it."""
    volumes: tuple[VolumeMount, ...] = ()
    """What each workspace's own place mounts; folders of the tree are relative to it."""
    env: Mapping[str, str] = {}
    """Variables of every command; ``env:NAME`` is a reference, see :meth:`ConfigStack.resolve_env`."""
    hooks: tuple[Hook, ...] = ()
    """Scripts and hooks, at most one of each name."""
    prebuild: PrebuildSettings = PrebuildSettings()
    """What is configured about prebuilt images."""
    env_files: tuple[EnvFile, ...] = ()
    """Files of variables, lowest first: what stands in ``env`` or is a secret overrides them."""
    secrets: tuple[SecretReference, ...] = ()
    """Where secrets come from."""
    secrets_allowed: tuple[str, ...] = ()
    """What of the user's this project's own file may refer to."""
    limits: Limits = Limits()
    backends: Mapping[str, Mapping[str, JsonValue]] = {}
    """Each backend's options, for its provider. Durations are seconds; what nobody set is absent."""
    workspace: WorkspaceIdentity
    preferences: Preferences = Preferences()
    workspaces: Mapping[str, KnownWorkspace] = {}
    multi_user: bool = False
    """Whether several users share this node."""
    workspace_root: Path | None = None
    """Folder with a folder for each user's work trees; ``None`` keeps them below each project."""
    private_folders: bool = False
    """Whether the folders of workspaces are closed to other users of the machine."""
    daemon: DaemonSettings = DaemonSettings()
    """Where the daemon is to listen."""
    state_dir: Path
    """Folder of the node's registry. Absolute; it need not exist."""
    project_root: Path

    def hook(self, name: HookName) -> Hook | None:
        """Return what is to run at a moment; ``None`` when nothing is."""
        return next((hook for hook in self.hooks if hook.name is name), None)

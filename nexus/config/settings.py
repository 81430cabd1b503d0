"""The merged, typed and frozen result: what everything above asks instead of any file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import BaseModel, JsonValue, ValidationError

from nexus.config.daemon import DaemonSettings, daemon_values
from nexus.config.image_build import ImageBuild, image_build
from nexus.config.layers import Branch, KeyPath, Layer, Leaf, Place, child, join_key, placed, plain
from nexus.config.multi_user import private_folders, workspace_root
from nexus.config.prebuild_settings import PrebuildSettings
from nexus.config.preferences import Preferences
from nexus.config.problems import Problems, quoted
from nexus.config.scripts import configured
from nexus.config.secret_settings import secret_values
from nexus.config.sections import Backends, Port
from nexus.config.services import build_services, build_volumes
from nexus.config.sources import expand_home
from nexus.config.ssh import SshAccess, ssh_access
from nexus.config.usual_files import home_folder
from nexus.models.base import Model
from nexus.models.hooks import Hook, HookName
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortRange, PortRequest
from nexus.models.resources import ResourceAllocation
from nexus.models.secrets import EnvFile, SecretReference
from nexus.models.services import ServiceSpec
from nexus.models.units import Duration, Size
from nexus.models.workspace import Isolation, SwitchStrategy

STATE_VARIABLE: Final = "NEXUS_STATE_DIR"
SHARED_STATE: Final = Path("/var/lib/nexus/state")


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


def build_settings(
    merged: Branch,
    *,
    layers: Sequence[Layer],
    root: Path,
    env: Mapping[str, str],
    home: Path | None,
    problems: Problems,
) -> Settings | None:
    """Return the settings that the merged layers mean.

    Args:
        merged: The layers as one tree, without removed keys.
        layers: The layers, from low to high.
        root: The project's root.
        env: The environment, for the place of the state.
        home: The home folder, where there is one.
        problems: Gets what does not fit together; the result is ``None`` then.
    """
    before = len(problems)
    multi_user = _value(merged, "multi_user", "enabled") is True
    values: dict[str, object] = {
        "backend": _value(merged, "defaults", "backend"),
        "image": _value(merged, "defaults", "image"),
        "dockerfile": _dockerfile(merged, root, home),
        "build": image_build(merged, root),
        "remote_user": _value(merged, "defaults", "remote_user"),
        "idle_timeout": _value(merged, "defaults", "idle_timeout"),
        "stop_after": _value(merged, "defaults", "stop_after"),
        "stop_below": _value(merged, "defaults", "stop_below"),
        "switch": _value(merged, "defaults", "switch") or "pause",
        "precious": _value(merged, "defaults", "precious") or (),
        "keep_destroyed": _value(merged, "defaults", "keep_destroyed"),
        "git_identity": _value(merged, "defaults", "git_identity") is not False,
        "resources": _map(merged, "defaults", "resources"),
        **{
            name: found
            for name in ("isolation", "worktree_include", "worktree_include_max", "submodules", "lfs")
            if (found := _value(merged, "defaults", name)) is not None
        },
        "port_range": _range(merged, problems),
        "ports": _ports(merged, problems),
        "org_address": _value(merged, "network", "org_address"),
        "services": build_services(merged, root=root, problems=problems),
        "volumes": build_volumes(merged, problems),
        "env": _map(merged, "env"),
        "hooks": configured(merged),
        "prebuild": {name: value for name, value in _map(merged, "prebuild").items() if value is not None},
        **secret_values(layers, root=root, home=home, problems=problems),
        "limits": _map(merged, "limits"),
        "backends": _options(merged),
        "workspace": {"name": root.name or "root", **_map(merged, "workspace")},
        "preferences": _map(merged, "preferences"),
        "ssh": ssh_access(merged, home, problems),
        "workspaces": _known(merged, home, problems),
        "multi_user": multi_user,
        "workspace_root": workspace_root(merged, home, problems),
        "private_folders": private_folders(merged),
        "daemon": daemon_values(merged, home, problems),
        "state_dir": _state_folder(env, home, problems, shared=multi_user),
        "project_root": root,
    }
    if values["backend"] is None:
        problems.add(merged.place, "'defaults.backend' has no value: null removed it, and every workspace needs one")
    if len(problems) > before:
        return None
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            path = tuple(str(step) for step in detail["loc"])
            problems.add(placed(merged, path), f"{quoted(join_key(path))}: {detail['msg']}")
        return None


def _value(merged: Branch, *path: str) -> JsonValue:
    node = child(merged, *path)
    return node.value if isinstance(node, Leaf) else None


def _map(merged: Branch, *path: str) -> dict[str, JsonValue]:
    node = child(merged, *path)
    value = plain(node) if node is not None else None
    return value if isinstance(value, dict) else {}


def _dockerfile(merged: Branch, root: Path, home: Path | None) -> Path | None:
    text = _value(merged, "defaults", "dockerfile")
    return root / (expand_home(text, home) or text) if isinstance(text, str) else None


def _range(merged: Branch, problems: Problems) -> dict[str, JsonValue] | None:
    path: KeyPath = ("defaults", "port_range")
    found = _map(merged, *path)
    if not found:
        return None
    start, end = found.get("start"), found.get("end")
    place = placed(merged, (*path, "start"))
    if start is None or end is None:
        problems.add(place, "'defaults.port_range' needs both 'start' and 'end'")
    elif isinstance(start, int) and isinstance(end, int) and end < start:
        problems.add(place, f"'defaults.port_range' ends ({end}) before it starts ({start})")
    return found


def _ports(merged: Branch, problems: Problems) -> list[PortRequest]:
    requests: list[PortRequest] = []
    for name, value in _map(merged, "ports").items():
        port = Port.model_validate(value)
        inside = port.container if port.container is not None else port.host
        if inside is None:
            place = placed(merged, ("ports", name))
            problems.add(place, f"{quoted(join_key(('ports', name)))} needs 'container', the number inside")
            continue
        requests.append(
            PortRequest(
                name=name,
                container=inside,
                host=port.host,
                protocol=port.protocol or "tcp",
                visibility=port.visibility or "private",
            )
        )
    return requests


def _options(merged: Branch) -> dict[str, dict[str, JsonValue]]:
    backends = Backends.model_validate(_map(merged, "backends"))
    options: dict[str, dict[str, JsonValue]] = {}
    for name in (*Backends.model_fields, *(backends.model_extra or {})):
        section: object = getattr(backends, name)
        if isinstance(section, BaseModel):
            options[name] = {key: _json(value) for key, value in section if value is not None}
        elif isinstance(section, Mapping):
            options[name] = dict(section)
    return options


def _json(value: object) -> JsonValue:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return value if isinstance(value, bool | int | float) else str(value)


def _known(merged: Branch, home: Path | None, problems: Problems) -> dict[str, KnownWorkspace]:
    known: dict[str, KnownWorkspace] = {}
    for name, value in _map(merged, "workspaces").items():
        text = value.get("path") if isinstance(value, dict) else None
        if not isinstance(text, str):
            continue
        path = expand_home(text, home)
        if path is None or not path.is_absolute():
            key = join_key(("workspaces", name, "path"))
            place = placed(merged, ("workspaces", name, "path"))
            problems.add(place, f"{quoted(key)} must be an absolute path, or begin with '~/'")
            continue
        known[name] = KnownWorkspace(path=path)
    return known


def _state_folder(env: Mapping[str, str], home: Path | None, problems: Problems, *, shared: bool) -> Path:
    named = env.get(STATE_VARIABLE, "")
    if named:
        path = expand_home(named, home)
        if path is not None and path.is_absolute():
            return path
        problems.add(Place(f"env {STATE_VARIABLE}"), "the folder of the state must be an absolute path")
    if shared:
        return SHARED_STATE
    data = env.get("XDG_DATA_HOME", "")
    if data.startswith("/"):  # the XDG specification says that a relative one is to be ignored
        return Path(data) / "nexus"
    home = home or home_folder(None) or Path("/")
    return home / ".local" / "share" / "nexus"

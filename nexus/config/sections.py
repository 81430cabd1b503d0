"""The sections of the three files that Nexus acts on, as people write them.

Every field may be absent or ``null``: a file says only what it wants to say, and ``null`` removes what a lower layer said. The
defaults are a layer of their own (:mod:`nexus.config.builtin`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue

from nexus.config.addresses import EngineAddress
from nexus.config.image_build import WrittenBuild
from nexus.config.remote_backends import KubernetesOptions, SpriteOptions
from nexus.config.values import (
    BackendName,
    ContainerUser,
    CoreCount,
    Count,
    EntryName,
    EnvValue,
    FilePattern,
    InsideUser,
    Network,
    NetworkName,
    PortName,
    PositiveDuration,
    PositiveSize,
    SinglePort,
    Text,
    VariableName,
    class_numbers,
    short_form,
)
from nexus.models.described import Described
from nexus.models.ports import PortProtocol, Visibility
from nexus.models.resources import ResourceClass
from nexus.models.units import Size
from nexus.models.workspace import Isolation as WorkspaceIsolation
from nexus.models.workspace import SwitchStrategy


class Cpu(Described):
    """Processor time."""

    cores: CoreCount | None = None
    """Cores the workspace is meant to have."""
    limit: CoreCount | None = None
    """Hard limit in cores; `cores` when absent."""


class Memory(Described):
    """Main memory."""

    bytes: PositiveSize | None = None
    """Memory the workspace is meant to have."""
    limit: PositiveSize | None = None
    """Hard limit; `bytes` when absent."""
    swap: Size | None = None
    """Swap on top of the limit; the backend's default when absent."""


class Storage(Described):
    """Disk space."""

    bytes: PositiveSize | None = None
    """Primary storage."""
    ephemeral: Size | None = None
    """Scratch space that does not survive a stop: `/tmp` of a container, held in its memory; at most the memory's limit."""


class Resources(Described):
    """How much of the machine a workspace may use; in place of the map the name of a class: small, medium, large, xlarge."""

    cpu: Annotated[Cpu, BeforeValidator(short_form("cores", "limit"), json_schema_input_type=Cpu | float)] | None = None
    """Processor time; a number means cores."""
    memory: (
        Annotated[
            Memory, BeforeValidator(short_form("bytes", "limit", "swap"), json_schema_input_type=Memory | int | str)
        ]
        | None
    ) = None
    """Main memory; a size alone means `bytes`."""
    storage: (
        Annotated[
            Storage, BeforeValidator(short_form("bytes", "ephemeral"), json_schema_input_type=Storage | int | str)
        ]
        | None
    ) = None
    """Disk space; a size alone means `bytes`."""


AnyResources = Annotated[Resources, BeforeValidator(class_numbers, json_schema_input_type=Resources | ResourceClass)]


class Maxima(Described):
    """The most that any workspace of this node may be given."""

    cpu: CoreCount | None = None
    """Cores."""
    memory: PositiveSize | None = None
    """Main memory."""
    storage: PositiveSize | None = None
    """Disk space."""


class NodeLimits(Described):
    """Limits of the node. Only its own file sets them."""

    max_workspaces_per_user: Count | None = None
    """Workspaces that one user may have."""
    max_workspaces_total: Count | None = None
    """Workspaces that all users together may have."""
    default_resources: AnyResources | None = None
    """What a workspace is given when nothing else says; the node file's `defaults.resources` ranks before it."""
    max_resources: Maxima | None = None
    """The most that one workspace may be given."""
    max_hold: PositiveDuration | None = None
    """The longest that a hold may keep a workspace awake without being renewed; `null`: any time."""


class Range(Described):
    """A closed range of host ports."""

    start: SinglePort | None = None
    """First port."""
    end: SinglePort | None = None
    """Last port."""


class Defaults(Described):
    """What a workspace gets unless something of higher rank says otherwise."""

    backend: BackendName | None = None
    """Where workspaces run: docker, local, or another provider's name."""
    idle_timeout: PositiveDuration | None = None
    """Time without work after which a workspace is paused, or stopped where its backend cannot pause; `null`: never."""
    stop_after: PositiveDuration | None = None
    """Time after which a workspace that was put to sleep is stopped, which frees its memory; `null`: never."""
    stop_below: PositiveSize | None = None
    """When this machine has less memory to give, workspaces that sleep are stopped, the one that slept longest first; `null`: never."""
    switch: SwitchStrategy | None = None
    """How a switch puts the workspace to sleep that one leaves: pause, where its backend can, keeps its programs; stop frees its memory;
    checkpoint stops it too, keeps a checkpoint of how it was left, and its programs where the backend can keep them on its disk."""
    image: Text | None = None
    """Image that containers start from."""
    resources: AnyResources | None = None
    """How much of the machine a workspace may use."""
    precious: tuple[Text, ...] | None = None
    """Ignored files that count as work all the same: `.env`, `notes/**`. The lists of all files are added up."""
    keep_destroyed: PositiveDuration | None = None
    """Time for which a destroyed workspace can be restored before `prune` removes it; `null`: until prune is told otherwise."""
    git_identity: bool | None = None
    """Whether git inside containers is told your name and e-mail, as your git configuration has them."""
    submodules: bool | None = None
    """Whether submodules of a new worktree are filled, where the main checkout has their content."""
    lfs: bool | None = None
    """Whether Git LFS files of a new worktree are filled, where the main checkout has their content."""
    isolation: WorkspaceIsolation | None = None
    """worktree: a linked worktree; clone: a private clone, so that nothing of the main `.git` can be written inside."""
    worktree_include: tuple[FilePattern, ...] | None = None
    """Ignored files that come along into a new worktree, as `.gitignore` patterns; they rank above `.worktreeinclude`."""
    worktree_include_max: PositiveSize | None = None
    """The most that ignored files which come along may take together; more is refused, never cut."""


class UserDefaults(Defaults):
    """A user's defaults."""

    port_range: Range | None = None
    """Host ports that this user's workspaces may use."""


class DockerOptions(Described):
    """The docker backend."""

    socket: EngineAddress | None = None
    """The engine's socket or address; when absent `DOCKER_HOST`, then the current docker context."""
    network: NetworkName | None = None
    """How the names of the workspaces' networks begin."""
    storage_driver: Text | None = None
    """Storage driver that the engine is expected to use."""
    subnet_pool: Network | None = None
    """IPv4 network that the workspaces' own networks are cut from; the provider's own choice when absent."""
    user: ContainerUser | None = None
    """Who runs inside: `host` (you), `image` (the image's user), or a fixed `uid:gid`."""
    pids_limit: Annotated[Count, Field(ge=16, le=4_194_304)] | None = None
    """How many processes a workspace may have."""
    prepared_shells: Annotated[int, Field(ge=0, le=16)] | None = None
    """How many shells wait in a running workspace for the next command, so that it starts at once; 0: none. Two when absent."""
    pull_timeout: PositiveDuration | None = None
    """Time that pulling an image may take."""
    build_timeout: PositiveDuration | None = None
    """Time that building an image may take."""
    stop_grace: PositiveDuration | None = None
    """Time between asking processes to end and killing them."""


class LocalOptions(Described):
    """The local backend."""

    state_dir: Text | None = None
    """Absolute path of the folder that remembers local workspaces."""
    runtime_dir: Text | None = None
    """Absolute path of the folder for sockets."""
    pass_env: tuple[VariableName, ...] | None = None
    """Names of variables of yours that commands see as well; your environment is not passed on otherwise."""
    pids_limit: Annotated[Count, Field(ge=16, le=4_194_304)] | None = None
    """How many processes a workspace may have, where the system lets Nexus keep that (control groups)."""
    stop_grace: PositiveDuration | None = None
    """Time between asking processes to end and killing them."""


FreeOptions = Mapping[str, JsonValue]


class Backends(Described):
    """Each backend's own settings; a provider that is not known by name here gets its map as it stands."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, FreeOptions | None]  # type: ignore[mutable-override]  # this is how pydantic is told

    docker: DockerOptions | None = None
    """The docker backend."""
    local: LocalOptions | None = None
    """The local backend."""
    sprite: SpriteOptions | None = None
    """The sprite backend."""
    kubernetes: KubernetesOptions | None = None
    """The kubernetes backend."""
    mock: FreeOptions | None = None
    """The mock backend of tests."""


class Port(Described):
    """A port that a workspace is reachable by; in place of the map the number inside."""

    container: SinglePort | None = None
    """The number that the program inside listens on; `host` when absent."""
    host: SinglePort | None = None
    """A fixed host port; chosen from the workspace's block when absent."""
    protocol: PortProtocol | None = None
    """tcp or udp."""
    visibility: Visibility | None = None
    """private: this machine only; org: who reaches the node's `network.org_address`; public: whoever reaches this machine."""


AnyPort = Annotated[Port, BeforeValidator(short_form("container"), json_schema_input_type=Port | int)]
Ports = Mapping[PortName, AnyPort | None]
Env = Mapping[VariableName, EnvValue | None]


class Workspace(Described):
    """What the project is called."""

    name: Annotated[Text, Field(max_length=128)] | None = None
    """The project's name; the name of its folder when absent."""
    display_name: Text | None = None
    """A name for people."""
    description: Text | None = None
    """One sentence."""


class Known(Described):
    """A project of the user's."""

    path: Text | None = None
    """Its folder; `~` is the home folder."""


KnownProjects = Mapping[EntryName, Known | None]


class EffectiveDefaults(UserDefaults):
    """All defaults, under their effective keys."""

    dockerfile: Text | None = None
    """File to build the image from, relative to the project; a layer that sets `image` alone unsets it."""
    build: WrittenBuild | None = None
    """How it is built; a layer that names another dockerfile or image says this anew."""
    remote_user: InsideUser | None = None
    """The image's user that programs run as; a layer that names another dockerfile or image says this anew."""


class ProjectDocker(Described):
    """What a project says about its containers."""

    image: Text | None = None
    """Image that containers start from."""
    dockerfile: Text | None = None
    """File to build the image from, relative to the project's root and inside it."""
    build: WrittenBuild | None = None
    """How it is built."""
    remote_user: InsideUser | None = None
    """The image's user whose name, home and shell programs have, with your own ids; the one that the image names when absent."""


class ProjectBackend(Described):
    """The backend of a project; in place of the map its name."""

    type: BackendName | None = None
    """Where workspaces run."""
    docker: ProjectDocker | None = None
    """What the project says about its containers."""


AnyProjectBackend = Annotated[
    ProjectBackend, BeforeValidator(short_form("type"), json_schema_input_type=ProjectBackend | str)
]

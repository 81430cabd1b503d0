"""The sections of the three files that Nexus acts on, as people write them.

Every field may be absent or ``null``: a file says only what it wants to say, and ``null`` removes what a lower layer said. The
defaults are a layer of their own (:mod:`nexus.config.builtin`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, JsonValue

from nexus.models.base import Model
from nexus.models.ports import PortNumber, PortProtocol, Visibility
from nexus.models.resources import RESOURCE_CLASSES, Cores, ResourceClass
from nexus.models.units import Duration, Size

_SMALLEST_POOL = 64
"""Room for four workspaces."""


def _matching(pattern: str, what: str) -> AfterValidator:
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(what)
        return text

    return AfterValidator(check)


def _number(value: object) -> object:
    # To pydantic and to Python `true` is 1; to whoever wrote `cpu: true` it is a mistake.
    if isinstance(value, bool):
        msg = "must be a number, not true or false"
        raise ValueError(msg)  # noqa: TRY004 - only a ValueError becomes a validation error
    return value


def _positive_duration(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        msg = "must be longer than zero; write null for no limit"
        raise ValueError(msg)
    return value


def _network(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        msg = f"must be an IPv4 network such as 10.213.0.0/16: {error}"
        raise ValueError(msg) from None
    if not network.is_private or network.num_addresses < _SMALLEST_POOL:
        msg = f"must be a private IPv4 network of at least {_SMALLEST_POOL} addresses, such as 10.213.0.0/16"
        raise ValueError(msg)
    return text


def _wrapped(name: str, *others: str) -> Callable[[object], object]:
    """Make the short form ``4`` mean ``{name: 4}``, with what it does not say set to nothing."""

    def expand(value: object) -> object:
        if value is None or isinstance(value, Mapping):
            return value
        return {name: value, **dict.fromkeys(others)}

    return expand


def _expand_class(value: object) -> object:
    """Make the name of a class mean its numbers, with every limit set to nothing."""
    if not isinstance(value, str):
        return value
    for name, allocation in RESOURCE_CLASSES.items():
        if value == name:
            return allocation.model_dump()
    msg = f"{value[:40]!r} is not a resource class: write {', '.join(RESOURCE_CLASSES)}, or cpu, memory and storage"
    raise ValueError(msg)


Text = Annotated[str, Field(min_length=1, max_length=4096)]
SinglePort = Annotated[PortNumber, BeforeValidator(_number)]
Count = Annotated[int, BeforeValidator(_number), Field(ge=0)]
CoreCount = Annotated[Cores, BeforeValidator(_number)]
PositiveSize = Annotated[Size, Field(gt=0)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive_duration)]
Network = Annotated[str, AfterValidator(_network)]
NetworkName = Annotated[
    str, _matching(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}", "must be the start of a network's name: letters, digits, '_.-'")
]
ContainerUser = Annotated[
    str, _matching(r"host|image|[0-9]{1,10}:[0-9]{1,10}", "must be 'host', 'image' or numbers such as '1000:1000'")
]
BackendName = Annotated[
    str, _matching(r"[a-z][a-z0-9_-]{0,62}", "must be a backend's name: lower-case letters, digits, '-' and '_'")
]
PortName = Annotated[
    str, _matching(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", "must be a service's name: letters, digits, '-' and '_'")
]
VariableName = Annotated[
    str,
    _matching(r"[A-Za-z_][A-Za-z0-9_]{0,254}", "must be a variable's name: letters, digits and '_', no digit first"),
]
EntryName = Annotated[str, Field(min_length=1, max_length=255)]
EnvValue = Annotated[str, Field(max_length=131_072, description="Its text, or a reference `env:NAME`.")]
"""The value of an environment variable, or a reference ``env:NAME``. Linux takes at most 128 KiB."""


class Cpu(Model):
    """Processor time."""

    cores: CoreCount | None = None
    """Cores the workspace is meant to have."""
    limit: CoreCount | None = None
    """Hard limit in cores; `cores` when absent."""


class Memory(Model):
    """Main memory."""

    bytes: PositiveSize | None = None
    """Memory the workspace is meant to have."""
    limit: PositiveSize | None = None
    """Hard limit; `bytes` when absent."""
    swap: Size | None = None
    """Swap on top of the limit; the backend's default when absent."""


class Storage(Model):
    """Disk space."""

    bytes: PositiveSize | None = None
    """Primary storage."""
    ephemeral: Size | None = None
    """Scratch space that does not survive a stop."""


class Resources(Model):
    """How much of the machine a workspace may use; in place of the map the name of a class: small, medium, large, xlarge."""

    cpu: Annotated[Cpu, BeforeValidator(_wrapped("cores", "limit"), json_schema_input_type=Cpu | float)] | None = None
    """Processor time; a number means cores."""
    memory: (
        Annotated[
            Memory, BeforeValidator(_wrapped("bytes", "limit", "swap"), json_schema_input_type=Memory | int | str)
        ]
        | None
    ) = None
    """Main memory; a size alone means `bytes`."""
    storage: (
        Annotated[Storage, BeforeValidator(_wrapped("bytes", "ephemeral"), json_schema_input_type=Storage | int | str)]
        | None
    ) = None
    """Disk space; a size alone means `bytes`."""


AnyResources = Annotated[Resources, BeforeValidator(_expand_class, json_schema_input_type=Resources | ResourceClass)]


class Maxima(Model):
    """The most that any workspace of this node may be given."""

    cpu: CoreCount | None = None
    """Cores."""
    memory: PositiveSize | None = None
    """Main memory."""
    storage: PositiveSize | None = None
    """Disk space."""


class NodeLimits(Model):
    """Limits of the node. Only its own file sets them."""

    max_workspaces_per_user: Count | None = None
    """Workspaces that one user may have."""
    max_workspaces_total: Count | None = None
    """Workspaces that all users together may have."""
    default_resources: AnyResources | None = None
    """What a workspace is given when nothing else says; the node file's `defaults.resources` ranks before it."""
    max_resources: Maxima | None = None
    """The most that one workspace may be given."""


class Range(Model):
    """A closed range of host ports."""

    start: SinglePort | None = None
    """First port."""
    end: SinglePort | None = None
    """Last port."""


class Defaults(Model):
    """What a workspace gets unless something of higher rank says otherwise."""

    backend: BackendName | None = None
    """Where workspaces run: docker, local, or another provider's name."""
    idle_timeout: PositiveDuration | None = None
    """Time without work after which a workspace may be put to sleep; `null`: never."""
    image: Text | None = None
    """Image that containers start from."""
    resources: AnyResources | None = None
    """How much of the machine a workspace may use."""


class UserDefaults(Defaults):
    """A user's defaults."""

    port_range: Range | None = None
    """Host ports that this user's workspaces may use."""


class EffectiveDefaults(UserDefaults):
    """All defaults, under their effective keys."""

    dockerfile: Text | None = None
    """File to build the image from, relative to the project; a layer that sets `image` alone unsets it."""


class DockerOptions(Model):
    """The docker backend."""

    socket: Text | None = None
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
    pull_timeout: PositiveDuration | None = None
    """Time that pulling an image may take."""
    build_timeout: PositiveDuration | None = None
    """Time that building an image may take."""
    stop_grace: PositiveDuration | None = None
    """Time between asking processes to end and killing them."""


class LocalOptions(Model):
    """The local backend."""

    state_dir: Text | None = None
    """Absolute path of the folder that remembers local workspaces."""
    runtime_dir: Text | None = None
    """Absolute path of the folder for sockets."""
    pass_env: tuple[VariableName, ...] | None = None
    """Names of variables of yours that commands see as well; your environment is not passed on otherwise."""
    stop_grace: PositiveDuration | None = None
    """Time between asking processes to end and killing them."""


class SpriteOptions(Model):
    """The sprite backend."""

    api_endpoint: Text | None = None
    """Address of the service."""
    api_key: Text | None = None
    """Key for the service; better a reference, `env:SPRITE_API_KEY`, than the key itself."""
    org: Text | None = None
    """Organisation."""
    region: Text | None = None
    """Region."""


FreeOptions = Mapping[str, JsonValue]


class Backends(Model):
    """Each backend's own settings; a provider that is not known by name here gets its map as it stands."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, FreeOptions | None]  # type: ignore[mutable-override]  # this is how pydantic is told

    docker: DockerOptions | None = None
    """The docker backend."""
    local: LocalOptions | None = None
    """The local backend."""
    sprite: SpriteOptions | None = None
    """The sprite backend."""
    kubernetes: FreeOptions | None = None
    """The kubernetes backend."""
    mock: FreeOptions | None = None
    """The mock backend of tests."""


class Port(Model):
    """A port that a workspace is reachable by; in place of the map the number inside."""

    container: SinglePort | None = None
    """The number that the program inside listens on; `host` when absent."""
    host: SinglePort | None = None
    """A fixed host port; chosen from the workspace's block when absent."""
    protocol: PortProtocol | None = None
    """tcp or udp."""
    visibility: Visibility | None = None
    """private: this machine only; public and org: other machines too."""


AnyPort = Annotated[Port, BeforeValidator(_wrapped("container"), json_schema_input_type=Port | int)]
Ports = Mapping[PortName, AnyPort | None]
Env = Mapping[VariableName, EnvValue | None]


class Workspace(Model):
    """What the project is called."""

    name: Annotated[Text, Field(max_length=128)] | None = None
    """The project's name; the name of its folder when absent."""
    display_name: Text | None = None
    """A name for people."""
    description: Text | None = None
    """One sentence."""


class TelemetryChoice(Model):
    """What may be recorded."""

    enabled: bool | None = None
    """Whether anything is recorded."""
    share_friction_data: bool | None = None
    """Whether reports of friction may leave this machine."""


class UserPreferences(Model):
    """Personal preferences."""

    default_editor: Text | None = None
    """Editor to open workspaces with: cursor, vscode, vim, …"""
    theme: Text | None = None
    """Colours of the output."""
    telemetry: TelemetryChoice | None = None
    """What may be recorded."""


class Known(Model):
    """A project of the user's."""

    path: Text | None = None
    """Its folder; `~` is the home folder."""


KnownProjects = Mapping[EntryName, Known | None]


class ProjectDocker(Model):
    """What a project says about its containers."""

    image: Text | None = None
    """Image that containers start from."""
    dockerfile: Text | None = None
    """File to build the image from, relative to the project's root and inside it."""


class ProjectBackend(Model):
    """The backend of a project; in place of the map its name."""

    type: BackendName | None = None
    """Where workspaces run."""
    docker: ProjectDocker | None = None
    """What the project says about its containers."""


AnyProjectBackend = Annotated[
    ProjectBackend, BeforeValidator(_wrapped("type"), json_schema_input_type=ProjectBackend | str)
]

"""From a workspace's specification to what the engine is asked to make. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pydantic import JsonValue

from nexus.errors import InvalidArgument
from nexus.models.ids import WorkspaceId
from nexus.models.instances import LABEL_NAME, LABEL_NODE, LABEL_WORKSPACE, InstanceSpec
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping
from nexus.models.resources import ResourceAllocation
from nexus.providers.docker.client import EngineInfo
from nexus.providers.docker.facts import LABEL_FROM, LABEL_PORTS, LABEL_SHELL, ports_label
from nexus.providers.docker.options import DockerOptions
from nexus.providers.docker.secret_files import mount_options

HOME: Final = "/home/nexus"
"""Home of a user that the image does not know."""
SCRATCH: Final = "/tmp"  # noqa: S108 - inside the container
DROPPED: Final = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP")
"""What is left out of the engine's own default set: nobody makes devices or forges packets in a workspace."""

# Stays until it is told to end, then ends everything else first: TERM for all, and waits for them as long as the engine lets it
# (it kills after the grace). Waiting in `wait` lets the trap run at once. An image without `sleep` waits on its open input.
KEEP_ALIVE: Final = """\
trap : TERM INT HUP
echo "nexus: started"
hold() { while sleep 2147483647; do :; done 2>/dev/null; read -r _; }
hold <&0 &
wait $!
trap '' TERM INT HUP
echo "nexus: stopping"
kill -TERM -1 2>/dev/null
others() {
  for p in /proc/[0-9]*; do
    case ${p#/proc/} in 1|$$) continue ;; esac
    read -r line 2>/dev/null <"$p/stat" || continue
    line=${line##*) }
    set -- $line
    case $1 in Z|X) continue ;; esac
    [ "$2" = "$$" ] || return 0
  done
  return 1
}
while others; do sleep 0.05 2>/dev/null || sleep 1 2>/dev/null || break; done
echo "nexus: stopped"
exit 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who runs inside."""

    user: str | None
    """``uid:gid``; ``None`` for the image's own user."""
    uid: int = 0
    gid: int = 0
    name: str | None = None
    """What the image calls that user, with a home folder of its own; ``None`` where it knows nobody by these ids."""

    @property
    def home(self) -> str | None:
        """A home folder that has to be made; ``None`` where the image has one."""
        return HOME if self.user is not None and self.uid != 0 and self.name is None else None


def choose_identity(setting: str, *, rootless: bool, uid: int, gid: int) -> Identity:
    """Return who runs inside, so that files made there belong to the right user outside.

    Args:
        setting: The option ``user``: ``host``, ``image`` or ``uid:gid``.
        rootless: Whether the engine runs as the host's user: then root inside *is* that user outside.
        uid: The host user's id.
        gid: The host user's group.
    """
    if setting == "image":
        return Identity(user=None)
    if setting != "host":
        left, _, right = setting.partition(":")
        return Identity(user=setting, uid=int(left), gid=int(right))
    if rootless:
        return Identity(user="0:0")
    return Identity(user=f"{uid}:{gid}", uid=uid, gid=gid)


def choose_user(identity: Identity, name: str | None) -> Identity:
    """Return who runs inside when the image calls somebody that; where the image's own ids count, those that it has for the name."""
    return identity if name is None else replace(identity, name=name)


def container_name(name: str, number: WorkspaceId) -> str:
    """Return the name of a workspace's container."""
    return f"nexus-{name}-{number[:8]}"


def own_labels(spec: InstanceSpec) -> dict[str, str]:
    """Return the labels that everything made for a workspace carries."""
    return {
        **spec.labels,
        LABEL_WORKSPACE: spec.id,
        LABEL_NAME: spec.name,
        LABEL_NODE: spec.node,
    }


def container_body(
    spec: InstanceSpec,
    options: DockerOptions,
    info: EngineInfo,
    identity: Identity,
    *,
    network: str,
    shell: bool = True,
    image: str | None = None,
) -> dict[str, JsonValue]:
    """Return the body of ``POST /containers/create``.

    Args:
        spec: What is asked for; its image is there.
        options: The backend's settings.
        info: What the engine can give.
        identity: Who runs inside.
        network: The name of the workspace's network.
        shell: Whether the image has ``/bin/sh``; without one its own command has to keep it alive.
        image: What it is made from in place of the image that is asked for.

    Raises:
        InvalidArgument: When no image is named, or a mount cannot be made.
    """
    if spec.image is None:
        raise InvalidArgument("a docker workspace needs an image", hint="set defaults.image, or a dockerfile")
    labels = {
        **own_labels(spec),
        LABEL_PORTS: ports_label(spec.ports),
        LABEL_SHELL: "sh" if shell else "none",
        LABEL_FROM: spec.image,
    }
    env = dict(spec.env)
    if identity.home is not None:
        env.setdefault("HOME", identity.home)
    if identity.name is not None:
        env.setdefault("USER", identity.name)
    body: dict[str, JsonValue] = {
        "Image": image or spec.image,
        "Hostname": spec.name,
        "WorkingDir": spec.workdir,
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Labels": {**labels},
        "OpenStdin": True,
        "ExposedPorts": {f"{port.container_port}/{port.protocol}": {} for port in spec.ports},
        "HostConfig": {
            **_host_config(spec, options, info, network),
            "Tmpfs": {
                **mount_options(*((None, None) if identity.user is None else (identity.uid, identity.gid))),
                **_scratch(spec.resources),
            },
        },
    }
    who = identity.user or identity.name
    if who is not None:
        body["User"] = who
    if shell:
        body |= {"Entrypoint": ["/bin/sh", "-c", KEEP_ALIVE, "nexus"], "Cmd": []}
    return body


def _host_config(spec: InstanceSpec, options: DockerOptions, info: EngineInfo, network: str) -> dict[str, JsonValue]:
    security: list[JsonValue] = ["no-new-privileges"]
    if info.selinux:
        security.append("label=disable")
    body: dict[str, JsonValue] = {
        "Init": True,
        "NetworkMode": network,
        **limits_of(spec.resources, info),
        "PidsLimit": options.pids_limit,
        "SecurityOpt": security,
        "CapDrop": list(DROPPED),
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        "PortBindings": {**port_bindings(spec.ports)},
        "Mounts": [mount_body(mount, own_labels(spec)) for mount in spec.mounts],
    }
    if spec.hosts:
        body["ExtraHosts"] = [f"{name}:127.0.0.1" for name in spec.hosts]
    if info.limits_storage:
        body["StorageOpt"] = {"size": str(spec.resources.storage.bytes)}
    return body


def _scratch(resources: ResourceAllocation) -> dict[str, JsonValue]:
    """Return the folder for what need not last. Programs may be run from it, as installers do."""
    size = resources.storage.ephemeral
    return {SCRATCH: f"rw,exec,nosuid,nodev,mode=1777,size={size}"} if size else {}


def limits_of(resources: ResourceAllocation, info: EngineInfo, *, changing: bool = False) -> dict[str, JsonValue]:
    """Return the limits on processor and memory as the engine takes them.

    Args:
        resources: What the workspace is given.
        info: What the engine can give.
        changing: Whether limits that are there are replaced: then every one is said, since what is left out stays.
    """
    memory, limit = resources.memory, resources.memory_limit
    # More cores than there are is refused by the engine, and cannot be had anyway.
    cores = min(resources.cpu_limit, info.ncpu) if info.ncpu else resources.cpu_limit
    body: dict[str, JsonValue] = {
        "Memory": limit,
        "NanoCpus": round(cores * 1_000_000_000),
        # What it is meant to have counts when there is not enough for everybody; the engine has a lowest and a highest share.
        "CpuShares": min(max(2, round(1024 * resources.cpu.cores)), 262_144),
    }
    if memory.bytes < limit or changing:
        body["MemoryReservation"] = memory.bytes if memory.bytes < limit else 0
    if memory.swap is not None:
        body["MemorySwap"] = limit + memory.swap
    elif changing:
        body["MemorySwap"] = 2 * limit  # what the engine itself chooses where nothing is said
    return body


def shortfall(resources: ResourceAllocation, info: EngineInfo) -> str | None:
    """Return what a workspace is not given of what was asked for, as a sentence; ``None`` when it is given all."""
    if not info.ncpu or resources.cpu_limit <= info.ncpu:
        return None
    return (
        f"{resources.cpu_limit:g} cores are asked for, and the engine has {info.ncpu}: more than those cannot be given"
    )


def port_bindings(ports: Iterable[PortMapping]) -> dict[str, list[JsonValue]]:
    """Return how the engine is told which host ports lead to which ports inside."""
    bindings: dict[str, list[JsonValue]] = {}
    for port in ports:
        # No address at all is every one of both families to the engine, where 0.0.0.0 would be those of IPv4.
        everywhere = port.visibility == "public" and port.address is None
        entry: JsonValue = {"HostIp": "" if everywhere else port.bind_address, "HostPort": str(port.host_port)}
        bindings.setdefault(f"{port.container_port}/{port.protocol}", []).append(entry)
    return bindings


def mount_body(mount: VolumeMount, labels: Mapping[str, str]) -> dict[str, JsonValue]:
    """Return how the engine is told of a mount; a volume that it makes for it carries these labels.

    Raises:
        InvalidArgument: When the mount cannot be made.
    """
    if not mount.target.startswith("/") or mount.target == "/":
        raise InvalidArgument(f"mount target {mount.target!r} is not an absolute path inside the workspace")
    body: dict[str, JsonValue] = {"Type": mount.kind, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.kind == "bind":
        if not mount.source.startswith("/"):
            raise InvalidArgument(f"bind mount source {mount.source!r} is not an absolute path of the host")
        return {**body, "Source": mount.source, "BindOptions": {"Propagation": "rprivate"}}
    if mount.kind == "volume":
        return {**body, "Source": mount.source, "VolumeOptions": {"Labels": {**labels}}}
    return body

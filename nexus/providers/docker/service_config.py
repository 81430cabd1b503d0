"""From a service to what the engine is asked to make, and from what the engine lists to a service's status. Pure."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from pydantic import JsonValue

from nexus.models.ids import WorkspaceId
from nexus.models.instances import (
    LABEL_NAME,
    LABEL_NODE,
    LABEL_REPOSITORY,
    LABEL_SERVICE,
    LABEL_WORKSPACE,
    InstanceRef,
    InstanceState,
    InstanceStatus,
)
from nexus.models.mounts import VolumeMount
from nexus.models.services import Health, Healthcheck, ServiceSpec, ServiceState, ServiceStatus
from nexus.providers.docker.client import Answer
from nexus.providers.docker.container_config import DROPPED, mount_body
from nexus.providers.docker.facts import Listed, status_listed
from nexus.providers.docker.networks import Network
from nexus.providers.docker.service_gate import TMPFS

LABEL_FINGERPRINT: Final = "dev.nexus.docker.fingerprint"
"""Label with a digest of what a service's container was made from."""
TREE: Final = "/run/nexus/tree"
"""Where a service sees the workspace's tree when it mounts a folder of it."""

_EXITED: Final = re.compile(r"(?:Exited|Restarting) \((-?\d+)\)")
_HEALTH: Final = re.compile(r"\((?:health: )?(starting|healthy|unhealthy)\)")
_HANDED_ON: Final = (LABEL_WORKSPACE, LABEL_NAME, LABEL_NODE, LABEL_REPOSITORY)


class HostLimits(Answer):
    """What one container may use of the host; services get no more than their workspace."""

    memory: int = 0
    memory_swap: int = 0
    nano_cpus: int = 0
    pids_limit: int | None = None


class OwnConfig(Answer):
    """The configuration of a workspace's container, as far as its services need it."""

    labels: Mapping[str, str] | None = None


class OwnState(Answer):
    """Whether it runs, and since when."""

    status: str = ""
    started_at: str = ""


class Own(Answer):
    """The workspace's own container, whose network its services share."""

    id: str
    state: OwnState = OwnState()
    config: OwnConfig = OwnConfig()
    host_config: HostLimits = HostLimits()

    @property
    def labels(self) -> dict[str, str]:
        """The labels that its services carry too."""
        labels = self.config.labels or {}
        return {key: labels[key] for key in _HANDED_ON if key in labels}


def fingerprint(service: ServiceSpec, image: str, own: Own, secrets: Collection[str] = ()) -> str:
    """Return a digest of everything that a service's container is made from.

    Args:
        service: What is to run.
        image: The id of its image, not the name: an image that was built again is another one.
        own: The workspace's container: one that was made again has another network.
        secrets: The names of its secret variables. Their values are no part of it: a digest of them would be a thing to guess from.
    """
    parts = [service.fingerprint, image, own.id, *sorted(secrets)]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]


def moment(text: str) -> tuple[str, str]:
    """Return a time as the engine writes it in a form that compares: it leaves zeros at the end of the fraction out."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return whole, fraction.ljust(9, "0")


def container_name(labels: Mapping[str, str], service: str) -> str:
    """Return the name of a service's container."""
    return f"nexus-{labels.get(LABEL_NAME, '')}-{labels.get(LABEL_WORKSPACE, '')[:8]}-{service}"


def service_body(
    service: ServiceSpec, own: Own, *, selinux: bool, mark: str, gated: Mapping[str, JsonValue] | None = None
) -> dict[str, JsonValue]:
    """Return the body of ``POST /containers/create``.

    Args:
        service: What is to run; its image is there.
        own: The workspace's container.
        selinux: Whether mounts need a label that the host's files do not have.
        mark: Its fingerprint.
        gated: ``Entrypoint`` and ``Cmd`` of one that begins with a gate: see :mod:`nexus.providers.docker.service_gate`.

    Raises:
        InvalidArgument: When a mount cannot be made.
    """
    labels = {**own.labels, LABEL_SERVICE: service.name, LABEL_FINGERPRINT: mark}
    body: dict[str, JsonValue] = {
        "Image": service.image,
        "Env": [f"{name}={value}" for name, value in service.env.items()],
        "Labels": {**labels},
        "HostConfig": _host_config(service, own, labels, selinux=selinux),
    }
    if service.command is not None:
        body["Cmd"] = list(service.command)
    if service.entrypoint is not None:
        body["Entrypoint"] = list(service.entrypoint)
    if service.working_dir is not None:
        body["WorkingDir"] = service.working_dir
    if service.user is not None:
        body["User"] = service.user
    if service.healthcheck is not None:
        body["Healthcheck"] = _healthcheck(service.healthcheck)
    if gated is not None:
        host = _host_config(service, own, labels, selinux=selinux)
        body |= {**gated, "HostConfig": {**host, "RestartPolicy": _restart("no"), "Tmpfs": TMPFS}}
    return body


def _host_config(service: ServiceSpec, own: Own, labels: Mapping[str, str], *, selinux: bool) -> dict[str, JsonValue]:
    limits = own.host_config
    security: list[JsonValue] = ["no-new-privileges", *(["label=disable"] if selinux else [])]
    mounts = [mount_body(mount, labels) for mount in (*outer_mounts(service), *_tree_mounts(service))]
    return {
        "Init": True,
        "NetworkMode": f"container:{own.id}",
        **_less(service, limits),
        "PidsLimit": limits.pids_limit,
        "SecurityOpt": security,
        "CapDrop": list(DROPPED),
        "RestartPolicy": _restart(service.restart),
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        "Mounts": [*mounts],
    }


def _less(service: ServiceSpec, limits: HostLimits) -> dict[str, JsonValue]:
    """Return memory and processor time of a service: its own limits where they are below its workspace's. Zero is no limit."""
    memory, swap, cpus = limits.memory, limits.memory_swap, limits.nano_cpus
    if service.memory is not None and not 0 < memory <= service.memory:
        more = swap - memory if swap > memory > 0 else service.memory
        memory, swap = service.memory, service.memory + more
    if service.cpu is not None:
        cpus = min(cpus or 1 << 62, round(service.cpu * 1_000_000_000))
    return {"Memory": memory, "MemorySwap": swap, "NanoCpus": cpus}


def in_tree(service: ServiceSpec, mount: VolumeMount) -> bool:
    """Return whether a mount is of something in the workspace's tree."""
    return mount.kind == "bind" and service.tree is not None and Path(mount.source).is_relative_to(service.tree)


def outer_mounts(service: ServiceSpec) -> tuple[VolumeMount, ...]:
    """Return the mounts that are made as they are: volumes, and folders of the host that the user himself named."""
    return tuple(mount for mount in service.mounts if not in_tree(service, mount))


def _tree_mounts(service: ServiceSpec) -> list[VolumeMount]:
    """Return mounts of the tree as a whole, for the folders of it that are mounted.

    The engine follows symbolic links of a mount's source on the host, and whoever works in the tree can put one there at any
    moment. So the tree's own folder is mounted, which nobody inside can replace, and the service's path is a link into it.
    """
    kinds = {mount.read_only for mount in service.mounts if in_tree(service, mount)}
    return [
        VolumeMount(source=str(service.tree), target=_tree(read_only=kind), kind="bind", read_only=kind)
        for kind in sorted(kinds)
    ]


def tree_links(service: ServiceSpec) -> dict[str, str]:
    """Return the symbolic links that stand for folders of the tree: path inside to target inside."""
    return {
        mount.target: str(Path(_tree(read_only=mount.read_only)) / Path(mount.source).relative_to(service.tree))
        for mount in service.mounts
        if service.tree is not None and in_tree(service, mount)
    }


def _tree(*, read_only: bool) -> str:
    return f"{TREE}-ro" if read_only else TREE


def _restart(policy: str) -> dict[str, JsonValue]:
    name, _, times = policy.partition(":")
    # `always` would also start one that was stopped with its workspace when the engine itself starts again.
    name = "unless-stopped" if name == "always" else name
    return {"Name": name, "MaximumRetryCount": int(times)} if times else {"Name": name}


def _healthcheck(check: Healthcheck) -> dict[str, JsonValue]:
    return {
        "Test": list(check.test),
        "Interval": _nanoseconds(check.interval),
        "Timeout": _nanoseconds(check.timeout),
        "Retries": check.retries,
        "StartPeriod": _nanoseconds(check.start_period),
    }


def _nanoseconds(duration: timedelta) -> int:
    # The engine takes nothing below a millisecond, and zero for its own default.
    return max(1_000_000, round(duration.total_seconds() * 1_000_000_000)) if duration else 0


def read_status(listed: Listed) -> ServiceStatus:
    """Return a listed container as its service's status."""
    labels = listed.labels or {}
    code = _EXITED.match(listed.status)
    health = _HEALTH.search(listed.status)
    return ServiceStatus(
        name=labels.get(LABEL_SERVICE, ""),
        state=_STATES.get(listed.state, ServiceState.ABSENT),
        health=_health(health[1]) if health is not None else None,
        exit_code=int(code[1]) if code is not None else None,
    )


_STATES: Final[Mapping[str, ServiceState]] = {
    "created": ServiceState.CREATED,
    "running": ServiceState.RUNNING,
    "restarting": ServiceState.RESTARTING,
    "paused": ServiceState.PAUSED,
    "exited": ServiceState.EXITED,
    "dead": ServiceState.EXITED,
}


def _health(text: str) -> Health:
    return "healthy" if text == "healthy" else "unhealthy" if text == "unhealthy" else "starting"


def verdict(state: str, mark: str, wanted: str, *, stale: bool) -> Literal["keep", "start", "restart", "make"]:
    """Say what becomes of a service's container that is there.

    Args:
        state: Its state, as the engine spells it.
        mark: The fingerprint that it carries.
        wanted: The fingerprint of what is to run.
        stale: Whether it was started before the workspace's container was, and so is on a network that is no more.
    """
    if mark != wanted or state in {"dead", "removing"}:
        return "make"
    if state in {"running", "restarting", "paused"}:
        return "restart" if stale else "keep"
    return "start"


def statuses_of(listed: Sequence[Listed], networks: Sequence[Network] = ()) -> tuple[InstanceStatus, ...]:
    """Return the workspaces among listed containers, each with its services by name.

    Services, or a network, that are left of a workspace whose own container was removed or never made make one that is gone.
    """
    beside: dict[str, list[Listed]] = defaultdict(list)
    found: dict[str, InstanceStatus] = {}
    for one in listed:
        labels = one.labels or {}
        if LABEL_SERVICE in labels:
            beside[labels.get(LABEL_WORKSPACE, "")].append(one)
            continue
        status = status_listed(one)
        if status.state is not InstanceState.GONE:
            found[status.ref.id] = status
    for number, services in beside.items():
        if number not in found:
            found[number] = _gone(number, services[0].labels or {})
        seen = sorted(map(read_status, services), key=lambda service: service.name)
        found[number] = found[number].model_copy(update={"services": tuple(seen)})
    for network in networks:
        labels = network.labels or {}
        number = labels.get(LABEL_WORKSPACE, "")
        if number not in found:
            found[number] = _gone(number, labels)
    return tuple(found.values())


def _gone(number: str, labels: Mapping[str, str]) -> InstanceStatus:
    """Return the status of a workspace that has no container of its own, told by what is left of it."""
    kept = {key: value for key, value in labels.items() if key in _HANDED_ON}
    ref = InstanceRef(id=WorkspaceId(number), name=kept.get(LABEL_NAME, ""))
    return InstanceStatus(ref=ref, state=InstanceState.GONE, detail="its container was removed", labels=kept)

"""What the services of a workspace come to: names, ports, order, readiness. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from nexus.config import Settings
from nexus.models.base import Model
from nexus.models.ids import WorkspaceId
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping, PortRequest
from nexus.models.services import ServiceSpec, ServiceState, ServiceStatus


class Readiness(Model):
    """What one look at a service says about its start."""

    verdict: Literal["ready", "waiting", "failed"]
    reason: str = ""
    """Why it failed, or what is waited for, as a clause."""


READY = Readiness(verdict="ready")


def resolve_mounts(
    mounts: Sequence[VolumeMount], *, worktree: Path, identifier: WorkspaceId
) -> tuple[VolumeMount, ...]:
    """Return volumes with the names that they have on the backend, and folders of the tree with their place on this host."""
    return tuple(
        mount.model_copy(update={"source": _source(mount, worktree=worktree, identifier=identifier)})
        for mount in mounts
    )


def _source(mount: VolumeMount, *, worktree: Path, identifier: WorkspaceId) -> str:
    if mount.kind == "volume":
        return f"nexus-{identifier}-{mount.source}"
    if mount.source.startswith("~"):
        return str(Path(mount.source).expanduser())
    return str(worktree / mount.source)


def resolve_services(
    services: Sequence[ServiceSpec], *, worktree: Path, identifier: WorkspaceId
) -> tuple[ServiceSpec, ...]:
    """Return the services as they run beside one workspace."""
    return tuple(
        service.model_copy(
            update={
                "mounts": resolve_mounts(service.mounts, worktree=worktree, identifier=identifier),
                "tree": worktree if service.mounts else None,
            }
        )
        for service in services
    )


def updated(
    recorded: Sequence[ServiceSpec], configured: Sequence[ServiceSpec]
) -> tuple[tuple[ServiceSpec, ...], tuple[str, ...]]:
    """Return the services of a workspace as its next start runs them, and what the configuration says that it cannot have.

    A workspace's place is made with the names and ports of its services, so those stay; everything else follows the configuration.

    Args:
        recorded: What it has.
        configured: What the configuration says now, resolved for this workspace.
    """
    wanted = {service.name: service for service in configured}
    known = {service.name for service in recorded}
    found: list[ServiceSpec] = []
    notes = [
        f"service {name!r} is new: it runs beside workspaces that are made from now on"
        for name in wanted
        if name not in known
    ]
    for old in recorded:
        new = wanted.get(old.name)
        if new is None:
            notes.append(f"service {old.name!r} is not in the configuration any more and goes with this workspace")
        elif new.ports != old.ports:
            notes.append(
                f"service {old.name!r} has other ports now: they hold for workspaces that are made from now on"
            )
        elif not known.issuperset(new.depends_on):
            notes.append(
                f"service {old.name!r} depends on a new one now: that holds for workspaces that are made from now on"
            )
        else:
            found.append(new)
            continue
        found.append(old)
    return tuple(found), tuple(notes)


def port_requests(settings: Settings) -> tuple[PortRequest, ...]:
    """Return every port that a workspace wants: its own, then those of its services under their names.

    A service's second port is called ``<name>-2``. A host port that it prefers and that is outside of the user's range is not
    asked for: the file that names it may have come with a clone.
    """
    requests = list(settings.ports)
    taken = {request.name for request in requests}
    allowed = settings.port_range
    for service in settings.services:
        for number, port in enumerate(service.ports, start=1):
            name = _free_name(service.name, number, taken)
            taken.add(name)
            preferred = (
                port.preferred if port.preferred is None or allowed is None or port.preferred in allowed else None
            )
            requests.append(
                PortRequest(name=name, container=port.container, protocol=port.protocol, preferred=preferred)
            )
    return tuple(requests)


def _free_name(service: str, number: int, taken: Collection[str]) -> str:
    name = service if number == 1 else f"{service}-{number}"
    while name in taken:
        number += 1
        name = f"{service}-{number}"
    return name


def moved_ports(requests: Sequence[PortRequest], mappings: Sequence[PortMapping]) -> tuple[str, ...]:
    """Return a sentence for each service that did not get the host port it prefers."""
    wanted = {request.name: request.preferred for request in requests}
    return tuple(
        f"host port {wanted[mapping.name]} is taken: {mapping.name} is at {mapping.host_port}"
        for mapping in mappings
        if wanted.get(mapping.name) not in {None, mapping.host_port}
    )


def dependents(services: Sequence[ServiceSpec]) -> dict[str, tuple[str, ...]]:
    """Return who depends on each service: what has to have ended before it is stopped."""
    names = {service.name for service in services}
    return {name: tuple(service.name for service in services if name in service.depends_on) for name in names}


def awaited_to_end(services: Sequence[ServiceSpec]) -> frozenset[str]:
    """Return the services that others wait for until they have done their work."""
    return frozenset(
        other
        for service in services
        for other, condition in service.depends_on.items()
        if condition == "service_completed_successfully"
    )


def surplus(services: Sequence[ServiceSpec], seen: Sequence[ServiceStatus]) -> tuple[str, ...]:
    """Return the services that are there and should not be any more."""
    wanted = {service.name for service in services}
    return tuple(status.name for status in seen if status.name not in wanted)


def judge(
    service: ServiceSpec,
    status: ServiceStatus | None,
    *,
    to_end: bool,
    listening: Collection[int] | None,
    mappings: Sequence[PortMapping] = (),
) -> Readiness:
    """Say whether a service that was started has become what others may count on.

    Args:
        service: What should run.
        status: What is seen; ``None`` when nothing is.
        to_end: Whether it is to do its work and end.
        listening: TCP ports that are listened on where it runs; ``None`` where nobody can tell. They count where nothing tests it.
        mappings: The workspace's ports.
    """
    if status is None or status.state is ServiceState.ABSENT:
        return Readiness(verdict="failed", reason="was removed while it started")
    if status.state is ServiceState.EXITED and status.exit_code != 0:
        return Readiness(verdict="failed", reason=f"ended with status {status.exit_code}")
    if status.state is ServiceState.RUNNING and status.health == "unhealthy":
        return Readiness(verdict="failed", reason="is unhealthy")
    reason = _awaited(service, status, to_end=to_end, listening=listening, mappings=mappings)
    return Readiness(verdict="waiting", reason=reason) if reason else READY


def _awaited(
    service: ServiceSpec,
    status: ServiceStatus,
    *,
    to_end: bool,
    listening: Collection[int] | None,
    mappings: Sequence[PortMapping],
) -> str:
    """Return what a service that did not fail still lacks, as a clause; empty when nothing."""
    if status.state is ServiceState.EXITED:
        return ""
    if status.state is not ServiceState.RUNNING:
        return status.trouble or f"is {status.state}"
    if to_end:
        return "is still at work"
    if status.health == "starting":
        return "is not healthy yet"
    if status.health is None and listening is not None:
        for port, numbers in announced(service, mappings).items():
            if not numbers & set(listening):
                return f"does not listen on port {port} yet"
    return ""


def as_wanted(services: Sequence[ServiceSpec], seen: Sequence[ServiceStatus]) -> tuple[ServiceStatus, ...]:
    """Return the status of every service of a workspace, by name; one that was never made is absent."""
    known = {status.name: status for status in seen}
    return tuple(
        known.get(service.name, ServiceStatus(name=service.name, state=ServiceState.ABSENT)).model_copy(
            update={"image": service.image}
        )
        for service in sorted(services, key=lambda service: service.name)
    )


def degraded(seen: Sequence[ServiceStatus]) -> str | None:
    """Return what is wrong with the services of a workspace that runs, as a sentence; ``None`` when nothing is."""
    found = [f"service {status.name!r} {status.trouble}" for status in seen if status.trouble is not None]
    return "; ".join(found) or None


def listeners(table: str) -> frozenset[int]:
    """Return the ports that are listened on, from ``/proc/net/tcp`` and ``tcp6``."""
    found: set[int] = set()
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3] == "0A":
            number = fields[1].rpartition(":")[2]
            found.add(int(number, 16))
    return frozenset(found)


def announced(service: ServiceSpec, mappings: Sequence[PortMapping]) -> Mapping[int, frozenset[int]]:
    """Return a service's TCP ports, each with the numbers that it may be listening on: its own, or the host's where they are one."""
    return {
        port.container: frozenset(
            {port.container, *(each.host_port for each in mappings if each.container_port == port.container)}
        )
        for port in service.ports
        if port.protocol == "tcp"
    }

"""What has to hold between services: names, circles, ports, what is mounted and what is built."""

from __future__ import annotations

import graphlib
import os
from collections.abc import Sequence
from pathlib import Path

from nexus.config.layers import Branch, Place, join_key, placed
from nexus.config.problems import Problems, perhaps, quoted
from nexus.models.mounts import VolumeMount
from nexus.models.services import ServiceSpec


def check_services(services: Sequence[ServiceSpec], merged: Branch, root: Path, problems: Problems) -> None:
    """Find what does not fit together.

    Args:
        services: The services.
        merged: The layers as one tree, for places.
        root: The project's root.
        problems: Gets what is wrong.
    """
    _check_each(services, merged, problems)
    _check_builds(services, merged, root, problems)
    _check_dependencies(services, merged, problems)
    _check_ports(services, merged, problems)


def _check_each(services: Sequence[ServiceSpec], merged: Branch, problems: Problems) -> None:
    for service in services:
        place = placed(merged, ("services", service.name))
        title = quoted(join_key(("services", service.name)))
        if service.image is None and service.build is None and service.command is None:
            problems.add(place, f"{title} needs 'image', 'build' or 'command'")
        if service.image is not None and service.build is not None:
            problems.add(place, f"{title} has both 'image' and 'build'; keep one of them")
        where = placed(merged, ("services", service.name, "volumes"))
        check_targets(service.mounts, where, f"service {quoted(service.name)}", problems)


def _check_builds(services: Sequence[ServiceSpec], merged: Branch, root: Path, problems: Problems) -> None:
    """Follow the links of what is built: a path of the project must still be inside it at its last step."""
    for service in services:
        for path in () if service.build is None else (service.build.context, service.build.dockerfile):
            real = Path(os.path.realpath(path))
            if path.is_relative_to(root) and not real.is_relative_to(os.path.realpath(root)):
                place = placed(merged, ("services", service.name, "build"))
                problems.add(
                    place,
                    f"the build of service {quoted(service.name)} must stay inside the project; "
                    f"a symbolic link leads to {quoted(str(real))}",
                )


def check_targets(mounts: Sequence[VolumeMount], place: Place, whose: str, problems: Problems) -> None:
    """Find what is mounted twice at one place.

    Args:
        mounts: What is mounted.
        place: Where that is written.
        whose: The workspace or the service, for the sentence.
        problems: Gets what is wrong.
    """
    targets = [os.path.normpath(mount.target) for mount in mounts]
    for target in sorted({target for target in targets if targets.count(target) > 1}):
        problems.add(place, f"two volumes of {whose} are mounted at {quoted(target)}")


def _check_dependencies(services: Sequence[ServiceSpec], merged: Branch, problems: Problems) -> None:
    known = {service.name: service for service in services}
    for service in services:
        for other, condition in service.depends_on.items():
            place = placed(merged, ("services", service.name, "depends_on", other))
            if other not in known:
                problems.add(
                    place,
                    f"service {quoted(service.name)} depends on {quoted(other)}, which is no service{perhaps(other, known)}",
                )
            elif condition == "service_healthy" and _untested(known[other]):
                problems.add(
                    place,
                    f"service {quoted(service.name)} waits until {quoted(other)} is healthy, but nothing tests that one",
                )
    try:
        tuple(graphlib.TopologicalSorter({name: service.depends_on for name, service in known.items()}).static_order())
    except graphlib.CycleError as error:
        circle = [str(name) for name in reversed(error.args[1])]
        place = placed(merged, ("services", circle[0], "depends_on", circle[1]))
        problems.add(place, f"services depend on each other in a circle: {' → '.join(circle)}")


def _untested(service: ServiceSpec) -> bool:
    """Whether it is sure that nobody tests a service; an image may bring a test of its own."""
    check = service.healthcheck
    return (check is not None and check.disabled) or (
        service.image is None and service.build is None and (check is None or not check.test)
    )


def _check_ports(services: Sequence[ServiceSpec], merged: Branch, problems: Problems) -> None:
    """All services of a workspace share its network, so that ``localhost`` means the same to all: a number belongs to one of them."""
    inside: dict[tuple[int, str], tuple[str, Place]] = {}
    outside: dict[tuple[int, str], tuple[str, Place]] = {}
    for service in services:
        place = placed(merged, ("services", service.name, "ports"))
        for port in service.ports:
            other = inside.setdefault((port.container, port.protocol), (service.name, place))
            if other[0] != service.name:
                problems.add(
                    place,
                    f"services {quoted(other[0])} ({other[1]}) and {quoted(service.name)} both listen on "
                    f"port {port.container}/{port.protocol}; they share the workspace's network",
                    hint="let one of them listen on another port",
                )
            if port.preferred is not None:
                first = outside.setdefault((port.preferred, port.protocol), (service.name, place))
                if first[0] != service.name:
                    problems.add(
                        place,
                        f"services {quoted(first[0])} ({first[1]}) and {quoted(service.name)} both want host port {port.preferred}",
                    )

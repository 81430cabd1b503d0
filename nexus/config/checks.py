"""What has to hold for the merged result, whichever layer said what."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from nexus.config.daemon import check_daemon, daemon_warnings
from nexus.config.dormant import BECAUSE, DORMANT
from nexus.config.image_build import check_context
from nexus.config.layers import Branch, Layer, LayerKind, Leaf, Place, child, join_key, key_place, leaves, placed
from nexus.config.multi_user import multi_user_notes
from nexus.config.network import check_org_ports
from nexus.config.preferences import telemetry_notes
from nexus.config.problems import Problems, perhaps, quoted
from nexus.config.redact import reference_name
from nexus.config.restrict import HOST_CODE, INSIDE
from nexus.config.settings import Settings
from nexus.models.ports import RESERVED_PORTS
from nexus.models.units import format_size
from nexus.models.workspace import BACKEND_TYPES

PORT_BLOCK: Final = 10
"""Host ports that a workspace takes, side by side."""
_PRIVILEGED: Final = 1024
_LOCAL: Final = "local"
_DOCKER: Final = "docker"


def check(settings: Settings, merged: Branch, layers: Sequence[Layer], problems: Problems) -> None:
    """Find what does not fit together.

    Args:
        settings: The result.
        merged: The layers as one tree, for places.
        layers: The layers, from low to high.
        problems: Gets what is wrong.
    """
    _check_resources(settings, merged, problems)
    _check_ports(settings, merged, problems)
    check_org_ports(settings.ports, settings.org_address, merged, problems)
    _check_dockerfile(settings, layers, problems)
    project = next((layer.root for layer in layers if layer.kind is LayerKind.PROJECT), None)
    check_context(settings.build, project, settings.project_root, problems)
    check_daemon(settings.daemon, merged, problems)
    if settings.backend == _LOCAL:
        _check_host_code(layers, problems)


def warnings(settings: Settings, merged: Branch, layers: Sequence[Layer], env: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is allowed but worth knowing, one line each, with its place."""
    lines: list[str] = []
    for port in settings.ports:
        if port.host is not None and port.host < _PRIVILEGED:
            key = ("ports", port.name, "host")
            lines.append(f"{placed(merged, key)}: {quoted(join_key(key))} is below 1024, which usually needs root")
    lines.extend(_range_warnings(settings, merged))
    lines.extend(_limit_warnings(settings, merged))
    lines.extend(_backend_warnings(settings, merged, layers))
    lines.extend(daemon_warnings(settings.daemon, settings.ports, merged))
    lines.extend(unresolved(settings, merged, env))
    return tuple(lines)


def unresolved(settings: Settings, merged: Branch, env: Mapping[str, str]) -> list[str]:
    """Return a line for each reference that leads nowhere now: of the chosen backend's options, and of the variables of commands.

    A warning, because what is missing now may be there when it is needed; then it is an error.
    """
    lines: list[str] = []
    for top in (("backends", settings.backend), ("env",)):
        section = child(merged, *top)
        for path, leaf in leaves(section, top) if section is not None else ():
            name = reference_name(leaf.value) if isinstance(leaf, Leaf) and isinstance(leaf.value, str) else None
            if name is not None and name not in env:
                lines.append(f"{leaf.place}: {quoted(join_key(path))} refers to the variable {name}, which is not set")
    return lines


def dormant_warnings(file: Branch) -> list[str]:
    """Return a line for each section that is used and that nothing acts on yet.

    Args:
        file: A file in its own spelling, or a layer.
    """
    lines: list[str] = []
    for path in DORMANT:
        parent = child(file, *path[:-1])
        if isinstance(parent, Branch) and path[-1] in parent.children:
            place = key_place(parent, path[-1])
            reason = BECAUSE.get(path, "is accepted but not acted on yet")
            lines.append(f"{place}: {quoted(join_key(path))} {reason}")
    return [*lines, *telemetry_notes(file), *multi_user_notes(file)]


def winner(layers: Sequence[Layer], *path: str) -> tuple[Layer, Leaf] | None:
    """Return the highest layer that gives the key a value or removes it."""
    for layer in reversed(layers):
        leaf = child(layer.root, *path)
        if isinstance(leaf, Leaf):
            return layer, leaf
    return None


def _range_warnings(settings: Settings, merged: Branch) -> list[str]:
    chosen = settings.port_range
    if chosen is None:
        return []
    rule = placed(merged, ("defaults", "port_range", "start"))
    held = chosen.end - chosen.start + 1
    lines = (
        [f"{rule}: the port range holds {held} ports, but a workspace takes {PORT_BLOCK}"] if held < PORT_BLOCK else []
    )
    for port in settings.ports:
        if port.host is not None and port.host in chosen:
            key = ("ports", port.name, "host")
            lines.append(
                f"{placed(merged, key)}: {quoted(join_key(key))} is in the range that ports are chosen from ({rule}), so another "
                "workspace may have it"
            )
    return lines


def _limit_warnings(settings: Settings, merged: Branch) -> list[str]:
    limits = settings.limits
    one, all_together = limits.max_workspaces_per_user, limits.max_workspaces_total
    if one is None or all_together is None or one <= all_together:
        return []
    place = placed(merged, ("limits", "max_workspaces_per_user"))
    return [f"{place}: one user may have {one} workspaces, but all users together only {all_together}"]


def _backend_warnings(settings: Settings, merged: Branch, layers: Sequence[Layer]) -> list[str]:
    lines: list[str] = []
    chosen = winner(layers, "defaults", "backend")
    place = chosen[1].place if chosen else merged.place
    if settings.backend == _LOCAL and chosen is not None and chosen[0].kind is LayerKind.PROJECT:
        lines.append(
            f"{place}: the project's file chooses the backend 'local', whose commands run on this host, not isolated"
        )
    if settings.resources.storage.ephemeral and settings.backend != _DOCKER:
        where = placed(merged, ("defaults", "resources", "storage", "ephemeral"))
        lines.append(
            f"{where}: 'storage.ephemeral' changes nothing with the backend {quoted(settings.backend)}, whose programs have no scratch "
            "space of their own"
        )
    for name in {settings.backend, *settings.backends} - set(BACKEND_TYPES):
        guess = perhaps(name, BACKEND_TYPES)
        if guess and name not in (settings.backends if name == settings.backend else {settings.backend}):
            where = place if name == settings.backend else placed(merged, ("backends", name))
            lines.append(f"{where}: no backend named {quoted(name)} comes with Nexus{guess}")
    return lines


def _check_resources(settings: Settings, merged: Branch, problems: Problems) -> None:
    given, most = settings.resources, settings.limits.max_resources
    base = ("defaults", "resources")
    if given.cpu.limit is not None and given.cpu.limit < given.cpu.cores:
        place = placed(merged, (*base, "cpu", "limit"))
        problems.add(
            place, f"the limit of {given.cpu.limit:g} cores is below the {given.cpu.cores:g} that are asked for"
        )
    if given.memory.limit is not None and given.memory.limit < given.memory.bytes:
        place = placed(merged, (*base, "memory", "limit"))
        asked = format_size(given.memory.bytes)
        problems.add(
            place, f"the memory limit of {format_size(given.memory.limit)} is below the {asked} that are asked for"
        )
    scratch = given.storage.ephemeral
    if scratch is not None and scratch > given.memory_limit:
        problems.add(
            placed(merged, (*base, "storage", "ephemeral")),
            f"scratch space of {format_size(scratch)} is more than the memory of {format_size(given.memory_limit)}, which holds it",
            hint="ask for less, or for more memory",
        )
    amounts = (
        ("cpu", "cores", given.cpu.cores, most.cpu),
        ("cpu", "limit", given.cpu.limit, most.cpu),
        ("memory", "bytes", given.memory.bytes, most.memory),
        ("memory", "limit", given.memory.limit, most.memory),
        ("storage", "bytes", given.storage.bytes, most.storage),
    )
    for kind, name, amount, maximum in amounts:
        if amount is not None and maximum is not None and amount > maximum:
            allowed = _amount(kind, maximum)
            rule = placed(merged, ("limits", "max_resources", kind))
            problems.add(
                placed(merged, (*base, kind, name)),
                f"{kind}: {_amount(kind, amount)} is more than the node allows, {allowed} ({rule})",
                hint=f"ask for at most {allowed}",
            )


def _amount(kind: str, amount: float) -> str:
    return f"{amount:g} cores" if kind == "cpu" else format_size(int(amount))


def _check_ports(settings: Settings, merged: Branch, problems: Problems) -> None:
    reserved = f"{RESERVED_PORTS.start}-{RESERVED_PORTS.end}"
    chosen = settings.port_range
    if chosen is not None and chosen.start <= RESERVED_PORTS.end and chosen.end >= RESERVED_PORTS.start:
        place = placed(merged, ("defaults", "port_range", "start"))
        problems.add(
            place, f"the port range {chosen.start}-{chosen.end} overlaps {reserved}, which Nexus keeps for itself"
        )
    taken: dict[tuple[int, str], tuple[str, Place]] = {}
    for port in settings.ports:
        if port.host is None:
            continue
        key = ("ports", port.name, "host")
        place = placed(merged, key)
        if port.host in RESERVED_PORTS:
            problems.add(place, f"{quoted(join_key(key))} is {port.host}; Nexus keeps {reserved} for itself")
        other = taken.setdefault((port.host, port.protocol), (port.name, place))
        if other[0] != port.name:
            problems.add(
                place, f"host port {port.host} is given to {quoted(port.name)} and to '{other[0]}' ({other[1]})"
            )


def _check_dockerfile(settings: Settings, layers: Sequence[Layer], problems: Problems) -> None:
    """Follow the links of a project's dockerfile: its last step must still be inside the project."""
    found = winner(layers, "defaults", "dockerfile")
    if settings.dockerfile is None or found is None or found[0].kind is not LayerKind.PROJECT:
        return
    try:
        real = Path(os.path.realpath(settings.dockerfile))
    except (OSError, ValueError) as error:
        problems.add(found[1].place, f"'backend.docker.dockerfile' cannot be followed: {error}")
        return
    if not real.is_relative_to(settings.project_root):
        problems.add(
            found[1].place, f"'backend.docker.dockerfile' {INSIDE}; a symbolic link leads to {quoted(str(real))}"
        )


def _check_host_code(layers: Sequence[Layer], problems: Problems) -> None:
    project = next((layer for layer in layers if layer.kind is LayerKind.PROJECT), None)
    section = child(project.root, "env") if project is not None else None
    if not isinstance(section, Branch):
        return
    for name, node in section.children.items():
        chosen = winner(layers, "env", name)
        if HOST_CODE.fullmatch(name) and chosen is not None and chosen[1] is node and chosen[1].value is not None:
            problems.add(
                key_place(section, name),
                f"a project's file cannot set 'env.{name}' while the backend is 'local': it would run the clone's code in every "
                "command on this host",
                hint=f"set it in your own file: project_overrides.<project>.env.{name}",
            )

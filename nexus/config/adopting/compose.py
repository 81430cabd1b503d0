"""Compose files as a project's services. Pure: what has to be read is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from nexus.config.adopting.compose_service import EnvFile, ServiceTranslation
from nexus.config.adopting.compose_shared import GIVEN, check_networks, with_given
from nexus.config.adopting.sheet import Sheet, is_null
from nexus.config.layers import Branch, Items, Leaf, Node, Place, child, key_place, plain, without
from nexus.config.problems import quoted
from nexus.config.services import SERVICE_NAME

PROFILES: Final = "COMPOSE_PROFILES"
"""The variable of ``.env`` that names the profiles whose services run as well."""

_QUIET: Final = frozenset({"services", "version", "name", "networks", *GIVEN})


@dataclass(frozen=True, slots=True)
class Composed:
    """What compose files come to."""

    services: Mapping[str, Branch]
    """The services that run, as a project's file spells them."""
    workspace: Branch | None = None
    """The service that is the workspace itself, spelled as a service."""


def translate_compose(
    document: Branch,
    base: PurePosixPath,
    variables: Mapping[str, str],
    read_env: EnvFile,
    sheet: Sheet,
    *,
    workspace: str | None = None,
    chosen: Iterable[str] | None = None,
) -> Composed:
    """Return the services of compose files.

    Args:
        document: The files as one tree; see :mod:`nexus.config.adopting.compose_files`.
        base: The folder of the first, relative to the project: paths start there.
        variables: What ``.env`` beside it says.
        read_env: Reads a file of variables.
        sheet: Gets what is wrong and what has no counterpart.
        workspace: The service that is the workspace itself; none is when absent.
        chosen: Run these and what they depend on; all that no profile holds back when absent.
    """
    _top(document, sheet)
    written = _services(document, sheet)
    names = _running(written, variables, workspace, chosen, sheet)
    check_networks(document, {name: written[name] for name in names}, sheet)
    found: dict[str, Branch] = {}
    for name in names:
        given = with_given(document, written[name], name, base, sheet)
        translation = ServiceTranslation(name, given, base, read_env, sheet)
        node = translation.run()
        if not translation.usable:
            sheet.leave(f"services.{name}", node.place, "is not run: its image cannot be built")
        elif not node.children and name != workspace:
            sheet.leave(f"services.{name}", node.place, "is not run: it says nothing that could run")
        else:
            found[name] = node
    own = found.pop(workspace, None) if workspace is not None else None
    return Composed(_fitting(found, own, sheet), own)


def _top(document: Branch, sheet: Sheet) -> None:
    for name, node in document.children.items():
        if name == "volumes":
            for volume, below, place in sheet.entries(name, node):
                for key, said in below.children.items() if isinstance(below, Branch) else ():
                    if key == "driver" and isinstance(said, Leaf) and said.value == "local":
                        continue
                    sheet.leave(
                        f"volumes.{volume}.{key}", place, "has no counterpart: every workspace has a volume of its own"
                    )
        elif name not in _QUIET and not is_null(node):
            sheet.leave(name, key_place(document, name), "has no counterpart")


def _services(document: Branch, sheet: Sheet) -> dict[str, Branch]:
    found: dict[str, Branch] = {}
    section = document.children.get("services")
    for name, node, place in sheet.entries("services", section) if section is not None else ():
        if not isinstance(node, Branch):
            sheet.wrong(f"services.{name}", node, "a map")
        elif not SERVICE_NAME.fullmatch(name):
            sheet.leave(
                f"services.{name}", place, "is not run: its name is none that a host can have (a-z, 0-9, '-', '_')"
            )
        else:
            found[name] = node
    return found


def _running(
    written: Mapping[str, Branch],
    variables: Mapping[str, str],
    workspace: str | None,
    chosen: Iterable[str] | None,
    sheet: Sheet,
) -> list[str]:
    """Return the services that run, the workspace's own among them."""
    active = {name.strip() for name in variables.get(PROFILES, "").split(",")} - {""}
    wanted: list[str] = []
    for name, node in written.items():
        held = node.children.get("profiles")
        profiles = (
            {text for _, text, _ in sheet.texts(f"services.{name}.profiles", held)} if held is not None else set()
        )
        if chosen is not None or name == workspace or not profiles or profiles & active or "*" in active:
            wanted.append(name)
        else:
            hint = f"name one in the .env file beside the compose file: {PROFILES}={min(profiles)}"
            sheet.leave(f"services.{name}", node.place, "is not run: only a profile asks for it", hint)
    if chosen is None:
        return wanted
    keep, look = set(), [*chosen, *([workspace] if workspace is not None else [])]
    while look:
        name = look.pop()
        if name in keep or name not in written:
            continue
        keep.add(name)
        needed = written[name].children.get("depends_on")
        look.extend(needed.children if isinstance(needed, Branch) else ())
        look.extend(str(plain(item)) for item in needed.items) if isinstance(needed, Items) else None
    return [name for name in wanted if name in keep]


def _fitting(found: Mapping[str, Branch], own: Branch | None, sheet: Sheet) -> dict[str, Branch]:
    """Return the services that can run beside each other: they share a network, so a port belongs to one of them."""
    taken: dict[str, str] = dict.fromkeys(inner_ports(own), "the workspace") if own is not None else {}
    kept: dict[str, Branch] = {}
    for name, node in found.items():
        clash = next((port for port in inner_ports(node) if port in taken), None)
        if clash is not None:
            ports = child(node, "ports")
            sheet.leave(
                f"services.{name}",
                ports.place if ports is not None else node.place,
                f"is not run: it listens on port {clash}, as {taken[clash]} does, and they share one network",
                "let one of them listen on another port",
            )
            continue
        taken.update(dict.fromkeys(inner_ports(node), f"service {quoted(name)}"))
        kept[name] = node
    return _without_missing(kept, sheet)


def _without_missing(kept: dict[str, Branch], sheet: Sheet) -> dict[str, Branch]:
    for name, node in kept.items():
        waits = child(node, "depends_on")
        for other in list(waits.children) if isinstance(waits, Branch) else ():
            if other not in kept:
                place = key_place(waits, other) if isinstance(waits, Branch) else node.place
                sheet.leave(
                    f"services.{name}.depends_on.{other}", place, "is not waited for: no such service runs here"
                )
                kept[name] = without(kept[name], "depends_on", other)
    return kept


def inner_ports(node: Branch) -> list[str]:
    """Return the numbers inside that a service listens on, with ``/udp`` where it is that."""
    ports = child(node, "ports")
    texts = [item.value for item in ports.items if isinstance(item, Leaf)] if isinstance(ports, Items) else []
    return [str(text).rpartition(":")[2].removesuffix("/tcp") for text in texts]


def with_port(service: Branch, number: int, place: Place) -> Branch:
    """Return a service that has the port, too."""
    if str(number) in inner_ports(service):
        return service
    ports = child(service, "ports")
    port: Node = Leaf(str(number), place)
    items = (*ports.items, port) if isinstance(ports, Items) else (port,)
    grown = Items(items, place)
    return replace(service, children={**service.children, "ports": grown}, keys={**service.keys, "ports": place})

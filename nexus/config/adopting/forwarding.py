"""``forwardPorts``, ``appPort`` and ``portsAttributes`` as named ports. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from nexus.config.adopting.sheet import Sheet, is_null
from nexus.config.layers import Branch, Items, Leaf, Node, Place, child

FIRST: Final = "web"
"""What the first port is called when nothing names it."""

_SERVICE_PORT: Final = re.compile(r"([A-Za-z0-9_.-]+):([0-9]{1,5})", re.ASCII)
_PUBLISHED: Final = re.compile(r"(?:(?:[0-9.]+:)?[0-9]{1,5}:)?([0-9]{1,5})", re.ASCII)
_VISIBILITIES: Final = frozenset({"private", "public", "org"})
_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a service that is to be reachable."""

    service: str
    number: int
    key: str
    place: Place


def translate_ports(document: Branch, sheet: Sheet) -> list[ServicePort]:
    """Write the workspace's ports, and return those that belong to services.

    Args:
        document: The file.
        sheet: Gets the ports, and what has no counterpart.
    """
    attributes = _attributes(document, sheet)
    own: dict[int, tuple[Place, str]] = {}
    theirs: list[ServicePort] = []
    for key, node in _asked(document, sheet):
        number = node.value if isinstance(node, Leaf) and type(node.value) is int else None
        text = str(number) if number is not None else sheet.text(key, node)
        if text is None:
            continue
        match = _SERVICE_PORT.fullmatch(text)
        if key.startswith("appPort"):
            published = _PUBLISHED.fullmatch(text)
            number = int(published[1]) if published else None
            if ":" in text:
                sheet.leave(key, node.place, "asks for a host port; one of the workspace's own is taken")
        elif match is not None and not match[1].isdecimal():
            number = int(match[2])
            if match[1] not in {"localhost", "127.0.0.1"}:
                theirs.append(ServicePort(match[1], number, key, node.place))
                number = -1 if 0 < number < 65536 else None
        elif text.isdecimal() and text.isascii() and len(text) < 6:
            number = int(text)
        if number is None or number == 0 or number > 65535:
            sheet.problems.add(node.place, f"'{key}' is no port: write 3000, or 'db:5432' for one of a service")
        elif number > 0 and len(own) < _MOST:
            own.setdefault(number, (node.place, key))
    _write(own, attributes, sheet)
    return theirs


def _asked(document: Branch, sheet: Sheet) -> list[tuple[str, Node]]:
    found: list[tuple[str, Node]] = []
    for key in ("forwardPorts", "appPort"):
        node = document.children.get(key)
        if node is None or is_null(node):
            continue
        items = node.items if isinstance(node, Items) else (node,) if key == "appPort" else sheet.items(key, node)
        found += [(f"{key}[{index}]", item) for index, item in enumerate(items)]
    return found


def _attributes(document: Branch, sheet: Sheet) -> dict[str, Branch]:
    found: dict[str, Branch] = {}
    section = document.children.get("portsAttributes")
    for port, node, place in sheet.entries("portsAttributes", section) if section is not None else ():
        if not isinstance(node, Branch):
            sheet.wrong(f"portsAttributes.{port}", node, "a map")
            continue
        found[port] = node
        for name, below in node.children.items():
            if name not in {"label", "visibility", "requireLocalPort"} or (
                name == "requireLocalPort" and not port.isdecimal()
            ):
                sheet.leave(
                    f"portsAttributes.{port}.{name}", below.place if not is_null(below) else place, "has no counterpart"
                )
    return found


def _write(own: dict[int, tuple[Place, str]], attributes: dict[str, Branch], sheet: Sheet) -> None:
    for port, node in attributes.items():
        if not (port.isdecimal() and len(port) < 6 and int(port) in own):
            sheet.leave(f"portsAttributes.{port}", node.place, "is about no port that 'forwardPorts' names")
    used: set[str] = set()
    for index, (number, (place, key)) in enumerate(own.items()):
        said = attributes.get(str(number))
        label = child(said, "label")
        name = _slug(label) or (FIRST if index == 0 else f"port-{number}")
        if name in used:
            name = f"port-{number}"
        used.add(name)
        sheet.put(("ports", name, "container"), number, place, key)
        visibility, local = child(said, "visibility"), child(said, "requireLocalPort")
        if visibility is not None and not is_null(visibility):
            text = sheet.text(f"portsAttributes.{number}.visibility", visibility)
            if text in _VISIBILITIES:
                sheet.put(("ports", name, "visibility"), text, visibility.place, f"portsAttributes.{number}.visibility")
            else:
                sheet.leave(
                    f"portsAttributes.{number}.visibility", visibility.place, "is none of private, public and org"
                )
        if isinstance(local, Leaf) and local.value is True:
            sheet.put(("ports", name, "host"), number, local.place, f"portsAttributes.{number}.requireLocalPort")


def _slug(label: Node | None) -> str:
    text = label.value if isinstance(label, Leaf) and isinstance(label.value, str) else ""
    return re.sub(r"[^a-z0-9]+", "-", text.lower(), flags=re.ASCII).strip("-")[:40].strip("-")


def names_of(number: str, sheet: Sheet) -> list[str]:
    """Return what the workspace's ports with this number inside are called so far."""
    ports = sheet.said("ports")
    found = ports.children.items() if isinstance(ports, Branch) else ()
    return [
        name
        for name, port in found
        if isinstance(inner := child(port, "container"), Leaf) and str(inner.value) == number
    ]

"""Ports, volumes and dependencies of a compose service, in every form they are written, as we write them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

from nexus.config.adopting.paths import OUTSIDE, folder_text, inside
from nexus.config.adopting.sheet import Sheet, is_null
from nexus.config.layers import Branch, Items, Leaf, Node, Place

_MOST_PORTS: Final = 32
_HOST: Final = r"(?:(?P<ip>\[[0-9a-fA-F:.]+\]|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|localhost):)?"
_PORT: Final = re.compile(
    _HOST
    + r"(?:(?P<host>[0-9]{0,5}(?:-[0-9]{1,5})?):)?(?P<inside>[0-9]{1,5}(?:-[0-9]{1,5})?)(?:/(?P<protocol>tcp|udp))?",
    re.ASCII,
)
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_VOLUME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_HARMLESS: Final = frozenset({"rw", "cached", "delegated", "consistent", "z", "Z", ""})
_CONDITIONS: Final = ("service_started", "service_healthy", "service_completed_successfully")


def read_ports(key: str, node: Node, sheet: Sheet) -> Items:
    """Return ports as ``host:inside``, ranges written out."""
    found: dict[str, tuple[Place, str | None]] = {}
    for index, item in enumerate(sheet.items(key, node)):
        name = f"{key}[{index}]"
        text = _long_port(name, item, sheet) if isinstance(item, Branch) else sheet.text(name, item)
        for port in _short_port(name, text, item.place, sheet) if text is not None else ():
            found.setdefault(port, (item.place, item.note if isinstance(item, Leaf) else None))
    return Items(tuple(Leaf(port, place, note) for port, (place, note) in found.items()), node.place)


def _long_port(key: str, item: Branch, sheet: Sheet) -> str | None:
    said = {
        name: sheet.text(f"{key}.{name}", below) for name, below, _ in sheet.entries(key, item) if not is_null(below)
    }
    if not said.get("target"):
        sheet.problems.add(item.place, f"'{key}' lacks 'target'")
        return None
    for name in said.keys() - {"target", "published", "protocol", "host_ip", "name"}:
        sheet.leave(f"{key}.{name}", item.place, "has no counterpart")
    address = said.get("host_ip")
    head = f"{address}:" if address else ""
    middle = f"{said['published']}:" if said.get("published") else ""
    return f"{head}{middle}{said['target']}" + (f"/{said['protocol']}" if said.get("protocol") else "")


def _short_port(key: str, text: str, place: Place, sheet: Sheet) -> list[str]:
    match = _PORT.fullmatch(text)
    inner = _range(match["inside"]) if match else None
    outer = _range(match["host"]) if match and match["host"] else None
    if match is None or inner is None or (outer is not None and len(outer) not in {1, len(inner)}):
        sheet.problems.add(place, f"'{key}' is no port: write 8080, '8080:80' or '127.0.0.1:8080:80'")
        return []
    if (match["host"] and outer is None) or len(inner) > _MOST_PORTS:
        sheet.leave(key, place, f"is a range that is not taken over; at most {_MOST_PORTS} ports are")
        return []
    if match["ip"] and match["ip"] not in _LOOPBACK:
        sheet.leave(key, place, f"asks for the address {match['ip']}; its host port is bound where private ports are")
    if outer is not None and len(outer) != len(inner):
        outer = None
    end = "/udp" if match["protocol"] == "udp" else ""
    return [f"{f'{outer[at]}:' if outer else ''}{number}{end}" for at, number in enumerate(inner)]


def _range(text: str) -> range | None:
    first, _, last = text.partition("-")
    start, end = int(first or 0), int(last or first or 0)
    return range(start, end + 1) if 0 < start <= end < 65536 else None


def read_volumes(key: str, node: Node, base: PurePosixPath, owner: str, sheet: Sheet) -> Items:
    """Return volumes as ``name:/path`` and ``./folder:/path``; the last one for a path inside counts.

    Args:
        key: What the list is called.
        node: The list.
        base: The folder that relative paths start from.
        owner: The service's name; volumes without a name of their own get one from it.
        sheet: Gets what cannot be mounted.
    """
    found: dict[str, Leaf] = {}
    for index, item in enumerate(sheet.items(key, node)):
        name = f"{key}[{index}]"
        parts = _long_volume(name, item, sheet) if isinstance(item, Branch) else _short_volume(name, item, sheet)
        if parts is None:
            continue
        source, target, read_only = parts
        written = volume_source(name, source, target, place=item.place, base=base, owner=owner, sheet=sheet)
        if written is not None:
            found.pop(target, None)
            text = f"{written}:{target}{':ro' if read_only else ''}"
            found[target] = Leaf(text, item.place, item.note if isinstance(item, Leaf) else None)
    return Items(tuple(found.values()), node.place)


def volume_source(
    key: str, source: str, target: str, *, place: Place, base: PurePosixPath, owner: str, sheet: Sheet
) -> str | None:
    """Return how we write what is mounted; ``None`` when it cannot be, which is listed then."""
    if not target.startswith("/") or ":" in target or ".." in PurePosixPath(target).parts or not target.strip("/"):
        sheet.leave(key, place, "does not name an absolute path inside, so it is not mounted")
        return None
    if not source:
        slug = re.sub(r"[^A-Za-z0-9]+", "-", target).strip("-")
        return f"{owner}-{slug}"[:64].rstrip("-")
    if source.startswith((".", "/", "~")):
        path = inside(base, source)
        if path is None or ":" in str(path):
            sheet.leave(key, place, f"{OUTSIDE}, so it is not mounted")
            return None
        return folder_text(path)
    if not _VOLUME.fullmatch(source):
        sheet.leave(key, place, "has a name that no volume can have, so it is not mounted")
        return None
    return source


def _short_volume(key: str, item: Node, sheet: Sheet) -> tuple[str, str, bool] | None:
    text = sheet.text(key, item)
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) == 1:
        return "", text, False
    options = parts[2].split(",") if len(parts) == 3 else []
    if len(parts) > 3 or not parts[0]:
        sheet.problems.add(item.place, f"'{key}' is no volume: write 'name:/path' or './folder:/path'")
        return None
    for option in set(options) - _HARMLESS - {"ro"}:
        sheet.leave(key, item.place, f"has the option {option[:20]!r}, which has no counterpart")
    return parts[0], parts[1], "ro" in options


def _long_volume(key: str, item: Branch, sheet: Sheet) -> tuple[str, str, bool] | None:
    said = {name: below for name, below, _ in sheet.entries(key, item) if not is_null(below)}
    kind = sheet.text(f"{key}.type", said["type"]) if "type" in said else "volume"
    source = sheet.text(f"{key}.source", said["source"]) if "source" in said else ""
    target = sheet.text(f"{key}.target", said["target"]) if "target" in said else ""
    if kind not in {"volume", "bind"}:
        sheet.leave(
            key, item.place, f"is of the type {str(kind)[:20]!r}, which has no counterpart, so it is not mounted"
        )
        return None
    if source is None or target is None:
        return None
    for name in said.keys() - {"type", "source", "target", "read_only", "consistency"}:
        sheet.leave(f"{key}.{name}", said[name].place, "has no counterpart")
    if kind == "bind" and not source.startswith((".", "/", "~")):
        source = f"./{source}"
    read_only = said.get("read_only")
    return source, target, isinstance(read_only, Leaf) and read_only.value in {True, "true"}


def read_dependencies(key: str, node: Node, sheet: Sheet) -> Branch:
    """Return what a service waits for, by service."""
    found: dict[str, Node] = {}
    if isinstance(node, Items):
        for _, name, place in sheet.texts(key, node):
            found[name] = Branch({"condition": Leaf(_CONDITIONS[0], place)}, place)
        return Branch(found, node.place, {name: below.place for name, below in found.items()})
    for name, below, place in sheet.entries(key, node):
        condition = below.children.get("condition") if isinstance(below, Branch) else None
        text = sheet.text(f"{key}.{name}.condition", condition) if condition is not None else _CONDITIONS[0]
        for other in below.children if isinstance(below, Branch) else ():
            if other != "condition":
                sheet.leave(f"{key}.{name}.{other}", place, "has no counterpart")
        if text not in _CONDITIONS:
            at = condition.place if condition is not None else below.place
            sheet.problems.add(at, f"'{key}.{name}.condition' must be {', '.join(_CONDITIONS[:2])} or {_CONDITIONS[2]}")
            continue
        found[name] = Branch({"condition": Leaf(text, condition.place if condition else below.place)}, below.place)
    return Branch(found, node.place, {name: place for name, _, place in sheet.entries(key, node) if name in found})

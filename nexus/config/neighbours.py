"""The user's other projects: host ports that two of them claim for themselves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from nexus.config import sources, usual_files
from nexus.config.layers import Branch, Leaf, Place, child, join_key, placed
from nexus.config.problems import Problem, Problems, quoted
from nexus.config.settings import Settings

MOST: Final = 100
"""Projects that are looked at."""


def shared_ports(settings: Settings, merged: Branch) -> Iterator[Problem]:
    """Give a warning for each fixed host port that another known project fixes too. Reads their files.

    Both projects are right by themselves, and it works as long as one of them runs at a time.

    Args:
        settings: The settings; other projects are those under ``workspaces`` of the user's file.
        merged: The layers as one tree, for places.
    """
    fixed: dict[tuple[int, str], str] = {
        (port.host, port.protocol): port.name for port in settings.ports if port.host is not None
    }
    if not fixed:
        return
    for name, known in islice(settings.workspaces.items(), MOST):
        if sources.same_file(known.path, settings.project_root):
            continue
        for host, protocol, place in _fixed(known.path):
            own = fixed.get((host, protocol))
            if own is not None:
                key = ("ports", own, "host")
                yield Problem(
                    placed(merged, key),
                    f"{quoted(join_key(key))} is {host}, which project {quoted(name)} fixes too ({place}); only one of them can "
                    "have it at a time",
                    hint="leave the host port out of one of them to have it chosen",
                    severity="warning",
                )


def _fixed(root: Path) -> Iterator[tuple[int, str, Place]]:
    # What is wrong with that file is told where it is loaded, not here.
    tree = (
        sources.read_file(root / usual_files.FILE, Problems(), project=root.resolve(), start=root)
        if root.is_dir()
        else None
    )
    ports = child(tree, "ports")
    for port in ports.children.values() if isinstance(ports, Branch) else ():
        host, protocol = child(port, "host"), child(port, "protocol")
        if isinstance(host, Leaf) and type(host.value) is int:
            chosen = protocol.value if isinstance(protocol, Leaf) and isinstance(protocol.value, str) else "tcp"
            yield host.value, chosen, host.place

"""Who has a socket on a port, read from ``/proc/net`` and, where this user may look, from ``/proc/<pid>/fd``."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from nexus.models.ports import PortProtocol

_PROC: Final = Path("/proc")
LISTENING: Final = 0x0A
LINGERING: Final = frozenset({0x04, 0x05, 0x06, 0x08, 0x09, 0x0B})
"""FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE_WAIT, LAST_ACK, CLOSING: the server has ended, its connections have not quite."""


class SocketEntry(NamedTuple):
    """One line of the kernel's table."""

    state: int
    user: int
    inode: int


def sockets_on(port: int, protocol: PortProtocol) -> tuple[SocketEntry, ...]:
    """Return the sockets whose local port is ``port``, in both address families. A socket that is only bound is not shown."""
    return tuple(entry for name in (protocol, f"{protocol}6") for entry in _table(name, port))


def _table(name: str, port: int) -> Iterator[SocketEntry]:
    try:
        text = (_PROC / "net" / name).read_text(encoding="ascii")
    except OSError:
        return  # no IPv6, or no /proc
    wanted = f":{port:04X}"
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[1].endswith(wanted):
            yield SocketEntry(int(fields[3], 16), int(fields[7]), int(fields[9]))


def describe(port: int, protocol: PortProtocol) -> str | None:
    """Return the holder of a port in words; ``None`` when no socket is seen there."""
    found = sockets_on(port, protocol)
    entry = next((each for each in found if each.state == LISTENING), found[0] if found else None)
    if entry is None:
        return None
    if not entry.inode:
        return "a connection of a program that has ended, which the system keeps for up to a minute"
    return _process_with(entry.inode) or f"a process of user {_user(entry.user)}"


def _process_with(inode: int) -> str | None:
    wanted = f"socket:[{inode}]"
    for folder in _PROC.iterdir():
        if folder.name.isdecimal() and _has_open(folder, wanted):
            try:
                name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
            except OSError:
                continue
            return f"{name}, process {folder.name}"
    return None


def _has_open(folder: Path, wanted: str) -> bool:
    try:
        with os.scandir(folder / "fd") as descriptors:
            return any(_target(each.path) == wanted for each in descriptors)
    except OSError:
        return False  # it has ended, or is another user's


def _target(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - "socket:[1]" is no path
    except OSError:
        return ""


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)

"""Where a workspace's own processes listen. Blocking; run in a worker thread."""

from __future__ import annotations

import os
from typing import Final

from nexus.models.activity import Listener
from nexus.providers.listening import listeners_in
from nexus.providers.local.keeper import tree

_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")
_SOCKET: Final = "socket:["


def listeners_below(keeper: int) -> tuple[Listener, ...]:
    """Return where the processes below a keeper listen. The host's own listeners, and other workspaces', are not theirs."""
    inodes = {inode for process in tree.descendants(keeper) if not process.ended for inode in _sockets(process.pid)}
    if not inodes:
        return ()
    tables = [(tree.slurp(path) or b"").decode("ascii", "replace") for path in _TABLES]
    return listeners_in(tables, inodes)


def _sockets(pid: int) -> set[int]:
    """Return the numbers of the sockets that a process has open; none when it has ended or took another user's rights."""
    found: set[int] = set()
    try:
        with os.scandir(f"/proc/{pid}/fd") as descriptors:
            for each in descriptors:
                target = _target(each.path)
                if target.startswith(_SOCKET):
                    found.add(int(target.removeprefix(_SOCKET).removesuffix("]")))
    except OSError:
        return found
    return found


def _target(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - "socket:[1]" is no path
    except OSError:
        return ""

"""Processes as ``/proc`` shows them: who descends from whom, who carries a mark, and how to signal exactly that one.

Standard library only. Ids are used again, so a signal goes through a descriptor of the process (``pidfd_open(2)``) whose start
time was compared after it was opened.
"""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from typing import NamedTuple

_ENDED = frozenset("ZX")
_STOPPED = frozenset("Tt")


class Process(NamedTuple):
    """One process at one moment."""

    pid: int
    state: str
    parent: int
    group: int
    terminal: int
    """Device number of its controlling terminal; 0 without one."""
    ticks: int
    """Processor time used by itself and by children that it has waited for, in clock ticks."""
    waited_ticks: int
    """The children's part of it."""
    start_time: int

    @property
    def key(self) -> tuple[int, int]:
        """What no other process of this boot shares."""
        return self.pid, self.start_time

    @property
    def ended(self) -> bool:
        """Whether it has ended and only waits to be noticed by its parent."""
        return self.state in _ENDED

    @property
    def stopped(self) -> bool:
        """Whether it was stopped by a signal."""
        return self.state in _STOPPED


def slurp(path: str) -> bytes | None:
    """Return a file's content, ``None`` when it cannot be read: the process ended, or is somebody else's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def read(pid: int) -> Process | None:
    """Return one process, ``None`` when there is none of this id."""
    stat = slurp(f"/proc/{pid}/stat")
    if not stat:
        return None
    # The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        state=fields[0].decode("ascii"),
        parent=int(fields[1]),
        group=int(fields[2]),
        terminal=int(fields[4]),
        ticks=sum(map(int, fields[11:15])),
        waited_ticks=sum(map(int, fields[13:15])),
        start_time=int(fields[19]),
    )


def everything() -> list[Process]:
    """Return every process that can be seen."""
    found = (read(int(name)) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - pathlib costs the keeper 5 ms
    return [process for process in found if process is not None]


def descendants(root: int) -> list[Process]:
    """Return all descendants of ``root``, parents before their children, ended ones included."""
    children: defaultdict[int, list[Process]] = defaultdict(list)
    for process in everything():
        children[process.parent].append(process)
    found = list(children[root])
    for process in found:  # grows while it is walked: a breadth-first walk
        found.extend(children[process.pid])
    return found


def marked(mark: bytes, *, but: frozenset[int] = frozenset()) -> list[Process]:
    """Return this user's processes that were started with ``mark`` (``NAME=value``) in their environment, those in ``but`` left out."""
    user = os.getuid()
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - see above
        if not name.isdigit() or int(name) in but:
            continue
        try:
            owner = os.stat(f"/proc/{name}").st_uid  # noqa: PTH116 - see above
        except OSError:
            continue
        if owner != user or mark not in (slurp(f"/proc/{name}/environ") or b"").split(b"\0"):
            continue
        process = read(int(name))
        if process is not None and not process.ended:
            found.append(process)
    return found


def send(process: Process, number: int) -> bool:
    """Send a signal to exactly this process; return whether it was there to get it."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        now = read(process.pid)
        if now is None or now.start_time != process.start_time:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True

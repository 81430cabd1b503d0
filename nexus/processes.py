"""Which process is this, and is it still that one? A process id alone never answers: ids are used again.

A process is identified by its id, the tick at which it started, and the boot it started in (``proc(5)``, field 22 of
``/proc/<pid>/stat``). Linux only; elsewhere every process of another run counts as gone.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from nexus.models.process_state import ProcessState

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return the id of this boot of the kernel, or an empty string where the system has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def start_time(pid: int) -> int | None:
    """Return the tick at which ``pid`` started; ``None`` when there is no such process or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])


def identify(pid: int | None = None) -> ProcessState | None:
    """Return the identity of a process, this one by default; ``None`` when it is gone."""
    return _read_identity(pid) if pid is not None else _own_identity(os.getpid())


def _read_identity(pid: int) -> ProcessState | None:
    ticks = start_time(pid)
    return None if ticks is None else ProcessState(pid=pid, start_time=ticks, boot_id=boot_id())


_own_identity = lru_cache(maxsize=1)(
    _read_identity
)  # of the process that asks: it does not change, and a fork has another number


def is_alive(process: ProcessState) -> bool:
    """Return whether exactly this process still runs."""
    return process.boot_id == boot_id() and start_time(process.pid) == process.start_time

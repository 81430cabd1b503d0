"""How much memory can still be had: on this machine, and within the limit that this process was put under. Linux only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_MEMINFO: Final = Path("/proc/meminfo")
_CGROUP: Final = Path("/proc/self/cgroup")
_ROOT: Final = Path("/sys/fs/cgroup")
_AVAILABLE: Final = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE | re.ASCII)
_RECLAIMABLE: Final = re.compile(r"^inactive_file (\d+)$", re.MULTILINE | re.ASCII)


def available() -> int | None:
    """Return the bytes that programs could still be given; ``None`` where that cannot be found out. Blocking, briefly."""
    known = [amount for amount in (of_machine(_text(_MEMINFO)), _of_group()) if amount is not None]
    return min(known, default=None)


def _of_group() -> int | None:
    """Return what the narrowest limit above this process leaves."""
    path = next((line[3:] for line in _text(_CGROUP).splitlines() if line.startswith("0::")), None)
    if path is None:
        return None
    here = _ROOT / path.strip("/")
    folders = [folder for folder in (here, *here.parents) if folder.is_relative_to(_ROOT)]
    left = [
        of_limit(_text(folder / "memory.max"), _text(folder / "memory.current"), _text(folder / "memory.stat"))
        for folder in folders
    ]
    return min((amount for amount in left if amount is not None), default=None)


def of_machine(meminfo: str) -> int | None:
    """Return what the text of ``/proc/meminfo`` says; ``None`` where it says nothing."""
    found = _AVAILABLE.search(meminfo)
    return None if found is None else int(found[1]) * 1024


def of_limit(limit: str, used: str, stat: str) -> int | None:
    """Return what a control group's limit leaves, its files' cache counted as free; ``None`` where there is no limit.

    Args:
        limit: The text of ``memory.max``.
        used: The text of ``memory.current``.
        stat: The text of ``memory.stat``.
    """
    if not (limit.strip().isdigit() and used.strip().isdigit()):
        return None
    cache = _RECLAIMABLE.search(stat)
    return max(0, int(limit) - int(used) + (int(cache[1]) if cache else 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""

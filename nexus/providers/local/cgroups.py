"""What the kernel limits for all processes of a workspace together: memory, processor time, how many there are. Blocking, for milliseconds.

A workspace's keeper is moved into control groups of its own when it has just started, and whatever it starts is born there: no
program that runs as this user can leave without the right to write to them. Version 1 has a hierarchy for each controller, version 2
one for all. The groups are below the ones that this program is in, so that what limits it limits them. Where it may not make any, as an
ordinary user without delegation, :mod:`nexus.providers.local.limits` does what it can instead.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final, Literal, NamedTuple

from pydantic import JsonValue

from nexus.errors import InvalidArgument
from nexus.models.resources import ResourceAllocation

CONTROLLERS: Final = ("memory", "cpu", "pids")
NAME: Final = "cgroups.json"
"""In a workspace's folder: the groups that were made for it, to be removed after its end."""

_PERIOD: Final = 100_000
_SMALLEST_QUOTA: Final = 1_000
_PREFIX: Final = "nexus-"
_NO_LIMIT: Final = 1 << 60
_CLIMB: Final = 8
_LOOKS: Final = 200
_LOOK: Final = 0.005


_PROCESSES: Final = 4096


def processes_limit(options: Mapping[str, JsonValue]) -> int:
    """Return how many processes a workspace may have: the option ``pids_limit``, or 4096.

    Raises:
        InvalidArgument: When it is no sensible number.
    """
    chosen = options.get("pids_limit", _PROCESSES)
    if isinstance(chosen, bool) or not isinstance(chosen, int) or chosen < 1:
        raise InvalidArgument("the local backend's option pids_limit has to be a number of processes")
    return chosen


class Held(NamedTuple):
    """Which limits the groups of a workspace keep."""

    memory: int | None = None
    """Bytes of all its processes together; ``None`` where no group keeps that."""
    cpu: float | None = None
    """Cores."""
    processes: int | None = None


class Hierarchy(NamedTuple):
    """Where a process is in one hierarchy of control groups."""

    version: Literal[1, 2]
    controllers: frozenset[str]
    """What it can limit; version 2 tells only on the spot, so it is empty there."""
    top: PurePosixPath
    """Where it is mounted."""
    own: PurePosixPath
    """The process's own group, at or below ``top``."""


def hierarchies(mountinfo: str, membership: str, wanted: Collection[str] = CONTROLLERS) -> tuple[Hierarchy, ...]:
    """Return where a process is. Pure.

    Args:
        mountinfo: ``/proc/self/mountinfo``.
        membership: ``/proc/<pid>/cgroup``.
        wanted: The controllers that count.
    """
    within: dict[str, str] = {}
    for line in membership.splitlines():
        number, names, path = line.split(":", 2)
        for name in names.split(",") if names else (("",) if number == "0" else ()):
            within[name] = path
    found: dict[frozenset[str], Hierarchy] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind or kind[0] not in {"cgroup", "cgroup2"}:
            continue
        version: Literal[1, 2] = 2 if kind[0] == "cgroup2" else 1
        options = set(kind[-1].split(","))
        limits = frozenset(name for name in wanted if name in options) if version == 1 else frozenset[str]()
        here = within.get("" if version == 2 else next(iter(limits), "?"))
        root = PurePosixPath(_plain(fields[3]))
        if here is None or not PurePosixPath(here).is_relative_to(root):
            continue
        top = PurePosixPath(_plain(fields[4]))
        found.setdefault(limits, Hierarchy(version, limits, top, top / PurePosixPath(here).relative_to(root)))
    return tuple(found.values())


def _plain(field: str) -> str:
    return field.encode().decode("unicode_escape") if "\\" in field else field


def available() -> frozenset[str]:
    """Return what this program could limit for a workspace. Makes nothing."""
    found: set[str] = set()
    for there in _here():
        if there.version == 1 and os.access(there.own, os.W_OK | os.X_OK):
            found |= there.controllers
        elif there.version == 2:
            found |= next((_offered(parent) for parent in _ancestors(there) if _could_give(parent)), set())
    return frozenset(found)


def limit(workspace: str, keeper: int, folder: Path, resources: ResourceAllocation, processes: int) -> Held:
    """Move a keeper that has just started into groups with these limits, and return which of them are kept.

    Args:
        workspace: Its id.
        keeper: The keeper's process id.
        folder: The workspace's own folder, where the groups are noted before they are made.
        resources: What the workspace is given.
        processes: How many processes it may have.
    """
    remove(folder)
    places = [(there, parent / f"{_PREFIX}{workspace}") for there in _here() if (parent := _parent(there)) is not None]
    _note(folder / NAME, [str(group) for _, group in places])
    for there, group in places:
        with suppress(OSError):
            Path(group).mkdir(exist_ok=True)
            _set(group, _settings(there.version, resources, processes))
            (group / "cgroup.procs").write_text(str(keeper), encoding="ascii")
    return held(keeper)


def held(keeper: int) -> Held:
    """Return the limits that a keeper's groups keep, as the kernel tells them."""
    result = Held()
    with suppress(OSError, ValueError):
        for there in _here(keeper):
            if there.own.name.startswith(_PREFIX):
                result = _merged(result, _limits_of(Path(there.own), there.version))
    return result


def remove(folder: Path) -> None:
    """Remove the groups of a workspace whose processes have ended; one that still has some stays noted.

    Args:
        folder: The workspace's own folder, called by its id. When somebody has removed it, groups are looked for where this program
            would make them.
    """
    note, name = folder / NAME, f"{_PREFIX}{folder.name}"
    try:
        named = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        named = [str(parent / name) for there in _here() for parent in _ancestors(there)]
    left: list[str] = []
    for path in named if isinstance(named, list) else ():
        group = Path(str(path))
        if group.name == name and not gone(group):
            left.append(str(group))
    with suppress(OSError):
        if left:
            _note(note, left)
        else:
            note.unlink()


def gone(group: Path) -> bool:
    """Remove a group, and say whether it is gone. A process leaves its group a moment after its end can be seen."""
    for _ in range(_LOOKS):
        try:
            group.rmdir()
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY or _said(group / "cgroup.procs"):
                return False
            time.sleep(_LOOK)
    return False


def _note(file: Path, groups: Sequence[str]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags, 0o600), "w", encoding="utf-8") as writing:
        json.dump(groups, writing)


def _here(pid: int | None = None) -> tuple[Hierarchy, ...]:
    return around(pid, CONTROLLERS)


def around(pid: int | None, wanted: Collection[str]) -> tuple[Hierarchy, ...]:
    """Return where a process is now, or this one: the hierarchies with these controllers, and that of version 2.

    Args:
        pid: Its id; this program's own when ``None``.
        wanted: The controllers.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        within = Path(f"/proc/{pid or 'self'}/cgroup").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ()
    return tuple(there for there in hierarchies(mounts, within, wanted) if there.version == 2 or there.controllers)


def _parent(there: Hierarchy) -> Path | None:
    """Return the group that a workspace's can be made in; ``None`` where none can limit anything."""
    if there.version == 1:
        return Path(there.own) if os.access(there.own, os.W_OK | os.X_OK) else None
    # A group of version 2 that has processes of its own gives nothing on to others, so one further up has to.
    return next((parent for parent in _ancestors(there) if _gives(parent)), None)


def _ancestors(there: Hierarchy) -> Iterator[Path]:
    for parent in [there.own, *there.own.parents][:_CLIMB]:
        if parent.is_relative_to(there.top):
            yield Path(parent)


def _offered(group: Path) -> set[str]:
    with suppress(OSError):
        return set((group / "cgroup.controllers").read_text(encoding="ascii").split()) & set(CONTROLLERS)
    return set()


def _could_give(group: Path) -> bool:
    """Say whether a group has something to give on, may be written to, and has no processes of its own; the root may have some."""
    if not _offered(group) or not all(os.access(path, os.W_OK) for path in (group, group / "cgroup.procs")):
        return False
    return not (group / "cgroup.type").exists() or not _said(group / "cgroup.procs")


def _gives(group: Path) -> bool:
    if not _could_give(group):
        return False
    offered = _offered(group)
    with suppress(OSError):
        given = set((group / "cgroup.subtree_control").read_text(encoding="ascii").split())
        for name in sorted(offered - given):
            (group / "cgroup.subtree_control").write_text(f"+{name}", encoding="ascii")
        return True
    return False


def _settings(version: Literal[1, 2], resources: ResourceAllocation, processes: int) -> Sequence[tuple[str, str]]:
    """Return what is written to which file, in this order. Pure."""
    memory, swap = resources.memory_limit, resources.memory.swap
    quota = max(_SMALLEST_QUOTA, round(resources.cpu_limit * _PERIOD))
    if version == 1:
        both = [("memory.memsw.limit_in_bytes", str(memory + swap))] if swap is not None else []
        return [
            ("memory.limit_in_bytes", str(memory)),
            *both,
            ("cpu.cfs_period_us", str(_PERIOD)),
            ("cpu.cfs_quota_us", str(quota)),
            ("pids.max", str(processes)),
        ]
    return [
        ("memory.max", str(memory)),
        *([("memory.swap.max", str(swap))] if swap is not None else []),
        ("cpu.max", f"{quota} {_PERIOD}"),
        ("pids.max", str(processes)),
    ]


def _set(group: Path, settings: Sequence[tuple[str, str]]) -> None:
    for name, value in settings:
        if (group / name).exists():
            with suppress(OSError):  # one limit that this kernel refuses must not cost the others
                (group / name).write_text(value, encoding="ascii")


def _limits_of(group: Path, version: Literal[1, 2]) -> Held:
    said = {name: _said(group / name) for name in ("memory.limit_in_bytes", "memory.max", "pids.max", "cpu.max")}
    said |= {name: _said(group / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")}
    return Held(
        memory=_number(said["memory.limit_in_bytes" if version == 1 else "memory.max"]),
        cpu=_cores(said, version),
        processes=_number(said["pids.max"]),
    )


def _cores(said: Mapping[str, str], version: Literal[1, 2]) -> float | None:
    words = said["cpu.max"].split() if version == 2 else [said["cpu.cfs_quota_us"], said["cpu.cfs_period_us"]]
    if len(words) != 2 or not all(word.isdigit() for word in words) or words[1] == "0":
        return None
    return int(words[0]) / int(words[1])


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() and int(text) < _NO_LIMIT else None


def _said(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _merged(one: Held, other: Held) -> Held:
    return Held(
        memory=one.memory if other.memory is None else other.memory,
        cpu=one.cpu if other.cpu is None else other.cpu,
        processes=one.processes if other.processes is None else other.processes,
    )

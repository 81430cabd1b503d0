"""A control group in which the processes of a workspace can be frozen. Blocking, for milliseconds.

A process that is stopped by a signal shows it: its parent is told, a shell calls it a job, and anybody may let it go on. One that is
frozen by its group notices nothing. The keeper must go on, so it stays outside: at a pause it moves what it has started into the group
(:mod:`nexus.providers.local.keeper.freezer`), and what those start is born there. Where no such group can be made — an ordinary user
without delegation — the keeper stops each process by a signal instead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nexus.providers.local import cgroups
from nexus.providers.local.keeper.frozen_group import NAME, FrozenGroup

_PREFIX = "nexus-"
_SUFFIX = "-paused"


def available() -> bool:
    """Return whether this program could make such a group. Makes nothing."""
    return next(_parents(None), None) is not None


def prepare(folder: Path, keeper: int) -> None:
    """Make the group of a keeper that has just started, where one can be made.

    Args:
        folder: The workspace's own folder, called by its id, where the group is noted before it is made.
        keeper: The keeper's process id.
    """
    remove(folder)
    for parent in _parents(keeper):
        group = FrozenGroup(str(parent / _name(folder)))
        with suppress(OSError):
            _note(folder, group)
            Path(group.path).mkdir(exist_ok=True)
            if group.usable():
                return
            Path(group.path).rmdir()
    with suppress(OSError):
        (folder / NAME).unlink()


def frozen(folder: Path) -> bool:
    """Return whether the workspace is frozen by its group now, as the kernel tells it."""
    group = FrozenGroup.noted(str(folder))
    return group is not None and group.held()


def thaw(folder: Path) -> None:
    """Let what is in the group go on: a process that is frozen cannot end by a signal in every version of groups."""
    for group in _groups(folder):
        group.thaw()


def remove(folder: Path) -> None:
    """Remove the group of a workspace whose processes have ended.

    Args:
        folder: The workspace's own folder. When somebody has removed it, the group is looked for where this program would make it.
    """
    left = False
    for group in _groups(folder):
        group.thaw()
        left = not cgroups.gone(Path(group.path)) or left
    if not left:
        with suppress(OSError):
            (folder / NAME).unlink()


def _groups(folder: Path) -> Iterator[FrozenGroup]:
    """Give the groups that are the workspace's: by their name alone, whatever the note says."""
    noted = FrozenGroup.noted(str(folder))
    if noted is not None:
        if Path(noted.path).name == _name(folder):
            yield noted
    elif not folder.is_dir():
        yield from (group for parent in _parents(None) if (group := FrozenGroup(str(parent / _name(folder)))).usable())


def _name(folder: Path) -> str:
    return f"{_PREFIX}{folder.name}{_SUFFIX}"


def _parents(keeper: int | None) -> Iterator[Path]:
    """Give the groups that one can be made in, version 2 first: there a frozen process can still be killed."""
    found = cgroups.around(keeper, ("freezer",))
    for there in sorted(found, key=lambda one: -one.version):
        parent = Path(there.own)
        if os.access(parent, os.W_OK | os.X_OK) and os.access(parent / "cgroup.procs", os.W_OK):
            yield parent


def _note(folder: Path, group: FrozenGroup) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(folder / NAME, flags, 0o600), "w", encoding="utf-8") as writing:
        json.dump({"group": group.path}, writing)

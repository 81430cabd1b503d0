"""One control group whose processes the kernel freezes, of either version. Standard library only: the keeper uses it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Final

from nexus.providers.local.keeper import tree

NAME: Final = "freezer.json"
"""In a workspace's folder: the group that was made for it."""

_ROUNDS: Final = 200
_WAIT: Final = 0.001


class FrozenGroup:
    """A group at a path.

    Args:
        path: The group's folder.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @classmethod
    def noted(cls, folder: str) -> FrozenGroup | None:
        """Return the group that is noted in a workspace's folder; ``None`` when none is."""
        try:
            path = json.loads(tree.slurp(f"{folder}/{NAME}") or b"")["group"]
        except (ValueError, KeyError, TypeError):
            return None
        return cls(str(path))

    def usable(self) -> bool:
        """Return whether it is there and can be frozen."""
        return self._switch() is not None

    def held(self) -> bool:
        """Return whether it is frozen, or about to be."""
        switch = self._switch()
        return switch is not None and (tree.slurp(switch[0]) or b"").strip() in {b"1", b"FROZEN", b"FREEZING"}

    def freeze(self, wanted: Callable[[], Sequence[tree.Process]]) -> bool:
        """Freeze processes: each as soon as it is in the group, until all are. False: it could not be done, and nothing is frozen.

        One asleep in the kernel is frozen when it comes out; it is not waited for.

        Args:
            wanted: Gives the processes that run and are to be frozen. Asked again until it gives none that is not: one may have started
                another before it was moved.
        """
        switch = self._switch()
        try:
            if switch is None:
                return False
            file, on, _ = switch
            _write(file, on)
            for _ in range(_ROUNDS):
                outside = self._outside(wanted())
                if not outside:
                    self._settle()
                    return True
                for process in outside:
                    self._take(process)
        except OSError:
            pass
        self.thaw()
        return False

    def expel(self, killed: Sequence[tree.Process]) -> None:
        """Move processes out that were killed: groups of version 1 keep even those from ending."""
        if self.held():
            for process in killed:
                with contextlib.suppress(OSError):
                    _write(f"{os.path.dirname(self.path)}/cgroup.procs", str(process.pid))  # noqa: PTH120 - see above

    def thaw(self) -> None:
        """Let its processes go on."""
        switch = self._switch()
        if switch is not None:
            with contextlib.suppress(OSError):
                _write(switch[0], switch[2])

    def _switch(self) -> tuple[str, str, str] | None:
        """Return the file that freezes it, and what is written there to freeze and to thaw."""
        for name, on, off in (("cgroup.freeze", "1", "0"), ("freezer.state", "FROZEN", "THAWED")):
            if os.path.exists(f"{self.path}/{name}"):  # noqa: PTH110 - pathlib costs the keeper 5 ms
                return f"{self.path}/{name}", on, off
        return None

    def _outside(self, processes: Sequence[tree.Process]) -> list[tree.Process]:
        inside = set((tree.slurp(f"{self.path}/cgroup.procs") or b"").split())
        return [process for process in processes if str(process.pid).encode("ascii") not in inside]

    def _take(self, process: tree.Process) -> None:
        """Move a process in. An id names whoever has it now, so a stranger who got it meanwhile is moved out again."""
        try:
            _write(f"{self.path}/cgroup.procs", str(process.pid))
        except ProcessLookupError:
            return
        now = tree.read(process.pid)
        if now is not None and now.start_time != process.start_time:
            _write(f"{os.path.dirname(self.path)}/cgroup.procs", str(process.pid))  # noqa: PTH120 - see above

    def _settle(self) -> None:
        """Wait, for a moment, until the kernel says that all are frozen."""
        for _ in range(_ROUNDS):
            if b"FREEZING" not in (tree.slurp(f"{self.path}/freezer.state") or b"") and (
                b"frozen 0" not in (tree.slurp(f"{self.path}/cgroup.events") or b"")
            ):
                return
            time.sleep(_WAIT)


def _write(file: str, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)

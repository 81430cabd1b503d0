"""What the keeper says about itself on disk: who it is, and what it is doing. Nobody else writes this file."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Final

from nexus.providers.local.keeper import frames, tree

NAME: Final = "run.json"


class Standing:
    """The file ``run.json`` in the workspace's folder: there as long as the keeper runs, left behind when it is killed."""

    def __init__(self, folder: str, socket: str) -> None:
        self._path = f"{folder}/{NAME}"
        self._socket = socket

    def write(self, state: str) -> None:
        """Replace the file: ``running``, ``paused`` or ``stopping``."""
        own = tree.read(os.getpid())
        assert own is not None  # noqa: S101 - this process asks about itself
        content = {
            "protocol": frames.PROTOCOL,
            "pid": own.pid,
            "start_time": own.start_time,
            "boot_id": (tree.slurp("/proc/sys/kernel/random/boot_id") or b"").decode("ascii").strip(),
            "state": state,
            "socket": self._socket,
        }
        temporary = f"{self._path}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, json.dumps(content).encode("utf-8"))
        finally:
            os.close(descriptor)
        os.replace(temporary, self._path)  # noqa: PTH105 - pathlib costs the keeper 5 ms

    def remove(self) -> None:
        """Take the file away: the end was an orderly one."""
        with contextlib.suppress(OSError):  # the whole folder may be gone
            os.unlink(self._path)  # noqa: PTH108 - see above

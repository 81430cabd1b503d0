"""The workspace's log: lines of the keeper's own, and what background processes print when nobody listens. Bounded in size."""

from __future__ import annotations

import os
import time
from typing import Final

NAME: Final = "log"
OLDER: Final = "log.1"
SIZE: Final = 4 * 1024 * 1024
"""Bytes after which the file is put aside as ``log.1``, replacing the one before."""


class Log:
    """Appends to ``log`` in a folder.

    Standard error goes there too, so that a crash of the keeper explains itself.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._descriptor = -1
        self._size = 0
        self._open()

    def line(self, text: str) -> None:
        """Write one line of the keeper's own, with the time."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.write(f"{now} nexus: {text}\n".encode("utf-8", "replace"))

    def write(self, data: bytes) -> None:
        """Append bytes. A full disk loses them: a log must not stop the programs that write it."""
        try:
            self._size += os.write(self._descriptor, data)
            if self._size >= SIZE:
                os.replace(f"{self._folder}/{NAME}", f"{self._folder}/{OLDER}")  # noqa: PTH105 - pathlib costs the keeper 5 ms
                self._open()
        except OSError:
            return

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(f"{self._folder}/{NAME}", flags, 0o600)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        for standard in (1, 2):
            os.dup2(descriptor, standard, inheritable=False)

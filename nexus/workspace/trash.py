"""Deleting removed trees behind the caller's back, on one worker thread that is waited for, for a while, when the manager closes."""

from __future__ import annotations

import logging
import threading
from typing import Final

import anyio

from nexus import git
from nexus.errors import NexusError
from nexus.models.workspace import Repository

_log = logging.getLogger(__name__)

CLOSE_TIMEOUT: Final = 2.0
"""Seconds that closing waits for the trash to be empty. What is left then goes when the repository is opened next."""
_STOP_TIMEOUT: Final = 1.0


class TrashCollector:
    """Empties one repository's trash on a thread that lives only while there is something in it.

    Args:
        repository: Whose trash.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self._again = False
        self._stop = git.Stop()
        self._left: tuple[str, ...] = ()

    def wake(self) -> None:
        """Have everything deleted that is in the trash by now. Returns at once."""
        with self._turn:
            self._again = True
            if self._thread is None and not self._stop:
                # A daemon: a program that is ended in the middle loses nothing but time, since the trash is swept again.
                self._thread = threading.Thread(target=self._work, name="nexus-trash", daemon=True)
                self._thread.start()

    async def settle(self, timeout: float = CLOSE_TIMEOUT) -> tuple[str, ...]:
        """Wait until the trash is empty, as far as it can be; return what cannot be deleted, one line each.

        Args:
            timeout: Seconds to wait at most.
        """
        thread = self._thread
        if thread is not None:
            await anyio.to_thread.run_sync(thread.join, timeout)
        return self._left

    async def aclose(self) -> None:
        """Wait for the trash for a while, then let go of it."""
        await self.settle()
        self._stop.set()
        await self.settle(_STOP_TIMEOUT)

    def _work(self) -> None:
        while True:
            with self._turn:
                if not self._again or self._stop:
                    self._thread = None
                    return
                self._again = False
            try:
                self._left = tuple(git.empty_trash(self._repository, self._stop))
            except (NexusError, OSError) as error:
                _log.warning("the trash cannot be emptied: %s", error)

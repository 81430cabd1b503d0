"""The locks of one repository: which there are, and that they are taken in one order: workspaces by name, then the repository."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from nexus import state

LOCK_TIMEOUT: Final = 60.0
"""Seconds that a caller waits for another one's work on the same workspace or repository."""


class Locks:
    """Holds workspaces, and what they share, against every other process and task.

    Args:
        home: The repository's own folder of ours.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "state" / "locks"

    def workspace(
        self, name: str, purpose: str, *, timeout: float = LOCK_TIMEOUT
    ) -> AbstractAsyncContextManager[Callable[[], None]]:
        """Hold one workspace; see :meth:`workspaces`."""
        return self.workspaces([name], purpose, timeout=timeout)

    @asynccontextmanager
    async def workspaces(
        self,
        names: Iterable[str] | Callable[[], Iterable[str]],
        purpose: str,
        *,
        timeout: float = LOCK_TIMEOUT,
        first: Callable[[], object] | None = None,
        last: Callable[[], object] | None = None,
    ) -> AsyncGenerator[Callable[[], None], None]:
        """Hold workspaces. Gives what lets go of them early, as :func:`nexus.state.lock` does.

        Always in the same order, so that two who want the same ones cannot wait for each other. What finds out their names, and what
        is to be done ``first`` and ``last`` under them, is short, blocks, and is done on the visits to a thread that take and free them.

        Raises:
            Busy: When somebody else holds one for longer than ``timeout`` seconds; the error names who.
        """
        folder = self._folder / "workspaces"

        def which() -> list[Path]:
            return [folder / f"{name}.lock" for name in sorted(set(names() if callable(names) else names))]

        async with state.lock(which=which, purpose=purpose, timeout=timeout, first=first, last=last) as let_go:
            yield let_go

    @asynccontextmanager
    async def repository(self, purpose: str) -> AsyncGenerator[None, None]:
        """Hold the repository's list of worktrees and our branches. Taken after a workspace's lock, never before.

        Raises:
            Busy: When somebody has it for longer than a minute. A queue that moves is waited in as long as it takes.
        """
        path = self._folder / "repository.lock"
        async with state.lock(path, purpose=purpose, timeout=LOCK_TIMEOUT, per_holder=True):
            yield

"""What terminals need of the place where a workspace runs."""

from __future__ import annotations

from typing import Protocol

from nexus.abc import KeptProcess, ProcessHandle
from nexus.models.execution import SpawnRequest
from nexus.models.ids import ExecId, TerminalId
from nexus.secrets import Redactor


class TerminalHost(Protocol):
    """One workspace, as far as its terminals are concerned."""

    @property
    def survives(self) -> bool:
        """Whether its programs can outlive this process."""

    @property
    def shells(self) -> tuple[str, ...]:
        """What a terminal without a command may run, the best first."""

    async def spawn(self, request: SpawnRequest) -> ProcessHandle:
        """Start a program as for the workspace's user, waking the workspace when nothing but idleness stopped it."""

    async def kept(self) -> frozenset[ExecId]:
        """Return the programs that can be joined."""

    async def rejoin(self, exec_id: ExecId, request: SpawnRequest, *, offset: int) -> KeptProcess:
        """Take over a program that runs on by itself."""

    async def runs(self) -> bool:
        """Return whether the workspace runs, or is only paused. What cannot be found out counts as running."""

    async def folder_of(self, pid: int) -> str | None:
        """Return the folder that a process inside is in, where that can be found out."""

    async def hang_up(self, terminal: TerminalId, handle: ProcessHandle) -> None:
        """Tell everything in a terminal that its window is closed. What does not heed it, or cannot be told, is fine."""

    async def end_leftover(self, terminal: TerminalId) -> None:
        """End what a terminal's earlier program left running that nobody can join. None there: nothing."""

    async def before_typing(self) -> None:
        """Wake the workspace when it sleeps because nothing happened in it.

        Raises:
            WorkspaceStopped: When its user paused it.
        """

    def redactor(self) -> Redactor:
        """Return what takes the values of secrets out."""

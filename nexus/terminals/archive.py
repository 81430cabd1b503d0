"""What is written down of terminals: by whom they are served, what they showed, and how one that nobody serves any more is taken over."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from anyio import to_thread

from nexus.abc import Clock
from nexus.errors import Busy, NexusError, TerminalNotFound
from nexus.models.ids import ExecId, TerminalId, WorkspaceId
from nexus.models.terminals import TerminalInfo, TerminalState
from nexus.models.workspace import ProcessState
from nexus.processes import identify, is_alive
from nexus.state import SavedTerminal, TerminalStore, lock
from nexus.state.terminals import SHOWN
from nexus.terminals.host import TerminalHost
from nexus.terminals.saving import masked, saved, told
from nexus.terminals.terminal import Terminal


class TerminalArchive:
    """The terminals of one repository on disk, as one process sees them.

    Args:
        store: The files.
        host: Finds the place where a workspace runs.
        clock: What time it is.
    """

    def __init__(
        self, store: TerminalStore, host: Callable[[WorkspaceId], Awaitable[TerminalHost]], clock: Clock
    ) -> None:
        self._store = store
        self._host = host
        self._clock = clock
        self._me: ProcessState | None = None
        self._written: dict[TerminalId, tuple[int, int, object]] = {}

    async def save(self, terminal: Terminal, *, owned: bool = True, durable: bool = False) -> None:
        """Write a terminal down, without the values of secrets. One that was forgotten stays so.

        Args:
            terminal: Which.
            owned: Whether this process goes on serving it.
            durable: Whether it has to be on the disk when the call returns.

        Raises:
            StateError: When it cannot be written; what was written before is intact.
        """
        if self._me is None:
            self._me = identify()
        host = await self._host(terminal.plan.workspace)
        async with terminal.saving:
            if terminal.forgotten:
                return
            stand, redactor = _stand(terminal), host.redactor()
            known = saved(terminal, redactor, owner=self._me if owned else None, now=self._clock.now())
            _, shown = terminal.kept.read(max(terminal.kept.oldest, terminal.kept.newest - SHOWN))
            known, shown = await to_thread.run_sync(partial(masked, shown, known, redactor))
            await self._store.save(known, shown, durable=durable)
            self._written[terminal.id] = stand

    def is_current(self, terminal: Terminal) -> bool:
        """Return whether what is written down is how it is now."""
        return self._written.get(terminal.id) == _stand(terminal)

    def outdate(self, terminal: Terminal) -> None:
        """Have it written down at the next opportunity, changed or not."""
        self._written.pop(terminal.id, None)

    async def forget(self, terminal: Terminal) -> None:
        """Remove what is written down of a terminal, for good."""
        terminal.forgotten = True
        async with terminal.saving:
            self._written.pop(terminal.id, None)
            await self._store.delete(terminal.plan.workspace, terminal.id)

    async def clear(self, workspace: WorkspaceId) -> None:
        """Forget all terminals of a workspace."""
        await self._store.clear(workspace)

    async def others(self, workspace: WorkspaceId, own: Sequence[TerminalId]) -> tuple[TerminalInfo, ...]:
        """Return a workspace's terminals but for those that this process serves. What has been over for long is forgotten."""
        found = [known for known in await self._store.known(workspace) if known.id not in own]
        joinable = await self._joinable(workspace, found)
        infos: list[TerminalInfo] = []
        for known in found:
            if self._is_over(known):
                await self._store.delete(workspace, known.id)
                continue
            served = is_served(known)
            infos.append(told(known, runs=served or known.exec_id in joinable, elsewhere=in_words if served else None))
        return tuple(infos)

    @asynccontextmanager
    async def taking(
        self, workspace: WorkspaceId, terminal: TerminalId
    ) -> AsyncGenerator[tuple[SavedTerminal, bytes], None]:
        """Give a terminal that nobody serves, and what it showed; no other process takes it meanwhile.

        Raises:
            TerminalNotFound: When there is none.
            Busy: When another process serves it.
        """
        async with lock(self._store.lock_path(terminal), purpose=f"taking over terminal {terminal}"):
            stored = await self._store.load(workspace, terminal)
            if stored is None or self._is_over(stored[0]):
                raise unknown(terminal)
            known = stored[0]
            if known.owner is not None and is_served(known):
                raise Busy(
                    f"terminal {known.name} is served by {in_words(known.owner)}",
                    hint="attach there, or end that program: the terminal is kept",
                    details={"terminal": terminal, "holder": in_words(known.owner)},
                )
            yield stored

    async def _joinable(self, workspace: WorkspaceId, found: Sequence[SavedTerminal]) -> frozenset[ExecId | None]:
        if not any(known.exec_id for known in found):
            return frozenset()
        with contextlib.suppress(NexusError):
            return frozenset(await (await self._host(workspace)).kept())
        return frozenset()

    def _is_over(self, known: SavedTerminal) -> bool:
        if known.state is not TerminalState.EXITED or known.ended_at is None or is_served(known):
            return False
        return (self._clock.now() - known.ended_at).total_seconds() >= known.keep_alive


def is_served(known: SavedTerminal) -> bool:
    """Return whether the process that last served it still runs."""
    return known.owner is not None and is_alive(known.owner)


def in_words(process: ProcessState) -> str:
    """Return which process this is, for people."""
    return f"process {process.pid} on this machine"


def unknown(terminal: TerminalId) -> TerminalNotFound:
    """Return the error for a terminal that is not there."""
    return TerminalNotFound(
        f"there is no terminal {terminal!r}", hint="list the workspace's terminals", details={"terminal": terminal}
    )


def _stand(terminal: Terminal) -> tuple[int, int, object]:
    return terminal.kept.newest, terminal.version, terminal.state

"""Serving terminals: each is read, looked after, opened again when its program is gone, and let go of in the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.abc import TaskGroup

from nexus.abc import Clock, KeptProcess, ProcessHandle
from nexus.errors import NexusError, WorkspaceStopped
from nexus.models.execution import Exited
from nexus.models.ids import TerminalId, WorkspaceId
from nexus.models.terminals import TerminalExit, TerminalState
from nexus.state import SavedTerminal
from nexus.terminals import programs
from nexus.terminals.archive import TerminalArchive
from nexus.terminals.host import TerminalHost
from nexus.terminals.reopening import again, banner, farewell
from nexus.terminals.saving import revived
from nexus.terminals.terminal import Terminal

_log = logging.getLogger(__name__)

CLOSING: Final = 15.0
"""Seconds that the end of one program may take."""
_STOPPED: Final = "the workspace was stopped; this terminal comes back when it starts"
_LOST: Final = "the connection to this terminal's program was lost; it comes back when somebody attaches"
_LEFT: Final = "the program that served this terminal has ended; it comes back when somebody attaches"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How often terminals are written down; what a killed server loses of them is what they showed since."""

    quiet: float = 1.0
    """Seconds for which one that has changed has to be quiet, to be written down at once."""
    busy: float = 10.0
    """Seconds between two times that one is written down which never is."""


class TerminalServer:
    """Has the terminals of one process, and the tasks that read them. Bound to one event loop; its tasks begin with the first terminal.

    Args:
        archive: Where terminals are written down.
        host: Finds the place where a workspace runs.
        clock: What time it is.
        rhythm: How often terminals are written down.
    """

    def __init__(
        self,
        archive: TerminalArchive,
        host: Callable[[WorkspaceId], Awaitable[TerminalHost]],
        clock: Clock,
        *,
        rhythm: Rhythm,
    ) -> None:
        self.live: dict[TerminalId, Terminal] = {}
        self._archive = archive
        self._host = host
        self._clock = clock
        self._rhythm = rhythm
        self._seen: dict[TerminalId, tuple[int, int]] = {}
        """What each terminal looked like a moment ago: one that changes all the time is written down now and then only."""
        self._turns: dict[TerminalId, anyio.Lock] = {}
        self._group: TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = anyio.Event()
        self._leaving = anyio.Event()
        self._bell = anyio.Event()

    def of(self, workspace: WorkspaceId) -> tuple[Terminal, ...]:
        """Return the terminals of a workspace that are served here."""
        return tuple(each for each in self.live.values() if each.plan.workspace == workspace)

    def ring(self) -> None:
        """Have the terminals looked after now."""
        self._bell.set()

    async def start(self, terminal: Terminal) -> None:
        """Run a new terminal's program, and serve it.

        Cancellation: the program is ended, and nothing is left of the terminal.
        """
        host = await self._host(terminal.plan.workspace)
        handle = await programs.start(terminal, terminal.plan.argv, terminal.plan.opened_in, host)
        terminal.expect()
        try:
            await self._serve(terminal, handle, host)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.forget(terminal)
            raise

    async def reopen(self, terminal: Terminal) -> None:
        """Run a program in a terminal that is only kept. One that has a program: nothing."""
        async with self._turn(terminal.id):
            if terminal.state is not TerminalState.KEPT:
                return
            if terminal.stopping:
                raise WorkspaceStopped("the workspace is being stopped", hint="start it first")
            host = await self._host(terminal.plan.workspace)
            if terminal.leftover:
                await host.end_leftover(terminal.id)
            chosen = again(terminal.plan.argv, rerun=terminal.plan.rerun)
            why = "whoever served it died" if terminal.leftover else "its last one was ended"
            handle, folder = await programs.start_again(terminal, chosen.argv, host)
            terminal.restored, terminal.cwd = f"{chosen.note}; {why}", folder
            terminal.show(banner(terminal.restored, folder))
            await self._serve(terminal, handle, host)

    async def reopen_soon(self, terminals: tuple[Terminal, ...]) -> None:
        """Have terminals opened again behind the caller's back. A failure shows in the terminal."""
        group = await self._tasks()
        for terminal in terminals:
            group.start_soon(self._try_to_reopen, terminal)

    async def find(self, workspace: WorkspaceId, terminal: TerminalId) -> Terminal:
        """Return a terminal that is served here; one that nobody serves is taken over.

        Raises:
            TerminalNotFound: When there is none.
            Busy: When another process serves it.
        """
        async with self._turn(terminal):
            found = self.live.get(terminal)
            if found is not None and found.plan.workspace == workspace:
                return found
            async with self._archive.taking(workspace, terminal) as (known, shown):
                return await self._take_over(known, shown)

    async def hang_up(self, terminal: Terminal, *, grace: float) -> None:
        """End a terminal's program: as when a window is closed, and after ``grace`` seconds by what nothing can ignore."""
        handle = terminal.handle
        if handle is not None:
            await (await self._host(terminal.plan.workspace)).hang_up(terminal.id, handle)
            await self.ended(terminal, handle, within=grace)
            await handle.aclose()
            await self.ended(terminal, handle, within=CLOSING)
        if terminal.leftover:
            with contextlib.suppress(NexusError):
                await (await self._host(terminal.plan.workspace)).end_leftover(terminal.id)
        if terminal.state is not TerminalState.EXITED:
            terminal.end(TerminalState.EXITED, TerminalExit(exit_code=None, lost=True))

    async def ended(self, terminal: Terminal, handle: ProcessHandle | None, *, within: float) -> None:
        """Wait until this program is no longer the terminal's."""
        with anyio.move_on_after(within):
            while handle is not None and terminal.handle is handle:
                await terminal.news.wait()

    async def take_leave(self, terminal: Terminal) -> None:
        """Find out where a terminal's program is, and tell it that its window is closed: its workspace is about to be stopped."""
        handle = terminal.handle
        if handle is not None:
            await self.locate(terminal)
            # Before the stop's own grace: an interactive shell ignores what that begins with.
            await (await self._host(terminal.plan.workspace)).hang_up(terminal.id, handle)

    async def locate(self, terminal: Terminal) -> None:
        """Find out which folder a terminal's program is in."""
        pid = terminal.pid
        if terminal.handle is not None and pid is not None:
            with contextlib.suppress(NexusError):
                terminal.locate(await (await self._host(terminal.plan.workspace)).folder_of(pid))

    async def forget(self, terminal: Terminal) -> None:
        """Serve a terminal no longer, and keep nothing of it. Its program has ended."""
        self._drop(terminal)
        await self._archive.forget(terminal)
        terminal.close()

    async def aclose(self) -> None:
        """Serve nothing any more: programs that can outlive this process run on, the others end; everything is written down.

        Cancellation: goes through with it all the same, within a bounded time.
        """
        self._leaving.set()
        task, self._task = self._task, None
        if task is None:
            return
        with anyio.move_on_after(2 * CLOSING, shield=True):
            await asyncio.wait([task])
            self._group = None
            async with anyio.create_task_group() as group:
                for terminal in tuple(self.live.values()):
                    group.start_soon(self._part, terminal)

    # Its tasks ------------------------------------------------------------------------------------------------------

    async def _tasks(self) -> TaskGroup:
        """Return the group that everything here runs in. It lives in a task of its own, which :meth:`aclose` waits for.

        Not entered by whoever opens the manager: leaving a group is bound to the task that entered it, and notebooks enter in one cell and
        leave in another.
        """
        if self._leaving.is_set():
            raise WorkspaceStopped("the manager that serves this terminal is being closed")
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="nexus-terminals")
        await self._ready.wait()
        if self._group is None:
            raise WorkspaceStopped("the manager that serves this terminal is being closed")
        return self._group

    async def _run(self) -> None:
        async with anyio.create_task_group() as group:
            self._group = group
            self._ready.set()
            group.start_soon(self._look_after)
            await self._leaving.wait()
            group.cancel_scope.cancel()

    async def _serve(self, terminal: Terminal, handle: ProcessHandle, host: TerminalHost) -> None:
        """Have a program in a terminal, and read from it. When that cannot be, the program is ended."""
        try:
            group = await self._tasks()
            terminal.begin(handle, survives=host.survives)
            self.live[terminal.id] = terminal
            await self._archive.save(terminal)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await handle.aclose()
            if terminal.handle is handle:
                terminal.end(TerminalState.KEPT, None)
            raise
        group.start_soon(self._follow, terminal, handle)

    async def _follow(self, terminal: Terminal, handle: ProcessHandle) -> None:
        """Read until the program has ended, and judge its end."""
        try:
            end = await terminal.read()
        except Exception as error:  # noqa: BLE001 - one terminal's trouble must not end the others
            _log.warning("terminal %s cannot be read any more: %s", terminal.id, error)
            end = Exited(exit_code=None, lost=True)
        went_down = terminal.stopping or await self._went_with_workspace(terminal, end)
        await handle.aclose()
        if went_down:
            # What nobody has seen end may run on, where nobody can reach it.
            terminal.leftover = end.lost and not terminal.stopping
            terminal.show(farewell(_LOST if terminal.leftover else _STOPPED))
            terminal.end(TerminalState.KEPT, None)
        else:
            how = TerminalExit(exit_code=end.exit_code, signal=end.signal, lost=end.lost)
            terminal.end(TerminalState.EXITED, how)
        await self._quietly(self._archive.save, terminal)
        self.ring()

    async def _went_with_workspace(self, terminal: Terminal, end: Exited) -> bool:
        """Return whether a program did not end by itself: an engine that restarts ends them all, and says so of none."""
        if end.lost or end.signal is None:
            return end.lost
        try:
            return not await (await self._host(terminal.plan.workspace)).runs()
        except NexusError:
            return False

    async def _look_after(self) -> None:
        """Write down what has changed, forget what has been over for long, and open again what somebody waits for."""
        last = anyio.current_time()
        while True:
            with anyio.move_on_after(self._rhythm.quiet):
                await self._bell.wait()
            all_of_them = self._bell.is_set() or anyio.current_time() - last >= self._rhythm.busy
            if all_of_them:
                last, self._bell = anyio.current_time(), anyio.Event()
            for terminal in tuple(self.live.values()):
                stand = (terminal.kept.newest, terminal.version)
                if all_of_them and terminal.state is TerminalState.KEPT and terminal.watched:
                    await self._quietly(self._reopen_where_it_runs, terminal)
                if all_of_them or self._seen.get(terminal.id) == stand:
                    await self._quietly(self._attend_to, terminal)
                self._seen[terminal.id] = stand

    async def _attend_to(self, terminal: Terminal) -> None:
        if self._is_over(terminal):
            await self.forget(terminal)
            return
        if not self._archive.is_current(terminal):
            await self.locate(terminal)
            await self._archive.save(terminal)

    async def _reopen_where_it_runs(self, terminal: Terminal) -> None:
        if not terminal.stopping and await (await self._host(terminal.plan.workspace)).runs():
            await self._try_to_reopen(terminal)

    def _is_over(self, terminal: Terminal) -> bool:
        if terminal.state is not TerminalState.EXITED or terminal.watched or terminal.ended_at is None:
            return False
        return (self._clock.now() - terminal.ended_at).total_seconds() >= terminal.plan.keep_alive

    async def _try_to_reopen(self, terminal: Terminal) -> None:
        try:
            await self.reopen(terminal)
        except NexusError as error:
            _log.warning("terminal %s could not be opened again: %s", terminal.id, error)
            if terminal.state is TerminalState.KEPT:
                terminal.show(farewell(f"this terminal could not be opened again: {error.message}"))

    async def _quietly(self, act: Callable[[Terminal], Awaitable[None]], terminal: Terminal) -> None:
        try:
            await act(terminal)
        except NexusError as error:
            _log.warning("terminal %s could not be looked after: %s", terminal.id, error)

    # Taking over and letting go -------------------------------------------------------------------------------------

    async def _take_over(self, known: SavedTerminal, shown: bytes) -> Terminal:
        group = await self._tasks()
        handle = await programs.join(known, await self._host(known.workspace))
        terminal = revived(known, shown, self._clock, joined=handle is not None)
        if handle is not None:
            terminal.begin(handle, survives=True, base=known.base)
        else:
            # Its last program may be there still, and nobody can join it.
            terminal.leftover = known.state is TerminalState.RUNNING
        self.live[terminal.id] = terminal
        if handle is not None:
            group.start_soon(self._follow, terminal, handle)
        await self._archive.save(terminal)
        return terminal

    async def _part(self, terminal: Terminal) -> None:
        """Let go of a terminal for good: leave its program running where it can, end it elsewhere."""
        handle = terminal.handle
        try:
            if handle is not None:
                await self.locate(terminal)
            if isinstance(handle, KeptProcess) and terminal.survives:
                await self._archive.save(terminal, owned=False, durable=True)
                await handle.leave()
            else:
                if handle is not None:
                    await (await self._host(terminal.plan.workspace)).hang_up(terminal.id, handle)
                    await handle.aclose()
                    terminal.show(farewell(_LEFT))
                    terminal.end(TerminalState.KEPT, None)
                await self._archive.save(terminal, owned=False, durable=True)
        except NexusError as error:
            _log.warning("terminal %s could not be written down: %s", terminal.id, error)
        terminal.close()
        self._drop(terminal)

    def _drop(self, terminal: Terminal) -> None:
        self.live.pop(terminal.id, None)
        self._turns.pop(terminal.id, None)
        self._seen.pop(terminal.id, None)

    def _turn(self, terminal: TerminalId) -> anyio.Lock:
        return self._turns.setdefault(terminal, anyio.Lock())

"""The terminals that one process serves: opened, attached to, written down, taken over from a process that died, opened again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import anyio
from anyio import to_thread

from nexus.abc import Clock, KeptProcess, ProcessHandle
from nexus.errors import Busy, ExecStartError, InvalidArgument, NexusError, NotFound, TerminalNotFound, WorkspaceStopped
from nexus.models.execution import Exited, Pty, SpawnRequest
from nexus.models.ids import ExecId, TerminalId, WorkspaceId, new_terminal_id
from nexus.models.terminals import (
    AttachRequest,
    TerminalExit,
    TerminalInfo,
    TerminalRequest,
    TerminalState,
    check_name,
)
from nexus.models.workspace import ProcessState
from nexus.processes import identify, is_alive
from nexus.state import SavedTerminal, TerminalStore, lock
from nexus.state.terminals import MOST, SHOWN
from nexus.terminals.host import TerminalHost
from nexus.terminals.reopening import DEFAULT, again, banner, farewell
from nexus.terminals.saving import masked, revived, saved, told
from nexus.terminals.scrollback import Scrollback
from nexus.terminals.session import Session
from nexus.terminals.terminal import Plan, Terminal

_log = logging.getLogger(__name__)

SAVE_EVERY: Final = 10.0
"""Seconds after which a terminal that printed something is written down again."""
VARIABLE: Final = "NEXUS_TERMINAL"
"""Variable that holds a terminal's id in its programs."""
_GRACE: Final = 1.0
"""Seconds between TERM and KILL for what a hang-up did not end."""
_CLOSING: Final = 15.0
"""Seconds that closing may take."""
_HANG_UP: Final = 1


class TerminalHub:
    """Serves terminals until :meth:`aclose`. It belongs to one event loop; its tasks begin with the first terminal.

    Args:
        store: Where terminals are written down.
        host: Finds the place where a workspace runs.
        clock: What time it is.
        save_every: Seconds between two looks at what has to be written down.
    """

    def __init__(
        self,
        store: TerminalStore,
        host: Callable[[WorkspaceId], Awaitable[TerminalHost]],
        clock: Clock,
        *,
        save_every: float = SAVE_EVERY,
    ) -> None:
        self._store = store
        self._host = host
        self._clock = clock
        self._save_every = save_every
        self._live: dict[TerminalId, Terminal] = {}
        self._written: dict[TerminalId, tuple[int, int, object]] = {}
        self._turns: dict[TerminalId, anyio.Lock] = {}
        self._me: ProcessState | None = None
        self._group: anyio.abc.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving = anyio.Event()
        self._bell = anyio.Event()

    # What users ask -------------------------------------------------------------------------------------------------

    async def open(self, workspace: WorkspaceId, request: TerminalRequest) -> TerminalInfo:
        """Open a terminal; see :class:`nexus.abc.TerminalAccess`."""
        if len(await self.list(workspace)) >= MOST:
            raise InvalidArgument(
                f"the workspace has {MOST} terminals already", hint="kill those that are no longer needed"
            )
        host = await self._host(workspace)
        plan = Plan(
            id=new_terminal_id(),
            workspace=workspace,
            argv=request.argv,
            user=request.user,
            opened_in=request.cwd,
            scrollback=request.scrollback,
            keep_alive=request.keep_alive,
            created_at=self._clock.now(),
            env=dict(request.env),
            rerun=request.rerun,
        )
        name = request.name or (request.argv[0].rpartition("/")[2] if request.argv else "") or "shell"
        terminal = Terminal(
            plan, name=name[:200], size=request.size, kept=Scrollback(request.scrollback), clock=self._clock
        )
        handle = await host.spawn(_command(plan, request.argv, request.cwd, request.size, host))
        await self._serve(terminal, handle, host)
        return terminal.info

    async def list(self, workspace: WorkspaceId) -> tuple[TerminalInfo, ...]:
        """Return a workspace's terminals, the oldest first, also those that nobody serves now."""
        found = {each.id: each.info for each in self._live.values() if each.plan.workspace == workspace}
        unknown = [known for known in await self._store.known(workspace) if known.id not in self._live]
        joinable = await self._joinable(workspace, unknown)
        for known in unknown:
            if not await self._expired(known):
                runs = known.exec_id in joinable or self._served(known)
                found[known.id] = told(known, runs=runs, elsewhere=_process if self._served(known) else None)
        return tuple(sorted(found.values(), key=lambda info: (info.created_at, info.id)))

    async def get(self, workspace: WorkspaceId, terminal: TerminalId) -> TerminalInfo:
        """Return one terminal."""
        for info in await self.list(workspace):
            if info.id == terminal:
                return info
        raise _unknown(terminal)

    async def attach(self, workspace: WorkspaceId, terminal: TerminalId, request: AttachRequest) -> Session:
        """Let somebody look; see :class:`nexus.abc.TerminalAccess`."""
        found = await self._served_here(workspace, terminal)
        host = await self._host(workspace)
        if found.state is TerminalState.KEPT:
            # What was shown may be looked at also while nothing runs.
            with contextlib.suppress(*((WorkspaceStopped,) if request.role == "viewer" else ())):
                await self._reopen(found)
        session = found.attach(request)
        session.before_typing = partial(self._before_typing, found, host)
        try:
            if request.size is not None and request.role == "controller":
                await session.resize(request.size.rows, request.size.cols)
        except BaseException:
            await session.detach()
            raise
        return session

    async def _before_typing(self, terminal: Terminal, host: TerminalHost) -> None:
        await host.before_typing()
        if terminal.state is TerminalState.KEPT and await host.runs():
            await self._reopen(terminal)

    async def wait(self, workspace: WorkspaceId, terminal: TerminalId) -> TerminalExit:
        """Wait for a terminal's program to end."""
        found = await self._served_here(workspace, terminal)
        while found.state is not TerminalState.EXITED and not found.closed:
            await found.news.wait()
        return found.exit or TerminalExit(exit_code=None, lost=True)

    async def kill(self, workspace: WorkspaceId, terminal: TerminalId, *, grace: float) -> TerminalInfo:
        """End a terminal's program and forget the terminal."""
        found = await self._served_here(workspace, terminal)
        handle = found.handle
        if handle is not None:
            # What closing a window says, which a shell heeds; and then what nothing can ignore.
            with contextlib.suppress(NexusError):
                await handle.signal(_HANG_UP)
            with anyio.move_on_after(grace):
                while found.handle is handle:
                    await found.news.wait()
            await handle.aclose()
            with anyio.move_on_after(_CLOSING):
                while found.handle is handle:
                    await found.news.wait()
        if found.leftover:
            with contextlib.suppress(NexusError):
                await (await self._host(workspace)).end_leftover(terminal)
        if found.state is not TerminalState.EXITED:
            found.end(TerminalState.EXITED, TerminalExit(exit_code=None, lost=True))
        await self._forget(found)
        return found.info

    async def rename(self, workspace: WorkspaceId, terminal: TerminalId, name: str) -> TerminalInfo:
        """Call a terminal by another name."""
        check_name(name)
        found = await self._served_here(workspace, terminal)
        found.call(name)
        await self._save(found)
        return found.info

    # What happens to workspaces -------------------------------------------------------------------------------------

    def running(self, workspace: WorkspaceId) -> tuple[TerminalId, ...]:
        """Return the terminals of a workspace that have a program now, by this process's own knowledge."""
        return tuple(each.id for each in self._of(workspace) if each.state is TerminalState.RUNNING)

    async def stopping(self, workspace: WorkspaceId) -> None:
        """Note that a workspace is about to be stopped: where its programs are is asked now, and their end is not their own."""
        terminals = [each for each in self._of(workspace) if each.handle is not None]
        for terminal in terminals:
            terminal.stopping = True
        async with anyio.create_task_group() as group:
            for terminal in terminals:
                group.start_soon(self._locate, terminal)

    async def stopped(self, workspace: WorkspaceId) -> None:
        """Keep the terminals of a workspace that was stopped, on disk as well."""
        for terminal in self._of(workspace):
            handle = terminal.handle
            with anyio.move_on_after(_CLOSING):
                while handle is not None and terminal.handle is handle:
                    await terminal.news.wait()
            await self._save(terminal, durable=True)

    def not_stopped(self, workspace: WorkspaceId) -> None:
        """Note that a workspace that was to be stopped runs on."""
        for terminal in self._of(workspace):
            terminal.stopping = False

    def note(self, workspace: WorkspaceId) -> None:
        """Have a workspace's terminals written down soon: it has been paused."""
        for terminal in self._of(workspace):
            self._written.pop(terminal.id, None)
        self._bell.set()

    async def restore(self, workspace: WorkspaceId) -> None:
        """Have the terminals that this process serves opened again in a workspace that was started; others are when they are attached to.

        Returns at once; a failure shows in the terminal.
        """
        known = [each.id for each in self._of(workspace) if each.state is TerminalState.KEPT]
        if known:
            group = await self._tasks()
            for terminal in known:
                group.start_soon(self._restore, workspace, terminal)

    async def forget(self, workspace: WorkspaceId) -> None:
        """Forget everything of a workspace that is destroyed; its programs have ended."""
        for terminal in self._of(workspace):
            terminal.close()
            self._drop(terminal)
        await self._store.clear(workspace)

    async def aclose(self) -> None:
        """Serve nothing any more: programs that can outlive this process run on, the others end; everything is written down.

        Cancellation: goes through with it all the same, within a bounded time.
        """
        task, self._task = self._task, None
        if task is None:
            return
        with anyio.move_on_after(2 * _CLOSING, shield=True):
            self._leaving.set()
            await asyncio.wait([task])
            self._group = None
            async with anyio.create_task_group() as group:
                for terminal in tuple(self._live.values()):
                    group.start_soon(self._part, terminal)

    # Its tasks ------------------------------------------------------------------------------------------------------

    async def _tasks(self) -> anyio.abc.TaskGroup:
        """Return the group that everything here runs in. It lives in a task of its own, which :meth:`aclose` waits for.

        Not entered by whoever opens the manager: leaving a group is bound to the task that entered it, and notebooks enter in one cell and
        leave in another.
        """
        if self._group is None:
            if self._leaving.is_set():
                raise WorkspaceStopped("the manager that serves this terminal is being closed")
            ready = anyio.Event()
            self._task = asyncio.create_task(self._run(ready), name="nexus-terminals")
            await ready.wait()
        assert self._group is not None  # noqa: S101 - set before ready
        return self._group

    async def _run(self, ready: anyio.Event) -> None:
        async with anyio.create_task_group() as group:
            self._group = group
            ready.set()
            group.start_soon(self._look_after)
            await self._leaving.wait()
            group.cancel_scope.cancel()

    async def _serve(self, terminal: Terminal, handle: ProcessHandle, host: TerminalHost) -> None:
        """Have a program in a terminal, and read from it. When that cannot be, the program is ended."""
        try:
            group = await self._tasks()
            terminal.begin(handle, survives=host.survives)
            self._live[terminal.id] = terminal
            await self._save(terminal)
        except BaseException:
            self._live.pop(terminal.id, None)
            with anyio.CancelScope(shield=True):
                await handle.aclose()
                await self._store.delete(terminal.plan.workspace, terminal.id)
            raise
        group.start_soon(self._follow, terminal)

    async def _follow(self, terminal: Terminal) -> None:
        """Read until the program has ended, and judge its end."""
        handle = terminal.handle
        assert handle is not None  # noqa: S101 - begun by whoever started this
        try:
            end = await terminal.read()
        except Exception as error:  # noqa: BLE001 - one terminal's trouble must not end the others
            _log.warning("terminal %s cannot be read any more: %s", terminal.id, error)
            end = Exited(exit_code=None, lost=True)
        with_workspace = terminal.stopping or await self._went_with_workspace(terminal, end)
        await handle.aclose()
        if with_workspace:
            terminal.show(farewell("the workspace was stopped; this terminal comes back when it starts"))
            terminal.end(TerminalState.KEPT, None)
        else:
            terminal.end(TerminalState.EXITED, TerminalExit(exit_code=end.exit_code, signal=end.signal, lost=end.lost))
        await self._quietly(self._save, terminal)
        self._bell.set()

    async def _went_with_workspace(self, terminal: Terminal, end: Exited) -> bool:
        if not end.lost and end.signal is None:
            return False
        try:
            return not await (await self._host(terminal.plan.workspace)).runs()
        except NexusError:
            return end.lost

    async def _look_after(self) -> None:
        """Write down what has changed, forget what has been over for long, and open again what somebody waits for."""
        while True:
            with anyio.move_on_after(self._save_every):
                await self._bell.wait()
            self._bell = anyio.Event()
            for terminal in tuple(self._live.values()):
                await self._quietly(self._attend_to, terminal)

    async def _attend_to(self, terminal: Terminal) -> None:
        if self._is_over(terminal):
            await self._forget(terminal)
            return
        if terminal.state is TerminalState.KEPT and terminal.watched:
            host = await self._host(terminal.plan.workspace)
            if await host.runs():
                await self._restore(terminal.plan.workspace, terminal.id)
        if self._written.get(terminal.id) != _stand(terminal):
            await self._locate(terminal)
            await self._save(terminal)

    def _is_over(self, terminal: Terminal) -> bool:
        if terminal.state is not TerminalState.EXITED or terminal.watched or terminal.ended_at is None:
            return False
        return (self._clock.now() - terminal.ended_at).total_seconds() >= terminal.plan.keep_alive

    async def _quietly(self, act: Callable[[Terminal], Awaitable[None]], terminal: Terminal) -> None:
        try:
            await act(terminal)
        except NexusError as error:
            _log.warning("terminal %s could not be looked after: %s", terminal.id, error)

    # Taking over and opening again ----------------------------------------------------------------------------------

    async def _served_here(self, workspace: WorkspaceId, terminal: TerminalId) -> Terminal:
        """Return a terminal that this process serves; one that nobody serves is taken over.

        Raises:
            TerminalNotFound: When there is none.
            Busy: When another process serves it.
        """
        async with self._turns.setdefault(terminal, anyio.Lock()):
            found = self._live.get(terminal)
            if found is not None and found.plan.workspace == workspace:
                return found
            async with lock(self._store.lock_path(terminal), purpose=f"taking over terminal {terminal}"):
                stored = await self._store.load(workspace, terminal)
                if stored is None or await self._expired(stored[0]):
                    raise _unknown(terminal)
                known, shown = stored
                if known.owner is not None and self._served(known):
                    raise Busy(
                        f"terminal {known.name} is served by {_process(known.owner)}",
                        hint="attach there, or end that program: the terminal is kept",
                        details={"terminal": terminal, "holder": _process(known.owner)},
                    )
                return await self._take_over(known, shown)

    async def _take_over(self, known: SavedTerminal, shown: bytes) -> Terminal:
        group = await self._tasks()
        host = await self._host(known.workspace)
        handle = await self._join(known, host)
        terminal = revived(known, shown, self._clock, joined=handle is not None)
        if handle is not None:
            terminal.begin(handle, survives=True, base=known.base)
        elif known.state is TerminalState.RUNNING:
            terminal.leftover = True
        self._live[terminal.id] = terminal
        await self._save(terminal)
        if handle is not None:
            group.start_soon(self._follow, terminal)
        return terminal

    async def _join(self, known: SavedTerminal, host: TerminalHost) -> KeptProcess | None:
        if known.exec_id is None or known.state is not TerminalState.RUNNING or not host.survives:
            return None
        request = SpawnRequest(
            argv=known.argv or DEFAULT, stdin=True, pty=known.size, grace=_GRACE, keep=known.scrollback
        )
        offset = known.newest - known.base if known.exact else 0
        try:
            return await host.rejoin(known.exec_id, request, offset=max(0, offset))
        except (NotFound, WorkspaceStopped):
            return None

    async def _restore(self, workspace: WorkspaceId, terminal: TerminalId) -> None:
        try:
            found = await self._served_here(workspace, terminal)
            await self._reopen(found)
        except NexusError as error:
            _log.warning("terminal %s could not be opened again: %s", terminal, error)
            kept = self._live.get(terminal)
            if kept is not None and kept.state is TerminalState.KEPT:
                kept.show(farewell(f"this terminal could not be opened again: {error.message}"))

    async def _reopen(self, terminal: Terminal) -> None:
        """Run a program in a terminal that is only kept."""
        async with self._turns.setdefault(terminal.id, anyio.Lock()):
            if terminal.state is not TerminalState.KEPT:
                return
            plan = terminal.plan
            host = await self._host(plan.workspace)
            if terminal.leftover:
                await host.end_leftover(plan.id)
            chosen = again(plan.argv, rerun=plan.rerun)
            handle, folder = await self._start_again(terminal, chosen.argv, host)
            why = (
                "whoever served it died" if terminal.leftover else "its last one ended with its workspace or its server"
            )
            note = f"{chosen.note}: {why}"
            terminal.show(banner(note, folder))
            terminal.restored, terminal.cwd = note, folder
            await self._serve(terminal, handle, host)

    async def _start_again(
        self, terminal: Terminal, argv: tuple[str, ...], host: TerminalHost
    ) -> tuple[ProcessHandle, str | None]:
        """Start where the terminal was last; a folder that is gone gives way to the one it was opened in, and that to the tree's root."""
        folders = list(dict.fromkeys((terminal.cwd, terminal.plan.opened_in, None)))
        for folder in folders[:-1]:
            try:
                return await host.spawn(_command(terminal.plan, argv, folder, terminal.size, host)), folder
            except ExecStartError:
                continue
        return await host.spawn(_command(terminal.plan, argv, None, terminal.size, host)), None

    # Writing down ---------------------------------------------------------------------------------------------------

    async def _save(self, terminal: Terminal, *, owned: bool = True, durable: bool = False) -> None:
        if self._live.get(terminal.id) is not terminal:
            return  # forgotten meanwhile
        host = await self._host(terminal.plan.workspace)
        if self._me is None:
            self._me = identify()
        stand = _stand(terminal)
        owner = self._me if owned else None
        redactor = host.redactor()
        known = saved(terminal, redactor, owner=owner, now=self._clock.now())
        _, shown = terminal.kept.read(max(terminal.kept.oldest, terminal.kept.newest - SHOWN))
        known, shown = await to_thread.run_sync(partial(masked, shown, known, redactor))
        await self._store.save(known, shown, durable=durable)
        self._written[terminal.id] = stand

    async def _locate(self, terminal: Terminal) -> None:
        pid = terminal.pid
        if terminal.handle is None or pid is None:
            return
        with contextlib.suppress(NexusError):
            terminal.locate(await (await self._host(terminal.plan.workspace)).folder_of(pid))

    async def _part(self, terminal: Terminal) -> None:
        """Let go of a terminal for good: leave its program running where it can, end it elsewhere."""
        handle = terminal.handle
        try:
            if handle is not None:
                await self._locate(terminal)
            if isinstance(handle, KeptProcess) and terminal.survives:
                await self._save(terminal, owned=False, durable=True)
                await handle.leave()
            else:
                if handle is not None:
                    with contextlib.suppress(NexusError):
                        await handle.signal(_HANG_UP)
                    await handle.aclose()
                    terminal.show(
                        farewell("the program that served this terminal ended; it comes back when it is attached to")
                    )
                    terminal.end(TerminalState.KEPT, None)
                await self._save(terminal, owned=False, durable=True)
        except NexusError as error:
            _log.warning("terminal %s could not be written down: %s", terminal.id, error)
        terminal.close()
        self._drop(terminal)

    async def _forget(self, terminal: Terminal) -> None:
        self._drop(terminal)
        await self._store.delete(terminal.plan.workspace, terminal.id)
        terminal.close()

    def _drop(self, terminal: Terminal) -> None:
        self._live.pop(terminal.id, None)
        self._written.pop(terminal.id, None)
        self._turns.pop(terminal.id, None)

    def _of(self, workspace: WorkspaceId) -> tuple[Terminal, ...]:
        return tuple(each for each in self._live.values() if each.plan.workspace == workspace)

    def _served(self, known: SavedTerminal) -> bool:
        """Whether another process serves it, as far as that can be known."""
        return known.owner is not None and is_alive(known.owner) and known.id not in self._live

    async def _joinable(self, workspace: WorkspaceId, unknown: Sequence[SavedTerminal]) -> frozenset[ExecId | None]:
        if not any(known.exec_id for known in unknown):
            return frozenset()
        try:
            return frozenset(await (await self._host(workspace)).kept())
        except NexusError:
            return frozenset()

    async def _expired(self, known: SavedTerminal) -> bool:
        if known.state is not TerminalState.EXITED or known.ended_at is None or self._served(known):
            return False
        if (self._clock.now() - known.ended_at).total_seconds() < known.keep_alive:
            return False
        await self._store.delete(known.workspace, known.id)
        return True


def _command(plan: Plan, argv: tuple[str, ...], cwd: str | None, size: Pty, host: TerminalHost) -> SpawnRequest:
    return SpawnRequest(
        argv=argv or DEFAULT,
        cwd=cwd,
        env={**plan.env, VARIABLE: plan.id},
        user=plan.user,
        stdin=True,
        pty=replace(size),
        grace=_GRACE,
        keep=plan.scrollback if host.survives else 0,
    )


def _stand(terminal: Terminal) -> tuple[int, int, object]:
    return terminal.kept.newest, terminal.version, terminal.state


def _process(process: ProcessState) -> str:
    return f"process {process.pid} on this machine"


def _unknown(terminal: TerminalId) -> TerminalNotFound:
    return TerminalNotFound(
        f"there is no terminal {terminal!r}", hint="list the workspace's terminals", details={"terminal": terminal}
    )

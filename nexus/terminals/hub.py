"""The terminals of one repository's workspaces, for users and for what happens to their workspaces."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

import anyio

from nexus.abc import Clock
from nexus.errors import InvalidArgument, WorkspaceStopped
from nexus.models.ids import TerminalId, WorkspaceId, new_terminal_id
from nexus.models.terminals import (
    LONGEST_NAME,
    AttachRequest,
    TerminalExit,
    TerminalInfo,
    TerminalRequest,
    TerminalState,
    check_name,
)
from nexus.state import TerminalStore
from nexus.state.terminals import MOST
from nexus.terminals.archive import TerminalArchive, unknown
from nexus.terminals.host import TerminalHost
from nexus.terminals.scrollback import Scrollback
from nexus.terminals.serving import CLOSING, Rhythm, TerminalServer
from nexus.terminals.session import Session
from nexus.terminals.terminal import Plan, Terminal


class TerminalHub:
    """What :class:`nexus.abc.TerminalAccess` promises, for every workspace of a repository. Serves until :meth:`aclose`.

    Args:
        store: Where terminals are written down.
        host: Finds the place where a workspace runs.
        clock: What time it is.
        rhythm: How often terminals are written down.
    """

    def __init__(
        self,
        store: TerminalStore,
        host: Callable[[WorkspaceId], Awaitable[TerminalHost]],
        clock: Clock,
        *,
        rhythm: Rhythm | None = None,
    ) -> None:
        self._host = host
        self._clock = clock
        self._archive = TerminalArchive(store, host, clock)
        self._server = TerminalServer(self._archive, host, clock, rhythm=rhythm or Rhythm())

    async def open(self, workspace: WorkspaceId, request: TerminalRequest) -> TerminalInfo:
        """Open a terminal."""
        if len(await self.list(workspace)) >= MOST:
            raise InvalidArgument(
                f"the workspace has {MOST} terminals already", hint="kill those that are no longer needed"
            )
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
        kept = Scrollback(request.scrollback)
        terminal = Terminal(plan, name=_name(request), size=request.size, kept=kept, clock=self._clock)
        await self._server.start(terminal)
        return terminal.info

    async def list(self, workspace: WorkspaceId) -> tuple[TerminalInfo, ...]:
        """Return a workspace's terminals, the oldest first, also those that nobody serves now."""
        own = {each.id: each.info for each in self._server.of(workspace)}
        others = await self._archive.others(workspace, tuple(own))
        return tuple(sorted((*own.values(), *others), key=lambda info: (info.created_at, info.id)))

    async def get(self, workspace: WorkspaceId, terminal: TerminalId) -> TerminalInfo:
        """Return one terminal."""
        for info in await self.list(workspace):
            if info.id == terminal:
                return info
        raise unknown(terminal)

    async def attach(self, workspace: WorkspaceId, terminal: TerminalId, request: AttachRequest) -> Session:
        """Let somebody look; one that is only kept is opened again first."""
        found = await self._server.find(workspace, terminal)
        host = await self._host(workspace)
        if found.state is TerminalState.KEPT:
            # What was shown may be looked at also while nothing runs.
            with contextlib.suppress(*((WorkspaceStopped,) if request.role == "viewer" else ())):
                await self._server.reopen(found)
        session = found.attach(request)
        session.before_typing = partial(self._before_typing, found, host)
        try:
            if request.size is not None and request.role == "controller":
                await session.resize(request.size.rows, request.size.cols)
        except BaseException:
            await session.detach()
            raise
        return session

    async def wait(self, workspace: WorkspaceId, terminal: TerminalId) -> TerminalExit:
        """Wait for a terminal's program to end."""
        found = await self._server.find(workspace, terminal)
        while found.state is not TerminalState.EXITED and not found.closed:
            await found.news.wait()
        return found.exit or TerminalExit(exit_code=None, lost=True)

    async def kill(self, workspace: WorkspaceId, terminal: TerminalId, *, grace: float) -> TerminalInfo:
        """End a terminal's program and forget the terminal."""
        found = await self._server.find(workspace, terminal)
        await self._server.hang_up(found, grace=grace)
        await self._server.forget(found)
        return found.info

    async def rename(self, workspace: WorkspaceId, terminal: TerminalId, name: str) -> TerminalInfo:
        """Call a terminal by another name."""
        check_name(name)
        found = await self._server.find(workspace, terminal)
        found.call(name)
        await self._archive.save(found)
        return found.info

    async def aclose(self) -> None:
        """Serve nothing any more: programs that can outlive this process run on, the others end; everything is written down.

        Cancellation: goes through with it all the same, within a bounded time.
        """
        await self._server.aclose()

    # What happens to workspaces -------------------------------------------------------------------------------------

    def running(self, workspace: WorkspaceId) -> tuple[TerminalId, ...]:
        """Return the terminals of a workspace that have a program now, by this process's own knowledge."""
        return tuple(each.id for each in self._server.of(workspace) if each.state is TerminalState.RUNNING)

    def typed(self, workspace: WorkspaceId) -> tuple[tuple[str, datetime], ...]:
        """Return the names of a workspace's terminals in which somebody has typed, and when that was last."""
        infos = [each.info for each in self._server.of(workspace)]
        return tuple((info.name, info.last_input_at) for info in infos if info.last_input_at is not None)

    async def stopping(self, workspace: WorkspaceId) -> None:
        """Prepare a workspace's terminals for its stop: the end of their programs will not be their own."""
        terminals = [each for each in self._server.of(workspace) if each.handle is not None]
        for terminal in terminals:
            terminal.stopping = True
        async with anyio.create_task_group() as group:
            for terminal in terminals:
                group.start_soon(self._server.take_leave, terminal)

    def not_stopped(self, workspace: WorkspaceId) -> None:
        """Note that a workspace that was to be stopped runs on."""
        for terminal in self._server.of(workspace):
            terminal.stopping = False

    async def stopped(self, workspace: WorkspaceId) -> None:
        """Have the terminals of a workspace that was stopped on disk, with all that they showed."""
        for terminal in self._server.of(workspace):
            await self._server.ended(terminal, terminal.handle, within=CLOSING)
            terminal.stopping = False
            await self._archive.save(terminal, durable=True)

    def paused(self, workspace: WorkspaceId) -> None:
        """Have the terminals of a workspace that was paused written down soon. Returns at once: nobody's switch waits for it."""
        for terminal in self._server.of(workspace):
            self._archive.outdate(terminal)
            self._server.ring()

    async def started(self, workspace: WorkspaceId) -> None:
        """Have the terminals opened again that are served here, in a workspace that was started; others are when they are attached to.

        Returns at once; a failure shows in the terminal.
        """
        kept = tuple(each for each in self._server.of(workspace) if each.state is TerminalState.KEPT)
        if kept:
            await self._server.reopen_soon(kept)

    async def destroyed(self, workspace: WorkspaceId) -> None:
        """Forget the terminals of a workspace that was destroyed; its programs have ended."""
        for terminal in self._server.of(workspace):
            await self._server.forget(terminal)
        await self._archive.clear(workspace)

    async def _before_typing(self, terminal: Terminal, host: TerminalHost) -> None:
        await host.before_typing()
        if terminal.state is TerminalState.KEPT and await host.runs():
            await self._server.reopen(terminal)


def _name(request: TerminalRequest) -> str:
    program = request.argv[0].rpartition("/")[2] if request.argv else ""
    plain = "".join(character for character in program if character.isprintable())[:LONGEST_NAME].strip()
    return request.name or plain or "shell"

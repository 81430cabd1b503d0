"""The terminals of a workspace behind a daemon."""

from __future__ import annotations

import uuid

from nexus.client.line import Line
from nexus.client.looking import RemoteTerminalSession, terminal_size
from nexus.models.ids import TerminalId
from nexus.models.terminals import (
    AttachRequest,
    TerminalExit,
    TerminalInfo,
    TerminalRequest,
)
from nexus.wire.methods import terminals as methods
from nexus.wire.methods.table import OfWorkspace


class RemoteTerminals:
    """Implements :class:`~nexus.abc.terminals.TerminalAccess` over a connection.

    Args:
        line: The connection.
        workspace: Whose terminals, by id.
    """

    def __init__(self, line: Line, workspace: str) -> None:
        self._line = line
        self._workspace = workspace

    async def open(self, request: TerminalRequest) -> TerminalInfo:
        """Open a terminal."""
        params = methods.Open(
            workspace=self._workspace,
            argv=request.argv,
            size=terminal_size(request.size),
            cwd=request.cwd,
            env=request.env,
            user=request.user,
            name=request.name,
            scrollback=request.scrollback,
            keep_alive_ms=round(request.keep_alive * 1000),
            rerun=request.rerun,
            idempotency_key=uuid.uuid4().hex,
        )
        return await self._line.call(methods.OPEN, params)

    async def list(self) -> tuple[TerminalInfo, ...]:
        """Return every terminal, the oldest first."""
        return (await self._line.call(methods.LIST, OfWorkspace(workspace=self._workspace))).items

    async def get(self, terminal: TerminalId) -> TerminalInfo:
        """Return one terminal."""
        return await self._line.call(methods.GET, self._one(terminal))

    async def attach(self, terminal: TerminalId, request: AttachRequest | None = None) -> RemoteTerminalSession:
        """Look at a terminal."""
        session = RemoteTerminalSession(self._line, self._workspace, terminal, request or AttachRequest())
        await session.begin()
        return session

    async def wait(self, terminal: TerminalId) -> TerminalExit:
        """Wait for its program to end."""
        return await self._line.call(methods.WAIT, self._one(terminal))

    async def kill(self, terminal: TerminalId, *, grace: float = 2.0) -> TerminalInfo:
        """End its program and forget the terminal."""
        params = methods.Kill(
            workspace=self._workspace,
            terminal=terminal,
            grace_ms=round(grace * 1000),
            idempotency_key=uuid.uuid4().hex,
        )
        return await self._line.call(methods.KILL, params)

    async def rename(self, terminal: TerminalId, name: str) -> TerminalInfo:
        """Call it by another name."""
        params = methods.Rename(
            workspace=self._workspace, terminal=terminal, name=name, idempotency_key=uuid.uuid4().hex
        )
        return await self._line.call(methods.RENAME, params)

    def _one(self, terminal: TerminalId) -> methods.OfTerminal:
        return methods.OfTerminal(workspace=self._workspace, terminal=terminal)

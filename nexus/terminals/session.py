"""One client's look at a terminal: a place of its own in what was printed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint

from nexus.errors import NotController
from nexus.models.terminals import (
    AttachPoint,
    AttachRequest,
    Role,
    TerminalChanged,
    TerminalEvent,
    TerminalExit,
    TerminalExited,
    TerminalGap,
    TerminalInfo,
    TerminalOutput,
    TerminalResized,
    TerminalState,
)
from nexus.terminals.replay import begin, tail_of

if TYPE_CHECKING:
    from nexus.terminals.terminal import Terminal

_CHUNK: Final = 64 * 1024
"""Bytes that one event gives at most."""


class Session:
    """Implements :class:`nexus.abc.TerminalSession` in process.

    Args:
        terminal: What is looked at.
        request: How.
    """

    def __init__(self, terminal: Terminal, request: AttachRequest) -> None:
        self.role: Role = request.role
        self.client = request.client or "somebody"
        self.slow = False
        """Whether it was waited for in vain: until it has caught up, the program does not wait for it."""
        self.before_typing: Callable[[], Awaitable[None]] | None = None
        self._terminal = terminal
        self._point = begin(terminal.kept, terminal.marks, terminal.modes, request)
        self._offset = self._point.start
        self._mark = terminal.marks.number_at(self._offset)
        self._version = terminal.version
        self._info = terminal.info
        self._over = False

    def admitted(self) -> None:
        """Note that it is attached: that is a change which this client knows of."""
        self._version, self._info = self._terminal.version, self._terminal.info

    @property
    def info(self) -> TerminalInfo:
        """The terminal as this session last heard of it."""
        return self._info

    @property
    def point(self) -> AttachPoint:
        """Where this attachment begins."""
        return self._point

    @property
    def offset(self) -> int:
        """Offset of the next byte."""
        return self._offset

    async def receive(self) -> TerminalEvent:
        """Return the next event.

        Raises:
            anyio.EndOfStream: After ``TerminalExited`` was returned, after :meth:`detach`, and when the terminal is served no longer.

        Cancellation: nothing is lost.
        """
        while True:
            await (
                checkpoint()
            )  # before anything is taken: a client that always finds something must not starve the others
            event = self._next()
            if event is not None:
                return event
            await self._terminal.news.wait()

    async def write(self, data: bytes) -> None:
        """Type.

        Raises:
            NotController: When this session only looks.
            StdinClosed: When the program has ended.
            WorkspaceStopped: When the workspace was paused or stopped by its user.
        """
        self._check("type")
        if self.before_typing is not None:
            await self.before_typing()
        await self._terminal.write(data)

    async def resize(self, rows: int, cols: int) -> None:
        """Give the terminal another size.

        Raises:
            NotController: When this session only looks.
            InvalidArgument: When a number is not between 1 and 65535.
        """
        self._check("set the size")
        await self._terminal.resize(rows, cols)

    async def detach(self) -> int:
        """Look no longer; returns the offset to go on from. Twice is fine."""
        self._over = True
        self._terminal.leave(self)
        self._terminal.tell()
        return self._offset

    def _next(self) -> TerminalEvent | None:
        if self._over:
            raise anyio.EndOfStream
        terminal = self._terminal
        if self._version < terminal.version:
            self._version, self._info = terminal.version, terminal.info
            return TerminalChanged(info=self._info)
        mark = terminal.marks.after(self._mark)
        if mark is not None and mark[1].at_offset <= self._offset:
            self._mark = mark[0]
            return TerminalResized(mark=mark[1])
        if self._offset < terminal.kept.oldest:
            missed, self._offset = self._offset, tail_of(terminal.kept)
            return TerminalGap(start=missed, end=self._offset, prefix=terminal.modes.prefix(self._offset))
        limit = _CHUNK if mark is None else min(_CHUNK, mark[1].at_offset - self._offset)
        offset, data = terminal.kept.read(self._offset, limit)
        if data:
            self._offset += len(data)
            self.slow = self.slow and terminal.kept.newest > self._offset
            terminal.advanced(self)
            return TerminalOutput(offset=offset, data=data)
        return self._last()

    def _last(self) -> TerminalEvent | None:
        terminal = self._terminal
        if terminal.state is TerminalState.EXITED:
            self._over = True
            terminal.leave(self)
            return TerminalExited(exit=terminal.exit or TerminalExit(exit_code=None, lost=True))
        if terminal.closed:
            raise anyio.EndOfStream
        return None

    def _check(self, what: str) -> None:
        if self.role != "controller" or self._over:
            raise NotController(
                f"a viewer of terminal {self._info.name} cannot {what}",
                hint="attach as its controller, taking over if need be",
                details={"terminal": self._info.id},
            )

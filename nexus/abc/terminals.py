"""The terminals of a workspace, in process or over a socket."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from nexus.models.ids import TerminalId
from nexus.models.terminals import (
    AttachPoint,
    AttachRequest,
    Role,
    TerminalEvent,
    TerminalExit,
    TerminalInfo,
    TerminalRequest,
)


@runtime_checkable
class TerminalSession(Protocol):
    """One client's look at one terminal. Each has its own place in the output: what one reads nobody else loses.

    The contract, which ``nexus.testing.check_terminals`` proves:

    - :meth:`receive` gives what the program printed from ``point.start`` on, in order, without a byte lost or doubled; two sessions
      see the same bytes at the same offsets. ``TerminalExited`` comes once, after the last byte, and is the last event.
    - A controller that does not read slows the program down, for a bounded time; a viewer never does. One that falls behind what is
      kept is told so by ``TerminalGap`` and goes on at the beginning of a line.
    - A cancelled ``receive`` loses nothing.
    """

    @property
    def info(self) -> TerminalInfo:
        """The terminal as this session last heard of it."""

    @property
    def point(self) -> AttachPoint:
        """Where this attachment begins, and what to write to the screen before."""

    @property
    def role(self) -> Role:
        """``controller``, or ``viewer``: also after somebody else took over."""

    @property
    def offset(self) -> int:
        """Offset of the next byte: where to attach again."""

    async def receive(self) -> TerminalEvent:
        """Return the next event.

        Raises:
            anyio.EndOfStream: After ``TerminalExited`` was returned, and after :meth:`detach`.
            TransportError: When the connection to a daemon ended; the terminal goes on.
        """

    async def write(self, data: bytes) -> None:
        """Type; returns when the bytes are handed over.

        Raises:
            NotController: When this session only looks.
            StdinClosed: When the program has ended.
            WorkspaceStopped: When its user paused or stopped the workspace. One that sleeps is woken.
        """

    async def resize(self, rows: int, cols: int) -> None:
        """Give the terminal another size, in character cells.

        Raises:
            NotController: When this session only looks.
            InvalidArgument: When a number is not between 1 and 65535.
        """

    async def detach(self) -> int:
        """Look no longer; the program runs on. Twice is fine.

        Returns:
            The offset to go on from later.
        """


@runtime_checkable
class TerminalAccess(Protocol):
    """The terminals of one workspace. Calls that name one raise ``TerminalNotFound`` when there is none.

    A terminal stays when nobody is attached, while its workspace is paused, and when another workspace becomes the current one. When
    its workspace is stopped, or whoever serves it dies, what it showed is kept, and it is opened again under the same id.
    """

    async def open(self, request: TerminalRequest) -> TerminalInfo:
        """Open a terminal. Nobody is attached to it yet; everything it prints is kept from its first byte on.

        A workspace that was put to sleep because nothing happened in it is woken for it.

        Raises:
            InvalidArgument: When there are too many terminals already.
            ExecStartError: When the program is not there or cannot be executed, or the folder is missing.
            WorkspaceStopped, WorkspaceGone: When the workspace does not run, or its place was removed.
            Unsupported: When its backend has no terminals.

        Cancellation: there is no such terminal.
        """

    async def list(self) -> tuple[TerminalInfo, ...]:
        """Return every terminal, the oldest first."""

    async def get(self, terminal: TerminalId) -> TerminalInfo:
        """Return one terminal."""

    async def attach(self, terminal: TerminalId, request: AttachRequest | None = None) -> TerminalSession:
        """Look at a terminal. One that is only kept is opened again first.

        Raises:
            Busy: When somebody else is the controller and the request does not take over.
            WorkspaceStopped: When it is only kept and its workspace does not run. A viewer may look at what it showed all the same.
        """

    async def wait(self, terminal: TerminalId) -> TerminalExit:
        """Wait for its program to end. Cancelled: nothing has changed."""

    async def kill(self, terminal: TerminalId, *, grace: float = 2.0) -> TerminalInfo:
        """End its program and forget the terminal: HUP as when a window is closed, ``grace`` seconds, KILL for all that is left.

        What it showed stays with those that are attached. One that has ended is forgotten at once.
        """

    async def rename(self, terminal: TerminalId, name: str) -> TerminalInfo:
        """Call it by another name.

        Raises:
            InvalidArgument: When it cannot be a name.
        """

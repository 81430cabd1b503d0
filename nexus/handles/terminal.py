"""A workspace's terminals as programs hold them."""

from __future__ import annotations

import getpass
import html
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from typing import Self

import anyio

from nexus.abc.terminals import TerminalAccess, TerminalSession
from nexus.errors import Conflict, TerminalNotFound
from nexus.handles.operation import Operation, OwnedExit
from nexus.models.execution import Pty
from nexus.models.ids import TerminalId
from nexus.models.terminals import (
    MIB,
    AttachPoint,
    AttachRequest,
    Replay,
    Role,
    TerminalChanged,
    TerminalEvent,
    TerminalExit,
    TerminalExited,
    TerminalGap,
    TerminalInfo,
    TerminalOutput,
    TerminalRequest,
    TerminalResized,
    TerminalState,
)


class Terminal:
    """A terminal that is attached to.

    ``async for data in terminal`` gives the bytes to write to a screen, what was shown before first, until its program has ended or it is
    detached from. One task reads at a time. :meth:`events` gives the same with offsets, sizes, titles and gaps.

    Args:
        access: The workspace's terminals.
        session: The attachment.
    """

    def __init__(self, access: TerminalAccess, session: TerminalSession) -> None:
        self._access = access
        self._session = session
        self._prefix = session.point.prefix
        self._reading = False
        self._exit: TerminalExit | None = None

    def __repr__(self) -> str:
        return f"<Terminal {self.id} {self.info.name!r} {self.info.state} as {self.role}>"

    @property
    def id(self) -> TerminalId:
        """Its id, the same after a restart."""
        return self.info.id

    @property
    def info(self) -> TerminalInfo:
        """What was last heard of it."""
        return self._session.info

    @property
    def role(self) -> Role:
        """``controller``, or ``viewer``: also after somebody else took over."""
        return self._session.role

    @property
    def offset(self) -> int:
        """Offset of the next byte: where to attach again, as ``since``."""
        return self._session.offset

    @property
    def point(self) -> AttachPoint:
        """Where this attachment began."""
        return self._session.point

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give what is to be written to a screen.

        Raises:
            Conflict: When another task is reading.
        """
        return _Bytes(self)

    async def events(self) -> AsyncGenerator[TerminalEvent, None]:
        """Give everything that happens, ``TerminalExited`` last. ``point.prefix`` goes to the screen before.

        Raises:
            Conflict: When another task is reading.
        """
        while True:
            try:
                event = await self.receive()
            except anyio.EndOfStream:
                return
            yield event

    async def receive(self) -> TerminalEvent:
        """Return the next event.

        Raises:
            anyio.EndOfStream: After ``TerminalExited`` was returned, and after :meth:`detach`.
            Conflict: When another task is reading.

        Cancellation: nothing is lost.
        """
        if self._reading:
            raise Conflict(
                f"another task is reading terminal {self.id}",
                hint="attach once more: each has its own place in the output",
            )
        self._reading = True
        try:
            event = await self._session.receive()
        finally:
            self._reading = False
        if isinstance(event, TerminalExited):
            self._exit = event.exit
        return event

    def take_prefix(self) -> bytes:
        """Return what a screen needs before the first byte, once."""
        prefix, self._prefix = self._prefix, b""
        return prefix

    async def write(self, data: bytes | str) -> None:
        """Type; text goes as UTF-8.

        Raises:
            NotController: When this attachment only looks.
            StdinClosed: When the program has ended.
            WorkspaceStopped: When its user paused or stopped the workspace. One that sleeps is woken.
        """
        await self._session.write(data.encode() if isinstance(data, str) else data)

    async def resize(self, rows: int, cols: int) -> None:
        """Give it another size, in character cells.

        Raises:
            NotController: When this attachment only looks.
            InvalidArgument: When a number is not between 1 and 65535.
        """
        await self._session.resize(rows, cols)

    async def rename(self, name: str) -> TerminalInfo:
        """Call it by another name."""
        return await self._access.rename(self.id, name)

    async def detach(self) -> int:
        """Look no longer; its program runs on. Twice is fine.

        Returns:
            The offset to go on from later, as ``since``.
        """
        return await self._session.detach()

    async def kill(self, *, grace: float = 2.0) -> TerminalInfo:
        """End its program and forget it: HUP as when a window is closed, ``grace`` seconds, KILL for all that is left."""
        return await self._access.kill(self.id, grace=grace)

    async def wait(self) -> TerminalExit:
        """Wait for its program to end. What it prints meanwhile is still there to be read.

        Cancellation: nothing has changed.
        """
        return self._exit or await self._access.wait(self.id)

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return table((self.info,))


class Terminals:
    """The terminals of one workspace: ``ws.terminals``.

    Args:
        access: Opens and finds them.
    """

    def __init__(self, access: TerminalAccess) -> None:
        self._access = access

    def open(
        self,
        *argv: str,
        size: Pty | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        name: str | None = None,
        scrollback: int = MIB,
        keep_alive: float = 300.0,
        rerun: bool = False,
    ) -> Operation[Terminal]:
        """Open a terminal and attach to it as its controller.

        ``await`` it, and it stays until it is killed or its program ends, whoever looks; as ``async with`` block it is killed on leaving.

        Args:
            argv: The program and its arguments; a shell when there are none.
            size: 24 rows and 80 columns when absent. The program never sees another one before.
            cwd: Folder to open it in.
            env: Added to the workspace's environment; not kept for when it is restored.
            user: User to run as, where the backend has users.
            name: What to call it; its program's name when absent.
            scrollback: Bytes that are kept of what it prints, up to 10 MiB.
            keep_alive: Seconds for which it stays after its program has ended and nobody is attached.
            rerun: Whether its command may be run again when it is restored; otherwise a shell takes its place.

        Raises:
            InvalidArgument: At once, when something cannot be asked for like this.
            ExecStartError, WorkspaceStopped, WorkspaceGone, Unsupported: When awaited.

        Cancellation: there is no such terminal.
        """
        request = TerminalRequest(
            argv=argv,
            size=size or Pty(),
            cwd=cwd,
            env=env or {},
            user=user,
            name=name,
            scrollback=scrollback,
            keep_alive=keep_alive,
            rerun=rerun,
        )

        async def begin() -> Terminal:
            info = await self._access.open(request)
            return Terminal(self._access, await self._access.attach(info.id, AttachRequest(replay="all", client=_me())))

        return Operation(begin, _kill, what=f"open terminal {name or (argv[0] if argv else '')}".rstrip())

    def attach(
        self,
        terminal: TerminalId | str,
        *,
        since: int | None = None,
        role: Role = "controller",
        replay: Replay = "tail",
        takeover: bool = False,
        size: Pty | None = None,
    ) -> Operation[Terminal]:
        """Attach to a terminal. Leaving an ``async with`` block detaches; the terminal goes on.

        Args:
            terminal: Its id.
            since: Offset to go on from; when absent, ``replay`` says where to begin.
            role: ``controller`` types and sets the size, ``viewer`` looks.
            replay: ``tail`` for the last screens, ``all`` for everything that is kept, ``none`` for what comes.
            takeover: Become the controller although somebody else is.
            size: Your screen's size, as a controller; set before anything is replayed.

        Raises:
            TerminalNotFound, Busy, WorkspaceStopped: When awaited.
        """
        request = AttachRequest(since=since, role=role, replay=replay, takeover=takeover, size=size, client=_me())

        async def begin() -> Terminal:
            return Terminal(self._access, await self._access.attach(TerminalId(terminal), request))

        return Operation(begin, _detach, what=f"attach to terminal {terminal}")

    async def list(self) -> tuple[TerminalInfo, ...]:
        """Return every terminal, the oldest first."""
        return await self._access.list()

    async def get(self, terminal: TerminalId | str) -> TerminalInfo:
        """Return one terminal."""
        return await self._access.get(TerminalId(terminal))

    async def kill(self, terminal: TerminalId | str, *, grace: float = 2.0) -> TerminalInfo:
        """End a terminal's program and forget it."""
        return await self._access.kill(TerminalId(terminal), grace=grace)

    async def rename(self, terminal: TerminalId | str, name: str) -> TerminalInfo:
        """Call a terminal by another name."""
        return await self._access.rename(TerminalId(terminal), name)


class _Bytes:
    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        prefix = self._terminal.take_prefix()
        if prefix:
            return prefix
        while True:
            try:
                event = await self._terminal.receive()
            except anyio.EndOfStream:
                raise StopAsyncIteration from None
            match event:
                case TerminalOutput(data=data):
                    return data
                case TerminalGap(prefix=prefix):
                    return prefix
                case TerminalResized() | TerminalChanged() | TerminalExited():
                    continue


def table(infos: tuple[TerminalInfo, ...]) -> str:
    """Return terminals as a table for a notebook."""
    rows = "".join(
        f"<tr><td><code>{html.escape(info.id)}</code></td><td>{html.escape(info.name)}</td><td>{html.escape(_state(info))}</td>"
        f"<td>{html.escape(info.title)}</td><td>{html.escape(info.cwd or '')}</td></tr>"
        for info in infos
    )
    return f"<table><tr><th>terminal</th><th>name</th><th>state</th><th>title</th><th>folder</th></tr>{rows}</table>"


def _state(info: TerminalInfo) -> str:
    if info.state is TerminalState.EXITED and info.exit is not None:
        return f"exited {info.exit.exit_code}"
    return str(info.state)


async def _kill(terminal: Terminal, left: OwnedExit) -> None:  # noqa: ARG001 - ended however the block was left
    with suppress(TerminalNotFound):  # its program ended, and its time is over
        await terminal.kill()
    await terminal.detach()


async def _detach(terminal: Terminal, left: OwnedExit) -> None:  # noqa: ARG001
    await terminal.detach()


def _me() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user} on {socket.gethostname()} (process {os.getpid()})"

"""One simulated command, as its caller holds it."""

from __future__ import annotations

import contextlib

import anyio
import anyio.lowlevel

from nexus.errors import StdinClosed
from nexus.models.execution import ExecEvent, Exited, Pty, SpawnRequest, Started
from nexus.models.ids import ExecId
from nexus.providers.mock.pipes import Outlet, Pipe
from nexus.providers.mock.process import ProgramCall
from nexus.providers.mock.terminal import Terminal

LINGER = 0.25
"""Seconds after the leader's end that output of others may still come."""
_CLEANUP = 5.0
"""Seconds that :meth:`MockProcess.aclose` waits after KILL for programs that shield themselves."""


class MockProcess:
    """A ``nexus.abc.ProcessHandle`` on a simulated process group.

    Args:
        exec_id: The command's id.
        request: What was asked for.
        leader: Its first process.
        outlet: Where its output arrives.
        stdin: Its standard input, or ``None`` when that is at its end from the start.
    """

    def __init__(
        self, exec_id: ExecId, request: SpawnRequest, leader: ProgramCall, outlet: Outlet, stdin: Pipe | None
    ) -> None:
        self._exec_id = exec_id
        self._request = request
        self._leader = leader
        self._outlet = outlet
        self._stdin = stdin
        self._line = stdin.writer if stdin is not None else None
        self._terminal: Terminal | None = None
        if self._line is not None:
            self._line.hold()
            if request.pty is not None and request.stdin:
                self._terminal = Terminal(leader.group, outlet, self._line)
            elif not request.stdin:
                self._release_input()  # a terminal at which nobody types
        self._input_open = request.stdin
        self._started = False
        self._exited = False
        self._timed_out = False

    @property
    def exec_id(self) -> ExecId:
        """The command's id."""
        return self._exec_id

    async def watch(self) -> None:
        """End the command's group when its time is up."""
        with anyio.move_on_after(self._request.timeout):
            await self._leader.wait()
            return
        if self._leader.status is None:
            self._timed_out = True
            await self._leader.group.end(self._request.grace)

    async def receive(self) -> ExecEvent:
        """Return the next event. Cancelled: nothing is lost, the next call returns it.

        Raises:
            anyio.EndOfStream: After ``Exited`` was returned.
        """
        await anyio.lowlevel.checkpoint()
        if not self._started:
            self._started = True
            return Started(exec_id=self._exec_id, pid=self._leader.pid)
        while not self._exited:
            output = self._outlet.take()
            if output is not None:
                return output
            await self._change()
            if self._over():
                return self._leave()
        raise anyio.EndOfStream

    def _over(self) -> bool:
        if self._leader.ended_at is None or self._outlet.held:
            return False
        return self._outlet.at_end or anyio.current_time() >= self._leader.ended_at + LINGER

    async def _change(self) -> None:
        """Wait for output, for the end, or for the moment when nobody waits any longer for a background child's output."""
        if self._over() or self._outlet.held:
            return
        ended = self._leader.ended_at
        left = None if ended is None else ended + LINGER - anyio.current_time()
        with anyio.move_on_after(left):
            await self._leader.group.bell.wait()

    def _leave(self) -> Exited:
        self._exited = True
        self._outlet.close()
        self._release_input()
        return Exited(exit_code=self._leader.status, signal=self._leader.killed_by, timed_out=self._timed_out)

    async def write(self, data: bytes) -> None:
        """Write to standard input. Cancelled: a part of the bytes may have been handed over.

        Raises:
            StdinClosed: When the command no longer reads, or standard input was not asked for or is closed.
        """
        await anyio.lowlevel.checkpoint()
        if self._stdin is None or not self._input_open or self._leader.status is not None:
            raise StdinClosed(
                f"{self._request.argv[0]} does not read its standard input",
                hint=None if self._request.stdin else "ask for it with stdin=True",
            )
        try:
            if self._terminal is not None:
                await self._terminal.type(data)
            else:
                await self._stdin.put(data)
        except anyio.BrokenResourceError as exc:
            raise StdinClosed(f"{self._request.argv[0]} has closed its standard input") from exc

    async def close_stdin(self) -> None:
        """Send end of file. Closing twice is fine."""
        await anyio.lowlevel.checkpoint()
        if self._input_open and self._terminal is not None and self._leader.status is None:
            with contextlib.suppress(anyio.BrokenResourceError):
                await self._terminal.end()
        self._release_input()

    def _release_input(self) -> None:
        self._input_open = False
        if self._line is not None and not (self._terminal is not None and self._terminal.ended):
            self._line.release()
        self._line = None

    async def signal(self, number: int) -> None:
        """Send a signal to the command's whole group. A command that has ended is fine."""
        await anyio.lowlevel.checkpoint()
        if self._leader.status is None:
            self._leader.group.deliver(number)

    async def resize(self, rows: int, cols: int) -> None:
        """Change the terminal's size. Without a terminal: nothing."""
        await anyio.lowlevel.checkpoint()
        group = self._leader.group
        if group.pty is not None:
            group.resize(Pty(rows=rows, cols=cols, term=group.pty.term))

    async def aclose(self) -> None:
        """Let go of the command: if it still runs its group is ended. Cancelled: it is ended all the same, within a bounded time."""
        with anyio.CancelScope(shield=True):
            if self._leader.status is None:
                with anyio.move_on_after(self._request.grace + _CLEANUP):
                    await self._leader.group.end(self._request.grace)
            self._outlet.close()
            self._release_input()
        await anyio.lowlevel.checkpoint()

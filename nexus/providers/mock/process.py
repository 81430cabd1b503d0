r"""A simulated process: what a program sees of itself, its signals, its children, and how it ends.

A program is a coroutine function that takes a :class:`ProgramCall` and returns an exit status::

    async def pytest(call: ProgramCall) -> int:
        await call.stdout.send(b"1 passed\\n")
        return 0

It may await anything (an ``anyio.Event`` of the test, for example). It is cancelled when a signal kills it, and stands still at
its next call of one of the methods here while its instance is paused.
"""

from __future__ import annotations

import contextlib
import signal
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Final, Protocol, TypeAlias

import anyio
import anyio.lowlevel

from nexus.models.execution import Pty
from nexus.providers.mock.pipes import CAPACITY, Bell, Sink, Source
from nexus.providers.mock.signals import Signals

Program: TypeAlias = Callable[["ProgramCall"], Awaitable[int]]
"""A simulated program: returns its exit status, 0 to 255."""

_HARMLESS: Final = frozenset({signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH})
_STOPPING: Final = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})


class Kernel(Protocol):
    """What a process needs of the simulated machine it runs on."""

    @property
    def frozen(self) -> bool:
        """Whether every process stands still."""

    @property
    def bell(self) -> Bell:
        """Rings when ``frozen`` changes."""

    def admit(self, process: ProgramCall) -> int:
        """Enter a new process; returns its id."""

    def dismiss(self, process: ProgramCall) -> None:
        """Strike out a process that has ended."""

    def find(self, pid: int) -> ProgramCall | None:
        """Return the process with this id, when it has not ended."""

    def program(self, name: str) -> Program | None:
        """Return the program of this name or path."""

    def start(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run a task beside the caller."""

    def host_path(self, path: str, cwd: str) -> str:
        """Return where a path of the simulated machine is on the host; raises ``FileNotFoundError`` outside the worktree."""


class Input:
    """Standard input, as a program has it."""

    def __init__(self, process: ProgramCall, source: Source) -> None:
        self.source = source
        self._process = process

    @property
    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.source.isatty

    async def receive(self, max_bytes: int = CAPACITY) -> bytes:
        """Return at least one byte.

        Raises:
            anyio.EndOfStream: At the end.
        """
        await self._process.runnable()
        data = await self.source.receive(max_bytes)
        await self._process.runnable()
        return data

    async def read_all(self) -> bytes:
        """Return everything up to the end."""
        data = bytearray()
        while True:
            try:
                data += await self.receive()
            except anyio.EndOfStream:
                return bytes(data)


class Printer:
    """Standard output or standard error, as a program has it."""

    def __init__(self, process: ProgramCall, sink: Sink) -> None:
        self.sink = sink
        self._process = process

    @property
    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.sink.isatty

    async def send(self, data: bytes) -> None:
        """Write all of it, waiting for room. A program that lets ``anyio.BrokenResourceError`` out has died of ``SIGPIPE``."""
        await self._process.runnable()
        await self.sink.send(data)


class ProcessGroup:
    """All the processes that one command has started, and the terminal they share."""

    def __init__(self, pty: Pty | None = None) -> None:
        self.members: set[ProgramCall] = set()
        self.bell = Bell()
        self.pty = pty

    def deliver(self, number: int) -> None:
        """Send a signal to every process."""
        for process in sorted(self.members, key=lambda member: member.pid):
            process.deliver(number)

    def resize(self, pty: Pty) -> None:
        """Give the terminal another size, and tell every process."""
        self.pty = pty
        self.deliver(signal.SIGWINCH)

    async def empty(self) -> None:
        """Return when no process is left."""
        await anyio.lowlevel.checkpoint()
        while self.members:
            await self.bell.wait()

    async def end(self, grace: float) -> None:
        """End every process: TERM, ``grace`` seconds, KILL."""
        self.deliver(signal.SIGTERM)
        with anyio.move_on_after(grace):
            await self.empty()
        self.deliver(signal.SIGKILL)
        await self.empty()


class ProgramCall:
    """One run of a program.

    Attributes:
        pid: Its process id on the simulated machine.
        argv: The program and its arguments.
        env: Its environment; its own copy.
        cwd: Its working folder, as seen inside.
        stdin: Standard input.
        stdout: Standard output.
        stderr: Standard error.
        signals: What it does when it gets signals.
        group: The processes of the same command.
        status: Its exit status, ``None`` while it runs.
        killed_by: The signal it died of.
        ended_at: When it ended, on the event loop's clock.
    """

    def __init__(
        self,
        kernel: Kernel,
        group: ProcessGroup,
        *,
        argv: tuple[str, ...],
        env: Mapping[str, str],
        cwd: str,
        streams: tuple[Source, Sink, Sink],
        ignored: frozenset[int] = frozenset(),
    ) -> None:
        self.kernel = kernel
        self.group = group
        self.argv = argv
        self.env = dict(env)
        self.cwd = cwd
        self.stdin = Input(self, streams[0])
        self.stdout = Printer(self, streams[1])
        self.stderr = Printer(self, streams[2])
        self.signals = Signals(ignored, group.bell)
        self.status: int | None = None
        self.killed_by: int | None = None
        self.ended_at: float | None = None
        self._scope: anyio.CancelScope | None = None
        self._stopped = False
        self._deferred: list[int] = []
        for stream in streams:
            stream.hold()
        self.pid = kernel.admit(self)
        group.members.add(self)

    @property
    def _standing(self) -> bool:
        return self._stopped or self.kernel.frozen

    async def runnable(self) -> None:
        """Return when the process may run: at once, unless it is stopped or its instance is paused."""
        await anyio.lowlevel.checkpoint()
        while self._standing:
            await self.kernel.bell.wait()

    async def sleep(self, seconds: float) -> None:
        """Let time pass. A pause does not stop the clock, as with a real process, but the process goes on only after it."""
        await anyio.sleep(seconds)
        await self.runnable()

    def child(
        self,
        argv: tuple[str, ...],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        streams: tuple[Source, Sink, Sink] | None = None,
    ) -> ProgramCall:
        """Return a new process of the same group, not yet running; what is not given is inherited."""
        return ProgramCall(
            self.kernel,
            self.group,
            argv=argv,
            env=self.env if env is None else env,
            cwd=cwd or self.cwd,
            streams=streams or (self.stdin.source, self.stdout.sink, self.stderr.sink),
            ignored=frozenset(self.signals.ignored),
        )

    def replace(self, argv: tuple[str, ...], env: Mapping[str, str], streams: tuple[Source, Sink, Sink]) -> None:
        """Become another program with other streams, as ``exec`` does it: what was ignored stays so, traps are forgotten."""
        old = (self.stdin.source, self.stdout.sink, self.stderr.sink)
        for stream in streams:
            stream.hold()
        for stream in old:
            stream.release()
        self.argv, self.env = argv, dict(env)
        self.stdin = Input(self, streams[0])
        self.stdout = Printer(self, streams[1])
        self.stderr = Printer(self, streams[2])
        self.signals.trapped.clear()

    def begin(self, program: Program) -> None:
        """Run ``program`` in this process, beside the caller."""
        self.kernel.start(lambda: self._run(program))

    async def wait(self) -> int:
        """Return the exit status, 128 + n after signal n, when the process has ended."""
        await anyio.lowlevel.checkpoint()
        while self.status is None:
            await self.group.bell.wait()
        return self.status

    def deliver(self, number: int) -> None:
        """Get a signal. While the process stands still only KILL and CONT reach it; the others wait."""
        if self.status is not None or number == 0:
            return
        if number == signal.SIGCONT:
            self._stopped = False
            self.kernel.bell.ring()
            self.thawed()
        elif number == signal.SIGKILL:
            self._die(number)
        elif number == signal.SIGSTOP or (
            number in _STOPPING and number not in self.signals.ignored | self.signals.trapped
        ):
            self._stopped = True
        elif self._standing:
            self._deferred.append(number)
        else:
            self._act(number)

    def thawed(self) -> None:
        """Take the signals that came while the process stood still, if it may run now."""
        if not self._standing:
            waiting, self._deferred = self._deferred, []
            for number in waiting:
                self._act(number)

    def _act(self, number: int) -> None:
        if number in self.signals.ignored:
            return
        if number in self.signals.trapped:
            self.signals.put(number)
        elif number not in _HARMLESS:
            self._die(number)

    def _die(self, number: int) -> None:
        if self.killed_by is None:
            self.killed_by = int(number)
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self, program: Program) -> None:
        status: int | None = None
        try:
            with anyio.CancelScope() as self._scope:
                if self.killed_by is not None:
                    self._scope.cancel()
                await self.runnable()
                status = await self._execute(program)
        finally:
            self._end(status)

    async def _execute(self, program: Program) -> int:
        try:
            return await program(self)
        except anyio.BrokenResourceError:
            self.killed_by = self.killed_by or int(signal.SIGPIPE)
            return 0
        except Exception:  # noqa: BLE001 - a program's mistake ends the program, as an interpreter does it
            with contextlib.suppress(anyio.BrokenResourceError):
                await self.stderr.send(traceback.format_exc().encode())
            return 1

    def _end(self, status: int | None) -> None:
        if status is None and self.killed_by is None:  # its task was cancelled: the provider was closed
            self.killed_by = int(signal.SIGKILL)
        self.status = 128 + self.killed_by if self.killed_by is not None else (status or 0) & 0xFF
        self.ended_at = anyio.current_time()
        self.kernel.dismiss(self)
        self.group.members.discard(self)
        self.stdin.source.release()
        self.stdout.sink.release()
        self.stderr.sink.release()
        self.group.bell.ring()

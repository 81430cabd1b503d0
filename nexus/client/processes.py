"""A command that runs behind a daemon, as its caller holds it."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Mapping
from typing import Final, TypeVar

import anyio

from nexus.client.line import Line
from nexus.client.link import Link
from nexus.client.streams import Outgoing
from nexus.errors import ConnectionLost, NexusError, NotFound, StdinClosed
from nexus.models.base import Model
from nexus.models.execution import ExecEvent, Exited, Gap, Output, SpawnRequest, Started, Stream
from nexus.models.ids import ExecId
from nexus.wire.methods import execs as methods
from nexus.wire.methods.table import Method, Nothing
from nexus.wire.reading import read_result

P = TypeVar("P", bound=Model)

_LETTING_GO: Final = 5.0
"""Seconds that letting go takes beyond the command's own grace."""


class RemoteProcess:
    """Implements :class:`~nexus.abc.provider.ProcessHandle`. It survives a lost connection: nothing is lost or doubled.

    Args:
        line: The connection.
        request: What was asked for.
    """

    def __init__(self, line: Line, request: SpawnRequest) -> None:
        self._line = line
        self._request = request
        self._id = ExecId("")
        self._link: Link | None = None
        self._channels: dict[int, Stream] = {}
        self._received = {Stream.STDOUT: 0, Stream.STDERR: 0}
        self._input = Outgoing()
        self._stdin: int | None = None
        self._events: deque[ExecEvent] = deque()
        self._exited = False
        self._over = False
        self._error: NexusError | None = None
        self._something = anyio.Event()

    @property
    def exec_id(self) -> ExecId:
        """The command's id."""
        return self._id

    @classmethod
    async def start(cls, line: Line, workspace: str, request: SpawnRequest, *, service: str | None) -> RemoteProcess:
        """Start a command.

        Cancellation: it has not been started, or it has been ended.
        """
        process = cls(line, request)
        try:
            await line.call(
                methods.START,
                _params(workspace, request, service),
                on_result=lambda started: process.begin(line.current, started),
            )
        except BaseException:
            process.abandon()
            raise
        return process

    def begin(self, link: Link | None, started: methods.Started) -> None:
        """Take note that it runs, and take what comes from now on."""
        first = not self._id
        self._id = ExecId(started.exec)
        if first:
            self._events.append(Started(exec_id=self._id, pid=started.pid))
        if link is None:  # lost again already; the next connection attaches
            return
        self._line.follow(self)
        self._line.listen(methods.DID_EXIT.name, self._id, self._ended)
        self._attach(link, started.streams, self._input.length if not first else 0)

    def abandon(self) -> None:
        """Have it ended, without waiting for that."""
        if self._id and self._line.current is not None:
            self._line.current.post(methods.RELEASE, methods.OfExec(exec=self._id))
        self._forget()

    def _attach(self, link: Link, streams: methods.Streams, stdin_offset: int) -> None:
        self._link = link
        self._channels = {}
        for channel, stream in ((Stream.STDOUT, streams.stdout), (Stream.STDERR, streams.stderr)):
            if stream is not None:
                self._channels[stream] = channel
                link.wire.open_receiving(stream, self._received[channel])
                link.sinks[stream] = self
        self._stdin = streams.stdin
        if self._request.stdin:
            self._input.attach(link, streams.stdin, stdin_offset, sink=self)

    # Reading --------------------------------------------------------------------------------------------------------

    async def receive(self) -> ExecEvent:
        """Return the next event. A cancelled call loses none.

        Raises:
            anyio.EndOfStream: After ``Exited`` was returned.
            ConnectionLost: When the connection is lost for good. The command may run on.
        """
        while not self._events:
            if self._exited:
                raise anyio.EndOfStream
            if self._error is not None:
                raise self._error
            self._something = anyio.Event()
            await self._something.wait()
        event = self._events.popleft()
        if isinstance(event, Output):
            self._taken(event.stream, event.offset + len(event.data))
        elif isinstance(event, Exited):
            self._exited = True
            self._let_know()
        return event

    def _taken(self, channel: Stream, offset: int) -> None:
        link = self._link
        if link is None or link.lost.is_set():
            return
        for stream, name in self._channels.items():
            if name is channel:
                link.wire.taken(stream, offset)
        link.flush()

    def data(self, stream: int, offset: int, data: bytes) -> None:
        """Bytes came."""
        channel = self._channels.get(stream)
        if channel is not None:
            self._received[channel] = offset + len(data)
            self._put(Output(stream=channel, offset=offset, data=data))

    def gap(self, stream: int, start: int, end: int) -> None:
        """Bytes are lost."""
        channel = self._channels.get(stream)
        if channel is not None:
            self._received[channel] = end
            self._put(Gap(stream=channel, start=start, end=end))

    def end(self, stream: int, *, failed: bool) -> None:
        """A stream is at its end; how the command ended is told afterwards."""

    def reset(self, stream: int, code: str) -> None:
        """The daemon takes no more input, or gives nothing more."""
        if stream == self._stdin:
            self._input.break_off(self._closed(code))

    def room(self, stream: int, taken: int) -> None:
        """More input may be sent."""
        if stream == self._stdin:
            self._input.taken(taken)

    def _ended(self, params: Mapping[str, object]) -> None:
        told = read_result(methods.DidExit, params).exit
        self._finish(
            Exited(
                exit_code=told.exit_code,
                signal=told.signal,
                timed_out=told.timed_out,
                oom=told.oom,
                lost=told.lost,
            )
        )

    def _finish(self, event: Exited) -> None:
        if self._over:
            return
        self._over = True
        self._forget()
        self._input.break_off(self._closed())
        self._put(event)

    def _put(self, event: ExecEvent) -> None:
        self._events.append(event)
        self._something.set()

    def _closed(self, code: str = "") -> StdinClosed:
        why = "" if code in {"", StdinClosed.code} else f": {code}"
        return StdinClosed(
            f"{self._request.argv[0]} does not read its standard input{why}",
            hint=None if self._request.stdin else "ask for it with stdin=True",
        )

    # Writing --------------------------------------------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """Write to standard input; returns when the daemon has handed the bytes over.

        Raises:
            StdinClosed: When the command no longer reads, or standard input was not asked for or is closed.

        Cancellation: a part of the bytes may have been handed over.
        """
        if not self._request.stdin or self._input.ending:
            await anyio.lowlevel.checkpoint()
            raise self._closed()
        await self._input.write(data)

    async def close_stdin(self) -> None:
        """Send end of file. Twice is fine."""
        self._input.end()
        await anyio.lowlevel.checkpoint()

    # Control --------------------------------------------------------------------------------------------------------

    async def signal(self, number: int) -> None:
        """Send a signal to the command's group. One that has ended is fine."""
        if not self._over:
            await self._tell(methods.SIGNAL, methods.SignalExec(exec=self._id, signal=number))

    async def resize(self, rows: int, cols: int) -> None:
        """Tell the command's terminal its size. Without a terminal: nothing."""
        if not self._over:
            await self._tell(methods.RESIZE, methods.ResizeExec(exec=self._id, rows=rows, cols=cols))

    async def _tell(self, method: Method[P, Nothing], params: P) -> None:
        try:
            await self._line.call(method, params)
        except NotFound:
            self._finish(Exited(exit_code=None, lost=True))

    async def aclose(self) -> None:
        """Let go of the command: one that runs is ended: TERM, its grace, KILL. Never raises for one that has ended.

        Cancellation: the daemon ends it all the same.
        """
        if self._over:
            self._let_know()
            await anyio.lowlevel.checkpoint()
            return
        try:
            with anyio.move_on_after(self._request.grace + _LETTING_GO, shield=True):
                await self._line.call(methods.RELEASE, methods.OfExec(exec=self._id), again=True)
        except NotFound:
            pass
        finally:
            self._finish(Exited(exit_code=None, lost=True))
        await anyio.lowlevel.checkpoint()

    def _let_know(self) -> None:
        """Tell the daemon that it may forget a command that has ended."""
        link, self._link = self._link, None
        if link is not None:
            link.post(methods.RELEASE, methods.OfExec(exec=self._id))

    def _forget(self) -> None:
        self._line.unfollow(self)
        self._line.unlisten(methods.DID_EXIT.name, self._id)

    # The connection -------------------------------------------------------------------------------------------------

    async def resume(self, link: Link, *, same_session: bool) -> None:
        """Go on over a new connection. A daemon that does not know the command any more has lost it."""
        del same_session  # what was detached outlives its session, and the answer tells
        offsets = methods.Offsets(stdout=self._received[Stream.STDOUT], stderr=self._received[Stream.STDERR])
        try:
            await link.call(
                methods.ATTACH,
                methods.Attach(exec=self._id, offsets=offsets),
                on_result=lambda found: self._attach(link, found.streams, found.stdin_offset),
            )
        except NotFound:
            self._finish(Exited(exit_code=None, lost=True))

    def give_up(self, error: NexusError) -> None:
        """There will be no other connection."""
        lost = ConnectionLost(
            f"the connection to the daemon is lost, and with it {self._request.argv[0]}: {error.message}",
            hint="connect again and look at exec.list: the command may run on for a while",
        )
        self._error = lost
        self._input.break_off(lost)
        self._something.set()


def _params(workspace: str, request: SpawnRequest, service: str | None) -> methods.Start:
    pty = request.pty
    return methods.Start(
        workspace=workspace,
        idempotency_key=uuid.uuid4().hex,
        argv=request.argv,
        cwd=request.cwd,
        env=request.env,
        masked=request.masked,
        user=request.user,
        timeout_ms=None if request.timeout is None else max(1, round(request.timeout * 1000)),
        grace_ms=round(request.grace * 1000),
        service=service,
        wake=request.wake,
        keeps_awake=request.keeps_awake,
        stdin=request.stdin,
        pty=None if pty is None else methods.TerminalSize(rows=pty.rows, cols=pty.cols, term=pty.term),
    )

"""A TCP connection to a port inside a workspace, carried by the connection to the daemon."""

from __future__ import annotations

from collections import deque

import anyio
from anyio.abc import ByteStream
from typing_extensions import override

from nexus.client.line import Line
from nexus.client.link import Link
from nexus.client.streams import Outgoing
from nexus.errors import ConnectionLost, NexusError
from nexus.wire.methods import ports as methods


class RemotePort(ByteStream):
    """One connection. It ends with the connection to the daemon: TCP inside cannot be gone on with.

    Args:
        line: The connection to the daemon.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._link: Link | None = None
        self._stream = 0
        self._out = Outgoing(both_ways=True)
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._ended = False
        self._broken = False
        self._closed = False
        self._something = anyio.Event()

    @classmethod
    async def open(cls, line: Line, workspace: str, port: int) -> RemotePort:
        """Connect.

        Raises:
            PortNotOpen: When nothing listens there.

        Cancellation: there is no connection.
        """
        made = cls(line)
        try:
            await line.call(
                methods.CONNECT, methods.OfPort(workspace=workspace, port=port), on_result=made._begin, again=True
            )
        except BaseException:
            made._leave()
            raise
        if made._link is None:
            raise ConnectionLost("the connection to the daemon was lost meanwhile", hint="connect again")
        return made

    def _begin(self, found: methods.Connected) -> None:
        link = self._line.current
        if link is None:
            return
        self._link, self._stream = link, found.stream
        link.wire.open_receiving(found.stream)
        if self._closed:  # while this was on its way
            link.wire.reset(found.stream, "CLOSED")
            link.flush()
            return
        self._out.attach(link, found.stream, 0, sink=self)
        link.sinks[found.stream] = self
        self._line.follow(self)

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        while not self._pieces:
            if self._closed:
                raise anyio.ClosedResourceError
            if self._ended:
                raise anyio.EndOfStream
            if self._broken:
                raise anyio.BrokenResourceError
            self._something = anyio.Event()
            await self._something.wait()
        offset, data = self._pieces.popleft()
        if len(data) > max_bytes:
            self._pieces.appendleft((offset + max_bytes, data[max_bytes:]))
            data = data[:max_bytes]
        if self._link is not None and not self._link.lost.is_set():
            self._link.wire.taken(self._stream, offset + len(data))
            self._link.flush()
        return data

    @override
    async def send(self, item: bytes) -> None:
        if self._closed:
            raise anyio.ClosedResourceError
        try:
            await self._out.write(item)
        except NexusError as error:
            raise anyio.BrokenResourceError from error

    @override
    async def send_eof(self) -> None:
        self._out.end()
        await anyio.lowlevel.checkpoint()

    @override
    async def aclose(self) -> None:
        self._leave()
        await anyio.lowlevel.checkpoint()

    def _leave(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._line.unfollow(self)
        if self._link is not None and not self._link.lost.is_set():
            self._link.sinks.pop(self._stream, None)
            self._link.wire.reset(self._stream, "CLOSED")
            self._link.flush()
        self._something.set()

    def data(self, stream: int, offset: int, data: bytes) -> None:  # noqa: ARG002 - there is one
        """Bytes came."""
        self._pieces.append((offset, data))
        self._something.set()

    def gap(self, stream: int, start: int, end: int) -> None:  # noqa: ARG002
        """Bytes are lost, which must not be."""
        self._break()

    def end(self, stream: int, *, failed: bool) -> None:  # noqa: ARG002
        """The program inside sends nothing more."""
        self._ended, self._broken = not failed, failed
        self._something.set()

    def reset(self, stream: int, code: str) -> None:  # noqa: ARG002
        """The daemon gave it up."""
        self._break()

    def room(self, stream: int, taken: int) -> None:  # noqa: ARG002
        """More may be sent."""
        self._out.taken(taken)

    async def resume(self, link: Link, *, same_session: bool) -> None:  # noqa: ARG002
        """It is over."""
        self._break()
        await anyio.lowlevel.checkpoint()

    def give_up(self, error: NexusError) -> None:  # noqa: ARG002
        """It is over."""
        self._break()

    def _break(self) -> None:
        self._link = None
        self._broken = True
        self._out.break_off(ConnectionLost("the connection to the daemon was lost"))
        self._something.set()

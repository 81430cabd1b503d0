"""A connection over two pipes: how an editor talks to a program that it started."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio

from nexus.abc.transport import Peer
from nexus.daemon.framing import Unframer, framed
from nexus.errors import ConnectionLost, InvalidArgument, ProtocolError

_PIECE = 65536
_CLOSING_SECONDS = 0.5


class StdioTransport:
    """Implements :class:`~nexus.abc.transport.Transport` over a pair of pipes. Made by :func:`open_stdio`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._unframer = Unframer()
        self._broken: ProtocolError | None = None

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return self._peer

    async def receive(self) -> str | bytes:
        """Return the next message."""
        while (message := self._unframer.take()) is None:
            if self._broken is not None:
                raise self._broken
            data = await self._reader.read(_PIECE)
            if not data:
                raise ConnectionLost("the other end has closed its pipe")
            try:
                self._unframer.feed(data)
            except ProtocolError as error:
                self._broken = error
        return message

    async def send(self, message: str | bytes) -> None:
        """Hand a message to the other end."""
        try:
            self._writer.write(framed(message))
            await self._writer.drain()
        except OSError as error:
            raise ConnectionLost("the other end has closed its pipe") from error

    async def aclose(self, code: int = 1000, reason: str = "") -> None:  # noqa: ARG002 - pipes have no such words
        """Close the connection."""
        self._writer.close()
        # The other end may be quicker.
        with anyio.move_on_after(_CLOSING_SECONDS), suppress(OSError):
            await self._writer.wait_closed()


@asynccontextmanager
async def open_stdio(reading: int = 0, writing: int = 1, *, token: str | None = None) -> AsyncIterator[StdioTransport]:
    """Give a connection over two descriptors; afterwards they are as blocking as before, and closed no more than before.

    Args:
        reading: A pipe, socket or terminal.
        writing: Another one, or the same.
        token: What vouches for whoever started this program.

    Raises:
        InvalidArgument: When one of them is a plain file.
    """
    loop = asyncio.get_running_loop()
    before = {descriptor: os.get_blocking(descriptor) for descriptor in (reading, writing)}
    # Duplicates, since asyncio closes what it reads.
    source, sink = os.fdopen(os.dup(reading), "rb", 0), os.fdopen(os.dup(writing), "wb", 0)
    reader = asyncio.StreamReader()
    try:
        inward, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        outward, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sink
        )
    except ValueError as error:
        source.close()
        sink.close()
        raise InvalidArgument(
            "standard input and output have to be pipes, sockets or terminals", hint="let an editor start this"
        ) from error
    writer = asyncio.StreamWriter(outward, protocol, reader, loop)
    try:
        yield StdioTransport(reader, writer, Peer(address="stdio", uid=os.getuid(), pid=os.getppid(), token=token))
    finally:
        inward.close()
        outward.close()
        for descriptor, blocking in before.items():
            os.set_blocking(descriptor, blocking)

"""A connection in memory: two ends in one process, for embedding and for tests. It behaves as a socket does, slow readers included."""

from __future__ import annotations

import itertools
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from nexus.abc.transport import Peer
from nexus.errors import ConnectionLost

_numbers: Final = itertools.count(1)


class MemoryTransport:
    """One end. Implements :class:`~nexus.abc.transport.Transport`; made by :func:`memory_pair`."""

    def __init__(
        self,
        incoming: MemoryObjectReceiveStream[str | bytes],
        outgoing: MemoryObjectSendStream[str | bytes],
        peer: Peer,
    ) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._peer = peer

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return self._peer

    async def receive(self) -> str | bytes:
        """Return the next message."""
        try:
            return await self._incoming.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            raise ConnectionLost("the connection has ended") from None

    async def send(self, message: str | bytes) -> None:
        """Hand a message to the other end; waits while it has not taken those before."""
        try:
            await self._outgoing.send(message)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise ConnectionLost("the connection has ended") from None

    async def aclose(self, code: int = 1000, reason: str = "") -> None:  # noqa: ARG002 - in memory nobody reads them
        """Close both directions."""
        self._incoming.close()
        self._outgoing.close()
        await anyio.lowlevel.checkpoint()


def memory_pair(*, backlog: int = 16) -> tuple[MemoryTransport, MemoryTransport]:
    """Return the two ends of a connection: the client's and the daemon's.

    Args:
        backlog: Messages that may be under way in each direction.
    """
    up_in, up_out = anyio.create_memory_object_stream[str | bytes](backlog)
    down_in, down_out = anyio.create_memory_object_stream[str | bytes](backlog)
    number = next(_numbers)
    client = MemoryTransport(down_out, up_in, Peer(address="memory"))
    daemon = MemoryTransport(up_out, down_in, Peer(address=f"memory#{number}"))
    return client, daemon

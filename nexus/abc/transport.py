"""One connection that carries whole messages, whatever it is made of: a WebSocket, pipes, a pair of queues in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from nexus.models.base import Model


class Peer(Model):
    """Who is at the other end, as far as the connection itself tells."""

    address: str
    """For people and logs: ``127.0.0.1:51324``, ``unix``, ``stdio``, ``memory``."""
    uid: int | None = None
    """The user id that the kernel vouches for, on a Unix socket."""
    pid: int | None = None
    token: str | None = None
    """A bearer token that came with the handshake; still to be verified. Never shown."""

    def __repr__(self) -> str:
        return f"<Peer {self.address}>"

    __str__ = __repr__


@runtime_checkable
class Transport(Protocol):
    """A connection that is open. Text and binary messages arrive whole, in order, and as what they were sent."""

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""

    async def receive(self) -> str | bytes:
        """Return the next message. A cancelled call loses none.

        Raises:
            ConnectionLost: When the connection has ended, however it did.
            ProtocolError: When the other end broke the rules of the transport, such as the largest size.
        """

    async def send(self, message: str | bytes) -> None:
        """Hand a message to the other end; waits while that end reads more slowly than we write. For one task at a time.

        Raises:
            ConnectionLost: When the connection has ended.
        """

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection. Closing twice is fine; the other end is not waited for longer than half a second.

        Args:
            code: A WebSocket close code. It informs and never carries meaning that the protocol needs.
            reason: One sentence for people.
        """


@runtime_checkable
class PromptTransport(Transport, Protocol):
    """A connection that can tell of a message the moment it has arrived, and send without waiting: no task is woken on the way."""

    def hand_over(self, take: Callable[[str | bytes], bool], taken: Callable[[], None]) -> None:
        """Offer messages from now on while somebody waits in :meth:`receive`, and nothing is before them there.

        Args:
            take: Called with a message; returns at once, and raises nothing. ``False`` leaves it, and those behind it until
                somebody waits again, to :meth:`receive`.
            taken: Called when all were offered that had arrived together.
        """

    def send_now(self, messages: Sequence[str | bytes]) -> bool:
        """Send messages where that takes no waiting, and return whether they are sent: all of them, or none."""

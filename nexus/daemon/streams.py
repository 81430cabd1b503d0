"""The streams of one connection: what is sent on each, what comes in on each, and that there are not too many."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nexus.daemon.feeds import Feed
from nexus.daemon.inlets import Inlet
from nexus.daemon.outlets import FeedOutlet, Outlet
from nexus.errors import ProtocolError, QuotaExceeded
from nexus.wire.connection import Connection, RoomGranted, StreamData, StreamEnded, StreamGap, StreamReset


class Streams:
    """Has the outlets and the inlets of one connection, by the ids of their streams.

    Args:
        wire: The protocol's end of the connection.
        most: How many there may be.
        ready: Asks an outlet when its turn comes.
        flush: Sends what the protocol has to say.
    """

    def __init__(
        self, wire: Connection, most: int, *, ready: Callable[[Outlet], None], flush: Callable[[], None]
    ) -> None:
        self.outlets: dict[int, FeedOutlet] = {}
        self.inlets: dict[int, Inlet] = {}
        self._wire = wire
        self._most = most
        self._ready = ready
        self._flush = flush

    def attach(self, feed: Feed, offsets: Mapping[str, int], *, owner: bool) -> FeedOutlet:
        """Begin to send a feed on streams of its own.

        Raises:
            QuotaExceeded: When this connection has too many streams.
        """
        self._check_room()
        outlet: FeedOutlet

        def ready() -> None:
            self._ready(outlet)

        def over() -> None:
            for stream in outlet.streams.values():
                self.outlets.pop(stream, None)

        outlet = FeedOutlet(self._wire, feed, offsets, owner=owner, ready=ready, over=over)
        self.outlets.update(dict.fromkeys(outlet.streams.values(), outlet))
        return outlet

    def detach(self, feed: Feed) -> None:
        """Send nothing of a feed any more."""
        for stream, outlet in list(self.outlets.items()):
            if outlet.feed is feed:
                self._close(stream)

    def receive_into(self, inlet: Inlet, *, stream: int | None = None) -> int:
        """Let what comes on a stream go into an inlet, and return the stream's id: a new one unless it is given.

        Raises:
            QuotaExceeded: When this connection has too many streams.
        """
        self._check_room()
        id = self._wire.new_stream() if stream is None else stream  # noqa: A001
        self._wire.open_receiving(id, inlet.received)
        self.inlets[id] = inlet

        def taken(offset: int) -> None:
            if self.inlets.get(id) is not inlet:
                return
            if inlet.broken:
                self._refuse(id, "EXEC_STDIN_CLOSED")
                return
            self._wire.taken(id, offset, at_once=True)
            self._flush()

        inlet.on_taken = taken
        return id

    def take(self, event: StreamData | StreamGap | StreamEnded | StreamReset | RoomGranted) -> None:
        """Hand what happened on a stream to whom it is for. One that is not there any more: nothing.

        Raises:
            ProtocolError: When the client leaves out what it sends.
        """
        match event:
            case StreamData(stream=stream, data=data):
                if stream in self.inlets:
                    self.inlets[stream].push(data)
            case StreamGap(stream=stream):
                if stream in self.inlets:
                    raise ProtocolError("a client cannot leave out what it sends")
            case StreamEnded(stream=stream):
                if stream in self.inlets:
                    self.inlets.pop(stream).end()
            case RoomGranted(stream=stream, taken=taken):
                self._grant(stream, taken)
            case StreamReset(stream=stream):
                self._reset(stream)

    def close(self) -> None:
        """Send nothing any more. What comes in has nobody to come from."""
        for stream in tuple(self.outlets):
            self._close(stream)

    def _check_room(self) -> None:
        if self._wire.streams >= self._most:
            raise QuotaExceeded(
                f"this connection has {self._wire.streams} streams open",
                hint="close some, or connect once more",
                details={"limit": self._most},
            )

    def _refuse(self, stream: int, code: str) -> None:
        """Take nothing more on a stream, and say why."""
        self.inlets.pop(stream, None)
        self._wire.reset(stream, code)
        self._flush()

    def _close(self, stream: int) -> None:
        outlet = self.outlets.pop(stream, None)
        if outlet is not None:
            outlet.close()
            for other in outlet.streams.values():
                self.outlets.pop(other, None)

    def _grant(self, stream: int, taken: int) -> None:
        for id, outlet in tuple(self.outlets.items()) if stream == 0 else ((stream, self.outlets.get(stream)),):  # noqa: A001
            if outlet is not None:
                if stream:
                    outlet.taken(id, taken)
                self._ready(outlet)

    def _reset(self, stream: int) -> None:
        outlet = self.outlets.get(stream)
        self._close(stream)
        if outlet is not None:
            outlet.feed.refused()
        inlet = self.inlets.pop(stream, None)
        if inlet is not None:
            inlet.break_off()

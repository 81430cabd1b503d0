"""Bytes from the daemon, resumed where they were when the connection was cut; and bytes to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import anyio

from nexus.client.line import Line
from nexus.client.link import Link, Sink
from nexus.errors import ConnectionLost, NexusError, StdinClosed
from nexus.wire.failures import error_of
from nexus.wire.messages import Fault
from nexus.wire.methods.session import ATTACH_STREAM, CLOSE_STREAM, STREAM_FAILED, Attached, AttachFeed, FeedRef


class FeedReader:
    """A log or a file that the daemon sends. Whoever reads slowly is sent slowly.

    Args:
        line: The connection.
        feed: What the daemon calls it.
        offset: What its first byte here is called by its user: for messages only.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._link: Link | None = None
        self._stream = 0
        self._feed = ""
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._received = 0
        self._ended = False
        self._why: NexusError | None = None
        self._something = anyio.Event()

    def begin(self, link: Link, feed: str, stream: int) -> None:
        """Take what comes from now on."""
        self._feed = feed
        self._line.follow(self)
        self._attach(link, stream)

    def _attach(self, link: Link, stream: int) -> None:
        self._link, self._stream = link, stream
        link.wire.open_receiving(stream, self._received)
        link.sinks[stream] = self
        self._line.listen(STREAM_FAILED.name, str(stream), self._failed)

    async def receive(self) -> bytes:
        """Return the next bytes. A cancelled call loses none.

        Raises:
            anyio.EndOfStream: At the end.
            NexusError: As the daemon raised it.
        """
        while not self._pieces:
            if self._why is not None:
                raise self._why
            if self._ended:
                raise anyio.EndOfStream
            self._something = anyio.Event()
            await self._something.wait()
        offset, data = self._pieces.popleft()
        if self._link is not None and not self._link.lost.is_set():
            self._link.wire.taken(self._stream, offset + len(data))
            self._link.flush()
        return data

    def close(self) -> None:
        """Want nothing more of it."""
        self._line.unfollow(self)
        self._line.unlisten(STREAM_FAILED.name, str(self._stream))
        if self._link is not None:
            self._link.sinks.pop(self._stream, None)
            self._link.wire.forget(self._stream)
            self._link.post(CLOSE_STREAM, FeedRef(feed=self._feed))

    def data(self, stream: int, offset: int, data: bytes) -> None:
        """Bytes came."""
        if stream == self._stream:
            self._pieces.append((offset, data))
            self._received = offset + len(data)
            self._something.set()

    def gap(self, stream: int, start: int, end: int) -> None:  # noqa: ARG002 - which stream is clear
        """Bytes are lost, which is never right here: the daemon waits for us."""
        self.give_up(ConnectionLost(f"bytes {start} to {end} of a stream were lost"))

    def end(self, stream: int, *, failed: bool) -> None:  # noqa: ARG002
        """Everything has come."""
        self._ended = True
        self._line.unfollow(self)
        self._something.set()

    def reset(self, stream: int, code: str) -> None:  # noqa: ARG002
        """The daemon gave it up."""
        self.give_up(ConnectionLost(f"the daemon gave a stream up: {code}"))

    def room(self, stream: int, taken: int) -> None:
        """Nothing is sent on it."""

    def _failed(self, params: Mapping[str, object]) -> None:
        self.give_up(error_in(params))

    async def resume(self, link: Link, *, same_session: bool) -> None:
        """Go on where it was."""
        if not same_session:
            self.give_up(ConnectionLost("the daemon does not know this stream any more"))
            return

        def attached(found: Attached) -> None:
            self._attach(link, found.stream)

        await link.call(ATTACH_STREAM, AttachFeed(feed=self._feed, offset=self._received), on_result=attached)

    def give_up(self, error: NexusError) -> None:
        """There is nothing more to come."""
        if not self._ended and self._why is None:
            self._why = error
        self._something.set()


def error_in(params: Mapping[str, object]) -> NexusError:
    """Return the error that a notification tells of."""
    found = params.get("error")
    told: Mapping[str, object] = found if isinstance(found, dict) else {}
    number, message, data = told.get("code"), told.get("message"), told.get("data")
    return error_of(
        Fault(
            number if isinstance(number, int) else 1000,
            str(message),
            data if isinstance(data, dict) else {},
        )
    )


class Outgoing:
    """Bytes for the daemon, as far as it takes them. What it has not taken yet is kept, to be sent again after a cut.

    Args:
        both_ways: Whether bytes come back on the same stream, so that its end here is not its end.
    """

    def __init__(self, *, both_ways: bool = False) -> None:
        self._both_ways = both_ways
        self._link: Link | None = None
        self._stream: int | None = None
        self._kept = bytearray()
        self._taken = 0
        """The offset of the first byte in ``_kept``."""
        self._sent = 0
        self._ending = False
        self._broken: NexusError | None = None
        self._news = anyio.Event()

    @property
    def length(self) -> int:
        """Bytes that were given in all."""
        return self._taken + len(self._kept)

    @property
    def ending(self) -> bool:
        """Whether nothing more is given."""
        return self._ending

    def attach(self, link: Link, stream: int | None, taken: int, *, sink: Sink) -> None:
        """Go on over this connection; the daemon has everything before ``taken``.

        Args:
            link: The connection.
            stream: The stream; ``None`` when the daemon takes nothing more.
            taken: How far it is.
            sink: Told of room on it.
        """
        self._link, self._stream = link, stream
        self._advance(taken)
        self._sent = self._taken
        if stream is None:
            self.break_off(StdinClosed("nothing more is read"))
            return
        link.wire.open_sending(stream, self._sent)
        link.sinks[stream] = sink
        self._push()

    def detach(self) -> None:
        """There is no connection now."""
        self._link = None

    def taken(self, offset: int) -> None:
        """Take note how far the daemon is."""
        self._advance(offset)
        self._push()

    def break_off(self, error: NexusError) -> None:
        """Nothing more is taken."""
        if self._broken is None:
            self._broken = error
        self._news.set()

    async def write(self, data: bytes) -> None:
        """Give bytes, and return when the daemon has taken them.

        Raises:
            NexusError: When nothing more is taken.

        Cancellation: a part of them may have been taken; those that were not sent are not sent any more.
        """
        if self._broken is not None:
            raise self._broken
        goal = self.length + len(data)
        self._kept += data
        self._push()
        try:
            while self._taken < goal:
                if self._broken is not None:
                    raise self._broken
                self._news = anyio.Event()
                await self._news.wait()
        except BaseException:
            del self._kept[max(0, self._sent - self._taken) :]
            raise

    def end(self) -> None:
        """Give nothing more. Twice is fine."""
        self._ending = True
        self._push()

    def _advance(self, offset: int) -> None:
        gone = min(max(0, offset - self._taken), len(self._kept))
        del self._kept[:gone]
        self._taken += gone
        if gone:
            self._news.set()

    def _push(self) -> None:
        """Send what there is and may be sent."""
        link, stream = self._link, self._stream
        if link is None or stream is None or link.lost.is_set():
            return
        while (rest := self._kept[self._sent - self._taken :]) and (room := link.wire.room(stream)):
            piece = bytes(rest[:room])
            link.send(link.wire.data(stream, piece))
            self._sent += len(piece)
        if self._ending and self._sent == self.length:
            link.send(link.wire.end(stream))
            if not self._both_ways:
                link.sinks.pop(stream, None)
            self._stream = None

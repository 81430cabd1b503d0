"""What waits to be sent on one connection: one message at a time, each outlet at its turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from nexus.daemon.feeds import Feed
from nexus.daemon.output_log import Lost, Piece
from nexus.wire.connection import Connection
from nexus.wire.failures import fault_of
from nexus.wire.messages import Notification, serialise
from nexus.wire.methods.session import STREAM_FAILED


class Outlet(Protocol):
    """Something that has messages."""

    def next(self) -> str | bytes | None:
        """Return the next message; ``None`` when there is none, or no room for it."""

    @property
    def done(self) -> bool:
        """Whether it will never have one again."""


class FeedOutlet:
    """Sends one feed on one connection.

    Args:
        connection: The protocol's end of the connection.
        feed: What is sent.
        offsets: Where to begin, for each channel.
        owner: Whether the feed waits for this reader.
        ready: Called when there may be something to send.
        over: Called when everything was sent.
    """

    def __init__(
        self,
        connection: Connection,
        feed: Feed,
        offsets: Mapping[str, int],
        *,
        owner: bool,
        ready: Callable[[], None],
        over: Callable[[], None],
    ) -> None:
        self.feed = feed
        self._connection = connection
        self._owner = owner
        self._ready = ready
        self._over = over
        self._cursor = feed.log.cursor(offsets)
        self.streams = {channel: connection.new_stream() for channel in feed.channels}
        self._channels = {stream: channel for channel, stream in self.streams.items()}
        self._open = set(feed.channels)
        self._told = False
        self._last: list[str] = []
        self.done = False
        for channel, stream in self.streams.items():
            connection.open_sending(stream, self._cursor.offsets[channel])
        if owner:
            feed.own(self._cursor.offsets)
        feed.listeners.add(self)

    def wake(self) -> None:
        """There may be something new."""
        self._ready()

    def taken(self, stream: int, offset: int) -> None:
        """Take note how far the client has taken a stream."""
        if self._owner:
            self.feed.confirm(self._channels[stream], offset)

    def close(self) -> None:
        """Send nothing more."""
        self.done = True
        self.feed.listeners.discard(self)
        for stream in self.streams.values():
            self._connection.forget(stream)

    def next(self) -> str | bytes | None:
        """Return the next message; ``None`` when there is none, or no room for it."""
        found = self.feed.log.read(self._cursor, self._room)
        match found:
            case Piece(channel=channel, data=data):
                return self._connection.data(self.streams[channel], data)
            case Lost(channel=channel, end=end):
                return self._connection.skip(self.streams[channel], end)
            case None:
                return self._ending() if self.feed.ended.is_set() and self._all_sent() else None

    def _room(self, channel: str) -> int:
        return self._connection.room(self.streams[channel])

    def _all_sent(self) -> bool:
        return all(self._cursor.offsets[name] >= length for name, length in self.feed.log.newest.items())

    def _ending(self) -> str | bytes | None:
        """Return, one after the other: why it failed, the end of each stream, the last words."""
        error = self.feed.error
        if error is not None and not self._told:
            self._told = True
            stream = next(iter(self.streams.values()))
            fault = fault_of(error)
            told = {"code": fault.number, "message": fault.message, "data": dict(fault.data)}
            return serialise(Notification(STREAM_FAILED.name, {"stream": stream, "error": told}))
        for channel in self.feed.channels:
            if channel in self._open:
                self._open.discard(channel)
                return self._connection.end(self.streams[channel], failed=error is not None)
        self.done = True
        self.feed.listeners.discard(self)
        self._over()
        words = self.feed.last_words()
        return None if words is None else serialise(words)

"""Bytes that come from somewhere and outlive the connection they are sent on: a command's output, a log, a file."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Literal, Protocol

import anyio

from nexus.daemon.output_log import OutputLog
from nexus.errors import NotFound
from nexus.wire.messages import Notification

_log: Final = logging.getLogger("nexus.daemon")
_SLICE: Final = 64 * 1024

Policy = Literal["block", "drop"]
"""What becomes of bytes that nobody takes: the source waits, or the oldest are lost."""


class Listener(Protocol):
    """Somebody who sends what a feed has."""

    def wake(self) -> None:
        """There may be something new."""


class Feed:
    """Keeps the last bytes of a source, and makes the source wait for its owner.

    The owner is the reader that nothing must be lost for. What it has not confirmed is kept, so that it can come back after its
    connection was cut and go on where it was. Other readers get what is kept; when they are slow they see a gap.

    Args:
        id: What it is asked for by.
        channels: What the source distinguishes.
        capacity: Bytes that are kept of each channel.
        policy: What becomes of bytes that the owner does not take.
    """

    def __init__(self, id: str, channels: tuple[str, ...], capacity: int, policy: Policy) -> None:  # noqa: A002 - that is what it is
        self.id = id
        self.channels = channels
        self.log = OutputLog(channels, capacity)
        self.policy: Policy = policy
        self.error: BaseException | None = None
        self.ended = anyio.Event()
        self.listeners: set[Listener] = set()
        self._confirmed = dict.fromkeys(channels, 0)
        self._room = anyio.Event()

    def confirm(self, channel: str, offset: int) -> None:
        """Take note that the owner has taken everything before ``offset``."""
        if offset > self._confirmed[channel]:
            self._confirmed[channel] = offset
            self._room.set()

    def own(self, offsets: Mapping[str, int]) -> None:
        """Take note where a new owner begins: what lies before is confirmed by that, what was confirmed stays so."""
        for channel, offset in offsets.items():
            self.confirm(channel, min(offset, self.log.newest[channel]))

    def let_run(self) -> None:
        """Wait for nobody any more."""
        self.policy = "drop"
        self._room.set()

    async def put(self, channel: str, data: bytes) -> None:
        """Take what the source printed next; waits for the owner where the policy says so."""
        for at in range(0, len(data), _SLICE):
            piece = data[at : at + _SLICE]
            while not self._fits(channel, len(piece)):
                self._room = anyio.Event()
                await self._room.wait()
            self.log.append(channel, piece)
            self.wake()

    def end(self, error: BaseException | None = None) -> None:
        """Take note that nothing more comes."""
        self.error = error
        self.ended.set()
        self.wake()

    def wake(self) -> None:
        """Tell everybody who listens."""
        for listener in tuple(self.listeners):
            listener.wake()

    def refused(self) -> None:
        """Take note that a reader wants nothing more of it. What lives for one reader only ends with that."""

    def last_words(self) -> Notification | None:
        """Return what is sent after everything else."""
        return None

    def _fits(self, channel: str, count: int) -> bool:
        if self.policy == "drop":
            return True
        waiting = self.log.newest[channel] - self._confirmed[channel]
        return waiting + count <= self.log.capacity and not (self.log.crowded and waiting)


class Source(Feed):
    """A feed from an iterator: a log, a file.

    Args:
        open_source: Gives the iterator; its block is left when everything was read, or nobody wants more.
        capacity: Bytes that are kept.
        owner: The session it belongs to.
    """

    def __init__(
        self, open_source: Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]], capacity: int, owner: str
    ) -> None:
        super().__init__(f"fd_{uuid.uuid4().hex[:16]}", ("data",), capacity, "block")
        self.owner = owner
        self.scope = anyio.CancelScope()
        self._open = open_source

    async def run(self) -> None:
        """Read until the end, or until it is closed."""
        error: BaseException | None = None
        with self.scope:
            try:
                async with self._open() as pieces:
                    async for piece in pieces:
                        await self.put("data", piece)
            except Exception as failure:  # noqa: BLE001 - whoever reads the stream is told
                error = failure
        self.end(error)


class Feeds:
    """The logs and files that are being sent, by id.

    Args:
        most: How many one session may have.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._known: dict[str, Source] = {}

    def add(self, feed: Source) -> None:
        """Keep a feed; where its session has too many, the oldest goes."""
        mine = [each for each in self._known.values() if each.owner == feed.owner]
        if len(mine) >= self._most:
            _log.warning("a client has %d logs and files open; the oldest is closed", len(mine))
            self.close(mine[0].id, feed.owner)
        self._known[feed.id] = feed

    def find(self, id: str, owner: str) -> Source:  # noqa: A002
        """Return a session's feed.

        Raises:
            NotFound: When it has none of this id.
        """
        feed = self._known.get(id)
        if feed is None or feed.owner != owner:
            raise NotFound(f"there is no stream {id!r} to go on with", hint="ask for the log or file again")
        return feed

    def close(self, id: str, owner: str) -> None:  # noqa: A002
        """Let go of a feed; one that is not there is fine."""
        feed = self._known.get(id)
        if feed is not None and feed.owner == owner:
            del self._known[id]
            feed.scope.cancel()

    def close_all(self, owner: str) -> None:
        """Let go of everything that belongs to a session."""
        for id in [feed.id for feed in self._known.values() if feed.owner == owner]:  # noqa: A001
            self.close(id, owner)

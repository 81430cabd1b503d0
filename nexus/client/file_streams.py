"""A file behind a daemon, read or written piece by piece."""

from __future__ import annotations

from typing import Final, Self

import anyio

from nexus.client.line import Line
from nexus.client.link import Link
from nexus.client.streams import FeedReader, Outgoing
from nexus.errors import ConnectionLost, InvalidArgument, NexusError
from nexus.models.files import Etag, FileInfo, FileKind
from nexus.wire.methods import files as methods

_PIECE: Final = 64 * 1024


def info_of(stat: methods.Stat) -> FileInfo:
    """Return what is known of a path."""
    return FileInfo(
        path=stat.path,
        kind=FileKind(stat.kind),
        size=stat.size,
        mtime=stat.mtime_ms / 1000,
        mode=stat.mode,
        etag=Etag(stat.etag),
        target=stat.target,
    )


class RemoteReader:
    """Implements :class:`~nexus.abc.files.FileReader`.

    Args:
        feed: What comes.
        info: The file as it was opened.
    """

    def __init__(self, feed: FeedReader, info: FileInfo) -> None:
        self._feed = feed
        self._info = info
        self._rest = b""

    @property
    def info(self) -> FileInfo:
        """The file as it was when it was opened."""
        return self._info

    async def receive(self, max_bytes: int = _PIECE) -> bytes:
        """Return the next bytes.

        Raises:
            anyio.EndOfStream: At the end of the file.
        """
        data = self._rest or await self._feed.receive()
        self._rest = data[max_bytes:]
        return data[:max_bytes]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class RemoteWriter:
    """Implements :class:`~nexus.abc.files.FileWriter`. It ends with its connection, and leaves nothing then.

    Args:
        line: The connection.
        workspace: Where it goes.
        path: What it is called, for messages.
    """

    def __init__(self, line: Line, workspace: str, path: str) -> None:
        self._line = line
        self._workspace = workspace
        self._path = path
        self._link: Link | None = None
        self._upload = ""
        self._stream = 0
        self._out = Outgoing()
        self._info: FileInfo | None = None

    def begin(self, found: methods.Upload) -> None:
        """Take note where it is to be sent."""
        link = self._line.current
        if link is None:
            return
        self._link, self._upload, self._stream = link, found.upload, found.stream
        self._out.attach(link, found.stream, 0, sink=self)
        self._line.follow(self)

    @property
    def info(self) -> FileInfo:
        """The file as it was written, once the block is left.

        Raises:
            InvalidArgument: Before that.
        """
        if self._info is None:
            raise InvalidArgument(f"{self._path} is not written yet", hint="ask after the block")
        return self._info

    async def send(self, data: bytes) -> None:
        """Write the next bytes; returns when the daemon has them.

        Raises:
            ConnectionLost: When the connection was lost: the file has to be written anew.
        """
        for at in range(0, len(data), _PIECE * 4):
            await self._out.write(data[at : at + _PIECE * 4])

    async def commit(self) -> None:
        """Let it take its place."""
        self._out.end()
        link = self._link
        if link is None:
            raise ConnectionLost(f"the connection was lost while {self._path} was sent", hint="write it again")
        params = methods.Commit(workspace=self._workspace, upload=self._upload, size=self._out.length)
        try:
            self._info = info_of(await link.call(methods.COMMIT, params))
        finally:
            self._line.unfollow(self)

    def abandon(self) -> None:
        """Leave nothing of it."""
        self._line.unfollow(self)
        if self._link is not None and self._upload:
            self._link.sinks.pop(self._stream, None)
            self._link.post(methods.ABORT, methods.Abort(workspace=self._workspace, upload=self._upload))

    def data(self, stream: int, offset: int, data: bytes) -> None:
        """Nothing comes on it."""

    def gap(self, stream: int, start: int, end: int) -> None:
        """Nothing comes on it."""

    def end(self, stream: int, *, failed: bool) -> None:
        """Nothing comes on it."""

    def reset(self, stream: int, code: str) -> None:  # noqa: ARG002 - which stream is clear
        """The daemon takes no more."""
        self._out.break_off(ConnectionLost(f"the daemon takes no more of {self._path}: {code}"))

    def room(self, stream: int, taken: int) -> None:  # noqa: ARG002
        """More may be sent."""
        self._out.taken(taken)

    async def resume(self, link: Link, *, same_session: bool) -> None:  # noqa: ARG002 - there is no going on
        """Uploads end with their connection."""
        self.give_up(ConnectionLost(f"the connection was lost while {self._path} was sent", hint="write it again"))
        await anyio.lowlevel.checkpoint()

    def give_up(self, error: NexusError) -> None:
        """There is nothing to be written to any more."""
        self._link = None
        self._out.break_off(error)

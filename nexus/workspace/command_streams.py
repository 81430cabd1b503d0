"""A file as a command prints it, and one as a command takes it."""

from __future__ import annotations

import signal
from contextlib import suppress

import anyio

from nexus.abc import ProcessHandle
from nexus.errors import FsError, InvalidArgument, NexusError, StdinClosed
from nexus.models.execution import Exited, Output, Stream
from nexus.models.files import FileInfo
from nexus.workspace.command_place import CommandPlace, finished, parse_info


async def give_up(process: ProcessHandle) -> None:
    """Have a draft end, and remove what it wrote.

    A shell that is just starting its ``cat`` may lose that one's signal, and would wait for it: so its input ends as well.
    The signal comes first, or a draft that is cut short would look like a whole one. Its end is awaited, or what ends the command
    for good would meet it while it removes the draft.
    """
    with anyio.CancelScope(shield=True), anyio.move_on_after(10), suppress(NexusError, anyio.EndOfStream):
        await process.signal(signal.SIGTERM)
        await process.close_stdin()
        await finished(process)


class Pieces:
    """A file that a command prints. Made by :class:`FilesByCommand`."""

    def __init__(self, process: ProcessHandle, place: CommandPlace, path: str) -> None:
        self._process = process
        self._place = place
        self._path = path
        self._rest = b""
        self._status: int | None = None
        self._info: FileInfo | None = None

    async def begin(self) -> None:
        """Read what the file is, which is printed first."""
        head = b""
        while b"\n" not in head:
            more = await self._more()
            if not more:
                self._place.check(self._status or 87, self._path)
            head += more
        line, _, self._rest = head.partition(b"\n")
        self._info = parse_info(self._place.shown(self._path), line)

    @property
    def info(self) -> FileInfo:
        """The file as it was when it was opened."""
        if self._info is None:
            raise InvalidArgument(f"{self._path} is not open yet")
        return self._info

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes, never none.

        Raises:
            anyio.EndOfStream: At the end of the file.
        """
        if max_bytes < 1:
            raise InvalidArgument(f"max_bytes has to be at least one: {max_bytes}")
        self._rest = self._rest or await self._more()
        if not self._rest:
            self._place.check(self._status or 0, self._path)
            raise anyio.EndOfStream
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return data

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def _more(self) -> bytes:
        while self._status is None:
            event = await self._process.receive()
            if isinstance(event, Output) and event.stream is Stream.STDOUT and event.data:
                return event.data
            if isinstance(event, Exited):
                self._status = 87 if event.exit_code is None else event.exit_code
        return b""


class Writing:
    """A file that is given to a command. Made by :class:`FilesByCommand`."""

    def __init__(self, process: ProcessHandle, place: CommandPlace, path: str) -> None:
        self._process = process
        self._place = place
        self._path = path
        self._info: FileInfo | None = None
        self.sent = 0
        """Bytes."""

    @property
    def info(self) -> FileInfo:
        """The file as it was written, once the block is left."""
        if self._info is None:
            raise InvalidArgument(f"{self._path} is not written yet", hint="ask after the block")
        return self._info

    async def send(self, data: bytes) -> None:
        """Write the next bytes."""
        try:
            await self._process.write(bytes(data))
        except StdinClosed:
            said = await finished(self._process)  # it has ended, and says why
            self._place.check(said.status or 87, self._path)
        self.sent += len(data)

    async def finish(self) -> bool:
        """End the draft; only one that is whole may take its place."""
        await self._process.close_stdin()
        said = await finished(self._process)
        self._place.check(said.status, self._path)
        if said.out != b"%d" % self.sent:
            raise FsError(f"{self._path} did not arrive whole, and was not written", path=self._path, hint="try again")
        return True

    def publish(self, info: FileInfo) -> None:
        """Note what the file is now."""
        self._info = info

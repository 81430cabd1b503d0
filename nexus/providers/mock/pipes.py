"""Simulated descriptors: bounded pipes, the null device, byte sources, and the outlet that a caller reads events from.

Every end counts its holders, as descriptors do: a pipe is at its end when the last writer has let go, and broken when the last
reader has. A full pipe makes the writer wait, which is what carries back-pressure from a slow caller to the program.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

import anyio
import anyio.lowlevel

from nexus.models.execution import Output, Stream

CAPACITY: Final = 64 * 1024
"""Bytes a pipe holds, as Linux has it."""


class Bell:
    """Wakes everybody who waits, as often as it rings. Not bound to a loop until somebody waits."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def ring(self) -> None:
        """Wake all who wait now."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Return at the next ring."""
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()


class Source(Protocol):
    """What a program reads from."""

    @property
    def isatty(self) -> bool:
        """Whether it is a terminal."""

    async def receive(self, max_bytes: int = CAPACITY) -> bytes:
        """Return at least one byte.

        Raises:
            anyio.EndOfStream: At the end.
        """

    def hold(self) -> None:
        """Count one more reader."""

    def release(self) -> None:
        """Count one reader less."""


class Sink(Protocol):
    """What a program writes to."""

    @property
    def isatty(self) -> bool:
        """Whether it is a terminal."""

    async def send(self, data: bytes) -> None:
        """Write all of it, waiting for room.

        Raises:
            anyio.BrokenResourceError: When nobody reads any more.
        """

    def hold(self) -> None:
        """Count one more writer."""

    def release(self) -> None:
        """Count one writer less."""


class Null:
    """The null device: at its end for readers, swallows everything for writers."""

    isatty = False

    async def receive(self, max_bytes: int = CAPACITY) -> bytes:  # noqa: ARG002 - the protocol's name
        """Raise ``anyio.EndOfStream``."""
        await anyio.lowlevel.checkpoint()
        raise anyio.EndOfStream

    async def send(self, data: bytes) -> None:  # noqa: ARG002 - the protocol's name
        """Forget the bytes."""
        await anyio.lowlevel.checkpoint()

    def hold(self) -> None:
        """Nothing to count."""

    def release(self) -> None:
        """Nothing to count."""


class Bytes(Null):
    """A source that holds all its bytes from the start."""

    def __init__(self, data: bytes) -> None:
        self._left = data

    async def receive(self, max_bytes: int = CAPACITY) -> bytes:
        """Return the next bytes; raises ``anyio.EndOfStream`` after the last."""
        await anyio.lowlevel.checkpoint()
        if not self._left:
            raise anyio.EndOfStream
        data, self._left = self._left[:max_bytes], self._left[max_bytes:]
        return data


class Pipe:
    """A bounded first-in-first-out of bytes. It starts with no holder on either side.

    A side that nobody has ever held is not yet closed, so the order in which two programs start does not matter.
    """

    def __init__(self, *, isatty: bool = False) -> None:
        self.isatty = isatty
        self._buffer = bytearray()
        self._bell = Bell()
        self._writers = _Holders()
        self._readers = _Holders()

    @property
    def reader(self) -> Source:
        """The end to read from."""
        return _PipeReader(self, self._readers)

    @property
    def writer(self) -> Sink:
        """The end to write to."""
        return _PipeWriter(self, self._writers)

    @property
    def broken(self) -> bool:
        """Whether nobody reads any more."""
        return self._readers.closed

    def wake(self) -> None:
        """Make both sides look again."""
        self._bell.ring()

    async def take(self, max_bytes: int) -> bytes:
        """Return the next bytes, waiting for one; raises ``anyio.EndOfStream`` at the end."""
        await anyio.lowlevel.checkpoint()
        while not self._buffer:
            if self._writers.closed:
                raise anyio.EndOfStream
            await self._bell.wait()
        data = bytes(self._buffer[:max_bytes])
        del self._buffer[:max_bytes]
        self._bell.ring()
        return data

    async def put(self, data: bytes) -> None:
        """Store all bytes, waiting for room; raises ``anyio.BrokenResourceError`` when nobody reads any more."""
        await anyio.lowlevel.checkpoint()
        left = memoryview(data)
        while left:
            if self.broken:
                raise anyio.BrokenResourceError
            room = CAPACITY - len(self._buffer)
            if room > 0:
                self._buffer += left[:room]
                left = left[room:]
                self._bell.ring()
            else:
                await self._bell.wait()


class _Holders:
    """How many hold one end, and whether the last of them has let go."""

    def __init__(self) -> None:
        self.count = 0
        self.closed = False

    def add(self) -> None:
        self.count += 1

    def remove(self) -> None:
        self.count -= 1
        self.closed = self.closed or self.count <= 0


class _PipeEnd:
    def __init__(self, pipe: Pipe, holders: _Holders) -> None:
        self._pipe = pipe
        self._holders = holders

    @property
    def isatty(self) -> bool:
        return self._pipe.isatty

    def hold(self) -> None:
        self._holders.add()

    def release(self) -> None:
        self._holders.remove()
        self._pipe.wake()


class _PipeReader(_PipeEnd):
    async def receive(self, max_bytes: int = CAPACITY) -> bytes:
        return await self._pipe.take(max_bytes)


class _PipeWriter(_PipeEnd):
    async def send(self, data: bytes) -> None:
        await self._pipe.put(data)


class Outlet:
    """Where a command's two streams meet its caller: chunks in order of arrival, each stream bounded on its own."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._chunks: deque[tuple[Stream, bytes]] = deque()
        self._held = dict.fromkeys(Stream, 0)
        self._given = dict.fromkeys(Stream, 0)
        self._writers = _Holders()
        self._closed = False

    @property
    def at_end(self) -> bool:
        """Whether no more output can come: no writer is left, or reading has stopped."""
        return self._closed or self._writers.closed

    @property
    def held(self) -> bool:
        """Whether a chunk waits to be taken."""
        return bool(self._chunks)

    def sink(self, stream: Stream, *, isatty: bool = False) -> Sink:
        """Return the end that programs write this stream to."""
        return _OutletSink(self, stream, self._writers, isatty=isatty)

    def close(self) -> None:
        """Stop reading: what is held is dropped, and writers find a broken pipe."""
        self._closed = True
        self._chunks.clear()
        self._bell.ring()

    def wake(self) -> None:
        """Make writers and the reader look again."""
        self._bell.ring()

    def take(self) -> Output | None:
        """Return the oldest chunk, or ``None`` when there is none now."""
        if not self._chunks:
            return None
        stream, data = self._chunks.popleft()
        self._held[stream] -= len(data)
        offset = self._given[stream]
        self._given[stream] = offset + len(data)
        self._bell.ring()
        return Output(stream=stream, offset=offset, data=data)

    def force(self, stream: Stream, data: bytes) -> None:
        """Store bytes whether there is room or not: a terminal's echo does not wait. Dropped when twice over the limit."""
        if data and not self._closed and self._held[stream] < 2 * CAPACITY:
            self._store(stream, data)

    async def put(self, stream: Stream, data: bytes) -> None:
        """Store all bytes, waiting for room; raises ``anyio.BrokenResourceError`` when nobody reads any more."""
        await anyio.lowlevel.checkpoint()
        while data:
            if self._closed:
                raise anyio.BrokenResourceError
            room = CAPACITY - self._held[stream]
            if room > 0:
                self._store(stream, data[:room])
                data = data[room:]
            else:
                await self._bell.wait()

    def _store(self, stream: Stream, data: bytes) -> None:
        self._held[stream] += len(data)
        self._chunks.append((stream, data))
        self._bell.ring()


class _OutletSink:
    def __init__(self, outlet: Outlet, stream: Stream, holders: _Holders, *, isatty: bool) -> None:
        self.isatty = isatty
        self._outlet = outlet
        self._stream = stream
        self._holders = holders

    async def send(self, data: bytes) -> None:
        # A terminal turns every line end into carriage return and line feed (ONLCR).
        await self._outlet.put(self._stream, data.replace(b"\n", b"\r\n") if self.isatty else data)

    def hold(self) -> None:
        self._holders.add()

    def release(self) -> None:
        self._holders.remove()
        self._outlet.wake()

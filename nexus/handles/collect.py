"""From events to a result, in bounded memory. Pure: no clock, no I/O."""

from __future__ import annotations

from typing import Final

from nexus.errors import InvalidArgument
from nexus.models.execution import ExecEvent, ExecResult, Exited, Gap, Output, OutputLimit, Stream, Truncation
from nexus.models.ids import ExecId

DEFAULT_LIMIT: Final = OutputLimit()


class HeadTail:
    """The first ``head`` and the last ``tail`` bytes of a stream of any length.

    It never holds more than ``head + tail`` bytes. What is kept is contiguous at both ends: nothing is kept from beyond a gap as
    if it belonged to the beginning, nor from before one as if it belonged to the end.
    """

    def __init__(self, head: int, tail: int) -> None:
        if head < 0 or tail < 0:
            raise InvalidArgument(f"an output limit cannot be negative: head={head}, tail={tail}")
        self.total = 0
        self._head_size = head
        self._tail_size = tail
        self._head = bytearray()
        self._head_open = True
        # Grows to ``tail`` bytes, then becomes a ring whose oldest byte is at ``_oldest``.
        self._ring = bytearray()
        self._oldest = 0

    def add(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the stream."""
        self.total += len(data)
        rest = memoryview(data)
        if self._head_open:
            room = self._head_size - len(self._head)
            self._head += rest[:room]
            rest = rest[room:]
            self._head_open = len(self._head) < self._head_size
        if rest:
            self._add_to_ring(rest)

    def skip(self, count: int) -> None:
        """Take note of ``count`` bytes that are lost."""
        if count > 0:
            self.total += count
            self._head_open = False
            self._ring.clear()
            self._oldest = 0

    def head(self) -> bytes:
        """Return the kept beginning."""
        return bytes(self._head)

    def tail(self) -> bytes:
        """Return the kept end; empty while everything fits into the beginning."""
        return bytes(self._ring[self._oldest :]) + bytes(self._ring[: self._oldest])

    def kept(self) -> bytes:
        """Return the beginning and the end in one piece."""
        return self.head() + self.tail()

    def truncation(self) -> Truncation | None:
        """Return what is missing; ``None`` when nothing is."""
        if self.total == len(self._head) + len(self._ring):
            return None
        return Truncation(total=self.total, kept_head=len(self._head), kept_tail=len(self._ring))

    def under(self, head: int, tail: int) -> HeadTail:
        """Return a copy with other limits. Bytes that are gone stay gone."""
        copy = HeadTail(head, tail)
        copy.add(self._head)
        copy.skip(self.total - len(self._head) - len(self._ring))
        copy.add(self.tail())
        return copy

    def _add_to_ring(self, data: memoryview) -> None:
        size = self._tail_size
        room = size - len(self._ring)
        if room:
            self._ring += data[:room]
            data = data[room:]
        if not data or not size:
            return
        data = data[-size:]
        first = min(len(data), size - self._oldest)
        self._ring[self._oldest : self._oldest + first] = data[:first]
        self._ring[: len(data) - first] = data[first:]
        self._oldest = (self._oldest + len(data)) % size


class Collector:
    """Gathers the events of one command.

    Offsets are believed: bytes that come a second time are taken once, bytes that never came count as lost.

    Args:
        limit: How much is kept, of each stream and of both together.
    """

    def __init__(self, limit: OutputLimit = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.exited: Exited | None = None
        self._streams: dict[Stream, HeadTail] = {}
        # Both streams in order of arrival. While there has been one only, it is that one, and is not kept twice.
        self._both: HeadTail | None = None
        HeadTail(limit.head, limit.tail)  # refuses a limit that makes no sense before the first event does

    @property
    def exceeded(self) -> Stream | None:
        """The first stream that has outgrown the limit."""
        most = self.limit.head + self.limit.tail
        return next((name for name, kept in self._streams.items() if kept.total > most), None)

    def add(self, event: ExecEvent) -> None:
        """Take the next event."""
        match event:
            case Output(stream=stream, offset=offset, data=data):
                kept = self._of(stream)
                self._lose(stream, offset - kept.total)
                fresh = memoryview(data)[max(0, kept.total - offset) :]
                kept.add(fresh)
                if self._both is not None:
                    self._both.add(fresh)
            case Gap(stream=stream, end=end):
                self._lose(stream, end - self._of(stream).total)
            case Exited():
                self.exited = event
            case _:
                pass

    def under(self, limit: OutputLimit) -> Collector:
        """Return a copy that goes on under another limit. What the old limit has dropped stays dropped."""
        copy = Collector(limit)
        copy.exited = self.exited
        copy._streams = {name: kept.under(limit.head, limit.tail) for name, kept in self._streams.items()}
        copy._both = self._both.under(limit.head, limit.tail) if self._both is not None else None
        return copy

    def result(self, *, exec_id: ExecId, argv: tuple[str, ...], duration: float) -> ExecResult:
        """Return what is known so far; without an ``Exited`` yet the status is ``None``.

        Args:
            exec_id: The command's id.
            argv: The command.
            duration: Seconds it has run.
        """
        kept = {name: stream.kept() for name, stream in self._streams.items()}
        both = self._both.kept() if self._both is not None else next(iter(kept.values()), b"")
        missing = {name: stream.truncation() for name, stream in self._streams.items()}
        end = self.exited or Exited(exit_code=None, lost=True)
        return ExecResult(
            exec_id=exec_id,
            argv=argv,
            exit_code=end.exit_code,
            signal=end.signal,
            timed_out=end.timed_out,
            oom=end.oom,
            stdout_bytes=kept.get(Stream.STDOUT, b""),
            stderr_bytes=kept.get(Stream.STDERR, b""),
            output_bytes=both,
            truncated={name: lost for name, lost in missing.items() if lost is not None},
            duration=duration,
        )

    def _of(self, stream: Stream) -> HeadTail:
        kept = self._streams.get(stream)
        if kept is None:
            if self._streams:
                (only,) = self._streams.values()
                self._both = only.under(self.limit.head, self.limit.tail)
            kept = self._streams[stream] = HeadTail(self.limit.head, self.limit.tail)
        return kept

    def _lose(self, stream: Stream, count: int) -> None:
        self._of(stream).skip(count)
        if self._both is not None:
            self._both.skip(count)

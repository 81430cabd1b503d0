"""From the bytes of a command's connection to output with offsets, and marks. Pure."""

from __future__ import annotations

from typing import TypeAlias

from nexus.models.execution import Output, Stream
from nexus.providers.docker.exec_marks import Mark, MarkScanner
from nexus.providers.docker.exec_stream import FrameDecoder

Item: TypeAlias = Output | Mark


class OutputAssembler:
    """Turns what is read into events.

    Args:
        framed: Whether the engine frames the two streams (it does unless there is a terminal).
        nonce: What marks are signed with; ``None`` when no shell reports.
        both: Whether there are marks on both streams: a prepared shell says on each that it is idle.
    """

    def __init__(self, *, framed: bool, nonce: str | None, both: bool = False) -> None:
        self._frames = FrameDecoder() if framed else None
        marked = (Stream.STDERR, Stream.STDOUT) if both else (Stream.STDERR if framed else Stream.STDOUT,)
        self._scanners = {stream: MarkScanner(nonce) for stream in marked} if nonce is not None else {}
        self._offsets = dict.fromkeys(Stream, 0)

    def feed(self, data: bytes) -> list[Item]:
        """Return the events in ``data``, in order."""
        pieces = self._frames.feed(data) if self._frames is not None else [(Stream.STDOUT, data)]
        items: list[Item] = []
        for stream, piece in pieces:
            scanner = self._scanners.get(stream)
            if scanner is None:
                items.append(self._output(stream, piece))
                continue
            items += (self._output(stream, part) if isinstance(part, bytes) else part for part in scanner.feed(piece))
        return items

    def finish(self) -> list[Item]:
        """Return what was kept back: nothing follows."""
        held = ((stream, scanner.finish()) for stream, scanner in self._scanners.items())
        return [self._output(stream, data) for stream, data in held if data]

    @property
    def clean(self) -> bool:
        """Whether everything that was read has been given: the next byte begins something new."""
        return (self._frames is None or self._frames.clean) and all(each.clean for each in self._scanners.values())

    def _output(self, stream: Stream, data: bytes) -> Output:
        offset = self._offsets[stream]
        self._offsets[stream] = offset + len(data)
        return Output(stream=stream, offset=offset, data=data)

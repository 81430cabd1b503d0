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
    """

    def __init__(self, *, framed: bool, nonce: str | None) -> None:
        self._frames = FrameDecoder() if framed else None
        self._marked = Stream.STDERR if framed else Stream.STDOUT
        self._scanner = MarkScanner(nonce) if nonce is not None else None
        self._offsets = dict.fromkeys(Stream, 0)

    def feed(self, data: bytes) -> list[Item]:
        """Return the events in ``data``, in order."""
        pieces = self._frames.feed(data) if self._frames is not None else [(Stream.STDOUT, data)]
        items: list[Item] = []
        for stream, piece in pieces:
            if self._scanner is None or stream is not self._marked:
                items.append(self._output(stream, piece))
                continue
            items += (
                self._output(stream, part) if isinstance(part, bytes) else part for part in self._scanner.feed(piece)
            )
        return items

    def finish(self) -> list[Item]:
        """Return what was kept back: nothing follows."""
        held = self._scanner.finish() if self._scanner is not None else b""
        return [self._output(self._marked, held)] if held else []

    def _output(self, stream: Stream, data: bytes) -> Output:
        offset = self._offsets[stream]
        self._offsets[stream] = offset + len(data)
        return Output(stream=stream, offset=offset, data=data)

"""From chunks of bytes to lines of text. Pure."""

from __future__ import annotations

import codecs
from typing import Final

from nexus.models.execution import ExecEvent, Exited, Gap, Output, Stream

MAX_LINE: Final = 1024 * 1024
"""Characters: a program that never ends its line must not fill the memory."""


class LineSplitter:
    """Makes lines of one stream. A character cut in two by a chunk's end is put together; bytes that are no UTF-8 become U+FFFD."""

    def __init__(self, longest: int = MAX_LINE) -> None:
        self._longest = longest
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pieces: list[str] = []
        self._held = 0

    def feed(self, data: bytes) -> list[str]:
        r"""Return the lines that ``data`` completes, without their ends (``\n`` or ``\r\n``)."""
        return self._take(self._decoder.decode(data))

    def flush(self) -> list[str]:
        """Return what is left of a line that never ended, and begin anew."""
        lines = self._take(self._decoder.decode(b"", final=True))
        self._decoder.reset()
        if self._held:
            lines.append(self._join().removesuffix("\r"))
        return lines

    def _take(self, text: str) -> list[str]:
        lines: list[str] = []
        *complete, rest = text.split("\n")
        for part in complete:
            self._hold(part, lines)
            lines.append(self._join().removesuffix("\r"))
        self._hold(rest, lines)
        return lines

    def _hold(self, part: str, lines: list[str]) -> None:
        """Add to the line at hand; full pieces of one that is too long go out at once."""
        while self._held + len(part) > self._longest:
            room = self._longest - self._held
            self._pieces.append(part[:room])
            lines.append(self._join())
            part = part[room:]
        if part:
            self._pieces.append(part)
            self._held += len(part)

    def _join(self) -> str:
        line = "".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        return line


class StreamLines:
    """Makes lines of a command's events, each stream by itself: half a line of one never ends up inside a line of the other."""

    def __init__(self, longest: int = MAX_LINE) -> None:
        self._splitters = {stream: LineSplitter(longest) for stream in Stream}

    def feed(self, event: ExecEvent) -> list[tuple[Stream, str]]:
        """Return the lines that an event completes. A gap and the command's end complete whatever there is."""
        match event:
            case Output(stream=stream, data=data):
                return [(stream, line) for line in self._splitters[stream].feed(data)]
            case Gap(stream=stream):
                return [(stream, line) for line in self._splitters[stream].flush()]
            case Exited():
                return self.flush()
            case _:
                return []

    def flush(self) -> list[tuple[Stream, str]]:
        """Return every line that was begun."""
        return [(stream, line) for stream, splitter in self._splitters.items() for line in splitter.flush()]
